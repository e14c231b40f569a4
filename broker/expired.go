package broker

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A message expires until it is sent, not afterwards (MQTT 5.0 §3.3.2.3.3):
// one with QoS 2 that a client was sent is sent again until it is complete, and
// has its packet identifier until then (§4.4, §2.2.1). Were the identifier given
// to another message, a client that has answered the first would take that one
// for the same, and lose it. A message with QoS 1 that is late is not sent
// again: what a client answers is what it was sent last.

// lastingVersion is the protocol version of stored messages that the engine
// must not take for expired, which it does with those of version 5 alone. Each
// connection has its own version, and writes no other.
const lastingVersion = 0

// expired reports whether a message must not be sent any more.
func expired(pk *packets.Packet) bool {
	return pk.Expiry > 0 && pk.Expiry < time.Now().Unix() && (pk.FixedHeader.Qos < 2 || !pk.FixedHeader.Dup)
}

// beginExpiring is called for a message with an expiry when nothing keeps it
// from being sent any more: it may have waited long for that. It reports
// whether to send it.
func (c *client) beginExpiring(pk *packets.Packet) bool {
	late := expired(pk)
	if late {
		c.forget(pk)
		c.node.drops.expired.Add(1)
	}
	if late || pk.FixedHeader.Qos == 2 && !c.keepLasting(pk) {
		if pk.FixedHeader.Qos > 0 && c.window != nil {
			c.window.release(pk.PacketID)
		}
		return false
	}
	pk.Properties.MessageExpiryInterval = uint32(max(pk.Expiry-time.Now().Unix(), 1)) // the engine looked before it waited
	return true
}

// keepLasting keeps the engine from dropping a message that is being sent. It
// reports whether it has not done so already.
func (c *client) keepLasting(pk *packets.Packet) bool {
	kept, ok := c.cl.State.Inflight.Get(pk.PacketID)
	if !ok || kept.Created != pk.Created {
		return false
	}
	if kept.ProtocolVersion != lastingVersion {
		kept.ProtocolVersion = lastingVersion
		c.cl.State.Inflight.Set(kept)
	}
	return true
}
