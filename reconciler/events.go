package reconciler

import (
	"slices"
	"strings"
	"sync"
	"time"

	"clink/topology"
)

// The types of the events that a [Reconciler] makes itself. One without a site
// is about the process, one without a peer about a site.
const (
	eventRevision   = "revision"    // a revision is new; Reason is its author
	eventLoaded     = "loaded"      // loading succeeds again
	eventLoadFailed = "load-failed" // what is wanted cannot be loaded, or not for a new reason
	eventApplied    = "applied"     // a change of a link, Reason says which; or every site had its turn, Reason is the result
	eventFailed     = "failed"      // something did not succeed, and is tried again
	eventRecovered  = "recovered"   // it did
	eventHeld       = "held"        // Reason is the rule
	eventReleased   = "released"
	eventSuspended  = "suspended"
	eventResumed    = "resumed" // Reason is resumed, expired or link-gone
	eventDrift      = "drift"   // what runs was not as it was left; Reason says how
	eventGap        = "gap"     // events between the one before and the one after are missing
)

const (
	eventsKept     = 1000
	eventsBehind   = 128 // of one subscriber, beyond which it has a gap
	subscribersMax = 256
	eventText      = 2000 // bytes of a message or reason
)

// A hub hands events to whoever subscribed, and keeps the last ones. Nobody
// who publishes ever waits for a subscriber.
type hub struct {
	mu   sync.Mutex
	last uint64
	ring []topology.Event // in order, at most eventsKept
	subs map[*subscriber]struct{}
}

// A subscriber has room for one event more than it may lag behind: a gap.
type subscriber struct {
	next    chan topology.Event
	lagging bool // a gap stands last in next
}

func (h *hub) publish(e topology.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	e.ID, e.Message, e.Reason = h.last, short(e.Message), short(e.Reason)
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if len(h.ring) == 2*eventsKept {
		h.ring = slices.Clone(h.kept())
	}
	h.ring = append(h.ring, e)
	for s := range h.subs {
		s.take(e)
	}
}

func (s *subscriber) take(e topology.Event) {
	switch behind := len(s.next); {
	case behind < eventsBehind:
		s.lagging = false
		s.next <- e
	case !s.lagging:
		s.lagging = true
		s.next <- gap(e.ID, e.Time)
	}
}

// gap stands for the event with that number, and perhaps more.
func gap(id uint64, at time.Time) topology.Event {
	return topology.Event{ID: id, Time: at, Type: eventGap, Message: "events are missing here: they came faster than they were read, or are too long ago"}
}

func (h *hub) kept() []topology.Event { return h.ring[max(0, len(h.ring)-eventsKept):] }

func (h *hub) subscribe(after uint64) (past []topology.Event, next <-chan topology.Event, stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	past = slices.Clone(h.since(after))
	s := &subscriber{next: make(chan topology.Event, eventsBehind+1)}
	if len(h.subs) >= subscribersMax {
		close(s.next)
		return past, s.next, func() {}
	}
	if h.subs == nil {
		h.subs = map[*subscriber]struct{}{}
	}
	h.subs[s] = struct{}{}
	return past, s.next, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.subs[s]; ok {
			delete(h.subs, s)
			close(s.next)
		}
	}
}

// since returns the events after the one with that number, with a gap in front
// if some of them are no longer there. A number that was not given out yet is
// of an earlier process.
func (h *hub) since(after uint64) []topology.Event {
	all := h.kept()
	if len(all) == 0 {
		return nil
	}
	first := all[0].ID
	switch {
	case after > h.last:
		return slices.Concat([]topology.Event{gap(first-1, all[0].Time)}, all)
	case after+1 < first && after > 0:
		return slices.Concat([]topology.Event{gap(first-1, all[0].Time)}, all)
	case after+1 < first:
		return all
	}
	return all[after+1-first:]
}

func short(s string) string {
	if len(s) <= eventText {
		return s
	}
	return strings.ToValidUTF8(s[:eventText], "") + "…"
}

// Publish adds an event to those that [Reconciler.Events] tells, with a number
// and, if it has none, the time. It never waits. Drift that is published here
// is counted as well.
func (r *Reconciler) Publish(e topology.Event) {
	if e.Type == eventDrift {
		r.drifted.Add(1)
	}
	r.events.publish(e)
}

// Events returns the events after the one with that number as far as they are
// kept (the last 1000), and a channel of those that follow. Whoever reads too
// slowly, or asks for what is no longer kept, finds an event of type "gap" in
// the place of what is missing. After stop the channel is closed; so it is at
// once where there are too many subscribers.
func (r *Reconciler) Events(after uint64) (past []topology.Event, next <-chan topology.Event, stop func()) {
	return r.events.subscribe(after)
}

// tell publishes what happened to a site or one of its links.
func (r *Reconciler) tell(kind, site, peer, revision, reason, message string) {
	r.Publish(topology.Event{Type: kind, Site: site, Peer: peer, Revision: revision, Reason: reason, Message: message})
}
