package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A segment begins with magic. A record is the length of its body and the
// body's checksum (CRC-32C), each in 4 bytes, big endian, and the body: a kind,
// and for a message its number and the milliseconds of its time in 8 bytes
// each, and its data; for done ones their numbers in 8 bytes each.
const (
	magic       = "clinksp1"
	recordHead  = 8
	messageHead = 17
	kindMessage = 'm'
	kindDone    = 'd'
	doneCount   = 8 << 10 // of one record
)

var table = crc32.MakeTable(crc32.Castagnoli)

func recordSize(data int) int64 { return int64(recordHead + messageHead + data) }

func appendMessage(b []byte, seq uint64, at time.Time, data []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, recordHead)...)
	b = append(b, kindMessage)
	b = binary.BigEndian.AppendUint64(b, seq)
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMilli()))
	return seal(append(b, data...), start)
}

func appendDone(b []byte, seqs []uint64) []byte {
	start := len(b)
	b = append(b, make([]byte, recordHead)...)
	b = append(b, kindDone)
	for _, seq := range seqs {
		b = binary.BigEndian.AppendUint64(b, seq)
	}
	return seal(b, start)
}

func seal(b []byte, start int) []byte {
	body := b[start+recordHead:]
	binary.BigEndian.PutUint32(b[start:], uint32(len(body)))
	binary.BigEndian.PutUint32(b[start+4:], crc32.Checksum(body, table))
	return b
}

// Why a record cannot be read.
var (
	errTorn    = errors.New("the record ends too early")
	errDamaged = errors.New("the record is damaged")
)

// A record is one that was read; done is set for kindDone.
type record struct {
	entry Entry
	done  []uint64
	size  int64
}

// parse reads the record that b begins with. Its data is a part of b.
func parse(b []byte) (record, error) {
	if len(b) < recordHead {
		return record{}, errTorn
	}
	n := int64(binary.BigEndian.Uint32(b))
	switch {
	case n < 1 || n > maxRecord:
		return record{}, errDamaged
	case int64(len(b)) < recordHead+n:
		return record{}, errTorn
	}
	body := b[recordHead : recordHead+n]
	r := record{size: recordHead + n}
	if crc32.Checksum(body, table) != binary.BigEndian.Uint32(b[4:]) {
		return r, errDamaged
	}
	switch {
	case body[0] == kindMessage && n >= messageHead:
		r.entry = Entry{
			Seq:  binary.BigEndian.Uint64(body[1:]),
			Time: time.UnixMilli(int64(binary.BigEndian.Uint64(body[9:]))),
			Data: body[messageHead:],
		}
	case body[0] == kindDone && n%8 == 1:
		for at := int64(1); at < n; at += 8 {
			r.done = append(r.done, binary.BigEndian.Uint64(body[at:]))
		}
	default:
		return r, errDamaged
	}
	return r, nil
}
