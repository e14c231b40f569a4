package linkengine

import (
	"slices"
	"sync/atomic"
	"time"

	"clink/broker"
	"clink/linkengine/forwarder"
	"clink/linkengine/wire"
)

// announcing is how long after a peer's handshake, or a packet of routes, its
// next routes are waited for.
const announcing = 5 * time.Second

// A doubt is a time in which nobody knows what a peer wants: from the start of
// the link, or a handshake that made its routes void, until it has announced: its
// first heartbeat says so, or that no more routes come.
// Its sessions may have waited through a restart of either end, and miss what is
// published now. So everything that it may have is held back for it, and sent
// if a route matches in time.
type doubt struct {
	until atomic.Int64 // in Unix nanoseconds
	end   atomic.Int64 // no packet of routes prolongs it beyond
}

// doubtFor begins a doubt, or ends the one there is sooner.
func (l *link) doubtFor(now time.Time, d time.Duration) {
	l.doubt.end.Store(now.Add(forwarder.HoldTime).UnixNano())
	l.doubt.until.Store(now.Add(d).UnixNano())
	l.anyDoubt(now.Add(d).UnixNano())
}

// startDoubt begins a doubt with the link, unless its peer was quicker: it may
// have come, and announced all it wants, before the link runs.
func (l *link) startDoubt() {
	l.doubtFor(time.Now(), forwarder.HoldTime)
	if l.gate.toldAll() { // else its word is still to come, and ends the doubt
		l.sure()
	}
}

// stillAnnouncing prolongs a doubt.
func (l *link) stillAnnouncing(now time.Time) {
	if l.doubt.until.Load() <= now.UnixNano() {
		return
	}
	until := min(now.Add(announcing).UnixNano(), l.doubt.end.Load())
	l.doubt.until.Store(until)
	l.anyDoubt(until)
}

// sure ends a doubt.
func (l *link) sure() {
	if l.Unsure() {
		l.doubt.until.Store(0)
	}
}

// Unsure is for the forwarder.
func (l *link) Unsure() bool { return time.Now().UnixNano() < l.doubt.until.Load() }

// anyDoubt notes until when there is a doubt about some peer, at most.
func (e *Engine) anyDoubt(until int64) {
	for {
		was := e.doubts.Load()
		if was >= until || e.doubts.CompareAndSwap(was, until) {
			return
		}
	}
}

func (e *Engine) doubtful(now time.Time) bool { return now.UnixNano() < e.doubts.Load() }

// perhaps holds a message back for each peer that may want it, beside those
// that are known to.
func (h handler) perhaps(m *broker.Message, r *wire.Forward, known []string) {
	links, exports := *h.links.Load(), *h.exports.Load()
	for peer, l := range links {
		switch {
		case m.Time.UnixNano() >= l.doubt.until.Load(), slices.Contains(known, peer), !within(exports[peer], m.Topic):
			continue
		case !l.cfg.Load().Enable || l.fwd.Load() == nil && l.disk.Load() == nil:
			continue
		case r == nil:
			r = record(m)
			r.ID = h.ids.Next()
		}
		item := forwarder.NewItem(r, orderKey(m.ClientID))
		item.Perhaps()
		l.take(item)
	}
}
