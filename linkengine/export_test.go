package linkengine

import (
	"time"

	"clink/broker"
	"clink/topology"
)

// Actors is how many actors of a peer the engine knows.
func (e *Engine) Actors(peer string) int { return e.ext.Stats(peer).Actors }

// StatusAt is the status of the link to peer as it would be at a later time if
// nothing happened until then.
func (e *Engine) StatusAt(peer string, now time.Time) topology.LinkStatus {
	return (*e.links.Load())[peer].status(now)
}

// Visits is on how many sessions peers have said something that is remembered.
func (e *Engine) Visits() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.visits) + len(e.turnedAway)
}

// KeepHouse looks for what has expired at a time.
func (e *Engine) KeepHouse(now time.Time) { e.keepHouse(now) }

// A Late handler is the engine's with something that happens before each Control.
type Late struct {
	broker.Handler
	Before func(s *broker.Session)
}

func (l Late) Control(s *broker.Session, m *broker.Message) broker.Verdict {
	l.Before(s)
	return l.Handler.Control(s, m)
}

// Handler is what the engine has made the node's.
func (e *Engine) Handler() broker.Handler { return handler{e} }
