package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"clink/diagnostic"
	"clink/topology"
)

// A State is what a [Reconciler] knows at one moment. It belongs to whoever
// asked for it, except that Findings, and the lists in the history, are shared
// and only to be read.
type State struct {
	Revision     string // of the last load that succeeded; "": none has yet
	Commit       string
	Findings     diagnostic.List
	Waived       diagnostic.List // what waivers accept
	Held         []topology.Held
	Loaded       time.Time // when that load ended
	LoadDuration time.Duration
	LoadError    string    // of the last load; "": it succeeded
	FailingSince time.Time // since when loads fail

	Sites       map[string]SiteState // one for each target
	Duration    time.Duration        // of the last load together with all sites' turns for it
	Changes     map[string]uint64    // changes applied, by kind (topology.Create, Update, Delete)
	History     []Pass               // the latest first, at most 50; over restarts where DataDirs are given
	Drift       uint64               // how often something was found that was not as it was left
	Suspensions []topology.Suspension
	Conditions  []topology.Condition // of the process: Ready, Reconciling, Stalled
}

// A SiteState is how far one site has come.
type SiteState struct {
	Revision string // of its last turn; "": it had none yet
	Held     bool   // the turn left it as it was, because it is held back without a last good state
	At       time.Time
	Duration time.Duration
	Failures []Failure // what did not succeed, in order of peer

	Conditions []topology.Condition // Ready, Reconciling, Stalled
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

// A record is the state as it is kept.
type record struct {
	state   State
	begun   uint64            // loads
	failed  uint64            // number of the last one that failed
	turned  map[string]uint64 // by site: number of the load of its last turn
	changed chan struct{}     // closed and replaced at each turn, and each load that fails

	gen     uint64 // the load that the rest is about
	began   time.Time
	pending map[string]bool // sites that have not had their turn for it
	counted int             // changes that were applied for it
	wanted  Desired         // what it gave
	inForce string          // the last revision for which every site had its turn
	known   string          // the revision that an earlier process ended with, until it is loaded here

	suspended   suspended
	suspensions uint64            // changes of these
	served      map[string]uint64 // by site: how many of those its last turn knew of

	conditions map[string][]topology.Condition // by site; "" is the process
}

func newRecord(targets map[string]Target) record {
	r := record{
		turned: map[string]uint64{}, served: map[string]uint64{}, changed: make(chan struct{}),
		conditions: map[string][]topology.Condition{},
	}
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
	s.Drift = r.drifted.Load()
	s.Suspensions = r.rec.suspended.list("")
	r.rec.judge(time.Now())
	s.Conditions = slices.Clone(r.rec.conditions[""])
	for name, site := range s.Sites {
		site.Conditions = slices.Clone(r.rec.conditions[name])
		s.Sites[name] = site
	}
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
	err := r.until(ctx, func() bool {
		for _, name := range sites {
			if r.rec.turned[name] <= from && (r.rec.turned[name] == 0 || r.rec.state.Sites[name].Revision != revision) {
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("wait for revision %s: %w", revision, err)
	}
	return nil
}

// Look loads what is wanted and returns when each site has had its turn for
// that, or with the error of the load. As with Wait, a turn need not have
// succeeded.
func (r *Reconciler) Look(ctx context.Context) error {
	r.init()
	r.mu.Lock()
	from := r.rec.begun
	r.mu.Unlock()
	r.Wake()
	failed := false
	err := r.until(ctx, func() bool {
		failed = r.rec.failed > from
		for name := range r.Targets {
			if r.rec.turned[name] <= from {
				return failed
			}
		}
		failed = false
		return true
	})
	switch {
	case err != nil:
		return fmt.Errorf("look again: %w", err)
	case failed:
		return errors.New(r.State().LoadError)
	}
	return nil
}

// until waits for what turns bring about.
func (r *Reconciler) until(ctx context.Context, done func() bool) error {
	for {
		r.mu.Lock()
		changed, ok := r.rec.changed, done()
		r.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
