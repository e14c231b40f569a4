package linkengine

import (
	"time"

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
