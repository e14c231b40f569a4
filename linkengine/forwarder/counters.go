package forwarder

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
)

// Counters count what became of a link's messages. They outlive forwarders.
type Counters struct {
	Success, Failed, Dropped, Retried atomic.Uint64
	Reconnects                        atomic.Uint64 // connections lost

	mu      sync.Mutex
	reasons map[string]uint64
}

// Note counts one message under a reason alone.
func (c *Counters) Note(reason string) { c.count(nil, reason) }

// count counts one message under a reason and, if there is one, in a total,
// both before or both after a Reset.
func (c *Counters) count(total *atomic.Uint64, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if total != nil {
		total.Add(1)
	}
	if c.reasons == nil {
		c.reasons = make(map[string]uint64)
	}
	c.reasons[reason]++
}

// Reset makes all counters zero, while others count.
func (c *Counters) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range []*atomic.Uint64{&c.Success, &c.Failed, &c.Dropped, &c.Retried, &c.Reconnects} {
		n.Store(0)
	}
	c.reasons = nil
}

// Reasons returns how many messages were noted under each reason.
func (c *Counters) Reasons() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.reasons)
}

// Drop counts one dropped message.
func (c *Counters) Drop(reason string) {
	c.count(&c.Dropped, reason)
}

// DropMany counts n dropped messages.
func (c *Counters) DropMany(reason string, n int) {
	if n <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Dropped.Add(uint64(n))
	if c.reasons == nil {
		c.reasons = make(map[string]uint64)
	}
	c.reasons[reason] += uint64(n)
}

// answered counts a PUBACK. 0x10, no matching subscribers, is success as well
// (section 9.6).
func (c *Counters) answered(code byte) {
	if code == 0x00 || code == 0x10 {
		c.Success.Add(1)
		return
	}
	c.count(&c.Failed, fmt.Sprintf("puback-0x%02x", code))
}
