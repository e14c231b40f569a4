// Package reconciler brings what runs to what is wanted. It loads the wanted
// state when woken and from time to time, and for each site that this process
// is responsible for compares the links that are wanted with those that run,
// and applies the difference, no more. What is equal is not touched.
//
// Sites are independent of each other, and so are a site's links: one that
// fails or hangs is kept in the [State] and tried again, while the others go
// on. A load that fails changes nothing that runs. Only where both ends of a
// link change at once do their sites wait for each other, and not for long:
// both are ready to be connected to before either connects, and neither
// connects any more before one refuses.
//
// A link can be suspended, which keeps it disabled without a change of the
// source. The last revisions and what came of them are kept as a history; what
// happens is told as events; three conditions sum it up.
//
// What was not left so is drift: it is told, counted, and set right. There is
// not much that a site in this process can drift in. Its links are changed by
// nobody else, and end with the process; they are compared all the same, at
// every turn. A listener can lose its socket to the system; the broker says
// so and opens it again, and whoever sees that may [Reconciler.Publish] it.
//
// The package does not know where the wanted state comes from nor what runs a
// site: the one is a function, the other a [Target]. It also keeps the last
// good state in a file ([SaveLastGood]); what is good is for its caller to say.
package reconciler

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"clink/diagnostic"
	"clink/topology"
)

// A Target runs or drives one site. Its methods are not called by two
// goroutines at once, except Status, and return when ctx ends.
type Target interface {
	// Links returns the links that there are.
	Links(context.Context) ([]topology.Link, error)
	// Configure brings about everything of the site but its links: listeners,
	// access, grants, exports. It is called in each turn, also when nothing has
	// changed, and leaves alone what is as wanted. After an error it has done
	// what it could.
	Configure(context.Context, *topology.Site) error
	// Apply makes one change to one link. Each comes twice: with Hold before
	// Configure, and then without, after Configure where the link is to
	// connect.
	Apply(context.Context, topology.Change) error
	// Status observes the links.
	Status(context.Context) ([]topology.LinkStatus, error)
}

// Desired is what is wanted: what a load gives. Nothing in it is written to
// afterwards.
type Desired struct {
	Topology *topology.Topology // as it is to run, with what is held back already at its last good state
	Revision string
	Commit   string
	Author   string // who wrote the revision: an API key; "": somebody's editor
	Findings diagnostic.List
	Waived   diagnostic.List // what waivers accept
	Held     []topology.Held
}

// A Reconciler is ready to Run when Load and Targets are set.
//
// A target whose site is no longer in the topology, and is not held back, is
// configured as an empty site, without listeners and grants, and loses its
// links. A site or link that is held back and has no last good state is left
// as it is.
type Reconciler struct {
	Load    func(context.Context) (Desired, error)
	Targets map[string]Target // by name of site; not changed once Run is called
	Log     *slog.Logger      // nil: no log
	Resync  time.Duration     // between loads without a wake-up; 0: 30 s
	Timeout time.Duration     // of each part of one site's turn; 0: 30 s

	// DataDirs says by site where its suspensions and the history are kept. A
	// site without one forgets its suspensions when the process ends.
	DataDirs map[string]string
	// Before is what was wanted when an earlier process ended: the plan of the
	// first load is against it. nil: nothing was.
	Before *topology.Topology

	once    sync.Once
	wake    chan struct{} // capacity 1, as are the next two
	again   chan struct{} // the suspensions have changed
	changed chan struct{} // the history has
	drifted atomic.Uint64
	events  hub

	suspending sync.Mutex // one change of the suspensions at a time

	mu  sync.Mutex // not held while others are waited for
	rec record
}

const (
	defaultResync  = 30 * time.Second
	defaultTimeout = 30 * time.Second
	loadTimeout    = time.Minute
	retryFirst     = time.Second
	retryLast      = 30 * time.Second
)

var errNoTopology = errors.New("the load gave no topology")

func (r *Reconciler) init() {
	r.once.Do(func() {
		r.wake, r.again, r.changed = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
		r.rec = newRecord(r.Targets)
		if r.Log == nil {
			r.Log = slog.New(slog.DiscardHandler)
		}
		if r.Resync <= 0 {
			r.Resync = defaultResync
		}
		if r.Timeout <= 0 {
			r.Timeout = defaultTimeout
		}
	})
}

// Wake asks for a load soon. It never blocks; wakes during a load make one
// more.
func (r *Reconciler) Wake() {
	r.init()
	poke(r.wake)
}

// Run reconciles until ctx ends, and then returns nil once every turn that was
// going on has returned. It begins with a load.
func (r *Reconciler) Run(ctx context.Context) error {
	r.init()
	r.restoreHistory()
	r.restoreSuspensions()
	var wg sync.WaitGroup
	workers := make(map[string]*worker, len(r.Targets))
	for name, target := range r.Targets {
		w := newWorker(r, name, target)
		workers[name] = w
		wg.Go(func() { w.run(ctx) })
	}
	wg.Go(func() { r.keepHistory(ctx) })
	r.loop(ctx, workers)
	wg.Wait()
	if err := r.saveHistory(); err != nil {
		r.Log.Error("the history of revisions could not be kept", "err", err)
	}
	return nil
}

func (r *Reconciler) loop(ctx context.Context, workers map[string]*worker) {
	timer, expiry := time.NewTimer(0), time.NewTimer(time.Hour)
	defer timer.Stop()
	defer expiry.Stop()
	for failures := 0; ctx.Err() == nil; {
		if at, ok := r.nextExpiry(); ok {
			expiry.Reset(time.Until(at))
		} else {
			expiry.Stop()
		}
		select {
		case <-ctx.Done():
			continue
		case <-expiry.C:
			r.endSuspensions(time.Now())
			continue
		case <-r.again:
			r.orderAgain(workers)
			continue
		case <-r.wake:
		case <-timer.C:
			select { // one load answers both
			case <-r.wake:
			default:
			}
		}
		next := r.Resync
		if r.load(ctx, workers) == nil {
			failures = 0
		} else {
			failures++
			next = min(next, backoff(failures))
		}
		timer.Reset(next)
	}
}

// backoff returns how long to wait after the nth failure in a row.
func backoff(n int) time.Duration {
	return min(retryFirst<<min(n-1, 10), retryLast)
}

// load loads once and hands each worker its order.
func (r *Reconciler) load(ctx context.Context, workers map[string]*worker) error {
	began := time.Now()
	gen := r.begin()
	loadCtx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	d, err := r.Load(loadCtx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && d.Topology == nil {
		err = errNoTopology
	}
	if err != nil {
		r.loadFailed(err, gen, began)
		return err
	}
	r.mu.Lock()
	before := r.rec.wanted.Topology
	r.mu.Unlock()
	r.loaded(d, gen, began)
	r.endSuspensions(time.Now())
	select { // the order is told of these changes, too
	case <-r.again:
	default:
	}
	r.order(workers, d, gen, before)
	return nil
}

// orderAgain is for when the suspensions have changed.
func (r *Reconciler) orderAgain(workers map[string]*worker) {
	r.mu.Lock()
	d, gen := r.rec.wanted, r.rec.gen
	r.mu.Unlock()
	if d.Topology != nil {
		r.order(workers, d, gen, d.Topology)
	}
}

// order hands each worker its order.
func (r *Reconciler) order(workers map[string]*worker, d Desired, gen uint64, before *topology.Topology) {
	r.mu.Lock()
	down, n := r.rec.suspended, r.rec.suspensions
	r.mu.Unlock()
	together := newMeeting(r.Targets)
	others := neighbours(r.Targets, before, d.Topology)
	for name, w := range workers {
		o := orderFor(d, name, gen)
		o.suspensions, o.meeting, o.others = n, together, others[name]
		o.site = without(o.site, down[name])
		w.orders.give(name, o)
	}
}

// without is the site with the links disabled that are suspended.
func without(s *topology.Site, down map[string]topology.Suspension) *topology.Site {
	if len(down) == 0 {
		return s
	}
	out := *s
	out.Links = slices.Clone(s.Links)
	for i := range out.Links {
		if _, ok := down[out.Links[i].Name]; ok {
			out.Links[i].Enable = false
		}
	}
	return &out
}

// here returns the names of the sites that this process is responsible for.
func (r *Reconciler) here() []string { return slices.Sorted(maps.Keys(r.Targets)) }
