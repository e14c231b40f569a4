package broker

import (
	"cmp"
	"net"
	"sync/atomic"
	"time"

	"clink/broker/store"
	"clink/topology"

	"github.com/mochi-mqtt/server/v2/packets"
)

// keep has the store follow the session of a client that is let in, if it is
// to outlive the connection, and waits until the store knows of it.
func (c *client) keep() {
	c.kept.Store(c.expiry > 0)
	st := c.node.keeper.store.Load()
	switch {
	case st == nil:
	case c.expiry > 0:
		st.PutSession(c.record(0, c.will, 0))
		st.Wait(c.conn.done)
	default:
		st.EndSession(c.id)
	}
}

// record is what is stored of a session, beside its subscriptions and
// messages. Left is when its connection ended, 0 if it has not.
func (c *client) record(left int64, w *will, delay time.Duration) *store.Session {
	s := &store.Session{
		ID: c.id, Username: c.claim.username, HasUser: c.claim.hasUser, CommonCN: c.claim.commonCN, CertUser: c.claim.certUser, Loopback: c.claim.loopback,
		Version: c.proto, Expiry: int64(c.expiry / time.Second), Left: left, Reached: -1,
	}
	if left != 0 {
		s.Reached = c.reached.Load()
	}
	if g := c.granted.Load(); g != nil {
		s.Peer = g.Peer
	}
	if w != nil {
		if left == 0 {
			delay = min(w.delay, c.expiry)
		}
		s.Will, s.WillDelay = storedWill(&w.m), int64(delay/time.Second)
	}
	return s
}

// saveIdle stores how a session was left, or that it has ended. The caller
// holds n.mu.
func (n *Node) saveIdle(id string) {
	st := n.keeper.store.Load()
	if st == nil || n.live[id] != nil {
		return
	}
	s := n.idle[id]
	if s == nil || s.c.expiry <= 0 {
		st.EndSession(id)
		return
	}
	left := s.until.Add(-s.c.expiry)
	st.PutSession(s.c.record(left.UnixMilli(), s.will, s.willAt.Sub(left)))
}

func storedWill(m *Message) *store.Message {
	w := &store.Message{
		Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain,
		PayloadFormat: m.PayloadFormat, HasPayloadFormat: m.HasPayloadFormat, Expiry: int64(m.Expiry),
		ContentType: m.ContentType, ResponseTopic: m.ResponseTopic, CorrelationData: m.CorrelationData,
	}
	for _, u := range m.User {
		w.User = append(w.User, [2]string{u.Key, u.Value})
	}
	return w
}

func restoredWill(w *store.Message) Message {
	m := Message{
		Topic: w.Topic, Payload: w.Payload, QoS: w.QoS, Retain: w.Retain,
		PayloadFormat: w.PayloadFormat, HasPayloadFormat: w.HasPayloadFormat, Expiry: uint32(w.Expiry), HasExpiry: w.Expiry > 0,
		ContentType: w.ContentType, ResponseTopic: w.ResponseTopic, CorrelationData: w.CorrelationData,
	}
	for _, u := range w.User {
		m.User = append(m.User, UserProperty{u[0], u[1]})
	}
	return m
}

// restore puts what was saved into the engine, before anybody can connect.
func (n *Node) restore(saved *store.Saved) {
	began := time.Now()
	n.seq.Store(saved.LastSeq)
	for _, m := range saved.Retained {
		pk := restoredPacket(m)
		n.server.Topics.RetainMessage(pk)
	}
	atomic.StoreInt64(&n.server.Info.Retained, int64(n.server.Topics.Retained.Len()))
	// A session without connection needs no place for packets to be written.
	caps := n.server.Options.Capabilities
	pending := caps.MaximumClientWritesPending
	caps.MaximumClientWritesPending = 0
	messages, over := 0, 0
	for _, s := range saved.Sessions {
		if n.restoreSession(s, saved.Clock, began) {
			messages += len(s.Entries)
		} else {
			over++
		}
	}
	caps.MaximumClientWritesPending = pending
	n.countSubscriptions()
	n.log.Info("restored from the store", "directory", n.opts.Store, "sessions", len(saved.Sessions)-over, "expired", over,
		"messages", messages, "retained", len(saved.Retained), "took", time.Since(began).Round(time.Millisecond).String())
}

// restoreSession makes a session without connection out of what was saved, and
// reports whether it has not expired. One that had a connection has lost it by
// now, at the time when the store was last written. The time since counts, but
// not if the clock was set back.
func (n *Node) restoreSession(s *store.Session, clock, now time.Time) bool {
	left := clock
	if s.Left != 0 {
		left = time.UnixMilli(s.Left)
	}
	if left.IsZero() || left.After(now) {
		left = now
	}
	until := left.Add(time.Duration(s.Expiry) * time.Second) // Apply may shorten it
	if !until.After(now) && s.Will == nil {
		n.keeper.store.Load().EndSession(s.ID)
		return false
	}
	c := n.restoredClient(s)
	c.reached.Store(n.seq.Load()) // perhaps all was sent
	if s.Left != 0 && s.Reached >= 0 {
		c.reached.Store(min(s.Reached, n.seq.Load()))
	}
	for _, sub := range s.Subscriptions {
		c.resubscribe(sub)
	}
	for _, sub := range s.Subscriptions {
		n.settleFilter(c.cl, sub.Filter)
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		if i > 0 && e.Seq == s.Entries[i-1].Seq && !e.Retain && !e.Released {
			c.unqueue(e.PacketID, e.Seq) // it was being moved, see takeIn, and neither was sent
			continue
		}
		c.restoreEntry(e)
	}
	c.restoreInbound(s.Received)
	n.server.Clients.Add(c.cl)
	// What is left of the time is counted by a clock that is not set.
	is := &idle{c: c, until: now.Add(until.Sub(now))}
	if s.Will != nil {
		is.will = &will{m: restoredWill(s.Will), delay: time.Duration(s.WillDelay) * time.Second}
		is.willAt = now.Add(left.Add(is.will.delay).Sub(now))
	}
	n.idle[s.ID] = is
	n.saveIdle(s.ID)
	return true
}

// restoredClient is a client whose connection has ended.
func (n *Node) restoredClient(s *store.Session) *client {
	cl := n.server.NewClient(nil, "", s.ID, false)
	cl.Properties.ProtocolVersion = s.Version
	cl.Properties.Username = []byte(s.Username)
	cl.Stop(packets.ErrServerShuttingDown)
	c := &client{
		node: n, conn: endedConn(), cl: cl, id: s.ID, username: cmp.Or(s.CertUser, s.Username), proto: s.Version,
		claim: claim{id: s.ID, username: s.Username, hasUser: s.HasUser, commonCN: s.CommonCN, certUser: s.CertUser, loopback: s.Loopback, again: true, restored: true},
		ended: make(chan struct{}), ready: make(chan struct{}), inbound: &received{},
		expiry: time.Duration(s.Expiry) * time.Second,
	}
	close(c.ended)
	close(c.ready)
	c.right.Store(&right{})
	if s.Peer != "" {
		c.session = &Session{c}
		c.granted.Store(&grant{Grant: topology.Grant{Peer: s.Peer}})
	}
	c.kept.Store(true)
	c.conn.client.Store(c)
	cl.Net.Conn = c.conn
	return c
}

// endedConn is a connection that was closed.
func endedConn() *conn {
	k := &conn{Conn: noConn{}, closed: true, err: net.ErrClosed, done: make(chan struct{})}
	k.room.L = &k.mu
	close(k.done)
	return k
}

// noConn is what a connection of an earlier process has become.
type noConn struct{ net.Conn }

func (noConn) RemoteAddr() net.Addr             { return nil }
func (noConn) SetDeadline(time.Time) error      { return net.ErrClosed }
func (noConn) SetReadDeadline(time.Time) error  { return net.ErrClosed }
func (noConn) SetWriteDeadline(time.Time) error { return net.ErrClosed }
func (noConn) Close() error                     { return nil }

func (c *client) resubscribe(s store.Subscription) {
	sub := packets.Subscription{
		Filter: s.Filter, Qos: s.QoS, NoLocal: s.NoLocal, RetainAsPublished: s.RetainPublished,
		RetainHandling: s.RetainHandling, Identifier: s.Identifier,
	}
	n := c.node
	n.server.Topics.Subscribe(c.id, sub)
	c.cl.State.Subscriptions.Add(s.Filter, sub)
	if route, ok := parseRoute(s.Filter); ok && c.session == nil {
		n.routes.add(c.id, route)
	}
}

// restoreEntry puts a message back into the engine's account. Two messages may
// have the same packet identifier if the process ended while a session moved
// to another connection; then the client has at most the first.
func (c *client) restoreEntry(e *store.Entry) {
	pk := restoredPacket(e.Message)
	pk.PacketID, pk.FixedHeader.Qos, pk.FixedHeader.Retain = e.PacketID, e.QoS, e.Retain
	pk.Properties.SubscriptionIdentifier = e.Identifiers
	markRetain(&pk, e.Marked)
	if _, taken := c.cl.State.Inflight.Get(pk.PacketID); taken {
		id, err := c.cl.NextPacketID()
		if err != nil {
			return
		}
		pk.PacketID = uint16(id)
		c.queue(&pk)
		c.unqueue(e.PacketID, e.Seq)
	}
	if e.Released {
		pk = packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: pk.PacketID, Created: pk.Created,
		}
	}
	if pk.FixedHeader.Qos == 2 && pk.Created <= c.reached.Load() {
		pk.ProtocolVersion = lastingVersion
	}
	c.restoreInflight(pk)
}

func (c *client) restoreInflight(pk packets.Packet) {
	if c.cl.State.Inflight.Set(pk) {
		c.perishes(pk.Expiry)
		c.book(&pk)
		atomic.AddInt64(&c.node.server.Info.Inflight, 1)
	}
}

func restoredPacket(m *store.Message) packets.Packet {
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: m.QoS, Retain: m.Retain},
		ProtocolVersion: m.Version, TopicName: m.Topic, Payload: m.Payload,
		Created: m.Seq, Expiry: m.Expiry, Origin: m.Origin,
		Properties: packets.Properties{
			PayloadFormat: m.PayloadFormat, PayloadFormatFlag: m.HasPayloadFormat,
			ContentType: m.ContentType, ResponseTopic: m.ResponseTopic, CorrelationData: m.CorrelationData,
		},
	}
	for _, u := range m.User {
		pk.Properties.User = append(pk.Properties.User, packets.UserProperty{Key: u[0], Val: u[1]})
	}
	markTime(&pk, time.UnixMilli(m.Time))
	return pk
}
