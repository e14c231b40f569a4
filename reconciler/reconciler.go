// Package reconciler brings what runs to what is wanted. It loads the wanted
// state when woken and from time to time, and for each site that this process
// is responsible for compares the links that are wanted with those that run,
// and applies the difference, no more. What is equal is not touched.
//
// Sites are independent of each other, and so are a site's links: one that
// fails or hangs is kept in the [State] and tried again, while the others go
// on. A load that fails changes nothing that runs.
//
// The package does not know where the wanted state comes from nor what runs a
// site: the one is a function, the other a [Target]. It also keeps the last
// good state in a file ([SaveLastGood]); what is good is for its caller to say.
package reconciler

import (
	"context"
	"errors"
	"log/slog"
	"sync"
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
	// access, grants, exports. It is called after the links of each turn, also
	// when nothing has changed, and leaves alone what is as wanted. After an
	// error it has done what it could.
	Configure(context.Context, *topology.Site) error
	// Apply makes one change to one link.
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
	Findings diagnostic.List
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
	Timeout time.Duration     // of either half of one site's turn, links and the rest; 0: 30 s

	once sync.Once
	wake chan struct{} // capacity 1

	mu  sync.Mutex
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
		r.wake = make(chan struct{}, 1)
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
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run reconciles until ctx ends, and then returns nil once every turn that was
// going on has returned. It begins with a load.
func (r *Reconciler) Run(ctx context.Context) error {
	r.init()
	var wg sync.WaitGroup
	workers := make(map[string]*worker, len(r.Targets))
	for name, target := range r.Targets {
		w := &worker{r: r, site: name, target: target, orders: make(chan order, 1), failing: map[key]*Failure{}}
		workers[name] = w
		wg.Go(func() { w.run(ctx) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failures := 0; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
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
	wg.Wait()
	return nil
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
		r.loadFailed(err, began)
		return err
	}
	r.loaded(d, gen, began)
	for name, w := range workers {
		w.give(orderFor(d, name, gen))
	}
	return nil
}

// An order is what one site is to be brought to.
type order struct {
	gen      uint64 // number of the load that it comes from
	revision string
	site     *topology.Site
	skip     bool            // leave the site as it is
	held     map[string]bool // peers whose links are not to be deleted
}

func orderFor(d Desired, name string, gen uint64) order {
	o := order{gen: gen, revision: d.Revision, site: d.Topology.Sites[name], held: map[string]bool{}}
	whole := false
	for _, h := range d.Held {
		if h.Site == name {
			o.held[h.Peer] = true
			whole = whole || h.Peer == ""
		}
	}
	if o.site == nil {
		o.skip = whole
		o.site = &topology.Site{Name: name}
	}
	return o
}
