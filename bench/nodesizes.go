package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"clink/bench/loadgen"
)

// A size is what one round found of a broker's memory and patience.
type size struct {
	connect  time.Duration // until all clients are connected and subscribed
	client   memory        // more, for each client
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
	before, err := p.held(ctx, 0)
	if err != nil {
		return err
	}
	crowd, err := loadgen.Gather(ctx, loadgen.Config{SubscribeAt: p.subscribe, Version: byte(o.version), ConnectWithin: 2 * time.Minute}, o.clients)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, p.blame(err))
	}
	defer crowd.Close()
	s.connect = crowd.Took
	after, err := p.held(ctx, 0)
	if err != nil {
		return err
	}
	s.client = after.less(before, o.clients)
	if o.profiles == "" || len(p.profile) == 0 {
		return nil
	}
	return fetch(ctx, "http://"+p.profile[0]+"/debug/pprof/heap", filepath.Join(o.profiles, "idle-heap.pprof"))
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
		cells[1] = kib(of(func(s size) float64 { return s.client.RSS }))
		if heap := of(func(s size) float64 { return s.client.Heap }); heap > 0 {
			cells[2] = kib(heap) + ", " + kib(of(func(s size) float64 { return s.client.Stacks }))
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
