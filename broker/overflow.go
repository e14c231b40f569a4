package broker

import (
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The engine's queue for a client is a channel whose full length is allocated
// when the client connects: at 2048 messages that is 16 KiB for each client
// that is idle. So the channel is short, and two things make up for it. The
// write loop never waits: what cannot be written at once, because the peer does
// not read or acknowledge, is put aside in an overflow, which holds memory only
// while there is something in it. And a publisher that is quicker than the
// write loop waits for it, which is a matter of processor time alone.

// channelLength is how many messages the engine's channel holds.
const channelLength = 256

const (
	loopPatience = time.Second // of a publisher with a write loop, which waits for nothing but a processor
	ackPatience  = time.Second // of a publisher with a client that has not acknowledged enough, or gets no processor
)

// An overflow holds messages that wait to be written to one client.
type overflow struct {
	aboard  atomic.Int64 // messages on the engine's road, from room to the connection or to waiting
	busy    atomic.Bool  // drain runs: what comes must wait its turn
	mu      sync.Mutex
	waiting []packets.Packet // busy is true while there are any
}

// A passage is how a message leaves the engine's channel.
type passage int

const (
	other  passage = iota // it was not in the channel, and may wait
	direct                // it can be written without waiting
	aside                 // it was put aside
)

// board makes room for a message in the engine's channel and counts it.
// It always succeeds. Without it a publisher could overrun a write loop that waits for a
// processor.
func (c *client) board(name string) bool {
	c.beginWriting()
	o := &c.overflow
	fits := func() bool {
		if o.aboard.Add(1) <= channelLength {
			return true
		}
		o.aboard.Add(-1)
		return false
	}
	if !fits() {
		c.await(name, loopPatience, fits, func() {
			o.aboard.Add(1)
			if c.conn.ended() {
				c.cl.Stop(net.ErrClosed) // it will be, by its reader: the engine must know now, and keep the message for the session
			}
		})
	}
	return true
}

// await lets others run until ok says so, and calls late after most, or when
// the connection has ended. If it takes long, the publisher of the message with
// the topic name first does what it has put off.
func (c *client) await(name string, most time.Duration, ok func() bool, late func()) {
	waited := newSpell()
	for spins := 0; !ok(); spins++ {
		switch {
		case spins < 16:
			runtime.Gosched()
		case spins == 16:
			c.node.large.get(name).out.flush()
		case c.conn.ended() || waited.now() > most:
			late()
			return
		default:
			time.Sleep(20 * time.Microsecond)
		}
	}
}

// A spell is a time of waiting in which one looks again and again. What passes
// between two looks counts for longestLook at most: if the machine stands still,
// those who are waited for stand still, too.
type spell struct {
	last   time.Time
	waited time.Duration
}

const longestLook = 10 * time.Millisecond

func newSpell() spell { return spell{last: time.Now()} }

// now is how long it has taken so far.
func (s *spell) now() time.Duration {
	now := time.Now()
	s.waited += min(now.Sub(s.last), longestLook)
	s.last = now
	return s.waited
}

// awaitAcks waits, when a client's account of what it has not acknowledged is
// full, for acknowledgements that it has sent and that are not read yet. A
// client that sends none is waited for only once, until it has caught up with
// half of them. It reports whether there is room.
func (c *client) awaitAcks(name string, most int) bool {
	if c.lagging.Load() {
		return false
	}
	room := true
	c.await(name, ackPatience, func() bool { return c.cl.State.Inflight.Len() < most }, func() { room = false })
	c.lagging.Store(!room)
	return room
}

// pass decides how a message goes on that the engine is about to encode.
func (c *client) pass(pk *packets.Packet) passage {
	if pk.Connect.WillQos == markWaited {
		pk.Connect.WillQos = 0
		return other
	}
	if pk.Connect.WillQos != 0 || pk.FixedHeader.Dup {
		return other
	}
	o := &c.overflow
	if !o.busy.Load() && c.isReady() && c.lasts(pk) && (pk.FixedHeader.Qos == 0 || c.window == nil || c.window.open()) && !c.conn.full() {
		return direct
	}
	o.put(c, *pk)
	o.aboard.Add(-1)
	return aside
}

// lasts reports whether a message may be sent as far as the store goes. One with
// QoS 2 must be there first: else, if the process ended in between, its
// packet identifier would be given to another message, which the client would
// take for this one.
func (c *client) lasts(pk *packets.Packet) bool {
	if pk.FixedHeader.Qos < 2 {
		return true
	}
	st := c.storeOf()
	return st == nil || st.Pending() == nil
}

// put puts a message aside.
func (o *overflow) put(c *client, pk packets.Packet) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = append(o.waiting, pk)
	if !o.busy.Load() && !c.conn.start(c.drain) {
		o.waiting = nil
		return
	}
	o.busy.Store(true)
}

// drain writes what was put aside, in order, and ends when there is nothing
// left. What cannot be written because the connection has ended is in the
// session's store if it has a QoS above 0.
func (c *client) drain() {
	o := &c.overflow
	for {
		o.mu.Lock()
		all := o.waiting
		o.waiting = nil
		if len(all) == 0 {
			o.busy.Store(false)
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		if slices.ContainsFunc(all, func(pk packets.Packet) bool { return !c.lasts(&pk) }) {
			c.awaitStored()
		}
		for i := range all {
			all[i].Connect.WillQos = markWaited
			if c.cl.WritePacket(all[i]) != nil && c.conn.ended() {
				break
			}
			all[i] = packets.Packet{} // its payload may go
		}
	}
}
