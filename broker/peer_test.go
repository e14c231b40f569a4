package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// A peer is a client written from the standards alone: it shares no code with
// the node, and does nothing unasked. Its methods panic with a failure, so that
// a check can be run where it must pass, and where it must not.
type peer struct {
	net.Conn
	r *bufio.Reader
	v byte // 3, 4 or 5

	mark  string   // see settled
	early []packet // came while an answer was awaited
}

type failure struct{ error }

func failf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

func must(ok bool, format string, args ...any) {
	if !ok {
		failf(format, args...)
	}
}

// attempt runs a check and returns how it failed.
func attempt(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(failure)
			if !ok {
				panic(r)
			}
			err = f.error
		}
	}()
	f()
	return nil
}

// The kinds of packets.
const (
	kConnect = iota + 1
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
	kAuth
)

func text(s string) []byte { return append(u16(len(s)), s...) }
func u16(n int) []byte     { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func u32(n uint32) []byte  { return binary.BigEndian.AppendUint32(nil, n) }

func varint(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// property is one of a packet; properties those of a packet of MQTT 5.0.
func property(id byte, value []byte) []byte { return append([]byte{id}, value...) }
func properties(list ...[]byte) []byte {
	all := join(list...)
	return append(varint(len(all)), all...)
}

func (p *peer) props(list ...[]byte) []byte {
	if p.v < 5 {
		return nil
	}
	return properties(list...)
}

// A hello is a CONNECT.
type hello struct {
	id        string
	resume    bool // no clean start
	keepalive int
	props     []byte // MQTT 5.0: without length
	will      *lastWill
	user      string
}

type lastWill struct {
	topic, payload string
	qos            byte
	retain         bool
	props          []byte
}

func (h hello) encode(v byte) []byte {
	name, flags := "MQTT", byte(0)
	if v == 3 {
		name = "MQIsdp"
	}
	if !h.resume {
		flags |= 2
	}
	var tail []byte
	if w := h.will; w != nil {
		flags |= 4 | w.qos<<3
		if w.retain {
			flags |= 32
		}
		if v == 5 {
			tail = properties(w.props)
		}
		tail = join(tail, text(w.topic), text(w.payload))
	}
	if h.user != "" {
		flags |= 128
		tail = join(tail, text(h.user))
	}
	head := join(text(name), []byte{v, flags}, u16(h.keepalive))
	if v == 5 {
		head = join(head, properties(h.props))
	}
	return framed(kConnect<<4, head, text(h.id), tail)
}

func framed(first byte, parts ...[]byte) []byte {
	body := join(parts...)
	return join([]byte{first}, varint(len(body)), body)
}

func open(address string, v byte) *peer {
	c, err := net.DialTimeout("tcp", address, patience)
	must(err == nil, "dial: %v", err)
	return &peer{Conn: c, r: bufio.NewReader(c), v: v}
}

// meet connects and returns the CONNACK.
func meet(address string, v byte, h hello) (*peer, packet) {
	p := open(address, v)
	p.send(h.encode(v))
	ack := p.next()
	must(ack.kind == kConnack, "CONNECT is answered with %v", ack)
	return p, ack
}

// come connects and must be let in.
func come(address string, v byte, h hello) *peer {
	p, ack := meet(address, v, h)
	must(ack.code() == 0, "CONNECT is refused with %#x", ack.code())
	return p
}

func (p *peer) send(b []byte) {
	_, err := p.Write(b)
	must(err == nil, "write: %v", err)
}

// A packet is one that came.
type packet struct {
	kind, flags byte
	body        []byte
	v           byte
}

func (k packet) String() string {
	return fmt.Sprintf("packet %d, flags %x, % x", k.kind, k.flags, k.body)
}

func (p *peer) next() packet {
	k, err := p.tryNext(patience)
	must(err == nil, "read: %v", err)
	return k
}

func (p *peer) tryNext(wait time.Duration) (packet, error) {
	if len(p.early) > 0 {
		k := p.early[0]
		p.early = p.early[1:]
		return k, nil
	}
	return p.read(wait)
}

func (p *peer) read(wait time.Duration) (packet, error) {
	p.SetReadDeadline(time.Now().Add(wait))
	first, err := p.r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	n, err := binary.ReadUvarint(p.r)
	if err != nil {
		return packet{}, err
	}
	body := make([]byte, n)
	_, err = io.ReadFull(p.r, body)
	return packet{first >> 4, first & 15, body, p.v}, err
}

// code is the reason or return code.
func (k packet) code() byte {
	at := 2
	switch k.kind {
	case kConnack:
		at = 1
	case kDisconnect:
		at = 0
	}
	if len(k.body) <= at {
		return 0
	}
	return k.body[at]
}

func (k packet) id() int { return int(binary.BigEndian.Uint16(k.body)) }

// codes are those of a SUBACK or UNSUBACK.
func (k packet) codes() []byte {
	rest := k.body[2:]
	if k.v == 5 {
		_, rest = splitProps(rest)
	}
	return rest
}

// A message is a PUBLISH that came.
type message struct {
	topic       string
	id          int
	qos         byte
	dup, retain bool
	props       map[byte][][]byte
	payload     string
}

func (k packet) message() message {
	must(k.kind == kPublish, "got %v for a PUBLISH", k)
	m := message{qos: k.flags >> 1 & 3, dup: k.flags&8 != 0, retain: k.flags&1 != 0}
	n := k.id()
	m.topic = string(k.body[2 : 2+n])
	rest := k.body[2+n:]
	if m.qos > 0 {
		m.id, rest = int(binary.BigEndian.Uint16(rest)), rest[2:]
	}
	if k.v == 5 {
		m.props, rest = splitProps(rest)
	}
	m.payload = string(rest)
	return m
}

// widths of properties' values: bytes, or -1 a variable integer, -2 a text, -3
// a pair of texts.
var widths = map[byte]int{
	0x01: 1, 0x02: 4, 0x03: -2, 0x08: -2, 0x09: -2, 0x0b: -1, 0x11: 4, 0x12: -2, 0x13: 2, 0x15: -2, 0x16: -2, 0x17: 1, 0x18: 4,
	0x19: 1, 0x1a: -2, 0x1c: -2, 0x1f: -2, 0x21: 2, 0x22: 2, 0x23: 2, 0x24: 1, 0x25: 1, 0x26: -3, 0x27: 4, 0x28: 1, 0x29: 1, 0x2a: 1,
}

func splitProps(b []byte) (map[byte][][]byte, []byte) {
	n, size := binary.Uvarint(b)
	must(size > 0 && int(n) <= len(b)-size, "properties run over the packet's end: % x", b)
	all, rest := b[size:size+int(n)], b[size+int(n):]
	out := map[byte][][]byte{}
	for len(all) > 0 {
		id := all[0]
		width, known := widths[id]
		must(known, "property %#x", id)
		all = all[1:]
		switch width {
		case -1:
			_, width = binary.Uvarint(all)
		case -2:
			width = 2 + int(binary.BigEndian.Uint16(all))
		case -3:
			width = 2 + int(binary.BigEndian.Uint16(all))
			width += 2 + int(binary.BigEndian.Uint16(all[width:]))
		}
		out[id] = append(out[id], all[:width])
		all = all[width:]
	}
	return out, rest
}

func (k packet) connackProps() map[byte][][]byte {
	m, _ := splitProps(k.body[2:])
	return m
}

// subscribeOpts subscribes with all of MQTT 5.0's options in one byte, and returns the code.
func (p *peer) subscribeOpts(id int, filter string, options byte, props ...[]byte) byte {
	p.send(framed(kSubscribe<<4|2, u16(id), p.props(props...), text(filter), []byte{options}))
	ack := p.until(kSuback)
	must(ack.id() == id && len(ack.codes()) == 1, "SUBSCRIBE %d is answered with %v", id, ack)
	return ack.codes()[0]
}

func (p *peer) subscribe(id int, filter string, qos byte) {
	code := p.subscribeOpts(id, filter, qos)
	must(code == qos, "SUBSCRIBE %s is answered with %#x, not %d", filter, code, qos)
}

func (p *peer) unsubscribe(id int, filter string) []byte {
	p.send(framed(kUnsubscribe<<4|2, u16(id), p.props(), text(filter)))
	ack := p.until(kUnsuback)
	must(ack.id() == id, "UNSUBSCRIBE %d is answered with %v", id, ack)
	return ack.codes()
}

// until returns the next packet of a kind. Messages that come before it are
// kept for next.
func (p *peer) until(kind byte) packet {
	for {
		k, err := p.read(patience)
		must(err == nil, "read: %v", err)
		if k.kind == kind {
			return k
		}
		must(k.kind == kPublish || k.kind == kPubrel, "got %v for packet %d", k, kind)
		p.early = append(p.early, k)
	}
}

const (
	fRetain = 1
	fDup    = 8
)

func (p *peer) publishRaw(flags byte, topic string, id int, payload string, props ...[]byte) {
	var pid []byte
	if flags&6 != 0 {
		pid = u16(id)
	}
	p.send(framed(kPublish<<4|flags, text(topic), pid, p.props(props...), []byte(payload)))
}

// publish goes through the whole exchange, and returns the code.
func (p *peer) publish(qos byte, topic string, id int, payload string, props ...[]byte) byte {
	return p.publishWith(qos<<1, topic, id, payload, props...)
}

// publishWith does so with retain and DUP. When it returns, the message has
// been queued for everybody.
func (p *peer) publishWith(flags byte, topic string, id int, payload string, props ...[]byte) byte {
	p.publishRaw(flags, topic, id, payload, props...)
	code := p.acknowledged(flags>>1&3, id)
	p.early = append(p.early, p.ping()...)
	return code
}

func (p *peer) acknowledged(qos byte, id int) byte {
	switch qos {
	case 0:
		return 0
	case 1:
		ack := p.until(kPuback)
		must(ack.id() == id, "PUBLISH %d is answered with %v", id, ack)
		return ack.code()
	}
	ack := p.until(kPubrec)
	must(ack.id() == id, "PUBLISH %d is answered with %v", id, ack)
	if ack.code() >= 0x80 {
		return ack.code()
	}
	p.answer(kPubrel, id)
	done := p.until(kPubcomp)
	must(done.id() == id && done.code() == 0, "PUBREL %d is answered with %v", id, done)
	return ack.code()
}

// answer sends an acknowledgement.
func (p *peer) answer(kind byte, id int) {
	first := kind << 4
	if kind == kPubrel {
		first |= 2
	}
	p.send(framed(first, u16(id)))
}

// take receives a message and goes through the exchange for it.
func (p *peer) take() message {
	m := p.next().message()
	p.accept(m)
	return m
}

func (p *peer) accept(m message) {
	switch m.qos {
	case 1:
		p.answer(kPuback, m.id)
	case 2:
		p.answer(kPubrec, m.id)
		rel := p.until(kPubrel)
		must(rel.id() == m.id, "PUBREC %d is answered with %v", m.id, rel)
		p.answer(kPubcomp, m.id)
	}
}

// ping returns what comes before the answer to a PINGREQ.
func (p *peer) ping() (before []packet) {
	p.send([]byte{kPingreq << 4, 0})
	for {
		k := p.next()
		if k.kind == kPingresp {
			return before
		}
		before = append(before, k)
	}
}

// settled returns what has been queued for p: a message to itself comes last.
func (p *peer) settled() (before []packet) {
	if p.mark == "" {
		p.mark = fmt.Sprint("~mark/", marks.Add(1))
		p.send(framed(kSubscribe<<4|2, u16(0xffff), p.props(), text(p.mark), []byte{0}))
	}
	p.publishRaw(0, p.mark, 0, "")
	for {
		switch k := p.next(); {
		case k.kind == kSuback && k.id() == 0xffff:
		case k.kind == kPublish && k.message().topic == p.mark:
			return before
		default:
			before = append(before, k)
		}
	}
}

var marks atomic.Int64

// quiet fails if something has been queued for p.
func (p *peer) quiet(what string) {
	if got := p.settled(); len(got) > 0 {
		failf("%s: got %v", what, got[0])
	}
}

// bye leaves in order, and waits until the node has closed the connection.
func (p *peer) bye() {
	p.send([]byte{kDisconnect << 4, 0})
	p.over()
}

// over waits for the end of the connection, and returns the reason told, or -1.
func (p *peer) over() int {
	reason := -1
	for {
		k, err := p.tryNext(patience)
		var ne net.Error
		must(!errors.As(err, &ne) || !ne.Timeout(), "the connection is not closed")
		if err != nil {
			p.Close()
			return reason
		}
		if k.kind == kDisconnect {
			reason = int(k.code())
		}
	}
}
