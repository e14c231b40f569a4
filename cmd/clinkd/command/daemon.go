package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"clink/compiler"
	"clink/dashboard"
	"clink/diagram"
	"clink/emqx"
	"clink/httpapi"
	"clink/reconciler"
	"clink/source"
	"clink/topology"

	"golang.org/x/sync/errgroup"
)

// The data path allocates per message and keeps a small live heap, so that Go's
// default would collect all the time. Users override both with GOGC and
// GOMEMLIMIT.
const gcPercent = 400

// shutdownTime bounds a clean stop; what is not done by then is cut off.
const shutdownTime = 10 * time.Second

// daemon runs the sites until ctx ends.
func (c Command) daemon(ctx context.Context, o options) error {
	if c.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log := c.logger(o)
	dir, err := source.Open(o.dir, source.Options{Log: log})
	if err != nil {
		return err
	}
	if err := dir.Recover(ctx); err != nil {
		return fmt.Errorf("end an interrupted change of the source: %w", err)
	}
	sites, first, err := chooseSites(ctx, dir, o)
	if err != nil {
		return err
	}
	unlock, err := lockSites(o.dataDir, sites)
	if err != nil {
		return err
	}
	defer unlock()
	keys, keyPath, err := apiKeys(o.apiKeys, o.dataDir)
	if err != nil {
		return err
	}
	ln, err := listenHTTP(o, log)
	if err != nil {
		return err
	}
	defer ln.Close()
	d, err := c.assemble(ctx, o, dir, sites, log)
	if err != nil {
		return err
	}
	d.keys, d.keyPath, d.ln = keys, keyPath, ln
	d.announce(first)
	return d.run(ctx)
}

func (c Command) logger(o options) *slog.Logger {
	h := &slog.HandlerOptions{Level: o.logLevel}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(c.Stderr, h))
	}
	return slog.New(slog.NewTextHandler(c.Stderr, h))
}

// A daemon is the parts of one process, joined.
type daemon struct {
	options
	Command
	log     *slog.Logger
	dir     *source.Dir
	sites   []string
	nodes   map[string]*embedded
	loader  *loader
	rec     *reconciler.Reconciler
	keys    *httpapi.Keys
	keyPath string
	token   string // signs in to the dashboard, once
	ln      net.Listener
	started time.Time
	manager *manager
	git     *recorder
	writer  *writer
}

func (c Command) assemble(ctx context.Context, o options, dir *source.Dir, sites []string, log *slog.Logger) (*daemon, error) {
	d := &daemon{options: o, Command: c, log: log, dir: dir, sites: sites, nodes: map[string]*embedded{}, started: time.Now(), manager: newManager(c.Getenv, log), token: rand.Text()}
	targets, dirs := map[string]reconciler.Target{}, map[string]string{}
	for _, s := range sites {
		e, err := newEmbedded(s, o.dir, o.dataDir, log)
		if err != nil {
			return nil, err
		}
		d.nodes[s], targets[s], dirs[s] = e, e, siteDir(o.dataDir, s)
	}
	d.loader = &loader{dir: dir, dataDir: o.dataDir, sites: sites, log: log, memory: newMemory(c.Getenv, os.DirFS("/"), log)}
	if err := d.loader.restore(); err != nil {
		log.Error("the last good state cannot be used; starting from the source alone", "err", err)
	}
	d.rec = &reconciler.Reconciler{
		Load: d.loader.load, Targets: targets, Log: log, Resync: o.resync,
		DataDirs: dirs, Before: d.loader.last.Topology,
	}
	var err error
	if d.git, err = newRecorder(ctx, d); err != nil {
		return nil, err
	}
	d.loader.seen = d.git.seen
	d.writer = newWriter(d)
	if d.git.repo != nil {
		d.git.repo.Files, d.git.edit = d.writer.editor, d.writer.editor.Edit
	}
	for name, e := range d.nodes {
		e.drift = func(reason, message string) {
			d.rec.Publish(topology.Event{Type: "drift", Site: name, Reason: reason, Message: message})
		}
	}
	return d, nil
}

// announce says what runs where, before anything does.
func (d *daemon) announce(first *compiler.Result) {
	w := d.Stdout
	fmt.Fprintf(w, "clinkd %s runs %s of %s\n", version(), plural(len(d.sites), "site"), d.options.dir)
	for _, name := range d.sites {
		s, ok := first.Topology.Sites[name]
		if !ok {
			fmt.Fprintf(w, "  %s: not readable in the source; the last good state is used if there is one\n", name)
			continue
		}
		for _, l := range s.Listeners {
			if l.Enable {
				fmt.Fprintf(w, "  %s: MQTT %s on %s\n", name, l.Type, l.Bind)
			}
		}
		for _, l := range s.Links {
			state := "link to"
			if !l.Enable {
				state = "disabled link to"
			}
			fmt.Fprintf(w, "  %s: %s %s at %s, topics %v\n", name, state, l.Name, l.Address, l.Topics)
		}
	}
	scheme := "http"
	if d.httpCert != "" {
		scheme = "https"
	}
	fmt.Fprintf(w, "  REST API: %s://%s, key in %s\n", scheme, d.ln.Addr(), d.keyPath)
	// Behind the #, so that no browser sends it anywhere but to the page.
	fmt.Fprintf(w, "  dashboard: %s://%s/#token=%s\n", scheme, reachable(d.ln.Addr().String()), d.token)
}

// reachable is an address that a browser on this machine can open.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return addr
}

func (d *daemon) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	d.git.life = ctx
	for _, name := range d.sites {
		g.Go(func() error {
			if err := d.nodes[name].Run(ctx); err != nil {
				return fmt.Errorf("site %s: %w", name, err)
			}
			return nil
		})
	}
	g.Go(func() error { return d.dir.Watch(ctx, d.rec.Wake) })
	g.Go(func() error { return d.rec.Run(ctx) })
	g.Go(func() error { return d.git.run(ctx) })
	g.Go(func() error { return d.serve(ctx) })
	g.Go(func() error { sighup(ctx, func() { d.reload(ctx) }); return nil })
	g.Go(func() error { d.report(ctx); return nil })
	g.Go(func() error { d.tellLinks(ctx); return nil })
	if d.pprof != "" {
		ln, err := net.Listen("tcp", d.pprof) // here, so that it is there when clinkd says that it is ready
		g.Go(func() error {
			if err != nil {
				return fmt.Errorf("profiles: %w", err)
			}
			return serveProfiles(ctx, ln)
		})
	}
	g.Go(func() error { return d.sayReady(ctx) })
	err := waitAtMost(ctx, g, shutdownTime)
	d.log.Info("stopped")
	return err
}

// waitAtMost returns when all parts have ended, or some time after ctx has,
// leaving behind parts that hang: the process is about to end.
func waitAtMost(ctx context.Context, g *errgroup.Group, grace time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- g.Wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return fmt.Errorf("not everything stopped within %v", grace)
	}
}

func (d *daemon) serve(ctx context.Context) error {
	srv := &http.Server{
		Handler: httpapi.New(d, httpapi.Options{
			Keys: d.keys, Log: d.log, Version: version(), Writer: d.writer, Operator: d.writer, Observer: observer{d},
			Hosts: ownNames(d.options), Done: ctx.Done(), Token: d.token, ACL: emqx.ACL, Graph: new(artist).draw,
			Pages: dashboard.Handler(),
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
	err := serveUntil(ctx, srv, d.ln)
	// Nobody is served any more; a write that is in hand is ended all the same.
	d.writer.editor.Lock()
	defer d.writer.editor.Unlock()
	return err
}

// An artist draws topologies, and remembers what is to be drawn of the last
// one: what flows over each link takes long to say in a large fleet.
type artist struct {
	mu    sync.Mutex
	of    *topology.Topology
	graph diagram.Graph
}

// draw is the topology as a picture.
func (a *artist) draw(t *topology.Topology, states map[[2]string]string, lang string) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of != t {
		a.of, a.graph = t, diagram.New(t)
	}
	return a.graph.SVG(diagram.Options{Status: states, Lang: lang})
}

// ownNames are the names that somebody may know this process by.
func ownNames(o options) []string {
	names := slices.Clone(o.hosts)
	if host, _, err := net.SplitHostPort(o.http); err == nil && net.ParseIP(host) == nil && host != "" {
		names = append(names, host)
	}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	return names
}

func serveProfiles(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return serveUntil(ctx, &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}, ln)
}

func serveUntil(ctx context.Context, srv *http.Server, ln net.Listener) error {
	var g errgroup.Group
	served := make(chan struct{})
	g.Go(func() error {
		defer close(served)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", ln.Addr(), err)
		}
		return nil
	})
	select {
	case <-ctx.Done():
	case <-served:
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		srv.Close()
	}
	return g.Wait()
}

// sayReady prints one line when the process first is ready.
func (d *daemon) sayReady(ctx context.Context) error {
	// Asked anew and again, since a listener whose port was taken comes up
	// without anybody being told.
	ask := time.NewTicker(20 * time.Millisecond)
	defer ask.Stop()
	late := time.NewTimer(readyGrace)
	defer late.Stop()
	for {
		if s := d.State(); len(s.NotReady) == 0 {
			fmt.Fprintf(d.Stdout, "ready: revision %s, %.1f s after the start\n", s.Revision, time.Since(d.started).Seconds())
			d.manager.say(ctx, "READY=1", d.status())
			if d.Ready != nil {
				d.Ready(d.ln.Addr().String())
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-late.C:
			// It serves what it can. To be taken for one that does not start,
			// and be killed, would end the last good state as well.
			d.manager.say(ctx, "READY=1", d.status())
		case <-ask.C:
		}
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(quoted, ", ")
}
