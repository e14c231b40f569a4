package broker

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// An Injector lets messages into a node that came from elsewhere. It is made
// once a link or connection, and may be used by many goroutines.
type Injector struct {
	n  *Node
	cl *mqtt.Client
}

// Injector returns an injector. Its messages count as published by a client
// that is none of the node's own, so No Local never holds them back.
func (n *Node) Injector(name string) *Injector {
	return &Injector{n, n.inline("\x00" + name)} // no client id contains U+0000
}

// Inject delivers m to the node's subscribers with its QoS and properties and
// what remains of its expiry interval, counted from m.Time; what has expired
// is dropped and counted. It stores nothing: the retain flag reaches the
// subscriptions with Retain As Published, and that is all. [Handler.Published]
// never sees m. It does not wait for the store: where it is called from within
// [Handler.Control], the session's acknowledgement waits. A message that no
// client could have published (topic with a wildcard, under $SYS/ or $LINK/, a
// property that is no UTF-8) is an error.
func (i *Injector) Inject(m *Message) error { return i.inject(m, false, nil) }

// InjectFrom is Inject from within [Handler.Control] for s: what is small is
// written when the session has nothing more to hand over for now.
func (i *Injector) InjectFrom(s *Session, m *Message) error {
	return i.inject(m, false, s.outbox())
}

// outbox is where what is small waits for the end of what s hands over.
func (s *Session) outbox() *outbox {
	if s == nil {
		return nil
	}
	return &s.c.conn.todo
}

// Keep is Inject, but what is to be retained is retained here, or with an empty
// payload removed, as if a client of the node had published it. S is the session
// that [Handler.Control] is called for, nil if it is not.
func (i *Injector) Keep(s *Session, m *Message) error { return i.inject(m, m.Retain, s.outbox()) }

func (i *Injector) inject(m *Message, retain bool, out *outbox) error {
	if err := m.validate(); err != nil {
		return fmt.Errorf("inject: %w", err)
	}
	left, ok := m.remaining(time.Now())
	if !ok {
		i.n.drops.expired.Add(1)
		return nil
	}
	pk := m.packet(left)
	pk.FixedHeader.Retain = retain
	markRetain(&pk, m.Retain)
	if !retain && i.n.spreadInjected(&pk, i.cl.ID, out) {
		i.n.drops.injected.Add(1)
		return nil
	}
	if sizeOf(&pk) > i.n.bounds.Load().small {
		out.flush() // the engine may wait
	} else if !out.empty() {
		pk.TopicName = strings.Clone(pk.TopicName)
		i.n.large.enter(pk.TopicName, publishing{out: out})
		defer i.n.large.leave(pk.TopicName)
	}
	if err := i.n.server.InjectPacket(i.cl, pk); err != nil {
		return fmt.Errorf("inject: %w", err)
	}
	i.n.drops.injected.Add(1)
	return nil
}

// Marks travel in fields of a packet that the engine copies from the
// publisher's packet to each subscriber's, and that the encoding of a PUBLISH
// does not use.
const (
	markResend = 1 + iota // a stored message, sent again by us
	markUrgent            // does not wait for the window
	markWaited            // was put aside, see overflow
	markDirect            // goes from the engine's queue to the connection
)

func markRetain(pk *packets.Packet, retained bool) { pk.Connect.WillRetain = retained }
func markedRetain(pk *packets.Packet) bool         { return pk.Connect.WillRetain }
func markTicket(pk *packets.Packet, t ticket)      { pk.Connect.Keepalive = t }
func markedTicket(pk *packets.Packet) ticket       { return pk.Connect.Keepalive }

// spreadInjected delivers a plain message past the engine, and reports whether
// it did.
func (n *Node) spreadInjected(pk *packets.Packet, origin string, out *outbox) bool {
	pk.ProtocolVersion, pk.Origin, pk.Created = 5, origin, n.seq.Add(1)
	if !n.spread(pk, out) {
		return false
	}
	atomic.AddInt64(&n.server.Info.PacketsReceived, 1)
	atomic.AddInt64(&n.server.Info.MessagesReceived, 1)
	return true
}
