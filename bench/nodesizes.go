package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"clink/bench/loadgen"
)

// A size is what one round found of a broker's memory and patience.
type size struct {
	connect  time.Duration // until all clients are connected and subscribed
	rss      float64       // bytes more resident, per client
	heap     float64       // bytes more of live heap, per client; clinkd only
	stacks   float64       // bytes more of stacks, per client; clinkd only
	retain   time.Duration // until all retained messages are acknowledged
	fetch    time.Duration // until a fresh subscriber has them
	fetched  int
	again    time.Duration // the same after a restart
	refound  int
	restarts bool
}

// compareSizes measures with fresh processes each round: memory once taken
// is not given back at once.
func compareSizes(ctx context.Context, o nodeOptions, makers []maker, dir string, w io.Writer) error {
	if o.clients == 0 && o.retained == 0 {
		return nil
	}
	of := make([][]size, len(makers))
	for round := range o.rounds {
		for i, m := range makers {
			at := filepath.Join(dir, fmt.Sprintf("size-%d-%s", round, m.name))
			s, err := measureSize(ctx, o, m, at)
			if err != nil {
				return err
			}
			of[i] = append(of[i], s)
		}
	}
	fmt.Fprintf(w, "\n%d idle clients with one filter each, %d retained messages of %d B; median over %d rounds:\n\n", o.clients, o.retained, o.size, o.rounds)
	fmt.Fprintln(w, "| broker | all connected | RSS per client | live heap, stacks per client | retained: acknowledged | fetched | fetched after a restart |\n|---|---|---|---|---|---|---|")
	for i, m := range makers {
		sizeLine(w, m.name, o, of[i])
	}
	return nil
}

func measureSize(ctx context.Context, o nodeOptions, m maker, dir string) (s size, err error) {
	pairs, stop, err := startEach(ctx, []maker{m}, dir)
	defer func() { stop() }()
	if err != nil {
		return s, err
	}
	p := pairs[0]
	if o.clients > 0 {
		if err := p.measureCrowd(ctx, o, &s); err != nil {
			return s, err
		}
	}
	if o.retained == 0 {
		return s, nil
	}
	c := loadgen.Config{PublishTo: p.publish, SubscribeAt: p.subscribe, TopicPrefix: "retained", Version: byte(o.version), Size: o.size}
	began := time.Now()
	if err := loadgen.Retain(ctx, c, o.retained); err != nil {
		return s, fmt.Errorf("%s: %w", p.name, err)
	}
	s.retain = time.Since(began)
	if s.fetched, s.fetch, err = loadgen.Fetch(ctx, c, o.retained); err != nil || !o.restart {
		return s, err
	}
	stop()
	if pairs, stop, err = startEach(ctx, []maker{m}, dir); err != nil {
		return s, err
	}
	s.restarts = true
	c.PublishTo, c.SubscribeAt = pairs[0].publish, pairs[0].subscribe
	s.refound, s.again, err = loadgen.Fetch(ctx, c, o.retained)
	return s, err
}

// measureCrowd takes what the process holds before and after the clients
// connect.
func (p *pair) measureCrowd(ctx context.Context, o nodeOptions, s *size) error {
	before, err := p.held(ctx)
	if err != nil {
		return err
	}
	crowd, err := loadgen.Gather(ctx, loadgen.Config{SubscribeAt: p.subscribe, Version: byte(o.version), ConnectWithin: 2 * time.Minute}, o.clients)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	defer crowd.Close()
	s.connect = crowd.Took
	rss := usage(p.pids).RSS // as it comes, with what garbage there is
	after, err := p.held(ctx)
	if err != nil {
		return err
	}
	n := float64(o.clients)
	s.rss = float64(rss-before.rss) / n
	s.heap, s.stacks = (after.heap-before.heap)/n, (after.stacks-before.stacks)/n
	if o.profiles == "" || len(p.profile) == 0 {
		return nil
	}
	return fetch(ctx, "http://"+p.profile[0]+"/debug/pprof/heap", filepath.Join(o.profiles, "idle-heap.pprof"))
}

// Memory is what a process holds.
type memory struct {
	rss          int64
	heap, stacks float64
}

var memoryLine = regexp.MustCompile(`(?m)^# (HeapAlloc|Stack) = (\d+)`)

// held reads it; of clinkd the heap too, after a garbage collection.
func (p *pair) held(ctx context.Context) (m memory, err error) {
	m.rss = usage(p.pids).RSS
	if len(p.profile) == 0 {
		return m, nil
	}
	text, err := get(ctx, "http://"+p.profile[0]+"/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return m, err
	}
	of := map[string]*float64{"HeapAlloc": &m.heap, "Stack": &m.stacks}
	for _, f := range memoryLine.FindAllSubmatch(text, -1) {
		if *of[string(f[1])], err = strconv.ParseFloat(string(f[2]), 64); err != nil {
			return m, err
		}
	}
	return m, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

func sizeLine(w io.Writer, name string, o nodeOptions, l []size) {
	of := func(f func(size) float64) float64 {
		var xs []float64
		for _, s := range l {
			xs = append(xs, f(s))
		}
		return median(xs)
	}
	kib := func(x float64) string { return fmt.Sprintf("%.1f KiB", x/1024) }
	cells := [6]string{"-", "-", "-", "-", "-", "-"}
	if o.clients > 0 {
		cells[0] = fmt.Sprintf("%.2f s", of(func(s size) float64 { return s.connect.Seconds() }))
		cells[1] = kib(of(func(s size) float64 { return s.rss }))
		if heap := of(func(s size) float64 { return s.heap }); heap > 0 {
			cells[2] = kib(heap) + ", " + kib(of(func(s size) float64 { return s.stacks }))
		}
	}
	if o.retained > 0 {
		cells[3] = fmt.Sprintf("%.2f s", of(func(s size) float64 { return s.retain.Seconds() }))
		cells[4] = fmt.Sprintf("%.0f in %.2f s", of(func(s size) float64 { return float64(s.fetched) }), of(func(s size) float64 { return s.fetch.Seconds() }))
	}
	if l[0].restarts {
		cells[5] = fmt.Sprintf("%.0f in %.2f s", of(func(s size) float64 { return float64(s.refound) }), of(func(s size) float64 { return s.again.Seconds() }))
	}
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", name, cells[0], cells[1], cells[2], cells[3], cells[4], cells[5])
}
