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
// holds up no other.
type worker struct {
	r      *Reconciler
	site   string
	target Target
	orders chan order // capacity 1; only the latest counts

	failing map[key]*Failure
}

// A key is what can fail: a link, or with an empty peer a step.
type key struct{ peer, step string }

// give hands the order over in place of one that was not begun. Only one
// goroutine calls it.
func (w *worker) give(o order) {
	select {
	case <-w.orders:
	default:
	}
	w.orders <- o
}

func (w *worker) run(ctx context.Context) {
	var now order
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		full := true
		select {
		case <-ctx.Done():
			return
		case now = <-w.orders:
		case <-retry.C:
			full = false
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
	began := time.Now()
	done := map[string]int{}
	if o.skip {
		clear(w.failing) // nothing of it is tried any more
	} else {
		// A link is known before its peer is let in: a peer that comes to a
		// site that does not know it yet is turned away, and what it sends is
		// lost.
		done = w.inTime(ctx, func(bounded context.Context) map[string]int { return w.links(ctx, bounded, o, full) })
		w.inTime(ctx, func(bounded context.Context) map[string]int {
			w.outcome(ctx, key{step: stepConfigure}, stepConfigure, w.target.Configure(bounded, o.site))
			return nil
		})
	}
	if ctx.Err() == nil {
		w.r.turned(w.site, o, began, done, w.failures())
	}
}

// inTime gives one part of a turn its time.
func (w *worker) inTime(ctx context.Context, part func(context.Context) map[string]int) map[string]int {
	bounded, cancel := context.WithTimeout(ctx, w.r.Timeout)
	defer cancel()
	return part(bounded)
}

// links applies the difference of the links, and returns how many changes were
// made by their kind.
func (w *worker) links(ctx, bounded context.Context, o order, full bool) map[string]int {
	done := map[string]int{}
	actual, err := w.target.Links(bounded)
	w.outcome(ctx, key{step: stepLinks}, stepLinks, err)
	if err != nil {
		return done
	}
	pending := map[string]bool{}
	for _, c := range Diff(actual, o.site.Links) {
		if c.Op == topology.Delete && o.held[c.Peer] {
			continue
		}
		pending[c.Peer] = true
		if f := w.failing[key{peer: c.Peer}]; f != nil && !full && time.Now().Before(f.Next) {
			continue
		}
		err := bounded.Err()
		if err != nil {
			err = fmt.Errorf("not come to: %w", err)
		} else {
			err = w.target.Apply(bounded, c)
		}
		if err == nil {
			done[c.Op]++
			w.r.Log.Info("link change applied", "site", w.site, "peer", c.Peer, "op", c.Op, "revision", o.revision)
		}
		w.outcome(ctx, key{peer: c.Peer}, c.Op, err)
	}
	for k := range w.failing {
		if k.peer != "" && !pending[k.peer] {
			w.outcome(ctx, k, "", nil)
		}
	}
	return done
}

// outcome notes how one try ended. What fails because the process ends is no
// failure.
func (w *worker) outcome(ctx context.Context, k key, op string, err error) {
	if ctx.Err() != nil {
		return
	}
	f := w.failing[k]
	if err == nil {
		if f != nil {
			delete(w.failing, k)
			w.r.Log.Info("no longer failing", "site", w.site, "peer", k.peer, "op", f.Op, "since", f.Since)
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
