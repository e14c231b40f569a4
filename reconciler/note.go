package reconciler

import (
	"fmt"
	"slices"
	"time"

	"clink/diagnostic"
	"clink/topology"
)

// The methods below note what happened, in the state, the log and the events.

func (r *Reconciler) begin() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec.begun++
	return r.rec.begun
}

func (r *Reconciler) loadFailed(err error, gen uint64, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.rec.tick()
	r.rec.failed = gen
	s := &r.rec.state
	if s.LoadError == "" {
		s.FailingSince = began
	}
	if s.LoadError == err.Error() {
		return
	}
	s.LoadError = err.Error()
	r.rec.enter(Pass{At: began, Result: resultFailed, Error: s.LoadError})
	r.rec.judge(time.Now())
	poke(r.changed)
	r.Log.Error("what is wanted cannot be loaded; what runs keeps running", "err", err)
	r.tell(eventLoadFailed, "", "", "", "", s.LoadError)
}

func (r *Reconciler) loaded(d Desired, gen uint64, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.rec.state
	now := time.Now()
	r.tellHeld(s.Held, d.Held, d.Revision)
	if s.LoadError != "" {
		r.Log.Info("loading succeeds again", "revision", d.Revision, "since", s.FailingSince)
		r.tell(eventLoaded, "", "", d.Revision, "", "loading succeeds again")
	}
	if s.Revision != d.Revision || s.LoadError != "" || s.Loaded.IsZero() {
		r.entered(d, began)
	}
	s.Revision, s.Commit, s.Findings, s.Waived, s.Held = d.Revision, d.Commit, d.Findings, d.Waived, slices.Clone(d.Held)
	s.Loaded, s.LoadDuration, s.LoadError, s.FailingSince = now, now.Sub(began), "", time.Time{}
	r.rec.gen, r.rec.began, r.rec.pending, r.rec.wanted, r.rec.counted = gen, began, map[string]bool{}, d, 0
	for name := range s.Sites {
		r.rec.pending[name] = true
	}
	r.finish()
}

// entered makes the entry of a revision that is new, or wanted again after
// loads failed.
func (r *Reconciler) entered(d Desired, began time.Time) {
	errs, warnings := d.Findings.Count(diagnostic.Error), d.Findings.Count(diagnostic.Warning)
	before := r.rec.wanted.Topology
	if r.rec.state.Loaded.IsZero() {
		before = r.Before
	}
	if p := r.rec.pass(d.Revision); p != nil && r.rec.known == d.Revision && p == &r.rec.state.History[0] {
		p.Result, p.Error = resultPending, ""
	} else {
		r.rec.known = ""
		r.rec.enter(Pass{
			Revision: d.Revision, Commit: d.Commit, Author: d.Author, At: began,
			Findings: len(d.Findings), Errors: errs, Warnings: warnings,
			Plan: Plan(before, d.Topology, r.here()), Result: resultPending,
		})
	}
	r.Log.Info("revision loaded", "revision", d.Revision, "commit", d.Commit, "author", d.Author, "errors", errs, "warnings", warnings, "held", len(d.Held))
	r.tell(eventRevision, "", "", d.Revision, d.Author, fmt.Sprintf("%d errors and %d warnings are found; %d links or sites are held back", errs, warnings, len(d.Held)))
}

// tellHeld says once what is newly held back, and what no longer is.
func (r *Reconciler) tellHeld(was, now []topology.Held, revision string) {
	has := func(list []topology.Held, h topology.Held) bool {
		return slices.ContainsFunc(list, func(o topology.Held) bool { return o.Site == h.Site && o.Peer == h.Peer && o.Rule == h.Rule })
	}
	for _, h := range now {
		if !has(was, h) {
			r.Log.Warn("held back at the last good state", "site", h.Site, "peer", h.Peer, "rule", h.Rule, "why", h.Why)
			r.tell(eventHeld, h.Site, h.Peer, revision, h.Rule, "held back at the last good state: "+h.Why)
		}
	}
	for _, h := range was {
		if !has(now, h) {
			r.Log.Info("no longer held back", "site", h.Site, "peer", h.Peer, "rule", h.Rule, "since", h.Since)
			r.tell(eventReleased, h.Site, h.Peer, revision, h.Rule, "no longer held back")
		}
	}
}

// turned notes the end of one site's turn.
func (r *Reconciler) turned(site string, o order, began time.Time, done map[string]int, failures []Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.rec.state.Sites[site] = SiteState{Revision: o.revision, Held: o.skip, At: now, Duration: now.Sub(began), Failures: failures}
	r.rec.turned[site], r.rec.served[site] = o.gen, o.suspensions
	for op, n := range done {
		r.rec.state.Changes[op] += uint64(n)
		r.rec.counted += n
		// After a restart everything is made anew, which is not the
		// revision's doing.
		if p := r.rec.pass(o.revision); p != nil && r.rec.known != o.revision {
			p.Changes += n
		}
	}
	if o.gen == r.rec.gen {
		delete(r.rec.pending, site)
		r.finish()
	}
	r.rec.judge(now)
	r.rec.tick()
}

// tick lets look again who waits for a change.
func (c *record) tick() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// finish closes the pass if it is over.
func (r *Reconciler) finish() {
	p, news := r.rec.finish()
	poke(r.changed)
	r.rec.judge(time.Now())
	if len(r.rec.pending) == 0 {
		r.rec.known = ""
	}
	if !news {
		return
	}
	text := fmt.Sprintf("every site had its turn after %v: %d changes", p.Duration.Round(time.Millisecond), p.Changes)
	if p.Error != "" {
		text += "; " + p.Error
	}
	r.tell(eventApplied, "", "", p.Revision, p.Result, text)
}
