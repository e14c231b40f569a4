package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"clink/bench/loadgen"
)

// A cutCase is what cuts did to the messages between two brokers.
type cutCase struct {
	Name string   `json:"brokers"`
	Runs []cutRun `json:"runs"`
}

// A cutRun is one of them. Times are from when connections were let through
// again, in nanoseconds; -1: never.
type cutRun struct {
	Sent       uint64        `json:"sent"`
	Lost       uint64        `json:"lost"`
	Duplicates uint64        `json:"duplicated"`
	Reordered  uint64        `json:"reordered"`
	First      time.Duration `json:"first"`   // until a message came through
	Drained    time.Duration `json:"drained"` // until everything had come that was published before
}

// first is First, or the whole time that was waited if it never came.
func (r cutRun) first() time.Duration {
	if r.First < 0 {
		return afterCut
	}
	return r.First
}

// Names of the peer in a cut.
const (
	peerRaised  = "mosquitto"
	peerDefault = "mosquitto-default"
)

const (
	afterCut = 5 * time.Second // that publishing goes on: longer than any of them takes to come back
	cutQuiet = 5 * time.Second // without a message, before the rest is given up for lost
)

// measureCuts cuts the link of each pair in turn.
func (s *stage) measureCuts(ctx context.Context, o linkOptions, out *outcome, w io.Writer) error {
	makers := []maker{s.clinkdPair(true)}
	if !o.alone {
		makers = []maker{s.mosquittoCut(peerRaised, true), s.mosquittoCut(peerDefault, false), makers[0]}
	}
	pairs, stop, err := startEach(ctx, makers, filepath.Join(s.dir, "cut"))
	defer stop()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nthe link is cut for %s, at QoS 1 with %s messages a second of %d B\n\n", durationText(o.cut), grouped(o.cutRate), latencySize)
	fmt.Fprintf(w, "%-18s %5s %8s %7s %6s %6s %14s %10s\n", "brokers", "round", "sent", "lost", "twice", "order", "first message", "all")
	out.Cuts = make([]cutCase, len(pairs))
	for round := range o.repeats {
		for i, p := range pairs {
			r, err := p.measureCut(ctx, o)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%-18s %5d %8d %7d %6d %6d %14v %10v\n", p.name, round+1, r.Sent, r.Lost, r.Duplicates, r.Reordered, orNever(r.First), orNever(r.Drained))
			out.Cuts[i].Name = p.name
			out.Cuts[i].Runs = append(out.Cuts[i].Runs, r)
		}
	}
	return nil
}

func orNever(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return d.Round(time.Millisecond).String()
}

// A cutClock notes when what came after the cut.
type cutClock struct {
	mu                sync.Mutex
	back, first, last time.Time
}

func (c *cutClock) delivered(published, taken time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.back.IsZero() || taken.Before(c.back):
		return
	case c.first.IsZero():
		c.first = taken
	}
	if published.Before(c.back) {
		c.last = taken
	}
}

// restored says when the link was back. Messages that come meanwhile are taken
// into account when it has returned.
func (c *cutClock) restored(restore func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := restore()
	c.back = time.Now()
	return err
}

func (c *cutClock) since(t time.Time) time.Duration {
	if t.IsZero() {
		return -1
	}
	return t.Sub(c.back)
}

// measureCut runs a load, and cuts the link when the warm-up is over.
func (p *pair) measureCut(ctx context.Context, o linkOptions) (cutRun, error) {
	l := load{QoS: 1, Size: latencySize, Rate: o.cutRate, Publishers: o.publishers, Subscribers: 1}
	var clock cutClock
	var once sync.Once
	restored := make(chan error, 1)
	cut := func() loadgen.Usage { // called at both ends of the measured time
		once.Do(func() {
			p.cut()
			time.AfterFunc(o.cut, func() {
				restored <- clock.restored(func() error { return p.restore(ctx) })
			})
		})
		return loadgen.Usage{}
	}
	res, err := p.measure(ctx, o.common, l, func(c *loadgen.Config) {
		c.Duration = o.cut + o.afterCut
		c.ConnectWithin, c.DrainWithin, c.Quiet = time.Minute, time.Minute, o.cutQuiet
		c.Probe, c.Delivered = cut, clock.delivered
	})
	cut() // if it had not come to that, so that there is something to wait for
	if fault := <-restored; err == nil {
		err = fault
	}
	return cutRun{Sent: res.Sent, Lost: res.Lost, Duplicates: res.Duplicates, Reordered: res.Reordered,
		First: clock.since(clock.first), Drained: clock.since(clock.last)}, err
}
