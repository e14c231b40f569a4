package linkengine

import (
	"sync"
	"time"

	"clink/broker"
)

// A gate says whether, after a connection to the peer was lost, messages may
// flow again (section 6.2). A peer that restarts takes messages before its link
// application runs, and before its clients are back, and loses them. So two
// things must have happened since the last loss:
//
// First, the peer has answered: our actor's handshake on a connection made
// since, or a ping on one that outlived the loss. A rejection is an answer as
// well, for it too comes from a link application that runs.
//
// Second, the peer was heard: a valid packet of its own actor came, so that its
// routes are those of the process there is now. If its actor's session here
// outlived the loss, and the peer is known to be the same process as before,
// they are anyway.
//
// A link that reaches its peer in another way than before waits for the first
// of them alone: the other end may not yet be told of the change, and refuse each
// message.
type gate struct {
	mu         sync.Mutex
	lost       time.Time
	moved      time.Time // the peer has to answer after that
	answered   time.Time // when the connection was made, or the ping sent, that was answered
	remembered bool      // the answer said that the peer is the same process
	heard      time.Time
	visits     map[*broker.Session]time.Time // the peer's sessions with an actor, since when
	told       map[*broker.Session]bool      // those on which it has announced all it wants
	changed    chan struct{}                 // nil while nobody waits
}

func newGate() *gate {
	return &gate{visits: make(map[*broker.Session]time.Time), told: make(map[*broker.Session]bool)}
}

// reset forgets everything but who is there: the link starts anew.
func (g *gate) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost, g.answered, g.heard, g.remembered = time.Time{}, time.Time{}, time.Time{}, false
	g.tell()
}

// move says that the link reaches its peer in another way from now on.
func (g *gate) move(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moved = now
}

func (g *gate) lose(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost = now
}

func (g *gate) answer(at time.Time, remembered bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answered, g.remembered = at, remembered
	g.tell()
}

// hear notes a valid packet of the peer's actor.
func (g *gate) hear(s *broker.Session, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heard = now
	if _, known := g.visits[s]; !known {
		g.visits[s] = now
	}
	g.tell()
}

// silent is for how long nothing of the peer's actor was heard.
func (g *gate) silent(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return now.Sub(g.heard)
}

// visited reports whether the peer is here.
func (g *gate) visited() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.visits) > 0
}

func (g *gate) leave(s *broker.Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.visits, s)
	delete(g.told, s)
}

// tellAll notes that the peer has announced all it wants.
func (g *gate) tellAll(s *broker.Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told[s] = true
}

// toldAll reports whether it has, on a session that still counts.
func (g *gate) toldAll() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range g.told {
		if !s.Ended() {
			return true
		}
	}
	return false
}

func (g *gate) tell() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// ready reports whether messages may flow, and returns a channel that is closed
// when that, or the peer's routes, may have changed.
func (g *gate) ready() (bool, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.open(), g.changed
}

func (g *gate) open() bool {
	switch {
	case !g.moved.IsZero() && !g.answered.After(g.moved):
		return false
	case g.lost.IsZero():
		return true
	case !g.answered.After(g.lost):
		return false
	case g.heard.After(g.lost):
		return true
	}
	for _, since := range g.visits {
		if g.remembered && since.Before(g.lost) {
			return true
		}
	}
	return false
}
