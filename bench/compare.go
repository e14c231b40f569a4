package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"

	"clink/bench/loadgen"
)

// compare starts what is to be compared, measures it and prints the outcome.
// Nothing of it is left when it returns, whatever it returns.
func compare(ctx context.Context, o options, w io.Writer) error {
	dir, err := os.MkdirTemp("", "clink-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	pairs, err := startAll(ctx, o, dir, w)
	defer func() {
		cancel()
		for _, p := range pairs {
			p.wait()
		}
	}()
	if err != nil {
		return err
	}
	r := report{w: w, options: o}
	r.head(pairs)
	for _, qos := range o.qos {
		for _, size := range o.sizes {
			if err := measureCase(ctx, o, &r, pairs, load{qos: qos, size: size}); err != nil {
				return err
			}
		}
	}
	r.summary()
	return nil
}

// startAll returns the peer, unless there shall be none, and what is compared
// with it, in this order. With an error it returns what had been started.
func startAll(ctx context.Context, o options, dir string, w io.Writer) (pairs []*pair, err error) {
	ports, err := freePorts(6)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "%s/%s, %d processors, %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	if !o.alone {
		program, err := mosquittoProgram()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(w, "peer: %s, %s\n", program, mosquittoVersion(ctx, program))
		peer, err := startMosquitto(ctx, dir, program, ports[0], ports[1])
		pairs = append(pairs, peer)
		if err != nil {
			return pairs, err
		}
	}
	if len(o.target) > 0 {
		return append(pairs, &pair{name: "target", publish: o.target[0], subscribe: o.target[1], username: o.username, password: o.password, pids: o.pids}), nil
	}
	program, err := buildClinkd(ctx, dir)
	if err != nil {
		return pairs, err
	}
	var profile []string
	if o.profiles != "" {
		profile = ports[4:6]
		if err := os.MkdirAll(o.profiles, 0o777); err != nil {
			return pairs, err
		}
	}
	sites, err := startClinkd(ctx, dir, program, ports[2], ports[3], profile)
	return append(pairs, sites), err
}

// measureCase measures the pairs in turn, so that what the machine does
// meanwhile meets all of them.
func measureCase(ctx context.Context, o options, r *report, pairs []*pair, l load) error {
	for round := range o.rounds {
		var results []loadgen.Result
		for _, p := range pairs {
			res, err := p.measure(ctx, o, l)
			if err != nil {
				return err
			}
			r.line(l, round, p.name, res)
			results = append(results, res)
		}
		r.add(l, results)
	}
	if o.profiles == "" {
		return nil
	}
	return pairs[len(pairs)-1].takeProfiles(ctx, o, l)
}
