package forwarder

import (
	"time"

	"clink/linkengine/wire"
)

// An Outcome is what has become of a message that was offered.
type Outcome struct {
	Sent    time.Time // when it last went to a connection; zero: it never did
	Code    byte      // of the PUBACK, at QoS above 0
	Dropped string    // the reason for which it did not arrive; "" if it did
}

// A note follows one message. The lane's lock guards it. Its methods do nothing
// for a message that nobody asks about.
type note struct {
	Outcome
	follow func(o Outcome, over bool)
}

func (n *note) sent(now time.Time) {
	if n != nil {
		n.Sent = now
		n.follow(n.Outcome, false)
	}
}

func (n *note) answered(code byte) {
	if n != nil {
		n.Code = code
	}
}

func (n *note) dropped(reason string) {
	if n != nil {
		n.Dropped = reason
	}
}

func (n *note) over() {
	if n != nil {
		n.follow(n.Outcome, true)
	}
}

// Offer takes a message beside those that were published: it is not stored,
// waits for nothing and pushes nothing out. It is not taken if there is no room,
// if at least most messages wait before it (0: however many), or if the
// forwarder has ended. Follow is told each time when it is sent, and in the end
// what became of it; it must not block, and not call the forwarder.
func (f *Forwarder) Offer(m *wire.Forward, key uint64, most int, follow func(o Outcome, over bool)) (taken bool) {
	l := f.lane(key)
	e := entry{rec: m, key: key, at: time.Now(), size: size(m), note: &note{follow: follow}}
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := l.queue.len() + l.parked.len()
	if l.closed || most > 0 && waiting >= most || l.opts.Bytes > 0 && l.bytes+int64(e.size) > l.opts.Bytes {
		return false
	}
	l.bytes += int64(e.size)
	l.queue.pushBack(e)
	l.signal()
	return true
}

// A Lane is how the connection of one key stands.
type Lane struct {
	Connected bool
	Reason    string // why not
	Held      bool   // until the peer is ready, after a loss
	Waiting   int    // messages
}

// Lane says how the connection stands that messages with a key take.
func (f *Forwarder) Lane(key uint64) Lane {
	l := f.lane(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	return Lane{l.connected, l.reason, l.connected && l.lost, l.queue.len() + l.parked.len()}
}
