// Package forwarder sends messages to the peer of a link over a pool of
// connections (Cluster Linking protocol, sections 2, 6.2 and 9.6).
//
// Each connection, a lane, has a queue of its own, bounded in bytes and age,
// and every publisher always takes the same lane, so that its messages keep
// their order. Many QoS 1 messages are in flight at a time; those that were not
// acknowledged when a connection broke are sent again, in order, on the next
// one. After a loss a lane holds its queue until the link says that the peer is
// ready, and what the peer does not want any more by then is dropped.
//
// Every message that is taken ends as one of: success, failed, dropped, or
// still queued; a reason is counted for the ones that do not arrive. The
// package does not decide which messages the peer may have. With a [Store]
// messages outlive the process, and more of them may wait than memory holds.
package forwarder

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"clink/linkengine/client"
	"clink/linkengine/wire"
)

// HoldTime is how long after its reconnection a lane waits for the peer to be
// ready, and for the peer's routes to match what is queued.
const HoldTime = 30 * time.Second

// What a lane does when its queue is full.
const (
	DropOldest = "drop_oldest" // the default
	DropNew    = "drop_new"
	Block      = "block" // the publisher waits
)

// Reasons for which messages are dropped. Failed ones have the reason
// "puback-0x" and the code.
const (
	QueueFull = "queue-full"
	Expired   = "expired"
	NoRoute   = "no-route"
	TooLarge  = "too-large"
	Stopped   = "stopped"
)

// A Peer is the far end as the link sees it.
type Peer interface {
	// Lost is told that a connection was lost or could not be made.
	Lost()
	// Ready reports whether queues may be drained after a loss, and returns a
	// channel that is closed when the answer, or one of Wants, may differ.
	Ready() (ok bool, changed <-chan struct{})
	// Wants reports whether the peer has a route for the topic.
	Wants(topic string) bool
	// Unsure reports whether the peer may yet announce more that it wants.
	Unsure() bool
}

// Options say what to send where. Zero fields mean no bound, except for Lanes.
type Options struct {
	Lanes int // number of connections, at least one
	Topic string
	// Dial connects lane number n, from 1 on, or gives up after a time. Acked and
	// idle are for [client.Options].
	Dial     func(ctx context.Context, n int, acked func(id uint16, code byte), idle func()) (*client.Conn, error)
	Window   int           // unacknowledged messages a lane; the peer's Receive Maximum bounds it as well
	Bytes    int64         // of the messages of one lane
	MaxAge   time.Duration // of a message that waits
	Retry    time.Duration // without a PUBACK, after which a lane connects anew and sends again
	WhenFull string
	Peer     Peer
	Counters *Counters
	Wanted   func() // told of each [Item.Perhaps] that is wanted after all; may be nil
	Store    Store  // nil: messages are in memory alone; what it holds is sent first
	// Oversize is called for each message that no packet of the peer can hold,
	// and which is dropped; nil if nobody wants to know.
	Oversize func(topic string)
}

// A Forwarder is the pool of one link.
type Forwarder struct {
	lanes    []*lane
	store    Store
	bytes    int64
	counters *Counters
	more     chan struct{} // see feed
	grace    atomic.Int64  // how long Run goes on after its context has ended
}

// Gauges are the figures of the moment.
type Gauges struct{ Queuing, QueueBytes, Inflight int64 }

// New returns a forwarder that accepts messages from now on and sends them
// while Run runs.
func New(opts Options) *Forwarder {
	f := &Forwarder{store: opts.Store, bytes: opts.Bytes, counters: opts.Counters, more: make(chan struct{}, 1)}
	for i := range max(opts.Lanes, 1) {
		f.lanes = append(f.lanes, newLane(i+1, opts, f.more))
	}
	return f
}

// Forward takes a message for the peer, and reports false if the forwarder has
// ended and takes nothing more. With [Block] it waits for room; otherwise it
// waits at most until the message is stored.
func (f *Forwarder) Forward(i *Item) bool {
	l := f.lane(i.key)
	if i.Store(f.store, l.roomFor(i.size), f.counters) {
		return l.push(i.entry, i.Source)
	}
	f.wanted()
	return true
}

func (f *Forwarder) lane(key uint64) *lane { return f.lanes[key%uint64(len(f.lanes))] }

// Run connects and sends until ctx ends. Within the grace of Finish it then
// goes on with what is queued. Afterwards nothing of it runs, and nothing more
// is taken.
func (f *Forwarder) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, l := range f.lanes {
		running.Go(func() { l.run(ctx, &f.grace) })
	}
	if f.store != nil {
		running.Go(func() { f.feed(ctx) })
	}
	running.Wait()
	for _, l := range f.lanes {
		l.close()
	}
}

// Finish sets for how long Run may go on after its context has ended.
func (f *Forwarder) Finish(grace time.Duration) { f.grace.Store(int64(grace)) }

// Hurry makes the next attempts to connect come soon: there is reason to
// believe that they will do.
func (f *Forwarder) Hurry() {
	for _, l := range f.lanes {
		select {
		case l.hurry <- struct{}{}:
		default:
		}
	}
}

// Prove has each lane find out whether its connection still leads somewhere:
// there is reason to believe that it does not. It does not wait.
func (f *Forwarder) Prove() {
	for _, l := range f.lanes {
		wake(l.prove)
	}
}

// Leave hands what the forwarder still holds to its successor, in order, or
// with none drops what is not stored. Run must have ended.
func (f *Forwarder) Leave(successor *Forwarder) {
	for _, l := range f.lanes {
		for _, e := range l.leave() {
			switch {
			case successor != nil:
				successor.lane(e.key).adopt(e)
			case e.stored == 0:
				l.opts.Counters.Drop(Stopped)
				e.note.dropped(Stopped)
				e.note.over()
			}
		}
	}
}

// Expire drops what has waited for too long, and ends connections on which the
// peer has stopped acknowledging. It is to be called every second or so.
func (f *Forwarder) Expire(now time.Time) {
	for _, l := range f.lanes {
		l.expire(now)
	}
	f.wanted()
}

// Gauges returns the figures of all lanes together.
func (f *Forwarder) Gauges() Gauges {
	var g Gauges
	for _, l := range f.lanes {
		l.mu.Lock()
		g.Queuing += int64(l.queue.len() + l.parked.len())
		g.QueueBytes += l.bytes
		g.Inflight += int64(l.outstanding)
		l.mu.Unlock()
	}
	return g
}

// State reports how many of the lanes are connected, how many have failed at
// their last attempt or lost their connection, and the reason of one of these.
func (f *Forwarder) State() (connected, failed, lanes int, reason string) {
	for _, l := range f.lanes {
		l.mu.Lock()
		if l.connected && !l.mute {
			connected++
		} else if l.reason != "" {
			failed++
			reason = l.reason
		}
		l.mu.Unlock()
	}
	return connected, failed, len(f.lanes), reason
}

// size is what m counts in a queue: its texts, and what the record and the
// queue need besides.
func size(m *wire.Forward) int {
	const fixed = 512
	n := fixed + len(m.Topic) + len(m.Payload) + len(m.From) + len(m.Username)
	p := &m.Properties
	n += len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData)
	for _, u := range p.User {
		n += len(u.Key) + len(u.Value) + 32
	}
	return n
}
