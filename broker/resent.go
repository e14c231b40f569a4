package broker

import (
	"sync"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A resent is what a connection knows of the messages that it sent again when
// it continued a session. Those that were published while it did so are in the
// engine's queue as well, and must not be sent from there.
type resent struct {
	last atomic.Int64 // the newest of them, by Created; 0: there are none
	mu   sync.Mutex
	ids  map[uint16]int64 // Created by packet identifier, until it is acknowledged
}

// note is called, oldest first, before a message is sent again.
func (r *resent) note(pk *packets.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids == nil {
		r.ids = make(map[uint16]int64)
	}
	r.ids[pk.PacketID] = pk.Created
	r.last.Store(pk.Created)
}

// done is called when a packet identifier is free again: what has it from now
// on may be the same message, sent as a retained one.
func (r *resent) done(id uint16) {
	if r.last.Load() == 0 {
		return
	}
	r.mu.Lock()
	delete(r.ids, id)
	r.mu.Unlock()
}

// repeated reports whether a message from the queue was sent again before.
func (c *client) repeated(pk *packets.Packet) bool {
	r := &c.resent
	if pk.FixedHeader.Qos == 0 || pk.Created > r.last.Load() {
		return false
	}
	r.mu.Lock()
	created, there := r.ids[pk.PacketID]
	r.mu.Unlock()
	if there {
		return created == pk.Created
	}
	kept, ok := c.cl.State.Inflight.Get(pk.PacketID) // else it was acknowledged meanwhile
	return !ok || kept.Created != pk.Created
}

// DUP says of a message whether it was sent before, and nothing else (MQTT 5.0
// §3.3.1.1): what waited for a session while it had no connection was not. The
// engine sets it for all that it has stored. Messages are sent in the order of
// Created, nearly, so the newest that was sent tells which were: now and then
// one more than were.

// reach notes that a message is being sent.
func (c *client) reach(created int64) {
	for {
		was := c.reached.Load()
		if created <= was || c.reached.CompareAndSwap(was, created) {
			return
		}
	}
}
