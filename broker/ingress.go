package broker

import (
	"encoding/binary"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"clink/topic"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The packets that come by the thousand are publishes with QoS 0 and 1,
// acknowledgements of such, and PINGREQ. The engine reads each in five pieces, copies it
// twice and passes it on by value. So the connection takes them out of what it
// has read, between two reads of the engine, if there is nothing in them that
// needs the engine: no properties, no retain flag, a topic that may be used.
// Any other packet, and one that is malformed, goes to the engine as it came.

// markBegun marks a publish of which the engine has to do the rest.
const markBegun = markDirect + 1

// A frame is the fixed header of a packet (MQTT 5.0 §2.1).
type frame struct {
	first byte
	head  int // bytes of the header
	total int // bytes of the packet
}

// frameOf reads a header; it is not ok while there is too little of it, or if
// it is malformed.
func frameOf(b []byte) (f frame, ok bool) {
	length := 0
	for i := 1; i < len(b) && i < 5; i++ {
		length |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return frame{b[0], i + 1, i + 1 + length}, true
		}
	}
	return frame{}, false
}

// quick reports whether a packet with this first byte may be taken.
func quick(first byte) bool {
	switch first {
	case packets.Publish << 4, packets.Publish<<4 | 1<<1, packets.Publish<<4 | 1<<3 | 1<<1, packets.Puback << 4, packets.Pingreq << 4:
		return true
	}
	return false
}

// ingest takes packets until one comes that is the engine's.
func (k *conn) ingest() error {
	c := k.client.Load()
	if c == nil || !c.established || k.in.raw == nil || !k.frames.between() {
		return nil
	}
	for !k.ended() {
		b := k.in.pending()
		f, ok := frameOf(b)
		switch {
		case len(b) == 0, !ok && len(b) < 5 && quick(b[0]):
			if err := k.await(); err != nil {
				return err
			}
			continue
		case !ok, !quick(f.first), int64(f.total) > k.frames.limit.Load():
			return nil
		case f.total > readChunk:
			if done, err := c.ingestLarge(f, b[f.head:]); !done || err != nil {
				return err
			}
		case f.total > len(b):
			if err := k.await(); err != nil {
				return err
			}
			continue
		default:
			if done, err := c.ingestSmall(f, b[f.head:f.total]); !done || err != nil {
				return err
			}
			k.in.skip(f.total)
		}
		k.fresh = true
		if k.todo.full {
			k.settle()
		}
	}
	return net.ErrClosed
}

// await waits for more bytes, for as long as the keep-alive allows after the
// last packet.
func (k *conn) await() error {
	k.filling()
	k.renew()
	k.reading.Lock()
	defer k.reading.Unlock()
	if k.isClosed() {
		return net.ErrClosed
	}
	err := k.in.more()
	k.readAt = time.Now()
	if err != nil {
		k.readFailed(err)
	}
	return err
}

// renew counts the keep-alive from now if a packet was taken that the engine
// does not see.
func (k *conn) renew() {
	if k.fresh {
		k.fresh = false
		k.refresh(time.Duration(k.wait.Load()))
	}
}

// ingestSmall takes a packet whose body is b, and reports whether it was one to
// be taken.
func (c *client) ingestSmall(f frame, b []byte) (bool, error) {
	if f.first == packets.Puback<<4 {
		if len(b) != 2 {
			return false, nil
		}
		c.acknowledged(binary.BigEndian.Uint16(b))
		c.conn.countIn(f)
		return true, nil
	}
	if f.first == packets.Pingreq<<4 {
		return len(b) == 0 && c.answerPing(f), nil
	}
	p, ok := c.parsePublish(f, b)
	if !ok {
		return false, nil
	}
	p.payload = slices.Clone(b[p.at:])
	c.conn.countIn(f)
	return true, c.published(f, p)
}

// answerPing does what the engine does for a PINGREQ, on a small stack: it is all
// that an idle client sends.
func (c *client) answerPing(f frame) bool {
	k := c.conn
	k.countIn(f)
	if k.full() {
		k.todo.flush()
		k.reserve()
	}
	pong := [...]byte{packets.Pingresp << 4, 0}
	if n, err := k.put(pong[:], &k.todo); err == nil {
		info := c.node.server.Info
		atomic.AddInt64(&info.BytesSent, int64(n))
		atomic.AddInt64(&info.PacketsSent, 1)
	}
	return true
}

// ingestLarge takes a packet that does not fit the inbox, and begins with b. It
// is read into memory of its own.
func (c *client) ingestLarge(f frame, b []byte) (bool, error) {
	p, ok := c.parsePublish(f, b)
	if !ok {
		return false, nil
	}
	payload := make([]byte, f.total-f.head-p.at)
	n := copy(payload, b[p.at:])
	k := c.conn
	k.in.skip(f.head + p.at + n)
	for n < len(payload) {
		m, err := k.receive(payload[n:])
		if err != nil {
			return true, err
		}
		n += m
	}
	p.payload = payload
	k.countIn(f)
	return true, c.published(f, p)
}

// mostFills is how many pieces are read in a row, if there is always one more,
// before what they have caused to be written is written.
const mostFills = 4

func (k *conn) filling() {
	if k.fills++; k.fills >= mostFills || k.todo.full {
		k.settle()
	}
}

// settle writes what the reader owes.
func (k *conn) settle() {
	k.fills = 0
	k.todo.flush()
}

// receive reads a part of a large packet.
func (k *conn) receive(p []byte) (int, error) {
	k.filling()
	k.renew()
	k.reading.Lock()
	defer k.reading.Unlock()
	if k.isClosed() {
		return 0, net.ErrClosed
	}
	n, err := k.in.direct(p)
	if err != nil {
		k.readFailed(err)
	}
	return n, err
}

func (k *conn) countIn(f frame) {
	if c := k.client.Load(); c != nil {
		atomic.AddInt64(&c.node.server.Info.BytesReceived, int64(f.total))
		atomic.AddInt64(&c.node.server.Info.PacketsReceived, 1)
	}
}

// A plainPublish is what there is in a publish without properties.
type plainPublish struct {
	name    string
	id      uint16 // 0 with QoS 0
	at      int    // where the payload begins in the body
	payload []byte
}

// parsePublish reads the beginning of a publish's body. It is not ok if the
// engine must see it.
func (c *client) parsePublish(f frame, b []byte) (p plainPublish, ok bool) {
	if f.first>>4 != packets.Publish || len(b) < 2 {
		return p, false
	}
	end := 2 + int(binary.BigEndian.Uint16(b))
	p.at = end
	qos := f.first >> 1 & 3
	if qos > 0 {
		p.at += 2
	}
	if c.proto == 5 {
		p.at++
	}
	if p.at > len(b) || c.proto == 5 && b[p.at-1] != 0 {
		return p, false
	}
	if qos > 0 {
		if p.id = binary.BigEndian.Uint16(b[end:]); p.id == 0 {
			return p, false
		}
	}
	p.name, ok = c.mayPublish(b[2:end], qos)
	return p, ok
}

// A usual is the topic that a client published to last, and what allowed it.
type usual struct {
	name   string
	qos    byte
	right  *right
	bounds *bounds
}

// mayPublish returns the topic if the client may publish to it as it is.
func (c *client) mayPublish(name []byte, qos byte) (string, bool) {
	u, r, b := &c.usual, c.right.Load(), c.node.bounds.Load()
	if u.name == string(name) && u.qos == qos && u.right == r && u.bounds == b {
		return u.name, u.name != ""
	}
	s := string(name)
	if topic.ValidName(s) != nil || !b.topic(s) || s[0] == '$' && (c.session == nil || !underLink(s)) || !r.publish(s, qos, false) {
		return "", false
	}
	*u = usual{s, qos, r, b}
	return s, true
}

// published does what the engine and its hooks do for a publish.
func (c *client) published(f frame, p plainPublish) error {
	n := c.node
	c.denied, c.overName = false, false
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: f.first >> 1 & 3, Dup: f.first&(1<<3) != 0, Remaining: f.total - f.head},
		ProtocolVersion: c.proto, TopicName: p.name, PacketID: p.id, Payload: p.payload,
		Origin: c.id, Created: n.seq.Add(1),
	}
	c.acks.begin(c, &pk)
	if c.session != nil && underLink(p.name) {
		if c.control(&pk) == packets.ErrRejectPacket {
			return nil // the connection has ended
		}
	} else {
		if n.handler != nil {
			n.handler.Published(c.message(&pk))
		}
		if !n.spread(&pk, &c.conn.todo) {
			pk.Connect.WillQos = markBegun
			n.received.Add(1)
			atomic.AddInt64(&n.server.Info.PacketsReceived, -1) // the engine counts it again
			return n.server.InjectPacket(c.cl, pk)
		}
		c.answerPublish(&pk, packets.CodeSuccess)
	}
	n.received.Add(1)
	atomic.AddInt64(&n.server.Info.MessagesReceived, 1)
	c.acks.end(c)
	return nil
}

// acknowledged does what the engine and its hooks do for a PUBACK.
func (c *client) acknowledged(id uint16) {
	c.acknowledging(id)
	if c.cl.State.Inflight.Delete(id) {
		atomic.AddInt64(&c.node.server.Info.Inflight, -1)
	}
}

// acknowledging is called before the engine forgets a message that was
// acknowledged: after that its packet identifier is free, and what is kept
// under it may be another message.
func (c *client) acknowledging(id uint16) {
	c.resent.done(id)
	if c.window != nil {
		c.window.release(id)
	}
	if _, ok := c.cl.State.Inflight.Get(id); ok {
		c.held.drop(id)
		c.unqueue(id, 0)
	}
}
