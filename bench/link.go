package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
)

// latencySize is the payload where latency is measured, and in a cut.
const latencySize = 256

// compareLink measures a link of clinkd against mosquitto's bridge, prints the
// outcome and writes it where it is wanted. Nothing that it started is left
// when it returns, whatever it returns.
func compareLink(ctx context.Context, o linkOptions, w io.Writer) error {
	if err := o.places(); err != nil {
		return err
	}
	if o.from != "" {
		out, err := readOutcome(o.from)
		if err != nil {
			return err
		}
		return out.show(o, w)
	}
	out, err := measureLink(ctx, o, w)
	if err != nil {
		return err
	}
	return out.show(o, w)
}

func measureLink(ctx context.Context, o linkOptions, w io.Writer) (*outcome, error) {
	s, err := setUp(ctx, o.common, !o.instead, w)
	defer s.remove()
	if err != nil {
		return nil, err
	}
	out := &outcome{Settings: o.settings()}
	watch := watchMachine(ctx, s.version)
	for _, part := range []struct {
		names   []string
		measure func(context.Context, linkOptions, *outcome, io.Writer) error
	}{
		{[]string{partThroughput, partLatency}, s.measureFlow},
		{[]string{partCut}, s.measureCuts},
		{[]string{partRoutes}, s.measureRoutes},
		{[]string{partClients}, s.measureClients},
	} {
		if !slices.ContainsFunc(part.names, func(p string) bool { return slices.Contains(o.parts, p) }) {
			continue
		}
		if err := part.measure(ctx, o, out, w); err != nil {
			return nil, err
		}
	}
	out.Machine = watch()
	return out, nil
}

// measureFlow measures throughput and latency between pairs that all run at the
// same time.
func (s *stage) measureFlow(ctx context.Context, o linkOptions, out *outcome, w io.Writer) error {
	pairs, stop, err := startEach(ctx, s.pairs(o), filepath.Join(s.dir, "flow"))
	defer stop()
	if err != nil {
		return err
	}
	how := fmt.Sprintf("each with at most %d messages on the way", o.window)
	if o.rate > 0 {
		how = fmt.Sprintf("%s messages a second together", grouped(o.rate))
	}
	fmt.Fprintf(w, "%d publishers at A, %s; 1 subscriber at B; %v a round; MQTT version %d\n\n", o.publishers, how, o.duration, o.version)
	out.w = w
	out.columns(pairs)
	return measureLoads(ctx, o.common, &out.report, pairs, o.loads())
}

// pairs returns how to start the peer, unless there shall be none, what is
// compared with it, and who else there is.
func (s *stage) pairs(o linkOptions) (ms []maker) {
	if !o.alone {
		ms = append(ms, s.mosquittoPair())
	}
	if !o.instead {
		ms = append(ms, s.clinkdPair(false))
	}
	if f := o.foreign; f != nil {
		ms = append(ms, maker{f.name, func(context.Context, string) (*pair, error) {
			return &pair{name: f.name, publish: f.addrs[0], subscribe: f.addrs[1], username: f.username, password: f.password, pids: f.pids}, nil
		}})
	}
	return ms
}

func (o linkOptions) loads() (ls []load) {
	one := load{Publishers: o.publishers, Subscribers: 1, Window: o.window}
	if slices.Contains(o.parts, partThroughput) {
		for _, one.QoS = range o.qos {
			for _, one.Size = range o.sizes {
				one.Rate = o.rate
				ls = append(ls, one)
			}
		}
	}
	if slices.Contains(o.parts, partLatency) {
		for _, one.Rate = range o.rates {
			one.QoS, one.Size = 1, latencySize
			ls = append(ls, one)
		}
	}
	return ls
}

func (o linkOptions) settings() settings {
	return settings{Rounds: o.rounds, Repeats: o.repeats, Duration: o.duration, Publishers: o.publishers, Window: o.window,
		Rate: o.rate, Version: o.version, Cut: o.cut, CutRate: o.cutRate}
}
