package reconciler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"clink/reconciler"
	"clink/topology"
)

// A site is a target in memory. It fails where it is told to.
type site struct {
	mu         sync.Mutex
	links      map[string]topology.Link
	configured *topology.Site
	did        []string         // "create b", in order; failed tries in brackets
	all        func(string)     // told of every call, with the first halves of changes
	fails      map[string]error // by peer, or "configure", or "links"
	hangs      map[string]bool  // until the context ends, by the same
	slow       time.Duration    // to configure
}

func newSite() *site {
	return &site{links: map[string]topology.Link{}, fails: map[string]error{}, hangs: map[string]bool{}}
}

func (s *site) try(ctx context.Context, what string) error {
	s.mu.Lock()
	hangs, err := s.hangs[what], s.fails[what]
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (s *site) Links(ctx context.Context) ([]topology.Link, error) {
	err := s.try(ctx, "links")
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.links)), err
}

func (s *site) Configure(ctx context.Context, to *topology.Site) error {
	err := s.try(ctx, "configure")
	s.mu.Lock()
	defer s.mu.Unlock()
	slow := s.slow
	s.mu.Unlock()
	time.Sleep(slow)
	s.mu.Lock()
	s.configured = to
	if s.all != nil {
		s.all("configure")
	}
	return err
}

func (s *site) Apply(ctx context.Context, c topology.Change) error {
	err := s.try(ctx, c.Peer)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.did = append(s.did, fmt.Sprintf("(%s %s)", c.Op, c.Peer))
		return err
	}
	if s.all != nil {
		s.all(fmt.Sprintf("%s %s hold=%v", c.Op, c.Peer, c.Hold))
	}
	if c.Hold {
		return nil
	}
	s.did = append(s.did, c.Op+" "+c.Peer)
	if c.Op == topology.Delete {
		delete(s.links, c.Peer)
	} else {
		s.links[c.Peer] = c.Link
	}
	return nil
}

func (s *site) Status(context.Context) ([]topology.LinkStatus, error) { return nil, nil }

func (s *site) set(what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails[what] = err
}

// done returns what was done since it was last asked.
func (s *site) done() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(s.did, ", ")
	s.did = nil
	return text
}

// A bench is a running reconciler whose wanted state the test sets.
type bench struct {
	*reconciler.Reconciler
	t     *testing.T
	sites map[string]*site
	log   *bytes.Buffer
	stop  func()

	seen uint64 // number of the last event that was asked for

	mu     sync.Mutex
	want   reconciler.Desired
	err    error
	loads  int
	during func() // called in each load
}

// start runs a reconciler for the named sites; nothing is wanted yet, and the
// first load fails. To be called in a synctest bubble.
func start(t *testing.T, names ...string) *bench {
	return startWith(t, 0, names...)
}

func startWith(t *testing.T, resync time.Duration, names ...string) *bench {
	b := prepare(t, resync, names...)
	b.run()
	return b
}

// prepare is start without running anything.
func prepare(t *testing.T, resync time.Duration, names ...string) *bench {
	b := &bench{t: t, sites: map[string]*site{}, log: &bytes.Buffer{}, err: errors.New("no source yet")}
	targets := map[string]reconciler.Target{}
	for _, name := range names {
		b.sites[name] = newSite()
		targets[name] = b.sites[name]
	}
	b.Reconciler = &reconciler.Reconciler{Load: b.load, Targets: targets, Resync: resync, Log: slog.New(slog.NewTextHandler(b.log, nil))}
	return b
}

func (b *bench) run() {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run = %v", err)
		}
	})
	b.t.Cleanup(b.stop)
	synctest.Wait()
}

func (b *bench) load(context.Context) (reconciler.Desired, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loads++
	if b.during != nil {
		b.during()
	}
	return b.want, b.err
}

// wants sets what is wanted ("a>b c" is: site a with links to b and c; "b=2"
// is a link that differs), without waking.
func (b *bench) wants(revision string, sites ...string) {
	top := &topology.Topology{Sites: map[string]*topology.Site{}}
	for _, text := range sites {
		name, peers, _ := strings.Cut(text, ">")
		s := &topology.Site{Name: name}
		for _, p := range strings.Fields(peers) {
			peer, server, _ := strings.Cut(p, "=")
			s.Links = append(s.Links, topology.Link{Name: peer, Server: server, Enable: true})
		}
		top.Sites[name] = s
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.want, b.err = reconciler.Desired{Topology: top, Revision: revision, Commit: "c-" + revision}, nil
}

func (b *bench) hold(held ...topology.Held) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.want.Held = held
}

// goes sets what is wanted, wakes and lets everything settle.
func (b *bench) goes(revision string, sites ...string) {
	b.wants(revision, sites...)
	b.Wake()
	synctest.Wait()
}

func (b *bench) did(site, want string) {
	b.t.Helper()
	if got := b.sites[site].done(); got != want {
		b.t.Errorf("site %s: did %q, want %q", site, got, want)
	}
}

// retry is longer than what fails for the first time waits.
const retry = 1500 * time.Millisecond

func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
