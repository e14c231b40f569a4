package linkengine

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"clink/broker"
	"clink/linkengine/actor"
	"clink/linkengine/client"
	"clink/linkengine/forwarder"
	"clink/linkengine/wire"
	"clink/topic"
	"clink/topology"
)

// A probe takes the road of a published message: the same queue, connection and
// window. What makes it one stands in the record beside the message, where no
// publisher can write (wire.Aside). A peer that is a node of clink does not
// deliver it, and answers on the connection on which this node announces its
// routes there: so nobody but the peer can, and only to probes that are awaited.

// Errors of [Engine.Trace].
var (
	ErrProbe  = errors.New("it cannot be followed")
	ErrProbes = errors.New("too many probes are under way; try again")
)

const (
	maxProbes     = 16  // under way at a time
	maxReports    = 100 // a second and link
	maxReport     = 16 << 10
	maxProbe      = 1 << 20 // bytes of the payload
	maxTraceTime  = 30 * time.Second
	namedRoutes   = 8 // of a peer, in a trace
	probeClientID = "clink-trace"
)

// Reasons why a probe is not sent over a link, or not known to have arrived.
const (
	linkHeld     = "link-held"
	linkDown     = "link-down"
	notDeclared  = "not-declared"
	notAnnounced = "not-announced"
	notClink     = "not-clink"
	noReport     = "no-report"
	noAnswer     = "no-answer"
	held         = "held"
)

// A tracing is one probe under way.
type tracing struct {
	topology.Probing
	id    string
	began time.Time
	m     *broker.Message

	mu   sync.Mutex
	hops map[string]*hop
	done chan struct{} // has room for one word
}

// A hop is the way over one link. The tracing's lock guards it.
type hop struct {
	topology.TracedHop
	reports bool // the peer is to report
	over    bool // there is nothing more to wait for
}

// Trace follows a probe message from this node over its links, and returns when
// every peer has answered, or in time. The message is delivered to nobody, and
// is not sent to peers that would deliver it, unless p says so.
func (e *Engine) Trace(ctx context.Context, p topology.Probing) (topology.Trace, error) {
	if err := traceable(&p); err != nil {
		return topology.Trace{}, fmt.Errorf("trace: %w: %w", ErrProbe, err)
	}
	t := &tracing{Probing: p, id: newProbe(), began: time.Now(), hops: make(map[string]*hop), done: make(chan struct{}, 1)}
	t.m = &broker.Message{Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, ClientID: probeClientID, Time: t.began}
	if !e.enlist(t) {
		return topology.Trace{}, fmt.Errorf("trace: %w", ErrProbes)
	}
	defer e.dismiss(t)
	out := topology.Trace{Topic: p.Topic, QoS: p.QoS, Deliver: p.Deliver, Site: e.audience(p.Topic, p.QoS)}
	if p.Deliver {
		if err := e.prober.Inject(t.m); err != nil {
			return topology.Trace{}, fmt.Errorf("trace: %w: %w", ErrProbe, err)
		}
		out.Site.Delivered = true
	}
	links := *e.links.Load()
	names := slices.Sorted(maps.Keys(links))
	for _, name := range names {
		t.mu.Lock()
		t.hops[name] = &hop{TracedHop: topology.TracedHop{Peer: name, Routes: []string{}}}
		t.mu.Unlock()
		links[name].trace(t)
	}
	t.await(ctx)
	out.Links = make([]topology.TracedHop, len(names))
	for i, name := range names {
		out.Links[i] = t.conclude(links[name])
	}
	return out, nil
}

func newProbe() string {
	var id [16]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// traceable says why a probe cannot be sent, and fills in what is left out.
func traceable(p *topology.Probing) error {
	if err := topic.ValidName(p.Topic); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(p.Topic, "$LINK/"), strings.HasPrefix(p.Topic, "$SYS/"), p.Topic == "$LINK", p.Topic == "$SYS":
		return fmt.Errorf("topic name %.80q is reserved for the broker", p.Topic)
	case p.QoS > 2:
		return fmt.Errorf("QoS %d is not 0, 1 or 2", p.QoS)
	case len(p.Payload) > maxProbe:
		return fmt.Errorf("a payload of %d bytes is more than the %d of a probe", len(p.Payload), maxProbe)
	case p.Timeout < 0 || p.Timeout > maxTraceTime:
		return fmt.Errorf("a timeout of %v is more than %v", p.Timeout, maxTraceTime)
	}
	if p.Timeout == 0 {
		p.Timeout = 5 * time.Second
	}
	return nil
}

func (e *Engine) enlist(t *tracing) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.tracings) >= maxProbes {
		return false
	}
	e.tracings[t.id] = t
	return true
}

func (e *Engine) dismiss(t *tracing) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.tracings, t.id)
}

func (e *Engine) audience(name string, qos byte) topology.TracedSite {
	s := topology.TracedSite{Name: e.opts.Cluster}
	s.Subscribers, s.Sessions, s.Groups = e.opts.Node.Audience(name, qos)
	return s
}

// trace sends the probe over the link, or notes why not.
func (l *link) trace(t *tracing) {
	routes := l.ext.Filters(l.peer, t.Topic, namedRoutes)
	key := orderKey(t.id)
	reason, detail := l.obstacle(t, routes, key)
	t.change(l.peer, func(h *hop) {
		h.Routes = append(h.Routes, routes...)
		h.State, h.Reason, h.Detail, h.over = topology.TraceWithheld, reason, detail, true
		if reason == "" {
			h.State, h.Queued, h.over = topology.TraceQueued, t.since(time.Now()), false
			h.reports = l.features.Load() != 0
		}
	})
	if reason != "" {
		return
	}
	r := record(t.m)
	r.ID = l.ids.Next()
	if l.features.Load() != 0 {
		r.Aside = &wire.Aside{Trace: []byte(t.id), Deliver: t.Deliver}
	}
	f := l.fwd.Load()
	if f != nil && f.Offer(r, key, 0, func(o forwarder.Outcome, over bool) { t.follow(l.peer, o, over) }) {
		l.matched.Add(1)
		return
	}
	t.change(l.peer, func(h *hop) {
		h.State, h.Reason, h.Queued, h.over = topology.TraceWithheld, forwarder.QueueFull, nil, true
		h.Detail = "the queue towards " + l.peer + " is full"
	})
}

// obstacle says why the probe must not, or cannot, be sent over the link.
func (l *link) obstacle(t *tracing, routes []string, key uint64) (reason, detail string) {
	declared := (*l.exports.Load())[l.peer]
	exported := within(declared, t.Topic)
	f := l.fwd.Load()
	var lane forwarder.Lane
	if f != nil {
		lane = f.Lane(key)
	}
	switch {
	case !l.cfg.Load().Enable:
		return linkDisabled, "the link is disabled here"
	case l.held.Load():
		return linkHeld, "a change of the link waits until both ends are ready for it"
	case !exported && len(routes) == 0:
		return notDeclared, fmt.Sprintf("%s's half of the link does not ask for it: its topics are %v", l.peer, declared)
	case !exported:
		return notExported, fmt.Sprintf("%s announces it, but its half of the link in the source does not ask for it: the topics there are %v", l.peer, declared)
	case len(routes) == 0:
		return notAnnounced, l.silence()
	case f == nil:
		return linkDown, "the link does not run"
	case !lane.Connected:
		return linkDown, "there is no connection to " + l.peer + ": " + cmp.Or(lane.Reason, "it is still being made")
	case l.features.Load() == 0 && !t.Deliver:
		return notClink, l.strange()
	}
	return "", ""
}

// silence says why the peer may have announced nothing that matches.
func (l *link) silence() string {
	if p := l.presence.get(); p.State != topology.InboundOnline {
		return fmt.Sprintf("%s announces nothing here: its half of the link is %s %s", l.peer, p.State, bracketed(p.Reason))
	}
	return "nobody at " + l.peer + " subscribes to it"
}

// strange says why the peer is not known to be a node of clink.
func (l *link) strange() string {
	if a := l.announcer.Load(); a != nil {
		if s := a.Status(); s.State != topology.ReplicationOnline {
			return fmt.Sprintf("the report of %s could not come back: route replication to it is %s %s; with delivery asked for, the probe is sent all the same", l.peer, s.State, bracketed(s.Reason))
		}
	}
	return l.peer + " is no node of clink, and would deliver the probe to subscribers: ask for delivery to send it"
}

func bracketed(reason string) string {
	if reason == "" {
		return "(no reason known)"
	}
	return "(" + short(reason) + ")"
}

func (t *tracing) since(at time.Time) *float64 {
	ms := float64(at.Sub(t.began).Microseconds()) / 1000
	return &ms
}

// change changes the hop to a peer, and wakes who waits for all of them.
func (t *tracing) change(peer string, f func(h *hop)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.hops[peer]; h != nil {
		f(h)
	}
	select {
	case t.done <- struct{}{}:
	default:
	}
}

// follow notes how far the probe has come.
func (t *tracing) follow(peer string, o forwarder.Outcome, over bool) {
	now := time.Now()
	t.change(peer, func(h *hop) {
		if !o.Sent.IsZero() {
			h.State, h.Sent = topology.TraceSent, t.since(o.Sent)
		}
		switch {
		case !over:
			return
		case o.Dropped != "":
			h.State, h.Reason, h.Detail, h.over = topology.TraceDropped, o.Dropped, "it was dropped before it could arrive", true
			return
		case t.QoS > 0:
			code := int(o.Code)
			h.Acked, h.Code = t.since(now), &code
			h.State = topology.TraceAcked
		}
		if h.Site != nil { // the report came first
			h.State = topology.TraceArrived
		}
		h.over = !h.reports || h.Site != nil || o.Code >= 0x80
	})
}

func (t *tracing) await(ctx context.Context) {
	late := time.NewTimer(t.Timeout)
	defer late.Stop()
	for !t.over() {
		select {
		case <-t.done:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (t *tracing) over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.hops {
		if !h.over {
			return false
		}
	}
	return true
}

// conclude returns how far the probe came over a link, and says what is missing.
func (t *tracing) conclude(l *link) topology.TracedHop {
	var lane forwarder.Lane
	if f := l.fwd.Load(); f != nil {
		lane = f.Lane(orderKey(t.id))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hops[l.peer]
	switch {
	case h.Reason != "" || h.State == topology.TraceArrived:
	case h.Code != nil && *h.Code >= 0x80:
		h.Reason, h.Detail = fmt.Sprintf("puback-0x%02x", *h.Code), l.peer+" refused it"
	case h.State == topology.TraceQueued && lane.Held:
		h.Reason, h.Detail = held, fmt.Sprintf("since the connection was lost, %s has not announced its routes again: %d messages wait with it", l.peer, lane.Waiting-1)
	case h.State == topology.TraceQueued:
		h.Reason, h.Detail = linkDown, fmt.Sprintf("it waits behind %d messages %s", max(lane.Waiting-1, 0), bracketed(lane.Reason))
	case h.reports && h.State == topology.TraceAcked:
		h.Reason, h.Detail = noReport, fmt.Sprintf("%s took it and did not report within %v", l.peer, t.Timeout)
	case h.reports || h.State == topology.TraceSent && t.QoS > 0:
		h.Reason, h.Detail = noAnswer, fmt.Sprintf("%s did not answer within %v", l.peer, t.Timeout)
	}
	return h.TracedHop
}

// An arrival is what a node reports of a probe.
type arrival struct {
	topology.TracedSite
	Reason string `json:"reason"` // why it was not, or would not be, delivered
}

// probed deals with a probe that a peer sent: it is delivered if the peer asks
// for that, and reported.
func (l *link) probed(s *broker.Session, r *wire.Forward) broker.Verdict {
	if !l.reports.take(time.Now()) {
		l.counters.Note("trace-limit")
		return broker.AckNoMatch
	}
	a := arrival{TracedSite: topology.TracedSite{Name: l.opts.Cluster}}
	if within(l.cfg.Load().Topics, r.Topic) {
		a.TracedSite = l.audience(r.Topic, r.QoS)
	} else {
		a.Reason = notWanted
	}
	if r.Aside.Deliver && a.Reason == "" {
		if a.Reason = l.accept(s, r); a.Reason == "" {
			l.received.Add(1)
			a.Delivered = true
		} else {
			l.counters.Note(a.Reason)
		}
	}
	l.answer(string(r.Aside.Trace), &a)
	if a.Reason != "" || a.Receivers() == 0 {
		return broker.AckNoMatch
	}
	return broker.Ack
}

// answer reports on the session on which the peer announces its routes.
func (l *link) answer(id string, a *arrival) {
	payload, err := json.Marshal(a)
	if err != nil {
		return // it is made of texts and numbers
	}
	l.mu.Lock()
	var to *broker.Session
	name := ""
	for s, v := range l.visits {
		if s.Peer() == l.peer && v.features != 0 {
			to, name = s, v.actor.Name
		}
	}
	l.mu.Unlock()
	if to == nil {
		return // the peer says that no report came
	}
	if err := to.Reply(wire.RespTopic(l.peer, name), payload, []byte(actor.ReportPrefix+id)); err != nil {
		l.fault(l.peer, "a probe cannot be reported", "err", short(err.Error()))
	}
}

// report takes what the peer says of a probe, if one is awaited from it.
func (l *link) report(m client.Message) {
	id := strings.TrimPrefix(string(m.Correlation), actor.ReportPrefix)
	l.mu.Lock()
	t := l.tracings[id]
	l.mu.Unlock()
	var a arrival
	if t == nil || len(m.Payload) > maxReport || json.Unmarshal(m.Payload, &a) != nil {
		return
	}
	a.Name = l.peer // whatever it calls itself
	now := time.Now()
	t.change(l.peer, func(h *hop) {
		if !h.reports || h.Told != nil {
			return
		}
		h.Told, h.Site = t.since(now), &a.TracedSite
		if a.Reason != "" {
			h.Reason, h.Detail = printable(a.Reason), l.peer+" took it, and would deliver it to nobody: "+printable(a.Reason)
		}
		if h.Acked != nil || t.QoS == 0 {
			h.State, h.over = topology.TraceArrived, true
		}
	})
}

// printable bounds a word of a peer, and keeps out what a terminal acts on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, short(s))
}

// A ration lets so many things pass in a second.
type ration struct {
	mu     sync.Mutex
	second int64
	taken  int
}

func (r *ration) take(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := now.Unix(); s != r.second {
		r.second, r.taken = s, 0
	}
	r.taken++
	return r.taken <= maxReports
}
