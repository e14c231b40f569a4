package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// compareNode measures one node against mosquitto, and prints the outcome.
func compareNode(ctx context.Context, o nodeOptions, w io.Writer) error {
	s, err := setUp(ctx, o.common, true, w)
	defer s.remove()
	if err != nil {
		return err
	}
	makers := s.nodes(o.alone, o.restart, strings.Fields(o.extra)...)
	if len(o.fans) > 0 {
		if err := compareFans(ctx, o, makers, s.dir, w); err != nil {
			return err
		}
	}
	return compareSizes(ctx, o, makers, s.dir, w)
}

// nodes returns how to start the peer, unless there shall be none, and clinkd.
func (s *stage) nodes(alone, persistent bool, flags ...string) (ms []maker) {
	if !alone {
		ms = append(ms, s.mosquittoNode(persistent))
	}
	return append(ms, s.clinkdNode(flags...))
}

func compareFans(ctx context.Context, o nodeOptions, makers []maker, dir string, w io.Writer) error {
	pairs, stop, err := startEach(ctx, makers, filepath.Join(dir, "fans"))
	defer stop()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "publishers:subscribers, %d messages of all publishers together on the way; %v a round; MQTT version %d\n\n", o.window, o.duration, o.version)
	r := report{w: w}
	r.columns(pairs)
	if err := measureLoads(ctx, o.common, &r, pairs, o.loads()); err != nil {
		return err
	}
	r.summary(w)
	return nil
}

func (o nodeOptions) loads() (ls []load) {
	for _, qos := range o.qos {
		for _, f := range o.fans {
			ls = append(ls, load{QoS: qos, Size: o.size, Publishers: f.publishers, Subscribers: f.subscribers, Window: max(o.window/f.publishers, 2), Fan: true})
		}
	}
	return ls
}
