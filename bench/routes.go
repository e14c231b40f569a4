package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"clink/bench/loadgen"
)

// A routeCase is what so many routes of one kind cost.
type routeCase struct {
	Routes int        `json:"routes"`
	Kind   string     `json:"kind"`
	Filter string     `json:"filter"` // one of them
	Bytes  float64    `json:"bytes"`  // of a filter, on average
	Runs   []routeRun `json:"runs"`
}

// A routeRun is one measurement, with fresh processes. Durations are in
// nanoseconds.
type routeRun struct {
	Subscribed time.Duration `json:"subscribed"` // all filters, while the link is cut
	Bootstrap  time.Duration `json:"bootstrap"`  // from the first connection afterwards until both ends have all routes
	Far        memory        `json:"far"`        // more at the far end, for each route
	Near       memory        `json:"near"`       // more at the subscribers' end, for each filter
	Gone       time.Duration `json:"gone"`       // from the clients' leaving until the far end has no route
	Live       time.Duration `json:"live"`       // from the first subscription until both ends have all routes, with the link up
	LiveOwn    time.Duration `json:"live_subscribed"`
}

const (
	kindExact    = "exact"
	kindWildcard = "wildcard"
)

// routeFilter is the i-th filter of a kind: like those of real devices, each in
// a site with ninety-nine others.
func routeFilter(kind string, i int) string {
	if kind == kindWildcard {
		return fmt.Sprintf("fwd/site/%d/dev/%d/+/cmd", i/100, i)
	}
	return fmt.Sprintf("fwd/site/%d/dev/%d/state", i/100, i)
}

// perClient is how many filters a client has: less than what a node allows.
const perClient = 5000

// measureRoutes measures each number of routes of each kind.
func (s *stage) measureRoutes(ctx context.Context, o linkOptions, out *outcome, w io.Writer) error {
	fmt.Fprintf(w, "\nroutes of filters subscribed at B, until A has them; there is nothing to set beside it, a bridge knows no routes\n\n")
	fmt.Fprintf(w, "%-18s %5s %10s %10s %9s %9s %9s %9s %8s %9s\n", "routes", "round", "subscribed", "bootstrap", "A heap", "A RSS", "B heap", "B RSS", "gone", "live")
	for _, n := range o.routes {
		for _, kind := range []string{kindExact, kindWildcard} {
			c := routeCase{Routes: n, Kind: kind, Filter: routeFilter(kind, n/2)}
			for i := range n {
				c.Bytes += float64(len(routeFilter(kind, i))) / float64(n)
			}
			for round := range o.repeats {
				r, err := s.measureRoute(ctx, o, n, kind, filepath.Join(s.dir, fmt.Sprintf("routes-%d-%s-%d", n, kind, round)))
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%-18s %5d %10s %10s %7.0f B %7.0f B %7.0f B %7.0f B %8s %9s\n", grouped(n)+" "+kind, round+1,
					seconds(r.Subscribed), seconds(r.Bootstrap), r.Far.Heap, r.Far.RSS, r.Near.Heap, r.Near.RSS, seconds(r.Gone), seconds(r.Live))
				c.Runs = append(c.Runs, r)
			}
			out.Routes = append(out.Routes, c)
		}
	}
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// A routeWorld is two linked sites that are asked for their routes.
type routeWorld struct {
	*pair
	ends [2]*restClient
}

func (s *stage) measureRoute(ctx context.Context, o linkOptions, n int, kind, dir string) (r routeRun, err error) {
	pairs, stop, err := startEach(ctx, []maker{s.clinkdPair(true)}, dir)
	defer stop()
	if err != nil {
		return r, err
	}
	x := routeWorld{pair: pairs[0]}
	for i, p := range x.processes {
		if x.ends[i], err = p.rest(ctx); err != nil {
			return r, err
		}
		defer x.ends[i].close()
	}
	filter := func(i int) string { return routeFilter(kind, i) }
	if err := x.bootstrap(ctx, o, n, filter, &r); err != nil {
		return r, fmt.Errorf("%s routes: %w", grouped(n), x.blame(err))
	}
	if err := x.live(ctx, o, n, filter, &r); err != nil {
		return r, fmt.Errorf("%s routes: %w", grouped(n), x.blame(err))
	}
	return r, nil
}

// bootstrap subscribes while the link is cut, and measures what comes of it
// when the link is back.
func (x *routeWorld) bootstrap(ctx context.Context, o linkOptions, n int, filter func(int) string, r *routeRun) error {
	if err := x.replicated(ctx, 0); err != nil {
		return err
	}
	x.cut()
	before, err := x.both(ctx)
	if err != nil {
		return err
	}
	crowd, err := x.subscribe(ctx, o, n, filter)
	if err != nil {
		return err
	}
	defer crowd.Close()
	r.Subscribed = crowd.Took
	if err := x.restore(ctx); err != nil {
		return err
	}
	if err := x.replicated(ctx, n); err != nil {
		return err
	}
	r.Bootstrap = time.Since(x.between[0].firstSince())
	after, err := x.both(ctx)
	if err != nil {
		return err
	}
	r.Far, r.Near = after[0].less(before[0], n), after[1].less(before[1], n)
	began := time.Now()
	crowd.Close()
	err = x.replicated(ctx, 0)
	r.Gone = time.Since(began)
	return err
}

// live subscribes while the link is up.
func (x *routeWorld) live(ctx context.Context, o linkOptions, n int, filter func(int) string, r *routeRun) error {
	began := time.Now()
	crowd, err := x.subscribe(ctx, o, n, filter)
	if err != nil {
		return err
	}
	defer crowd.Close()
	r.LiveOwn = crowd.Took
	err = x.replicated(ctx, n)
	r.Live = time.Since(began)
	return err
}

func (x *routeWorld) subscribe(ctx context.Context, o linkOptions, n int, filter func(int) string) (*loadgen.Crowd, error) {
	c := loadgen.Config{SubscribeAt: x.pair.subscribe, Version: byte(o.version), QoS: 1, ConnectWithin: 5 * time.Minute}
	return loadgen.SubscribeAll(ctx, c, (n+perClient-1)/perClient, n, filter)
}

func (x *routeWorld) both(ctx context.Context) (ms [2]memory, err error) {
	for i := range ms {
		if ms[i], err = x.held(ctx, i); err != nil {
			return ms, err
		}
	}
	return ms, nil
}

// replicated waits until the link is up and A has n routes of B, as both say.
func (x *routeWorld) replicated(ctx context.Context, n int) error {
	return x.processes[0].poll(ctx, 10*time.Millisecond, fmt.Sprintf("get %s routes", grouped(n)), func() (bool, error) {
		var at [2]linkState
		for i, path := range []string{"/sites/" + siteA + "/cluster/links/" + siteB, "/sites/" + siteB + "/cluster/links/" + siteA} {
			if err := x.ends[i].get(ctx, path, &at[i]); err != nil {
				return false, err
			}
			if !at[i].up() {
				return false, nil
			}
		}
		return at[0].Replication.PeerRoutes == n && at[1].Replication.OwnRoutes == n, nil
	})
}
