// Package linkengine joins the broker of one cluster to remote clusters, in
// both roles of the Cluster Linking protocol: it announces to each peer what is
// wanted from it, and answers peers that announce what they want from here; it
// forwards what they want, and delivers what they forward.
//
// A link's two halves are told apart throughout: route replication (package
// actor), the forwarding pool (package forwarder), and the peer's own half as
// seen from here. Whatever stands between an existing link and the one that is
// wanted is changed and nothing else: an equal link is not touched, changed
// topics are announced on the connection there is.
//
// What a peer may be sent is bounded twice: by the routes that it announced,
// and by the exports that it was granted ([Engine.SetExports]). What it may
// deliver here is bounded by the link's topics. A message that came over a link
// is never forwarded again.
//
// The engine decides nothing about which links there are, and keeps nothing on
// disk but the last incarnation, the routes of its peers, and the queues of
// links that ask for it (package spool).
package linkengine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"clink/broker"
	"clink/linkengine/extrouter"
	"clink/linkengine/wire"
	"clink/topic"
	"clink/topology"
)

// Options are an engine's fixed properties.
type Options struct {
	Cluster string       // this cluster's name on the wire
	Node    *broker.Node // must not run yet
	DataDir string       // where the incarnation is kept; empty: nowhere, which suits tests alone
	BaseDir string       // what relative file names and secrets are relative to
	Log     *slog.Logger // default: nothing is logged
	Routes  extrouter.Limits
}

// An Engine runs the links of one cluster. Its methods may be called at the
// same time, before, during and after Run.
type Engine struct {
	opts    Options
	node    string // clink@<cluster>, and the actor's name
	ext     *extrouter.Table
	ids     *wire.IDs
	limits  wire.Limits
	exports atomic.Pointer[map[string][]topic.Filter]
	doubts  atomic.Int64 // until when there may be a doubt, in Unix nanoseconds
	links   atomic.Pointer[map[string]*link]
	log     *slog.Logger

	changing     sync.Mutex // one change of the links at a time
	running      bool
	incarnations *incarnations
	written      uint64 // version of the routes that are in the file

	mu         sync.Mutex
	visits     map[*broker.Session]visitor // link sessions whose actor is initialised
	turnedAway map[*broker.Session]string  // those whose handshake was rejected, and for whom they took this cluster
	logged     map[said]time.Time          // when a peer's faults were last logged

	prober   *broker.Injector
	tracings map[string]*tracing // probes under way, by id
}

// New makes an engine without links, and makes it the node's handler.
func New(opts Options) (*Engine, error) {
	switch {
	case opts.Cluster == "":
		return nil, errors.New("link engine: the cluster has no name")
	case opts.Node == nil:
		return nil, errors.New("link engine: there is no node")
	case opts.Log == nil:
		opts.Log = slog.New(slog.DiscardHandler)
	}
	inc, err := openIncarnations(opts.DataDir)
	if err != nil {
		return nil, fmt.Errorf("link engine: %w", err)
	}
	var mark [6]byte
	rand.Read(mark[:])
	e := &Engine{
		opts: opts, node: "clink@" + opts.Cluster, log: opts.Log,
		ext: extrouter.New(opts.Routes), ids: wire.NewIDs(time.Now, mark), limits: wire.DefaultLimits(maxPacket),
		incarnations: inc,
		visits:       make(map[*broker.Session]visitor), turnedAway: make(map[*broker.Session]string), logged: make(map[said]time.Time),
		prober: opts.Node.Injector("trace"), tracings: make(map[string]*tracing),
	}
	e.exports.Store(&map[string][]topic.Filter{})
	e.links.Store(&map[string]*link{})
	e.recall()
	opts.Node.Intercept(handler{e})
	return e, nil
}

// housekeeping is how often the engine looks for what has expired.
const housekeeping = time.Second

// Run runs the links until ctx ends. Then it asks the peers to forget its
// routes, but for those of [broker.Node.Lasting], sends what is queued as far as that goes within a second, and
// returns with nothing left running but queues on disk; see [Engine.Close].
func (e *Engine) Run(ctx context.Context) error {
	if err := e.start(); err != nil {
		return fmt.Errorf("link engine: %w", err)
	}
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() { e.remember(ctx) })
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			e.stop()
			return nil
		case now := <-tick.C:
			e.keepHouse(now)
		}
	}
}

func (e *Engine) start() error {
	e.changing.Lock()
	defer e.changing.Unlock()
	if e.running {
		return errors.New("it is running already")
	}
	e.running = true
	for _, l := range *e.links.Load() {
		if err := l.start(); err != nil {
			e.stopAll()
			return err
		}
	}
	return nil
}

func (e *Engine) stop() {
	e.changing.Lock()
	defer e.changing.Unlock()
	e.stopAll()
}

func (e *Engine) stopAll() {
	e.running = false
	var stopping sync.WaitGroup
	for _, l := range *e.links.Load() {
		stopping.Go(l.rest)
	}
	stopping.Wait()
}

func (e *Engine) keepHouse(now time.Time) {
	links := *e.links.Load()
	for peer, l := range links {
		l.presence.expire(func() bool { return l.gate.silent(now) >= extrouter.TTL })
		if l.outOfReach() && l.gate.silent(now) < patience(*l.cfg.Load()) {
			e.ext.Spare(now, peer)
		}
	}
	for _, gone := range e.ext.Expire(now) {
		e.log.Info("a peer's actor fell silent, its routes are removed", "peer", gone.Cluster, "actor", gone.Name)
	}
	for _, l := range links {
		if f := l.fwd.Load(); f != nil {
			f.Expire(now)
		}
		if d := l.disk.Load(); d != nil {
			d.check()
		}
		l.rates.sample(now, &l.matched)
	}
}

// Links returns the links there are, disabled ones too, in order of name.
func (e *Engine) Links() []topology.Link {
	links := *e.links.Load()
	out := make([]topology.Link, 0, len(links))
	for _, name := range slices.Sorted(maps.Keys(links)) {
		out = append(out, *links[name].cfg.Load())
	}
	return out
}

// Put makes the link to l.Name what l says: it is created, changed as little
// as that takes, or, if it is equal, left alone. Ctx bounds for how long an old
// connection is given a clean end. A peer that cannot be reached is no error.
func (e *Engine) Put(ctx context.Context, l topology.Link) error {
	if l.Name == "" || l.Name == e.opts.Cluster {
		return fmt.Errorf("link to %q: a link needs the name of another cluster", l.Name)
	}
	e.changing.Lock()
	defer e.changing.Unlock()
	defer e.invite(l.Name)
	links := *e.links.Load()
	if known := links[l.Name]; known != nil {
		if err := known.change(ctx, l); err != nil {
			return fmt.Errorf("link to %s: %w", l.Name, err)
		}
		return nil
	}
	added := newLink(e, l)
	links = maps.Clone(links)
	links[l.Name] = added
	e.links.Store(&links)
	added.takeEarly()
	if err := added.start(); err != nil {
		return fmt.Errorf("link to %s: %w", l.Name, err)
	}
	return nil
}

// Remove ends the link to peer. That there is none is no error.
func (e *Engine) Remove(ctx context.Context, peer string) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	links := maps.Clone(*e.links.Load())
	l := links[peer]
	if l == nil {
		return nil
	}
	delete(links, peer)
	e.links.Store(&links)
	l.stop(ctx, 0, false)
	l.dropRecent()
	e.forget(peer)
	return nil
}

// SetExports says what each peer may be sent; a peer that is not named may be
// sent nothing. It is in force when SetExports returns. The routes that peers
// announced beyond it stay known.
func (e *Engine) SetExports(exports map[string][]topic.Filter) {
	exports = maps.Clone(exports)
	for peer, filters := range exports {
		exports[peer] = slices.Clone(filters)
	}
	e.exports.Store(&exports)
}
