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
	mu      sync.Mutex // one waits at a time
	epoch   atomic.Uint32
	in      [2]atomic.Int64
	waiting atomic.Bool   // somebody waits
	left    chan struct{} // says that an epoch was left by all; made before waiting is first set
}

// ticket is what enter gives for leave; 0 is none.
type ticket = uint16

func (g *grace) enter() ticket {
	e := g.epoch.Load() & 1
	g.in[e].Add(1)
	return ticket(e + 1)
}

func (g *grace) leave(t ticket) {
	if t != 0 && g.in[t-1].Add(-1) == 0 && g.waiting.Load() {
		select {
		case g.left <- struct{}{}:
		default:
		}
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
	if g.left == nil {
		g.left = make(chan struct{}, 1)
	}
	g.waiting.Store(true) // before looking: who leaves later sees it
	defer g.waiting.Store(false)
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	for range 2 {
		for e := (g.epoch.Add(1) - 1) & 1; g.in[e].Load() != 0; {
			select {
			case <-g.left:
			case <-done:
				return false
			case <-late.C:
				return false
			}
		}
	}
	return true
}
