package broker

import (
	"strings"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"
)

// What follows is the part of spread that concerns QoS 1. The engine's account
// of what a client has not acknowledged is kept as on the engine's own road:
// sending again after a reconnect, acknowledgements and limits go by it.

// absent reports whether there is no session of a client id.
func (n *Node) absent(id string) bool {
	_, ok := n.server.Clients.Get(id)
	return !ok
}

// keepFor gives a message to the session of a subscriber that has gone since
// mayHand saw it.
func (n *Node) keepFor(s *subscriber, pk *packets.Packet, out *outbox) {
	if min(pk.FixedHeader.Qos, s.qos) == 0 {
		return
	}
	if cl, ok := n.server.Clients.Get(s.id); ok {
		if c := clientOf(cl); c != nil {
			c.handAssured(pk, out)
		}
	}
}

// handAssured writes a plain message to c with QoS 1, or puts it aside, after
// it was booked as not acknowledged.
func (c *client) handAssured(pk *packets.Packet, out *outbox) {
	at := c.prompt() && (c.window == nil || c.window.open()) && c.hasPlace(pk)
	if !at {
		out.flush()
		if !c.roomFor(pk) {
			return
		}
	}
	id := c.assure(pk)
	large := int64(len(pk.Payload)) > c.node.bounds.Load().small
	if large && !at {
		c.uncharge(int64(len(pk.Payload)))
	}
	if id == 0 {
		if !at {
			c.queued.Add(-1)
		}
		c.node.drops.inflight.Add(1)
		return
	}
	if at {
		if (c.window == nil || c.window.try(id)) && c.handed(c.conn.putPlain(pk.TopicName, pk.Payload, c.proto, id, out)) {
			c.reach(pk.Created)
			return
		}
		c.queued.Add(1) // it waits all the same: others were quicker
	}
	c.overflow.put(c, assured(pk, id))
}

// roomFor is room for a message whose size is known here.
func (c *client) roomFor(pk *packets.Packet) bool {
	size := int64(len(pk.Payload))
	if size <= c.node.bounds.Load().small {
		return c.room(pk.TopicName)
	}
	name := strings.Clone(pk.TopicName) // the address is what the table goes by
	c.node.large.enter(name, publishing{size: size})
	defer c.node.large.leave(name)
	return c.room(name)
}

// hasPlace reports whether a session has so little to acknowledge that nobody
// needs to be waited for.
func (c *client) hasPlace(pk *packets.Packet) bool {
	b := c.node.bounds.Load()
	if size := int64(len(pk.Payload)); size > b.small && !c.fits(size, b.queueBytes) {
		return false
	}
	kept, most := c.cl.State.Inflight.Len(), b.queue
	if kept < most/2 && c.lagging.Load() {
		c.lagging.Store(false)
	}
	return kept < most && !c.conn.ended()
}

// assure books a message as not acknowledged, and returns the packet identifier
// that it has from now on, 0 if there is none left.
func (c *client) assure(pk *packets.Packet) uint16 {
	next, err := c.cl.NextPacketID()
	if err != nil {
		return 0
	}
	id := uint16(next)
	if !c.cl.State.Inflight.Set(assured(pk, id)) {
		return id
	}
	atomic.AddInt64(&c.node.server.Info.Inflight, 1)
	if size := int64(len(pk.Payload)); size > c.node.bounds.Load().small {
		c.held.add(id, size)
	}
	if c.kept.Load() {
		out := assured(pk, id)
		c.queue(&out)
	}
	if c.heir.Load() != nil { // the connection has ended, and nothing can be written to it
		out := assured(pk, id)
		c.passOn(&out)
	}
	return id
}

// assured is what the engine would make of a plain message for a subscriber.
func assured(pk *packets.Packet, id uint16) packets.Packet {
	return packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: 1},
		ProtocolVersion: pk.ProtocolVersion,
		TopicName:       pk.TopicName,
		Payload:         pk.Payload,
		Origin:          pk.Origin,
		Created:         pk.Created,
		PacketID:        id,
	}
}
