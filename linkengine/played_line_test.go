package linkengine_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A line is an MQTT 5.0 connection written from the standard alone: it shares
// no code with the node, nor with the client that links use, and does nothing
// unasked.
type line struct {
	net.Conn
	r *bufio.Reader

	writing sync.Mutex
}

func newLine(c net.Conn) *line { return &line{Conn: c, r: bufio.NewReader(c)} }

const (
	kConnect = 1 + iota
	kConnack
	kPublish
	kPuback
	kPubrec
	kPubrel
	kPubcomp
	kSubscribe
	kSuback
	kUnsubscribe
	kUnsuback
	kPingreq
	kPingresp
	kDisconnect
)

// A frame is a packet as it came.
type frame struct {
	kind, flags byte
	body        []byte
}

func (f frame) String() string {
	return fmt.Sprintf("packet %d, flags %x, % x", f.kind, f.flags, f.body[:min(len(f.body), 64)])
}

func u16(n int) []byte     { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func u32(n int) []byte     { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
func text(s string) []byte { return append(u16(len(s)), s...) }

func join(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// sized is what comes behind its length.
func sized(parts ...[]byte) []byte {
	all := join(parts...)
	return append(binary.AppendUvarint(nil, uint64(len(all))), all...)
}

func framed(first byte, parts ...[]byte) []byte {
	return append([]byte{first}, sized(parts...)...)
}

func (l *line) send(first byte, parts ...[]byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.SetWriteDeadline(time.Now().Add(patience))
	_, err := l.Write(framed(first, parts...))
	return err
}

// read reads one packet; long bounds its length.
func (l *line) read() (frame, error) {
	const long = 32 << 20
	first, err := l.r.ReadByte()
	if err != nil {
		return frame{}, err
	}
	n, err := binary.ReadUvarint(l.r)
	if err != nil {
		return frame{}, err
	}
	if n > long {
		return frame{}, fmt.Errorf("a packet of %d bytes", n)
	}
	body := make([]byte, n)
	_, err = io.ReadFull(l.r, body)
	return frame{first >> 4, first & 15, body}, err
}

// code is the reason code of an acknowledgement or DISCONNECT.
func (f frame) code() int {
	at := 2
	switch f.kind {
	case kConnack:
		at = 1
	case kDisconnect:
		at = 0
	case kSuback:
		at = len(f.body) - 1
	}
	if len(f.body) <= at {
		return 0
	}
	return int(f.body[at])
}

func (f frame) id() int { return int(binary.BigEndian.Uint16(f.body)) }

// A publish is a PUBLISH.
type publish struct {
	topic             string
	qos               byte
	dup, retain       bool
	id                int
	reply             string // Response-Topic
	correlation       []byte
	otherProps, bytes int // properties that links do not use; the length of the packet's body
	payload           []byte
}

var errShort = errors.New("a packet ends too soon")

func (f frame) publish() (p publish, err error) {
	defer func() {
		if recover() != nil {
			err = errShort
		}
	}()
	p.qos, p.dup, p.retain, p.bytes = f.flags>>1&3, f.flags&8 != 0, f.flags&1 != 0, len(f.body)
	cut := func() string {
		n := binary.BigEndian.Uint16(f.body)
		s := string(f.body[2 : 2+n])
		f.body = f.body[2+n:]
		return s
	}
	p.topic = cut()
	if p.qos > 0 {
		p.id, f.body = f.id(), f.body[2:]
	}
	n, size := binary.Uvarint(f.body)
	p.payload = f.body[size+int(n):]
	f.body = f.body[size : size+int(n)]
	for len(f.body) > 0 {
		id := f.body[0]
		f.body = f.body[1:]
		switch id {
		case 0x08:
			p.reply = cut()
		case 0x09:
			p.correlation = []byte(cut())
		default:
			p.otherProps++
			return p, nil
		}
	}
	return p, nil
}

// head is the first byte and the variable header of a PUBLISH.
func (p publish) head() (first byte, header []byte) {
	first = kPublish<<4 | p.qos<<1
	if p.dup {
		first |= 8
	}
	if p.retain {
		first |= 1
	}
	var id, props []byte
	if p.qos > 0 {
		id = u16(p.id)
	}
	if p.reply != "" {
		props = append([]byte{0x08}, text(p.reply)...)
	}
	if p.correlation != nil {
		props = join(props, []byte{0x09}, text(string(p.correlation)))
	}
	return first, join(text(p.topic), id, sized(props))
}

func (l *line) publish(p publish) error {
	first, header := p.head()
	return l.send(first, header, p.payload)
}

// ack answers a PUBLISH at QoS 1 or 2.
func (l *line) ack(p publish, code int) error {
	switch p.qos {
	case 1:
		return l.send(kPuback<<4, u16(p.id), []byte{byte(code)})
	case 2:
		return l.send(kPubrec<<4, u16(p.id), []byte{byte(code)})
	}
	return nil
}

// connect is the body of a CONNECT.
func connectBody(clientID string, clean bool, keepAlive int, props ...[]byte) []byte {
	flags := byte(0)
	if clean {
		flags = 2
	}
	return join(text("MQTT"), []byte{5, flags}, u16(keepAlive), sized(props...), text(clientID))
}
