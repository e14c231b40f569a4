package broker

import (
	"math"
	"slices"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Packet identifiers of the two directions are spaces of their own (MQTT 5.0
// §2.2.1), but the engine keeps both in one map. So the map is left to what the
// node sends, and what clients send never enters it:
//
//   - the engine takes clients for inline ones, which it neither acknowledges
//     nor checks; acknowledging is done here, checking in OnPacketRead;
//   - the identifiers of QoS 2 publishes that await their PUBREL are in a
//     [received], which moves with the session;
//   - SUBSCRIBE and UNSUBSCRIBE pass the engine without identifier.
//
// To keep a session beyond the process, what inboundIDs returns must be kept
// with it: an identifier before the PUBREC is sent, until the PUBCOMP is; and
// restoreInbound must be called before the session is continued.

// receiveMaximum is how many publishes with QoS above 0 a client of MQTT 5.0
// may have under way (MQTT 5.0 §3.2.2.3.3).
const receiveMaximum = 1024

// A received holds the identifiers of a session's QoS 2 publishes for which
// PUBREC was sent and PUBREL has not come (MQTT 5.0 §4.3.3).
type received struct {
	mu  sync.Mutex
	ids map[uint16]struct{}
}

// add reports whether id is new, and whether there was room for it.
func (r *received) add(id uint16, most int) (fresh, room bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.ids[id]; known {
		return false, true
	}
	if len(r.ids) >= most {
		return true, false
	}
	if r.ids == nil {
		r.ids = make(map[uint16]struct{})
	}
	r.ids[id] = struct{}{}
	return true, true
}

// remove reports whether id was there.
func (r *received) remove(id uint16) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.ids[id]
	delete(r.ids, id)
	return known
}

func (r *received) has(id uint16) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.ids[id]
	return known
}

// inboundIDs returns the identifiers of c's QoS 2 publishes that await their
// PUBREL, in order. It may be called from any goroutine.
func (c *client) inboundIDs() []uint16 {
	c.inbound.mu.Lock()
	defer c.inbound.mu.Unlock()
	ids := make([]uint16, 0, len(c.inbound.ids))
	for id := range c.inbound.ids {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// restoreInbound gives a session back what inboundIDs returned.
func (c *client) restoreInbound(ids []uint16) {
	for _, id := range ids {
		c.inbound.add(id, math.MaxUint16)
	}
}

// ownIDs makes the engine leave a client's packet identifiers alone.
func ownIDs(cl *mqtt.Client) {
	cl.Net.Inline = true
	freeQuota(cl)
}

// freeQuota puts the engine's count of what it may receive out of play: it
// goes down by what a subscriber has not completed of what is sent to it, and
// at zero every publish of that client would be refused.
func freeQuota(cl *mqtt.Client) { cl.State.Inflight.ResetReceiveQuota(math.MaxInt32) }

// inert is a packet with which the engine does nothing.
func inert(pk packets.Packet) packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, ProtocolVersion: pk.ProtocolVersion}
}

// hideID takes the identifier out of a SUBSCRIBE or UNSUBSCRIBE until it is
// answered. Zero is left to the engine, which refuses it.
func (c *client) hideID(pk *packets.Packet) {
	if pk.PacketID != 0 {
		c.request.id = pk.PacketID
		pk.PacketID, pk.FixedHeader.Qos = 0, 0
	}
}

// mostInbound is how many QoS 2 publishes c may have under way. MQTT 3.1.1 has
// no way to tell a client.
func (c *client) mostInbound() int {
	if c.proto == 5 {
		return receiveMaximum
	}
	return max(receiveMaximum, c.node.opts.MaxInflight)
}

// receive notes a QoS 2 publish. Without a nil error it must not be delivered:
// it came before, and was acknowledged again, or it is one too many.
func (c *client) receive(id uint16) error {
	switch fresh, room := c.inbound.add(id, c.mostInbound()); {
	case !room:
		c.node.disconnect(c, packets.ErrReceiveMaximum)
		return packets.ErrRejectPacket
	case !fresh:
		c.acknowledge(packets.Pubrec, id, packets.CodeSuccess)
		return packets.CodeSuccessIgnore
	}
	return nil
}

// release answers a PUBREL.
func (c *client) release(id uint16) {
	code := packets.CodeSuccess
	if !c.inbound.remove(id) {
		code = packets.ErrPacketIdentifierNotFound
	}
	c.acknowledge(packets.Pubcomp, id, code)
}

// answerPublish acknowledges a publish, if its QoS asks for it. One that is
// refused is not remembered: for the client it ends here (MQTT 5.0 §4.3.3).
func (c *client) answerPublish(pk *packets.Packet, code packets.Code) {
	if c.proto < 5 {
		code = packets.CodeSuccess
	}
	switch pk.FixedHeader.Qos {
	case 1:
		c.acknowledge(packets.Puback, pk.PacketID, code)
	case 2:
		if code.Code >= packets.ErrUnspecifiedError.Code {
			c.inbound.remove(pk.PacketID)
		}
		c.acknowledge(packets.Pubrec, pk.PacketID, code)
	}
}

// acknowledge writes PUBACK, PUBREC or PUBCOMP. It fails only when the
// connection has ended, and then the client asks again.
func (c *client) acknowledge(kind byte, id uint16, code packets.Code) {
	c.answer(answer{kind, id, code})
}
