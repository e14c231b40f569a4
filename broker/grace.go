package broker

import (
	"sync"
	"sync/atomic"
	"time"
)

// A grace counts the publishers that are delivering, in two epochs, so that
// one can wait until all those have finished that began before a certain
// moment, while others begin. The engine looks a subscriber up and stores the
// message with it in two steps; in between, the subscriber's session may move
// to another connection.
type grace struct {
	mu    sync.Mutex // one waits at a time
	epoch atomic.Uint32
	in    [2]atomic.Int64
}

// ticket is what enter gives for leave; 0 is none.
type ticket = uint16

func (g *grace) enter() ticket {
	e := g.epoch.Load() & 1
	g.in[e].Add(1)
	return ticket(e + 1)
}

func (g *grace) leave(t ticket) {
	if t != 0 {
		g.in[t-1].Add(-1)
	}
}

// wait reports whether all have left that had entered before it was called. It
// gives up after most, or when done is closed; then one of them is held up, by
// a connection that does not take its acknowledgement, say.
//
// Both epochs are waited for: a publisher may enter the one that was when it
// looked, and a wait before this one may have given up on the other.
func (g *grace) wait(most time.Duration, done <-chan struct{}) bool {
	deadline := time.Now().Add(most) // for those as well who wait for their turn
	g.mu.Lock()
	defer g.mu.Unlock()
	for range 2 {
		e := (g.epoch.Add(1) - 1) & 1
		for pause := 10 * time.Microsecond; g.in[e].Load() != 0; pause = min(2*pause, 5*time.Millisecond) {
			if time.Now().After(deadline) {
				return false
			}
			select {
			case <-done:
				return false
			case <-time.After(pause):
			}
		}
	}
	return true
}
