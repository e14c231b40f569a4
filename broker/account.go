package broker

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// OnQosPublish is called when a packet was put into a client's account of what
// is not acknowledged: a PUBLISH for it (again for each resend), or our PUBREC
// or PUBACK for one of its own.
func (h *hook) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if c := clientOf(cl); c != nil {
		c.keep(&pk)
	}
}

// OnQosComplete is called when an entry left the account because its exchange
// was completed; pk is the packet that completed it.
func (h *hook) OnQosComplete(cl *mqtt.Client, pk packets.Packet) {
	if c := clientOf(cl); c != nil {
		c.held.drop(pk.PacketID)
	}
}

// OnRetainMessage is called when the retained message of a topic was set (r is
// 1) or removed (r is -1, or 0 if there was none).
func (h *hook) OnRetainMessage(_ *mqtt.Client, pk packets.Packet, _ int64) {
	h.n.noteRetained(pk.TopicName)
}

// OnRetainedExpired is called when the retained message of a topic was removed
// because it expired.
func (h *hook) OnRetainedExpired(name string) { h.n.noteRetained(name) }

// OnPacketProcessed is called after a packet was dealt with, retained messages
// for a SUBSCRIBE included.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, _ error) {
	if t := pk.FixedHeader.Type; t == packets.Subscribe || t == packets.Unsubscribe {
		h.n.matches.changed()
	}
	if pk.FixedHeader.Type != packets.Subscribe {
		return
	}
	if c := clientOf(cl); c != nil {
		c.retaining.Store(false)
	}
}
