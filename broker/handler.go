package broker

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"clink/topic"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A Handler is told what passes through a node. Its methods are called from
// many goroutines at once.
type Handler interface {
	// Published is called for every ordinary message published at this node:
	// by clients, as wills, and through [Node.Publish]; not for those under
	// $SYS/ or $LINK/, nor for injected ones. It runs in the publisher's
	// goroutine before the acknowledgement: blocking is back-pressure.
	Published(m *Message)

	// Control is called for a publish under $LINK/ by a session that a grant
	// let in, if the grant allows it. The message goes nowhere else.
	Control(s *Session, m *Message) Verdict

	// Closed is called once when such a session's connection has ended, after
	// the last Control for it and before the same client id is let in again.
	Closed(s *Session)

	// Refused is called when a CONNECT whose client id belongs to a grant was
	// refused. Reason never holds a credential.
	Refused(peer, reason string)
}

// A Verdict says how a publish under $LINK/ is answered.
type Verdict byte

// Ack is success (0x00). AckNoMatch is 0x10 where that can be written (QoS 1,
// MQTT 5.0, problem information not declined), else 0x00. ProtocolError is a
// DISCONNECT with 0x83 and no acknowledgement (Cluster Linking protocol,
// section 6.1).
const (
	Ack Verdict = iota
	AckNoMatch
	ProtocolError
)

// A Session is the connection of a client that a grant let in.
type Session struct{ c *client }

// ClientID is the client id of the session, prefix included.
func (s *Session) ClientID() string { return s.c.id }

// Peer is the cluster name that the session's grant is for.
func (s *Session) Peer() string { return s.c.granted.Load().Peer }

// RemoteAddr is the far end of the connection.
func (s *Session) RemoteAddr() netip.AddrPort { return s.c.peer }

// ErrEnded is the error of a [Session.Reply] to a session whose connection has
// ended, whoever ended it.
var ErrEnded = errors.New("the session's connection has ended")

// Reply sends a message with QoS 1 to this session alone. It is an error if
// the session has not subscribed to the topic, or has ended ([ErrEnded]). It may
// be called from within [Handler.Control].
func (s *Session) Reply(name string, payload, correlation []byte) error {
	m := Message{Topic: name, CorrelationData: correlation}
	if err := topic.ValidName(name); err != nil {
		return fmt.Errorf("reply to %s: %w", s.c.id, err)
	}
	if err := m.validateProperties(); err != nil {
		return fmt.Errorf("reply to %s: %w", s.c.id, err)
	}
	qos, ok := s.c.subscribed(name)
	if !ok {
		return fmt.Errorf("reply to %s: not subscribed to %.200q", s.c.id, name)
	}
	err := s.c.send(name, payload, correlation, min(qos, 1))
	var code packets.Code
	switch {
	case err == nil:
		return nil
	case errors.As(err, &code): // there is a connection, but the message cannot go over it
		return fmt.Errorf("reply to %s: %w", s.c.id, err)
	}
	return fmt.Errorf("reply to %s: %w: %w", s.c.id, ErrEnded, err)
}

// Ended reports whether this node has begun to end the session's connection.
// What the client sent before may still come to [Handler.Control].
func (s *Session) Ended() bool { return s.c.cause.Load() != 0 }

// Disconnect ends the session's connection with a reason code (MQTT 5.0
// §3.14.2.1). It does not wait for the end. It may be called from within
// [Handler.Control].
func (s *Session) Disconnect(reason byte) {
	s.c.node.disconnect(s.c, packets.Code{Code: reason, Reason: "disconnected by the node"})
}

// subscribed returns the highest QoS with which c subscribed to a name.
func (c *client) subscribed(name string) (qos byte, ok bool) {
	for filter, sub := range c.cl.State.Subscriptions.GetAll() {
		if topic.Filter(filter).Match(name) {
			qos, ok = max(qos, sub.Qos), true
		}
	}
	return qos, ok
}

// send writes a publish to this client alone, past the subscriptions.
func (c *client) send(name string, payload, correlation []byte, qos byte) error {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos},
		TopicName:   name,
		Payload:     payload,
		Created:     c.node.seq.Add(1),
		Properties:  packets.Properties{CorrelationData: correlation},
	}
	pk.Connect.WillQos = markUrgent
	if qos > 0 {
		id, err := c.cl.NextPacketID()
		if err != nil {
			return err
		}
		pk.PacketID = uint16(id)
		if c.cl.State.Inflight.Set(pk) {
			c.hold(&pk)
			atomic.AddInt64(&c.node.server.Info.Inflight, 1)
		}
	}
	return c.cl.WritePacket(pk)
}

// disconnect ends c's connection, telling a client of MQTT 5.0 why.
func (n *Node) disconnect(c *client, code packets.Code) {
	c.cause.CompareAndSwap(0, uint32(code.Code))
	c.conn.hurry(time.Second)
	_ = n.server.DisconnectClient(c.cl, code)
	c.cl.Stop(code)
}
