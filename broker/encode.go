package broker

import (
	"bytes"
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// OnPacketEncode is called before a packet is written, without locks held: in
// the client's write loop for messages, in its reader for answers. It is the
// place to wait, and the last to change or swallow a packet.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	k, ok := cl.Net.Conn.(*conn)
	if !ok {
		return pk
	}
	c := k.client.Load()
	switch pk.FixedHeader.Type {
	case packets.Disconnect:
		if cl.Properties.ProtocolVersion < 5 || !k.hailed.Load() {
			return swallowed(pk) // MQTT 3.1.1 §3.14: from client to server only; MQTT 5.0 §3.14: not before the CONNACK
		}
		k.told.Store(true)
		return pk // in a hurry
	case packets.Connack:
		if c != nil {
			c.encodeConnack(&pk)
		} else if !encodeRefusal(&pk) {
			return swallowed(pk)
		}
	case packets.Publish:
		how := other
		if c != nil {
			how = c.pass(&pk)
		}
		if how == aside {
			return swallowed(pk)
		}
		if c != nil && pk.Connect.WillQos == 0 && !pk.FixedHeader.Dup {
			c.taken(&pk)
		}
		if c != nil && !c.encodePublish(&pk) {
			if how == direct {
				c.overflow.aboard.Add(-1)
			}
			return swallowed(pk)
		}
		if how == direct {
			pk.Connect.WillQos = markDirect
			return pk
		}
	case packets.Puback, packets.Pubrel:
		if c != nil && pk.FixedHeader.Type == packets.Pubrel && c.withhold(&pk) {
			return swallowed(pk)
		}
		if c != nil {
			c.encodeAck(&pk)
		}
	case packets.Suback, packets.Unsuback:
		if c != nil {
			if pk.FixedHeader.Type == packets.Suback && c.request.found != nil {
				return swallowed(pk)
			}
			c.encodeAnswer(&pk)
		}
	}
	k.reserve()
	return pk
}

// swallowed is what the engine writes in place of a packet that must not be
// sent.
func swallowed(pk packets.Packet) packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: swallow}, ProtocolVersion: pk.ProtocolVersion}
}

func (c *client) encodeConnack(pk *packets.Packet) {
	if pk.ReasonCode >= packets.ErrUnspecifiedError.Code {
		return
	}
	pk.Properties.TopicAliasMaximum = maxAliases
	pk.Properties.MaximumPacketSize = uint32(c.conn.frames.limit.Load())
	if want := c.wantedExpiry(); want > c.expiry {
		pk.Properties.SessionExpiryInterval = uint32(c.expiry / time.Second)
		pk.Properties.SessionExpiryIntervalFlag = true
	}
}

// encodeAck does what the engine leaves out.
func (c *client) encodeAck(pk *packets.Packet) {
	switch pk.FixedHeader.Type {
	case packets.Puback:
		if pk.ReasonCode == packets.CodeNoMatchingSubscribers.Code {
			pk.Properties.ReasonString = packets.CodeNoMatchingSubscribers.Reason // else the code is left out
		}
	case packets.Pubrel:
		if !c.isReady() && c.window != nil {
			c.window.take(pk.PacketID)
		}
	}
}

// encodeAnswer gives the answer to a SUBSCRIBE or UNSUBSCRIBE the identifier
// of what it answers, and one code for each filter in it.
func (c *client) encodeAnswer(pk *packets.Packet) {
	q := &c.request
	pk.PacketID = q.id
	if pk.FixedHeader.Type == packets.Unsuback {
		pk.ReasonCodes = q.codes
	} else {
		c.encodeSuback(pk)
	}
	pk.Properties.User = nil
}

// encodePublish makes a message ready for the wire and waits for its turn. It
// reports whether to send it.
func (c *client) encodePublish(pk *packets.Packet) bool {
	mark := pk.Connect.WillQos
	if mark == 0 && !c.isReady() {
		if pk.FixedHeader.Dup { // the engine sends again all at once: we do it in order, by and by
			c.again = append(c.again, *pk)
			return false
		}
		c.awaitReady()
		if !c.isReady() {
			return false // the connection has ended meanwhile
		}
	}
	if mark == 0 && c.repeated(pk) {
		return false // came while the session was being continued: queued and stored
	}
	if expired(pk) {
		c.forget(pk)
		c.node.drops.expired.Add(1)
		return false
	}
	if markedRetain(pk) && c.wantsRetain(pk.TopicName) {
		pk.FixedHeader.Retain = true
	}
	unpairIDs(&pk.Properties)
	limit := pk.Mods.MaxSize
	pk.Mods.MaxSize, pk.Mods.DisallowProblemInfo = 0, false // with them set, the engine leaves out user properties
	if limit > 0 && tooLarge(*pk, limit) {
		c.forget(pk)
		c.node.drops.tooLarge.Add(1)
		return false
	}
	if pk.FixedHeader.Qos > 0 && c.window != nil {
		if mark == markUrgent {
			c.window.take(pk.PacketID)
		} else {
			c.window.acquire(pk.PacketID, c.conn.done)
		}
	}
	if pk.Expiry > 0 && !c.beginExpiring(pk) {
		return false
	}
	if mark == 0 && c.aliasMax > 0 && limit == 0 {
		c.alias(pk)
	}
	if pk.FixedHeader.Qos > 0 && !c.conn.isClosed() {
		c.reach(pk.Created)
	}
	return true
}

// alias replaces a topic by its alias. Aliases are given out only here, where
// packets leave in this order and none is lost, and never across connections.
func (c *client) alias(pk *packets.Packet) {
	a, known := c.aliasesTo[pk.TopicName]
	if !known && len(c.aliasesTo) >= c.aliasMax {
		return
	}
	if !known {
		if c.aliasesTo == nil {
			c.aliasesTo = make(map[string]uint16)
		}
		a = uint16(len(c.aliasesTo) + 1)
		c.aliasesTo[pk.TopicName] = a
	} else {
		pk.TopicName = ""
	}
	pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = a, true
}

// forget takes a message that will not be sent out of the engine's store.
func (c *client) forget(pk *packets.Packet) {
	if pk.FixedHeader.Qos > 0 && c.cl.State.Inflight.Delete(pk.PacketID) {
		c.held.drop(pk.PacketID)
		c.unqueue(pk.PacketID, pk.Created)
		atomic.AddInt64(&c.node.server.Info.Inflight, -1)
	}
}

// tooLarge reports whether a message exceeds the client's Maximum Packet Size
// (MQTT 5.0 §3.1.2.11.4). The engine would fail to send it and keep it.
func tooLarge(pk packets.Packet, limit uint32) bool {
	p := &pk.Properties
	size := len(pk.TopicName) + len(pk.Payload) + len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData) + 64 + 5*len(p.SubscriptionIdentifier)
	for _, u := range p.User {
		size += len(u.Key) + len(u.Val) + 5
	}
	if size <= int(limit) {
		return false
	}
	var b bytes.Buffer
	return pk.PublishEncode(&b) != nil || b.Len() > int(limit)
}

// inherit is called for each message that the engine clears from the client
// whose session c continues, after it has copied them to c. What came in
// between, from publishers that run on meanwhile, is not among the copies.
func (c *client) inherit(pk packets.Packet) {
	if copied, ok := c.cl.State.Inflight.Get(pk.PacketID); ok && copied.Created == pk.Created {
		atomic.AddInt64(&c.node.server.Info.Inflight, 1) // the engine counts the clearing, not the copy
		return
	}
	c.late = append(c.late, pk)
}

// collect stores what came for the session too late to be copied, with packet
// identifiers of this connection, and returns it. What comes later still is
// brought by its publisher, see passOn.
func (c *client) collect() []packets.Packet {
	c.collected.Store(true)
	for _, pk := range c.took.c.cl.State.Inflight.GetAll(false) {
		if pk.FixedHeader.Type == packets.Publish && c.took.c.giveUp(&pk) {
			c.late = append(c.late, pk)
		}
	}
	out := c.late[:0]
	for _, pk := range c.late {
		if c.takeIn(&pk) {
			out = append(out, pk)
		}
	}
	c.late = nil
	return out
}

// giveUp takes a message out of the engine's store that goes to another
// connection, and reports whether it was there.
func (c *client) giveUp(pk *packets.Packet) bool {
	if !c.cl.State.Inflight.Delete(pk.PacketID) {
		return false
	}
	c.held.drop(pk.PacketID)
	atomic.AddInt64(&c.node.server.Info.Inflight, -1)
	return true
}

// takeIn stores a message that was stored with another connection of the
// session, and gives it a packet identifier of this one, if any is left.
func (c *client) takeIn(pk *packets.Packet) bool {
	was := pk.PacketID
	defer c.unqueue(was, pk.Created)
	id, err := c.cl.NextPacketID()
	if err != nil {
		c.node.drops.queue.Add(1)
		return false
	}
	pk.PacketID = uint16(id)
	c.perishes(pk.Expiry)
	c.queue(pk)
	if c.cl.State.Inflight.Set(*pk) {
		c.hold(pk)
		atomic.AddInt64(&c.node.server.Info.Inflight, 1)
	}
	return true
}

// passOn is called by a publisher that has stored pk with c. If the session has
// moved to another connection meanwhile, and what was late has been collected
// there already, the message follows it, and passOn reports true. Either the
// publisher sees that here, or collect sees the message.
func (c *client) passOn(pk *packets.Packet) bool {
	heir := c.heir.Load()
	if heir == nil || !heir.collected.Load() || !c.giveUp(pk) {
		return false
	}
	late := *pk
	if heir.takeIn(&late) && !heir.passOn(&late) {
		heir.queued.Add(1)
		heir.overflow.put(heir, late)
	}
	return true
}

// straggle is how long publishers that may still deliver to the connection
// before are waited for. One that takes longer loses nothing, but its message
// may come after later ones.
const straggle = 100 * time.Millisecond

// sendAgain sends what was stored for a continued session, oldest first, in a
// goroutine of its own. New messages wait until it is done.
func (c *client) sendAgain() {
	defer close(c.sending)
	c.node.grace.wait(straggle, c.conn.done)
	if c.again = append(c.again, c.collect()...); len(c.again) > 0 {
		c.awaitStored()
	}
	c.sendStored()
	close(c.ready)
	c.took = nil
}

func (c *client) sendStored() {
	slices.SortStableFunc(c.again, func(a, b packets.Packet) int { return cmp.Compare(a.Created, b.Created) })
	before := c.reached.Load()
	for _, pk := range c.again {
		c.resent.note(&pk)
		if c.conn.isClosed() {
			break
		}
		if _, ok := c.cl.State.Inflight.Get(pk.PacketID); !ok {
			continue // expired meanwhile
		}
		pk.Connect.WillQos = markResend
		pk.FixedHeader.Dup = pk.Created <= before
		if c.cl.WritePacket(pk) != nil {
			break
		}
	}
	c.again = nil
}
