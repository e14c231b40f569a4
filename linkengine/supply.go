package linkengine

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"clink/broker"
	"clink/linkengine/forwarder"
	"clink/linkengine/wire"
	"clink/topic"
	"clink/topology"
)

// features are what this node says of itself to the peer of a link.
func features(cfg topology.Link) int64 {
	n := int64(wire.FeatureClink)
	if cfg.Retained {
		n |= wire.FeatureRetained
	}
	return n
}

// copies count retained messages that were sent and that came as copies.
type copies struct{ sent, stored, unchanged atomic.Uint64 }

func (c *copies) reset() {
	for _, n := range []*atomic.Uint64{&c.sent, &c.stored, &c.unchanged} {
		n.Store(0)
	}
}

// inject delivers a record. With retained, what the publisher wants retained is
// retained here as well, and so is a copy that is newer than what there is.
func (l *link) inject(s *broker.Session, r *wire.Forward, retained bool) error {
	m := message(r)
	switch {
	case !retained:
		return l.injector.InjectFrom(s, m)
	case r.Aside == nil || !r.Aside.Copy:
		return l.injector.Keep(s, m)
	}
	news, err := l.injector.Copy(s, m)
	if news {
		l.copies.stored.Add(1)
	} else {
		l.copies.unchanged.Add(1)
	}
	return err
}

// A supply sends the peer of a link, if it asks for that, copies of the
// messages that clients of this node have retained, or removed lately, as far
// as they match routes that are new. What came over a link is not among them.
//
// It gives way to what is published: few copies are under way at a time, and
// none is taken into a queue in which messages wait. So it needs little memory,
// and a copy is what is retained at the moment when it is sent.
type supply struct {
	*link

	mu      sync.Mutex
	ctx     context.Context // nil: the link does not run
	cancel  func()
	running bool // there is a goroutine
	done    sync.WaitGroup

	wanted  bool           // the peer asks for it
	all     bool           // all routes of the peer are new
	filters []topic.Filter // of new routes
	asks    int            // how often new routes came
	redo    bool           // copies may be lost: all again, after a while
	last    time.Time      // when a copy was sent
	flying  int            // copies under way
	changed chan struct{}  // closed at the next change of the above; nil while nobody waits
}

const (
	copiesFlying  = 128                   // under way at a time
	copiesBehind  = 256                   // messages in a queue before which a copy waits
	copiesPause   = 10 * time.Millisecond // until a queue is looked at again
	copiesRedo    = 10 * time.Second      // until all is sent again because some may be lost
	copiesRecent  = 5 * time.Second       // may be lost with a connection
	routesSettle  = 20 * time.Millisecond // after a new route, for more of them
	routesPatient = time.Second           // at most
	filtersListed = 1024                  // beyond which all routes count as new
)

func (s *supply) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx != nil {
		return
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if s.wanted { // of another life
		s.all = true
		s.begin()
	}
}

// stop ends the sending. What the peer asked for stays known.
func (s *supply) stop() {
	s.mu.Lock()
	if s.cancel != nil {
		s.cancel()
	}
	s.ctx, s.all, s.filters, s.redo = nil, false, nil, false
	s.mu.Unlock()
	s.done.Wait()
}

// asked notes whether the peer wants copies, and reports whether all of the
// routes that it is going to announce count as new: it was made anew, or did not
// want any before.
func (s *supply) asked(wanted, created bool) (afresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	afresh = wanted && (created || !s.wanted)
	s.wanted = wanted
	if !wanted {
		s.all, s.filters, s.redo = false, nil, false
	}
	s.tell()
	return afresh
}

// unknown returns the routes that are added and that the peer did not have.
func (s *supply) unknown(ops []wire.RouteOp, afresh bool) []wire.RouteOp {
	var news []wire.RouteOp
	for _, op := range ops {
		if !op.Delete && (afresh || !s.ext.Has(s.peer, op.Filter)) {
			news = append(news, op)
		}
	}
	return news
}

// want has copies sent of what matches new routes.
func (s *supply) want(ops []wire.RouteOp) {
	if len(ops) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks++
	for _, op := range ops {
		if s.all = s.all || len(s.filters) >= filtersListed; s.all {
			s.filters = nil
			break
		}
		if f, err := topic.Parse(op.Filter); err == nil && !slices.Contains(s.filters, f) {
			s.filters = append(s.filters, f)
		}
	}
	s.begin()
}

// lost is told that a connection to the peer was lost.
func (s *supply) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted && (s.flying > 0 || !s.last.IsZero() && time.Since(s.last) < copiesRecent) {
		s.redo = true
		s.begin()
	}
}

// begin has the goroutine look at what there is to do. The caller holds s.mu.
func (s *supply) begin() {
	s.tell()
	if s.ctx == nil || s.running || !s.wanted {
		return
	}
	s.running = true
	ctx := s.ctx
	s.done.Go(func() { s.run(ctx) })
}

func (s *supply) tell() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// wait returns after a while, or before when something has changed. The caller
// holds s.mu, which is let go meanwhile.
func (s *supply) wait(ctx context.Context, most time.Duration) {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	changed := s.changed
	s.mu.Unlock()
	defer s.mu.Lock()
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-changed:
	case <-late.C:
	case <-ctx.Done():
	}
}

func (s *supply) run(ctx context.Context) {
	for {
		wants, ok := s.next(ctx)
		if !ok {
			return
		}
		for _, name := range s.opts.Node.RetainedNames() {
			if wants(name) && s.Wants(name) && !s.send(ctx, name) {
				break
			}
		}
	}
}

// next returns what to look for, when the routes have settled. It is not ok if
// there is nothing to do any more; then the goroutine has ended.
func (s *supply) next(ctx context.Context) (wants func(name string) bool, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := time.Now().Add(copiesRedo)
	for ctx.Err() == nil && s.redo && !s.all && len(s.filters) == 0 {
		if now := time.Now(); now.Before(again) {
			s.wait(ctx, again.Sub(now))
			continue
		}
		s.all, s.redo = true, false
	}
	if ctx.Err() != nil || !s.wanted || !s.all && len(s.filters) == 0 {
		s.running = false
		return nil, false
	}
	s.settle(ctx)
	filters, all := s.filters, s.all
	s.filters, s.all = nil, false
	return func(name string) bool { return all || matchesOne(filters, name) }, true
}

// settle waits until no more routes come: a peer that announces all it has does
// it in many packets. The caller holds s.mu, which is let go meanwhile.
func (s *supply) settle(ctx context.Context) {
	quiet, most := routesSettle, routesPatient
	for began, n := time.Now(), -1; n != s.asks && time.Since(began) < most && ctx.Err() == nil; {
		if s.all {
			quiet, most = 10*routesSettle, 30*routesPatient
		}
		n = s.asks
		s.mu.Unlock()
		select {
		case <-time.After(quiet):
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
}

func matchesOne(filters []topic.Filter, name string) bool {
	return slices.ContainsFunc(filters, func(f topic.Filter) bool { return f.Match(name) })
}

// send sends a copy of what is retained under a name, when there is room. It
// reports false if the peer does not ask any more, or ctx has ended.
func (s *supply) send(ctx context.Context, name string) bool {
	m, ok := s.opts.Node.RetainedMessage(name)
	if !ok || outlived(&m) {
		return true
	}
	r := record(&m)
	r.ID, r.Aside = s.ids.Next(), &wire.Aside{Copy: true}
	key := orderKey(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	for ctx.Err() == nil && s.wanted {
		if s.flying < copiesFlying && s.offer(r, key) {
			return true
		}
		s.wait(ctx, copiesPause)
	}
	return false
}

// offer offers a copy. The caller holds s.mu, which is let go meanwhile: who
// tells what became of a copy needs it.
func (s *supply) offer(r *wire.Forward, key uint64) (taken bool) {
	s.flying++
	s.last = time.Now()
	s.mu.Unlock()
	if f := s.fwd.Load(); f != nil {
		taken = f.Offer(r, key, copiesBehind, s.sent)
	}
	s.mu.Lock()
	if taken {
		s.matched.Add(1)
	} else {
		s.flying--
	}
	return taken
}

// sent is told what became of a copy.
func (s *supply) sent(o forwarder.Outcome, over bool) {
	if !over {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flying--
	switch o.Dropped {
	case "":
		s.copies.sent.Add(1)
	case forwarder.QueueFull, forwarder.Expired:
		s.redo = true
		s.begin()
	}
	s.tell()
}

// outlived reports whether a message has expired.
func outlived(m *broker.Message) bool {
	return m.HasExpiry && time.Since(m.Time) >= time.Duration(m.Expiry)*time.Second
}
