package linkengine

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"clink/linkengine/extrouter"
	"clink/linkengine/wire"
	"clink/topology"
)

// absentAfter is how long after our handshake was accepted a peer that has not
// come is reported.
const absentAfter = 20 * time.Second

// Status returns what is observed of each link, in order of name.
func (e *Engine) Status() []topology.LinkStatus {
	links := *e.links.Load()
	out := make([]topology.LinkStatus, 0, len(links))
	for _, name := range slices.Sorted(maps.Keys(links)) {
		out = append(out, links[name].status(time.Now()))
	}
	return out
}

func (l *link) status(now time.Time) topology.LinkStatus {
	s := topology.LinkStatus{
		Peer: l.peer, Enable: l.cfg.Load().Enable, Node: l.node,
		State:       topology.Disconnected,
		Replication: topology.Replication{State: topology.ReplicationDown, Reason: "disabled", Since: time.Unix(0, l.idle.Load())},
		Metrics:     l.metrics(),
	}
	if a := l.announcer.Load(); a != nil {
		s.Replication = a.Status()
		s.Replication.OwnRoutes = l.table.Len()
	} else if l.held.Load() {
		s.Replication.Reason = "waits until both ends are ready for a change"
	} else if s.Enable {
		s.Replication.Reason = "not started"
	}
	s.Replication.PeerRoutes = l.ext.Stats(l.peer).Routes
	if f := l.fwd.Load(); f != nil {
		connected, failed, lanes, reason := f.State()
		switch {
		case connected == lanes:
			s.State = topology.Connected
		case failed == 0:
			s.State = topology.Connecting
		default:
			s.Reason = reason
		}
	}
	s.Inbound = l.inbound(now, s.Replication)
	return s
}

// inbound is the peer's half. One that answers us and stays away has a fault of
// its own to look for (section 11: EMQX without a licence is such a peer).
func (l *link) inbound(now time.Time, r topology.Replication) topology.Presence {
	p := l.presence.get()
	if p.State == topology.InboundAbsent && r.State == topology.ReplicationOnline && now.Sub(r.Since) > absentAfter {
		p.Reason, p.Since = "the peer answers, but it has not connected to this cluster", r.Since
	}
	return p
}

func (l *link) metrics() topology.LinkMetrics {
	m := topology.LinkMetrics{
		Matched: l.matched.Load(), Success: l.counters.Success.Load(), Failed: l.counters.Failed.Load(),
		Dropped: l.counters.Dropped.Load(), Retried: l.counters.Retried.Load(),
		Received: l.received.Load(), Reconnects: l.counters.Reconnects.Load(), DroppedBy: l.counters.Reasons(),
		CopiesSent: l.copies.sent.Load(), CopiesStored: l.copies.stored.Load(), CopiesUnchanged: l.copies.unchanged.Load(),
	}
	if f := l.fwd.Load(); f != nil {
		g := f.Gauges()
		m.Queuing, m.QueueBytes, m.Inflight = g.Queuing, g.QueueBytes, g.Inflight
	}
	if d := l.disk.Load(); d != nil && d.spool.Len() > 0 {
		m.Queuing += int64(d.spool.Waiting())
		m.QueueBytes = max(m.QueueBytes, d.spool.Bytes())
	}
	m.Rate, m.RateLast5m, m.RateMax = l.rates.get()
	return m
}

// ResetMetrics makes the counters and rates of the link to peer zero; gauges
// stay what they are. Messages under way are counted when they are through. It
// reports false if there is no such link.
func (e *Engine) ResetMetrics(peer string) bool {
	l := (*e.links.Load())[peer]
	if l == nil {
		return false
	}
	l.rates.reset(&l.matched)
	l.received.Store(0)
	l.copies.reset()
	l.counters.Reset()
	return true
}

// presence is the peer's half of a link as seen here.
type presence struct {
	mu sync.Mutex
	topology.Presence
}

func (p *presence) become(state, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(state, reason)
}

func (p *presence) set(state, reason string) {
	if p.State != state || p.Reason != reason {
		p.Presence = topology.Presence{State: state, Reason: reason, Since: time.Now()}
	}
}

// online notes that the peer is here, unless the session that says so has been
// ended: then it may be known to be gone by now.
func (p *presence) online(ended func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ended() {
		p.set(topology.InboundOnline, "")
	}
}

// absent notes that the peer has not come, unless it is here: it is so before
// online says it. A peer that has come with a wrong name for us still has that
// when the link starts, and need not ask again.
func (p *presence) absent(here func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	misnamed := p.State == topology.InboundRejected && p.Reason == wire.BadRemoteName
	if !misnamed && !here() {
		p.set(topology.InboundAbsent, "")
	}
}

// expire notes that a peer which is here has been silent for too long, if that is
// so still: it is not any more before online says so.
func (p *presence) expire(silent func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.State == topology.InboundOnline && silent() {
		p.set(topology.InboundExpired, "nothing came from it for "+extrouter.TTL.String())
	}
}

// refused notes a wrong credential, unless the peer is here all the same.
func (p *presence) refused(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.State != topology.InboundOnline {
		p.set(topology.InboundNoCredential, reason)
	}
}

func (p *presence) get() topology.Presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Presence
}

// rates are how many messages a second were forwarded: lately, in the last five
// minutes, and at most.
type rates struct {
	mu          sync.Mutex
	at          time.Time
	count       uint64
	last        [rateSamples]float64
	n           int // samples taken
	latest, max float64
}

const (
	rateEvery   = 5 * time.Second
	rateSamples = 60
)

// sample is called with the counter from time to time.
func (r *rates) sample(now time.Time, counter *atomic.Uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := counter.Load()
	if r.at.IsZero() {
		r.at, r.count = now, count
		return
	}
	passed := now.Sub(r.at)
	if passed < rateEvery {
		return
	}
	r.latest = float64(count-r.count) / passed.Seconds()
	r.max = max(r.max, r.latest)
	r.last[r.n%rateSamples] = r.latest
	r.n++
	r.at, r.count = now, count
}

// reset forgets all samples, and makes the counter zero before another one is
// taken of it.
func (r *rates) reset(counter *atomic.Uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counter.Store(0)
	r.at, r.count, r.n, r.latest, r.max = time.Time{}, 0, 0, 0, 0
}

func (r *rates) get() (latest, last5m, max float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(r.n, rateSamples)
	if n == 0 {
		return 0, 0, 0
	}
	sum := 0.0
	for _, v := range r.last[:n] {
		sum += v
	}
	return r.latest, sum / float64(n), r.max
}
