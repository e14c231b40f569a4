package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"clink/topology"
)

// The steps of a turn that are not about one link, as a [Failure] names them.
const (
	stepConfigure = "configure"
	stepLinks     = "links"
)

// A worker brings one site to its latest order, so that a site that hangs
// holds up no other for long.
type worker struct {
	r      *Reconciler
	site   string
	target Target
	orders orders

	failing    map[key]*Failure
	left       map[string]topology.Link // as they were left; nil: that is not known
	unsure     map[string]bool          // peers whose link may be as it was, or as it should be
	configured *topology.Site           // what the target was last asked to be
}

// A key is what can fail: a link, or with an empty peer a step.
type key struct{ peer, step string }

func newWorker(r *Reconciler, site string, target Target) *worker {
	return &worker{r: r, site: site, target: target, orders: orders{come: make(chan struct{}, 1)}, failing: map[key]*Failure{}, unsure: map[string]bool{}}
}

func (w *worker) run(ctx context.Context) {
	var now order // with no site: none came yet
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for ctx.Err() == nil {
		next, full := w.orders.take(w.site)
		if full {
			now = next
		} else {
			select {
			case <-ctx.Done():
				return
			case <-w.orders.come:
				continue
			case <-retry.C:
				now.meeting = nil
			}
		}
		w.turn(ctx, now, full)
		retry.Stop()
		if at, ok := w.next(); ok {
			retry.Reset(time.Until(at))
		}
	}
}

// turn brings the site to the order, as far as it can be done. A turn that is
// not full tries only what is due again.
func (w *worker) turn(ctx context.Context, o order, full bool) {
	if o.site == nil { // none came yet
		return
	}
	defer o.meeting.leave(w.site)
	began := time.Now()
	done := map[string]int{}
	if o.skip {
		clear(w.failing) // nothing of it is tried any more
		w.left = nil
	} else {
		done = w.bring(ctx, o, full)
	}
	if ctx.Err() == nil {
		w.r.turned(w.site, o, began, done, w.failures())
	}
}

// bring goes through the phases, and returns how many changes were made by
// their kind.
func (w *worker) bring(ctx context.Context, o order, full bool) map[string]int {
	done := map[string]int{}
	others := &wait{meeting: o.meeting, site: w.site, others: o.others}
	meet := func(phase int) {
		if name := others.meet(ctx, phase); name != "" {
			w.r.Log.Warn("going on without waiting for another site's half of the change", "site", w.site, "for", name, "waited", patience)
		}
	}
	var ready []topology.Change
	w.inTime(ctx, func(bounded context.Context) { ready = w.hold(ctx, bounded, o, full) })
	meet(phaseHold)
	w.inTime(ctx, func(bounded context.Context) { w.close(bounded, o.site) })
	meet(phaseClose)
	ending := func(c topology.Change) bool { return c.Op == topology.Delete || !c.Link.Enable }
	w.inTime(ctx, func(bounded context.Context) {
		w.apply(ctx, bounded, o, ready, ending, done)
		w.configured = o.site
		w.outcome(ctx, o, key{step: stepConfigure}, stepConfigure, w.target.Configure(bounded, o.site))
	})
	meet(phaseSettle)
	w.inTime(ctx, func(bounded context.Context) {
		w.apply(ctx, bounded, o, ready, func(c topology.Change) bool { return !ending(c) }, done)
	})
	return done
}

// inTime gives one part of a turn its time.
func (w *worker) inTime(ctx context.Context, part func(context.Context)) {
	bounded, cancel := context.WithTimeout(ctx, w.r.Timeout)
	defer cancel()
	part(bounded)
}

// hold finds out which changes there are to be made, does the first half of
// each, and returns those for which that succeeded.
func (w *worker) hold(ctx, bounded context.Context, o order, full bool) (ready []topology.Change) {
	actual, err := w.target.Links(bounded)
	w.outcome(ctx, o, key{step: stepLinks}, stepLinks, err)
	if err != nil {
		return nil
	}
	w.drift(o, actual)
	pending := map[string]bool{}
	for _, c := range w.changes(actual, o) {
		pending[c.Peer] = true
		if f := w.failing[key{peer: c.Peer}]; f != nil && !full && time.Now().Before(f.Next) {
			continue
		}
		held := c
		held.Hold = true
		if err := w.try(bounded, held); err != nil {
			w.unsure[c.Peer] = true
			w.outcome(ctx, o, key{peer: c.Peer}, c.Op, err)
			continue
		}
		ready = append(ready, c)
	}
	for k := range w.failing {
		if k.peer != "" && !pending[k.peer] {
			w.outcome(ctx, o, k, "", nil)
		}
	}
	return ready
}

// changes returns what is to be done. A link for which a change failed is to be
// changed even if it looks as it should: the change may have been made by half.
func (w *worker) changes(actual []topology.Link, o order) []topology.Change {
	changes := slices.DeleteFunc(Diff(actual, o.site.Links), func(c topology.Change) bool {
		return c.Op == topology.Delete && o.held[c.Peer]
	})
	for _, f := range w.failures() {
		l, wanted := o.site.Link(f.Peer)
		if f.Peer == "" || !wanted || slices.ContainsFunc(changes, func(c topology.Change) bool { return c.Peer == f.Peer }) {
			continue
		}
		op := f.Op
		if op == topology.Delete {
			op = topology.Update
		}
		changes = append(changes, topology.Change{Op: op, Peer: f.Peer, Link: l})
	}
	return changes
}

func (w *worker) try(bounded context.Context, c topology.Change) error {
	if err := bounded.Err(); err != nil {
		return fmt.Errorf("not come to: %w", err)
	}
	return w.target.Apply(bounded, c)
}

// apply makes those of the changes that are of a kind.
func (w *worker) apply(ctx, bounded context.Context, o order, changes []topology.Change, of func(topology.Change) bool, done map[string]int) {
	for _, c := range changes {
		if !of(c) {
			continue
		}
		err := w.try(bounded, c)
		w.note(c, err)
		if err == nil {
			done[c.Op]++
			w.r.Log.Info("link change applied", "site", w.site, "peer", c.Peer, "op", c.Op, "revision", o.revision)
			w.r.tell(eventApplied, w.site, c.Peer, o.revision, c.Op, "the "+c.Op+" of the link is applied")
		}
		w.outcome(ctx, o, key{peer: c.Peer}, c.Op, err)
	}
}

// close lets go of the addresses that the site is not to listen on any more.
// What comes of that is told when the site is configured as a whole.
func (w *worker) close(bounded context.Context, to *topology.Site) {
	if w.configured == nil {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(w.configured.Listeners), func(l topology.Listener) bool {
		i := slices.IndexFunc(to.Listeners, func(m topology.Listener) bool { return m.Name == l.Name })
		return l.Enable && (i < 0 || !to.Listeners[i].Enable || to.Listeners[i].Bind != l.Bind)
	})
	if len(kept) == len(w.configured.Listeners) {
		return
	}
	less := *w.configured
	less.Listeners = kept
	w.configured = &less
	w.target.Configure(bounded, &less)
}

// outcome notes how one try ended. What fails because the process ends is no
// failure.
func (w *worker) outcome(ctx context.Context, o order, k key, op string, err error) {
	if ctx.Err() != nil {
		return
	}
	f := w.failing[k]
	if err == nil {
		if f != nil {
			delete(w.failing, k)
			w.r.Log.Info("no longer failing", "site", w.site, "peer", k.peer, "op", f.Op, "since", f.Since)
			w.r.tell(eventRecovered, w.site, k.peer, o.revision, f.Op, "no longer failing since "+f.Since.UTC().Format(time.RFC3339))
		}
		return
	}
	now := time.Now()
	if f == nil {
		f = &Failure{Peer: k.peer, Since: now}
		w.failing[k] = f
	}
	if f.Error != err.Error() || f.Op != op {
		w.r.Log.Warn("failing, will be tried again", "site", w.site, "peer", k.peer, "op", op, "err", err)
		w.r.tell(eventFailed, w.site, k.peer, o.revision, op, err.Error())
	}
	f.Op, f.Error = op, err.Error()
	f.Tries++
	f.Next = now.Add(backoff(f.Tries))
}

// next returns when to try again what failed. Without the list of links none
// of them can be tried.
func (w *worker) next() (at time.Time, ok bool) {
	if f := w.failing[key{step: stepLinks}]; f != nil {
		return f.Next, true
	}
	for _, f := range w.failing {
		if !ok || f.Next.Before(at) {
			at, ok = f.Next, true
		}
	}
	return at, ok
}

func (w *worker) failures() []Failure {
	out := make([]Failure, 0, len(w.failing))
	for f := range maps.Values(w.failing) {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b Failure) int { return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Op, b.Op)) })
	return out
}
