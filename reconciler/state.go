package reconciler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"clink/diagnostic"
	"clink/topology"
)

// A State is what a [Reconciler] knows at one moment. It belongs to whoever
// asked for it, except that Findings are shared and only to be read.
type State struct {
	Revision     string // of the last load that succeeded; "": none has yet
	Commit       string
	Findings     diagnostic.List
	Held         []topology.Held
	Loaded       time.Time // when that load ended
	LoadDuration time.Duration
	LoadError    string    // of the last load; "": it succeeded
	FailingSince time.Time // since when loads fail

	Sites    map[string]SiteState // one for each target
	Duration time.Duration        // of the last load together with all sites' turns for it
	Changes  map[string]uint64    // changes applied, by kind (topology.Create, Update, Delete)
	History  []Pass               // the latest first, at most 50
}

// A SiteState is how far one site has come.
type SiteState struct {
	Revision string // of its last turn; "": it had none yet
	Held     bool   // the turn left it as it was, because it is held back without a last good state
	At       time.Time
	Duration time.Duration
	Failures []Failure // what did not succeed, in order of peer
}

// A Failure is one thing that did not succeed and is tried again.
type Failure struct {
	Peer  string // "": the site as a whole
	Op    string // the kind of change, or "configure", or "links" for asking which there are
	Error string
	Since time.Time
	Tries int
	Next  time.Time // when it is tried again, if nothing wakes before
}

// A Pass is one entry of the history: a revision as it came, or a load that
// failed.
type Pass struct {
	Revision string // "": the load failed
	Commit   string
	At       time.Time
	Duration time.Duration // until every site had its turn; 0: that has not come, or another load overtook it
	Findings int
	Changes  int    // applied for it, corrections of later drift included
	Error    string // of the load, or of the sites' turns; one a line
}

const (
	historySize = 50
	errorLines  = 10 // of a Pass
)

// A record is the state as it is kept.
type record struct {
	state   State
	begun   uint64            // loads
	turned  map[string]uint64 // by site: number of the load of its last turn
	changed chan struct{}     // closed and replaced at each turn

	gen     uint64 // the load that the rest is about
	began   time.Time
	pending map[string]bool // sites that have not had their turn for it
}

func newRecord(targets map[string]Target) record {
	r := record{turned: map[string]uint64{}, changed: make(chan struct{})}
	r.state.Sites = make(map[string]SiteState, len(targets))
	for name := range targets {
		r.state.Sites[name] = SiteState{}
	}
	r.state.Changes = map[string]uint64{topology.Create: 0, topology.Update: 0, topology.Delete: 0}
	return r
}

// State returns what is known now.
func (r *Reconciler) State() State {
	r.init()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.rec.state
	s.Held = slices.Clone(s.Held)
	s.Sites = maps.Clone(s.Sites) // the lists of failures are replaced, never written to
	s.Changes = maps.Clone(s.Changes)
	s.History = slices.Clone(s.History)
	return s
}

// Wait returns when each of the sites (none named: every target) has had its
// turn for revision, or for a load that began after the call: what the caller
// wrote before is in that. It does not wake. That a turn is over does not say
// that all of it succeeded: see [SiteState].
func (r *Reconciler) Wait(ctx context.Context, revision string, sites ...string) error {
	r.init()
	r.mu.Lock()
	from := r.rec.begun
	r.mu.Unlock()
	if len(sites) == 0 {
		sites = slices.Collect(maps.Keys(r.Targets))
	}
	for _, name := range sites {
		if _, ok := r.Targets[name]; !ok {
			return fmt.Errorf("wait for revision %s: site %s is not run here", revision, name)
		}
	}
	for {
		r.mu.Lock()
		changed, done := r.rec.changed, true
		for _, name := range sites {
			done = done && (r.rec.turned[name] > from || r.rec.turned[name] > 0 && r.rec.state.Sites[name].Revision == revision)
		}
		r.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for revision %s: %w", revision, ctx.Err())
		case <-changed:
		}
	}
}

func (r *Reconciler) begin() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec.begun++
	return r.rec.begun
}

func (r *Reconciler) loadFailed(err error, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.rec.state
	if s.LoadError == "" {
		s.FailingSince = began
	}
	if s.LoadError == err.Error() {
		return
	}
	s.LoadError = err.Error()
	r.rec.enter(Pass{At: began, Error: s.LoadError})
	r.Log.Error("what is wanted cannot be loaded; what runs keeps running", "err", err)
}

func (r *Reconciler) loaded(d Desired, gen uint64, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.rec.state
	now := time.Now()
	r.logHeld(s.Held, d.Held)
	if s.LoadError != "" {
		r.Log.Info("loading succeeds again", "revision", d.Revision, "since", s.FailingSince)
	}
	if s.Revision != d.Revision || s.LoadError != "" || s.Loaded.IsZero() {
		r.rec.enter(Pass{Revision: d.Revision, Commit: d.Commit, At: began, Findings: len(d.Findings)})
		r.Log.Info("revision loaded", "revision", d.Revision, "commit", d.Commit,
			"errors", d.Findings.Count(diagnostic.Error), "warnings", d.Findings.Count(diagnostic.Warning), "held", len(d.Held))
	}
	s.Revision, s.Commit, s.Findings, s.Held = d.Revision, d.Commit, d.Findings, slices.Clone(d.Held)
	s.Loaded, s.LoadDuration, s.LoadError, s.FailingSince = now, now.Sub(began), "", time.Time{}
	r.rec.gen, r.rec.began, r.rec.pending = gen, began, map[string]bool{}
	for name := range s.Sites {
		r.rec.pending[name] = true
	}
	r.rec.finish()
}

// logHeld says once what is newly held back, and what no longer is.
func (r *Reconciler) logHeld(was, now []topology.Held) {
	has := func(list []topology.Held, h topology.Held) bool {
		return slices.ContainsFunc(list, func(o topology.Held) bool { return o.Site == h.Site && o.Peer == h.Peer && o.Rule == h.Rule })
	}
	for _, h := range now {
		if !has(was, h) {
			r.Log.Warn("held back at the last good state", "site", h.Site, "peer", h.Peer, "rule", h.Rule, "why", h.Why)
		}
	}
	for _, h := range was {
		if !has(now, h) {
			r.Log.Info("no longer held back", "site", h.Site, "peer", h.Peer, "rule", h.Rule, "since", h.Since)
		}
	}
}

// turned notes the end of one site's turn.
func (r *Reconciler) turned(site string, o order, began time.Time, done map[string]int, failures []Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.rec.state.Sites[site] = SiteState{Revision: o.revision, Held: o.skip, At: now, Duration: now.Sub(began), Failures: failures}
	r.rec.turned[site] = o.gen
	for op, n := range done {
		r.rec.state.Changes[op] += uint64(n)
		if p := r.rec.pass(o.revision); p != nil {
			p.Changes += n
		}
	}
	if o.gen == r.rec.gen {
		delete(r.rec.pending, site)
		r.rec.finish()
	}
	close(r.rec.changed)
	r.rec.changed = make(chan struct{})
}

// finish closes the pass if no site's turn is outstanding. Turns after that,
// which try again, correct what it says went wrong.
func (c *record) finish() {
	if len(c.pending) > 0 {
		return
	}
	if !c.began.IsZero() {
		c.state.Duration, c.began = time.Since(c.began), time.Time{}
	}
	p := c.pass(c.state.Revision)
	if p == nil {
		return
	}
	if p.Duration == 0 {
		p.Duration = c.state.Duration
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(c.state.Sites)) {
		for _, f := range c.state.Sites[name].Failures {
			lines = append(lines, fmt.Sprintf("%s: %s %s: %s", name, f.Op, f.Peer, f.Error))
		}
	}
	if n := len(lines) - errorLines; n > 0 {
		lines = append(lines[:errorLines], fmt.Sprintf("and %d more", n))
	}
	p.Error = strings.Join(lines, "\n")
}

func (c *record) enter(p Pass) {
	c.state.History = slices.Insert(c.state.History, 0, p)
	c.state.History = c.state.History[:min(len(c.state.History), historySize)]
}

// pass returns the latest entry of the revision, if it is still there.
func (c *record) pass(revision string) *Pass {
	i := slices.IndexFunc(c.state.History, func(p Pass) bool { return p.Revision == revision })
	if i < 0 {
		return nil
	}
	return &c.state.History[i]
}
