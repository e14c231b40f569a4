package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// A log file is a sequence of frames: length and CRC-32C, 4 bytes each, then
// the changes of one batch. A change is a key, preceded by its length, and the
// value, preceded by its length and 1; 0 deletes.
const (
	frameHead = 8
	frameMax  = 1 << 30 // beyond it a length is damage
)

// A change is what is written of an item.
type change struct{ key, val []byte } // val nil: deleted

// appendFrame appends the frame of a batch.
func appendFrame(b []byte, changes []change) []byte {
	at := len(b)
	b = append(b, make([]byte, frameHead)...)
	for _, c := range changes {
		b = append(binary.AppendUvarint(b, uint64(len(c.key))), c.key...)
		if c.val == nil {
			b = append(b, 0)
			continue
		}
		b = append(binary.AppendUvarint(b, uint64(len(c.val))+1), c.val...)
	}
	body := b[at+frameHead:]
	binary.BigEndian.PutUint32(b[at:], uint32(len(body)))
	binary.BigEndian.PutUint32(b[at+4:], crc32.Checksum(body, castagnoli))
	return b
}

// parseFrame returns the body of the frame at the beginning of b, and what
// follows it; ok is false if there is no whole and sound frame.
func parseFrame(b []byte) (body, rest []byte, ok bool) {
	if len(b) < frameHead {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if n == 0 || n > frameMax || int64(n) > int64(len(b)-frameHead) {
		return nil, nil, false
	}
	body, rest = b[frameHead:frameHead+n], b[frameHead+n:]
	return body, rest, crc32.Checksum(body, castagnoli) == binary.BigEndian.Uint32(b[4:])
}

func parseChanges(b []byte, f func(change) error) error {
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n == 0 || n > uint64(len(b)-size) {
			return errRecord
		}
		c := change{key: b[size : size+int(n)]}
		b = b[size+int(n):]
		v, size := binary.Uvarint(b)
		if size <= 0 || v > uint64(len(b)-size)+1 {
			return errRecord
		}
		b = b[size:]
		if v > 0 {
			c.val, b = b[:v-1], b[v-1:]
		}
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}

// readLog calls f for each change in a log file, and returns how many bytes at
// its end are not a frame. Such an end is what a crash leaves; in a log that
// another one follows, or before a sound frame, it is damage.
func readLog(path string, last bool, f func(change) error) (ignored int64, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for len(b) > 0 {
		body, rest, ok := parseFrame(b)
		if !ok {
			if !last || len(rest) > 0 && sound(rest) {
				return 0, fmt.Errorf("%s: damaged %d bytes before its end", path, len(b))
			}
			return int64(len(b)), nil
		}
		if err := parseChanges(body, f); err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		b = rest
	}
	return 0, nil
}

func sound(b []byte) bool { _, _, ok := parseFrame(b); return ok }

// A logFile is the log that is being written. A write that fails is taken back
// if that is possible, so that the log stays sound.
type logFile struct {
	f    *os.File
	size int64
}

func createLog(path string) (*logFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &logFile{f: f}, nil
}

func (l *logFile) write(b []byte) error {
	n, err := l.f.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		_, back := l.f.Seek(l.size, io.SeekStart)
		return errors.Join(err, back, l.f.Truncate(l.size))
	}
	l.size += int64(n)
	return nil
}
