package broker

import (
	"strings"

	"clink/broker/store"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// OnQosPublish is called when a packet was put into a client's account of what
// is not acknowledged, and again for each that is resent.
func (h *hook) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	c := clientOf(cl)
	if c == nil {
		return
	}
	c.book(&pk)
	if pk.FixedHeader.Type == packets.Publish && !pk.FixedHeader.Dup {
		c.perishes(pk.Expiry)
		c.queue(&pk)
		c.passOn(&pk)
	}
}

// OnRetainMessage is called when the retained message of a topic was set (r is
// 1) or removed (r is -1, or 0 if there was none).
func (h *hook) OnRetainMessage(_ *mqtt.Client, pk packets.Packet, _ int64) {
	h.n.retaining.Unlock()
	h.n.noteRetained(pk.TopicName)
	h.n.kept.settled(&pk)
	h.n.storeRetained(h.n.keeper.store.Load(), pk.TopicName)
}

// OnPacketProcessed is called after a packet was dealt with, retained messages
// for a SUBSCRIBE included.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, _ error) {
	if pk.Connect.WillQos == markLookup {
		return
	}
	if t := pk.FixedHeader.Type; t == packets.Subscribe || t == packets.Unsubscribe {
		h.n.matches.changed()
	}
	if pk.FixedHeader.Type != packets.Subscribe {
		return
	}
	if c := clientOf(cl); c != nil {
		c.sendRetained()
		c.retaining.Store(false)
	}
}

// storeRetained stores what the engine has now for a topic: hooks of two
// publishers may be called in another order than the engine took their
// messages.
func (n *Node) storeRetained(st *store.Store, name string) {
	if st == nil || strings.HasPrefix(name, mqtt.SysPrefix+"/") {
		return
	}
	st.Retain(name, func() *store.Message {
		pk, ok := n.server.Topics.Retained.Get(name)
		if !ok {
			return nil
		}
		return storedMessage(&pk)
	})
}

// storeOf returns the store if c's session is kept there.
func (c *client) storeOf() *store.Store {
	if !c.kept.Load() {
		return nil
	}
	return c.node.keeper.store.Load()
}

// queue stores a message for the session.
func (c *client) queue(pk *packets.Packet) {
	if st := c.storeOf(); st != nil {
		st.Queue(c.id, storedEntry(pk), func() *store.Message { return storedMessage(pk) })
	}
}

// unqueue takes a message out of the stored queue; seq 0 means whichever has
// the packet identifier.
func (c *client) unqueue(packetID uint16, seq int64) {
	if st := c.storeOf(); st != nil {
		st.Done(c.id, packetID, seq)
	}
}

// lost takes a message out of the stored queue that the engine has taken out
// of its own.
func (c *client) lost(seq int64) {
	if st := c.storeOf(); st != nil {
		st.Lost(c.id, seq)
	}
}

// dropped follows the engine when it forgets an exchange: pk is the message. Or
// it is the client's refusal, see acknowledging.
func (c *client) dropped(pk *packets.Packet) {
	if pk.FixedHeader.Type == packets.Publish {
		c.unqueue(pk.PacketID, pk.Created)
	}
}

// subscribedTo stores what was subscribed, and waits until that is done: the
// SUBACK comes next.
func (c *client) subscribedTo(filters packets.Subscriptions, codes []byte) {
	st := c.storeOf()
	if st == nil {
		return
	}
	for i, s := range filters {
		if own, ok := c.cl.State.Subscriptions.Get(s.Filter); ok && codes[i] < packets.ErrUnspecifiedError.Code {
			st.Subscribe(c.id, storedSubscription(&own))
		}
	}
	st.Wait(c.conn.done)
}

func (c *client) unsubscribed(filter string) {
	if st := c.storeOf(); st != nil {
		st.Unsubscribe(c.id, filter)
	}
}

// awaitStored waits until everything that was changed is stored.
func (c *client) awaitStored() {
	if st := c.storeOf(); st != nil {
		st.Wait(c.conn.done)
	}
}

func storedEntry(pk *packets.Packet) *store.Entry {
	return &store.Entry{
		PacketID: pk.PacketID, Seq: pk.Created, QoS: pk.FixedHeader.Qos,
		Retain: pk.FixedHeader.Retain, Marked: markedRetain(pk), Identifiers: pk.Properties.SubscriptionIdentifier,
	}
}

// storedMessage shares memory with pk.
func storedMessage(pk *packets.Packet) *store.Message {
	p := &pk.Properties
	m := &store.Message{
		Seq: pk.Created, Topic: pk.TopicName, Payload: pk.Payload, QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain,
		Version: pk.ProtocolVersion, Expiry: pk.Expiry, Origin: pk.Origin, Time: markedTime(pk),
		PayloadFormat: p.PayloadFormat, HasPayloadFormat: p.PayloadFormatFlag,
		ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData,
	}
	for _, u := range p.User {
		m.User = append(m.User, [2]string{u.Key, u.Val})
	}
	return m
}

func storedSubscription(s *packets.Subscription) *store.Subscription {
	return &store.Subscription{
		Filter: s.Filter, QoS: s.Qos, NoLocal: s.NoLocal, RetainPublished: s.RetainAsPublished,
		RetainHandling: s.RetainHandling, Identifier: s.Identifier,
	}
}
