package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A Message is one application message.
type Message struct {
	Seq     int64 // in the order of the messages of a node; unique
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Version byte  // of the protocol in which it came
	Expiry  int64 // in Unix seconds; 0: never
	Origin  string
	Time    int64 // of its publishing, in Unix milliseconds; 0: not known

	PayloadFormat    byte
	HasPayloadFormat bool
	ContentType      string
	ResponseTopic    string
	CorrelationData  []byte
	User             [][2]string
}

// An Entry is a message in the queue of a session. PacketID and Seq make it
// unique there.
type Entry struct {
	PacketID    uint16
	Seq         int64
	QoS         byte
	Retain      bool
	Marked      bool // the node's own mark
	Released    bool // the receiver has it; PUBREL is next (QoS 2)
	Identifiers []int
	Message     *Message // of entries that were read
}

// A Subscription is one of a session.
type Subscription struct {
	Filter                   string
	QoS                      byte
	NoLocal, RetainPublished bool
	RetainHandling           byte
	Identifier               int
}

// A Session is one that outlives its connection.
type Session struct {
	ID        string
	Username  string
	HasUser   bool
	CommonCN  string
	CertUser  string // the user name that its certificate gave
	Peer      string // whose grant let it in
	Loopback  bool
	Version   byte
	Expiry    int64 // seconds that it lives on
	Left      int64 // when its connection ended, in Unix milliseconds; 0: it has one
	Reached   int64 // Seq of the newest message that it was sent, of sessions without connection; -1: not known
	Will      *Message
	WillDelay int64 // seconds

	// Of sessions that were read.
	Subscriptions []Subscription
	Entries       []Entry // in order of Seq
	Received      []uint16
	number        uint64
}

// format is the first byte of every record.
const format = 1

// Kinds of records: the first byte of a key.
const (
	kindSession      = 's'
	kindSubscription = 'f'
	kindEntry        = 'q'
	kindReceived     = 'i'
	kindMessage      = 'm'
	kindRetained     = 'r'
	kindClock        = 'v'
)

// longest is the longest name that stands in a key as it is; bbolt's keys are
// limited.
const longest = 1024

func key(kind byte, numbers ...uint64) []byte {
	k := make([]byte, 1, 1+8*len(numbers)+2)
	k[0] = kind
	for _, n := range numbers {
		k = binary.BigEndian.AppendUint64(k, n)
	}
	return k
}

// named appends a name to a key. No name contains a U+0000.
func named(k []byte, name string) []byte {
	if len(name) <= longest {
		return append(k, name...)
	}
	sum := sha256.Sum256([]byte(name))
	return append(append(k, 0), sum[:]...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal ends a record with a checksum of its key and itself.
func seal(k, v []byte) []byte {
	return binary.BigEndian.AppendUint32(v, crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v))
}

var errRecord = errors.New("record is damaged")

func unseal(k, v []byte) ([]byte, error) {
	n := len(v) - 4
	if n < 1 || binary.BigEndian.Uint32(v[n:]) != crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v[:n]) {
		return nil, errRecord
	}
	if v[0] != format {
		return nil, fmt.Errorf("record has format %d, this program knows %d", v[0], format)
	}
	return v[1:n], nil
}

// A writer appends fields.
type writer struct{ b []byte }

func newWriter(size int) writer { return writer{append(make([]byte, 0, size+16), format)} }

func (w *writer) num(n int64)    { w.b = binary.AppendVarint(w.b, n) }
func (w *writer) str(s string)   { w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...) }
func (w *writer) bytes(s []byte) { w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...) }
func (w *writer) flags(f ...bool) {
	var b byte
	for i, set := range f {
		if set {
			b |= 1 << i
		}
	}
	w.b = append(w.b, b)
}

// A reader takes fields off; once something was wrong everything is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) num() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.b, r.err = nil, errRecord
		return 0
	}
	r.b = r.b[size:]
	return n
}

// bytes returns a copy.
func (r *reader) bytes() []byte {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)-size) {
		r.b, r.err = nil, errRecord
		return nil
	}
	b := r.b[size : size+int(n)]
	r.b = r.b[size+int(n):]
	if n == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}

func (r *reader) str() string { return string(r.bytes()) }

func (r *reader) flags(f ...*bool) {
	b := r.byte()
	for i, p := range f {
		*p = b&(1<<i) != 0
	}
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.err = errRecord
		return 0
	}
	b := r.b[0]
	r.b = r.b[1:]
	return b
}

// count reads a number of things that take at least one byte each.
func (r *reader) count() int {
	n := r.num()
	if n < 0 || n > int64(len(r.b)) {
		r.b, r.err = nil, errRecord
		return 0
	}
	return int(n)
}

func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = errRecord
	}
	return r.err
}

func (m *Message) size() int {
	n := len(m.Topic) + len(m.Payload) + len(m.Origin) + len(m.ContentType) + len(m.ResponseTopic) + len(m.CorrelationData) + 48
	for _, u := range m.User {
		n += len(u[0]) + len(u[1]) + 4
	}
	return n
}

func (w *writer) message(m *Message) {
	w.num(m.Seq)
	w.str(m.Topic)
	w.bytes(m.Payload)
	w.b = append(w.b, m.QoS, m.Version, m.PayloadFormat)
	w.flags(m.Retain, m.HasPayloadFormat, m.Time != 0)
	w.num(m.Expiry)
	w.str(m.Origin)
	w.str(m.ContentType)
	w.str(m.ResponseTopic)
	w.bytes(m.CorrelationData)
	w.num(int64(len(m.User)))
	for _, u := range m.User {
		w.str(u[0])
		w.str(u[1])
	}
	if m.Time != 0 {
		w.num(m.Time)
	}
}

func (r *reader) message() *Message {
	m := &Message{Seq: r.num(), Topic: r.str(), Payload: r.bytes()}
	m.QoS, m.Version, m.PayloadFormat = r.byte(), r.byte(), r.byte()
	timed := false
	r.flags(&m.Retain, &m.HasPayloadFormat, &timed)
	m.Expiry = r.num()
	m.Origin, m.ContentType, m.ResponseTopic, m.CorrelationData = r.str(), r.str(), r.str(), r.bytes()
	for range r.count() {
		m.User = append(m.User, [2]string{r.str(), r.str()})
	}
	if timed {
		m.Time = r.num()
	}
	if m.QoS > 2 {
		r.err = errRecord
	}
	return m
}

func (m *Message) encode() []byte {
	w := newWriter(m.size())
	w.message(m)
	return w.b
}

func (e *Entry) append(b []byte) []byte {
	w := writer{append(b, format, e.QoS)}
	w.flags(e.Retain, e.Marked, e.Released)
	w.num(int64(len(e.Identifiers)))
	for _, id := range e.Identifiers {
		w.num(int64(id))
	}
	return w.b
}

func decodeEntry(b []byte) (e Entry, err error) {
	r := reader{b: b}
	e.QoS = r.byte()
	r.flags(&e.Retain, &e.Marked, &e.Released)
	for range r.count() {
		e.Identifiers = append(e.Identifiers, int(r.num()))
	}
	if e.QoS < 1 || e.QoS > 2 {
		r.err = errRecord
	}
	return e, r.end()
}

func decodeMessage(b []byte) (*Message, error) {
	r := reader{b: b}
	m := r.message()
	return m, r.end()
}

func (s *Subscription) encode() []byte {
	w := newWriter(len(s.Filter) + 16)
	w.str(s.Filter)
	w.b = append(w.b, s.QoS, s.RetainHandling)
	w.flags(s.NoLocal, s.RetainPublished)
	w.num(int64(s.Identifier))
	return w.b
}

func decodeSubscription(b []byte) (s Subscription, err error) {
	r := reader{b: b}
	s.Filter, s.QoS, s.RetainHandling = r.str(), r.byte(), r.byte()
	r.flags(&s.NoLocal, &s.RetainPublished)
	s.Identifier = int(r.num())
	if s.QoS > 2 || s.RetainHandling > 2 {
		r.err = errRecord
	}
	return s, r.end()
}

func (s *Session) encode() []byte {
	w := newWriter(len(s.ID) + len(s.Username) + 64)
	for _, t := range []string{s.ID, s.Username, s.CommonCN, s.CertUser, s.Peer} {
		w.str(t)
	}
	w.flags(s.HasUser, s.Loopback, s.Will != nil, s.Reached >= 0)
	w.b = append(w.b, s.Version)
	w.num(s.Expiry)
	w.num(s.Left)
	if s.Will != nil {
		w.num(s.WillDelay)
		w.message(s.Will)
	}
	if s.Reached >= 0 {
		w.num(s.Reached)
	}
	return w.b
}

func decodeSession(b []byte) (*Session, error) {
	r := reader{b: b}
	s := &Session{}
	for _, t := range []*string{&s.ID, &s.Username, &s.CommonCN, &s.CertUser, &s.Peer} {
		*t = r.str()
	}
	will, reached := false, false
	r.flags(&s.HasUser, &s.Loopback, &will, &reached)
	s.Version, s.Expiry, s.Left = r.byte(), r.num(), r.num()
	if will {
		s.WillDelay = r.num()
		s.Will = r.message()
	}
	s.Reached = -1
	if reached {
		s.Reached = r.num()
	}
	if s.Expiry < 0 || s.WillDelay < 0 || reached && s.Reached < 0 {
		r.err = errRecord
	}
	return s, r.end()
}
