package broker

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// OnQosPublish is called when a packet was put into a client's account of what
// is not acknowledged: a PUBLISH for it (again for each resend), or our PUBREC
// or PUBACK for one of its own.
func (h *hook) OnQosPublish(*mqtt.Client, packets.Packet, int64, int) {}

// OnQosComplete is called when an entry left the account because its exchange
// was completed; pk is the packet that completed it.
func (h *hook) OnQosComplete(*mqtt.Client, packets.Packet) {}

// OnRetainMessage is called when the retained message of a topic was set (r is
// 1) or removed (r is -1, or 0 if there was none).
func (h *hook) OnRetainMessage(*mqtt.Client, packets.Packet, int64) {}

// OnRetainedExpired is called when the retained message of a topic was removed
// because it expired.
func (h *hook) OnRetainedExpired(string) {}
