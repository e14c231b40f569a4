package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"clink/broker"
	"clink/linkengine"
	"clink/topology"

	"golang.org/x/sync/errgroup"
)

// An embedded is the target of a site that runs in this process: a node and
// the engine that links it.
type embedded struct {
	site    string
	baseDir string
	node    *broker.Node
	engine  *linkengine.Engine

	drift func(reason, message string) // told what was found and set right

	mu    sync.Mutex
	binds map[string]string // by listener: the address it is to have
	lost  map[string]int    // by listener: how often it was seen to have lost its socket
}

func newEmbedded(site, baseDir, dataDir string, log *slog.Logger) (*embedded, error) {
	log = log.With("site", site)
	dir := siteDir(dataDir, site)
	node, err := broker.New(broker.Options{Name: "clink@" + site, Log: log, Store: filepath.Join(dir, "store")})
	if err != nil {
		return nil, fmt.Errorf("broker of site %s: %w", site, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	engine, err := linkengine.New(linkengine.Options{Cluster: site, Node: node, DataDir: dir, BaseDir: baseDir, Log: log})
	if err != nil {
		return nil, fmt.Errorf("link engine of site %s: %w", site, err)
	}
	return &embedded{site: site, baseDir: baseDir, node: node, engine: engine}, nil
}

// Run serves until ctx ends, or a part fails. The engine ends first, so that
// its last words still reach the peers' connections to this node.
func (e *embedded) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	nodeCtx, stopNode := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	g.Go(func() error {
		defer stopNode()
		return e.engine.Run(ctx)
	})
	g.Go(func() error {
		defer stop()
		return e.node.Run(nodeCtx)
	})
	return errors.Join(g.Wait(), e.engine.Close())
}

// Links implements [reconciler.Target].
func (e *embedded) Links(context.Context) ([]topology.Link, error) { return e.engine.Links(), nil }

// Status implements [reconciler.Target].
func (e *embedded) Status(context.Context) ([]topology.LinkStatus, error) {
	return e.engine.Status(), nil
}

// Configure implements [reconciler.Target].
func (e *embedded) Configure(ctx context.Context, s *topology.Site) error {
	binds := map[string]string{}
	for _, l := range s.Listeners {
		binds[l.Name] = l.Bind
	}
	e.mu.Lock()
	e.binds = binds
	e.mu.Unlock()
	e.engine.SetExports(s.Exports)
	swept := e.engine.Sweep(s.Links)
	err := e.node.Apply(ctx, broker.Config{Listeners: s.Listeners, Access: s.Access, Grants: s.Grants, MQTT: s.MQTT, BaseDir: e.baseDir})
	return errors.Join(swept, err, e.inspect(err == nil))
}

// inspect tells of listeners that lost their sockets since it last looked, and
// returns why some do not listen, where nobody has said that yet.
func (e *embedded) inspect(say bool) error {
	var errs []error
	lost := map[string]int{}
	for _, l := range e.node.Listeners() {
		lost[l.Name] = l.Lost
		if l.Lost > e.lost[l.Name] && e.drift != nil {
			e.drift("listener", fmt.Sprintf("listener %s lost its socket and is opened again", l.Name))
		}
		if say && l.Err != "" {
			errs = append(errs, fmt.Errorf("listener %q: %s", l.Name, l.Err))
		}
	}
	e.lost = lost // only one call of Configure at a time
	return errors.Join(errs...)
}

func (e *embedded) bind(listener string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.binds[listener]
}

// Apply implements [reconciler.Target].
func (e *embedded) Apply(ctx context.Context, c topology.Change) error {
	switch {
	case c.Hold:
		return e.engine.Prepare(ctx, c)
	case c.Op == topology.Delete:
		return e.engine.Remove(ctx, c.Peer)
	}
	return e.engine.Put(ctx, c.Link)
}
