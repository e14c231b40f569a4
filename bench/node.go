package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"clink/bench/loadgen"
)

// A maker starts one broker in a directory of its own; persistent brokers
// keep what they have there.
type maker struct {
	name  string
	start func(ctx context.Context, dir, addr, pprof string) (*pair, error)
}

// compareNode measures one node against mosquitto, and prints the outcome.
func compareNode(ctx context.Context, o nodeOptions, w io.Writer) error {
	dir, err := os.MkdirTemp("", "clink-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.profiles != "" {
		if err := os.MkdirAll(o.profiles, 0o777); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "%s/%s, %d processors, %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	makers, err := makeBrokers(ctx, o, dir, w)
	if err != nil {
		return err
	}
	if len(o.fans) > 0 {
		if err := compareFans(ctx, o, makers, dir, w); err != nil {
			return err
		}
	}
	return compareSizes(ctx, o, makers, dir, w)
}

// makeBrokers returns how to start the peer, unless there shall be none, and
// clinkd.
func makeBrokers(ctx context.Context, o nodeOptions, dir string, w io.Writer) (ms []maker, err error) {
	if !o.alone {
		program, err := mosquittoProgram()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(w, "peer: %s, %s\n", program, mosquittoVersion(ctx, program))
		ms = append(ms, maker{"mosquitto", func(ctx context.Context, dir, addr, _ string) (*pair, error) {
			return startMosquittoNode(ctx, dir, program, addr, o.restart)
		}})
	}
	program, err := buildClinkd(ctx, dir)
	return append(ms, maker{"clinkd", func(ctx context.Context, dir, addr, pprof string) (*pair, error) {
		return startClinkdNode(ctx, dir, program, addr, pprof, strings.Fields(o.flags))
	}}), err
}

const nodeText = `package topology

sites: node: {
	listeners: mqtt: bind: %q
	access: anonymous: true
}
`

func startClinkdNode(ctx context.Context, dir, program, addr, pprof string, flags []string) (*pair, error) {
	p := &pair{name: "clinkd", publish: addr, subscribe: addr, profile: []string{pprof}}
	source := filepath.Join(dir, "topology")
	err := writeFiles(source, map[string]string{
		"node.cue":           fmt.Sprintf(nodeText, addr),
		"cue.mod/module.cue": "module: \"bench.example/node\"\nlanguage: version: \"v0.14.0\"\n",
	})
	if err != nil {
		return p, err
	}
	args := []string{"run", "--site", "node", "--http", "127.0.0.1:0", "--pprof", pprof, "--data-dir", filepath.Join(dir, "data"), "--log-level", "warn"}
	return p, p.start(ctx, dir, "clinkd-node", addr, program, append(append(args, flags...), source)...)
}

func startMosquittoNode(ctx context.Context, dir, program, addr string, persistent bool) (*pair, error) {
	p := &pair{name: "mosquitto", publish: addr, subscribe: addr}
	text := fmt.Sprintf(mosquittoCommon, port(addr))
	if persistent {
		text = strings.Replace(text, "persistence false", "persistence true\npersistence_location "+dir+"/", 1)
	}
	file := filepath.Join(dir, "mosquitto.conf")
	if err := writeFiles(dir, map[string]string{"mosquitto.conf": text}); err != nil {
		return p, err
	}
	return p, p.start(ctx, dir, "mosquitto-node", addr, program, "-c", file)
}

// startEach starts each broker in a directory of its own. Stop ends them, and
// must be called whatever is returned.
func startEach(ctx context.Context, makers []maker, dir string) (pairs []*pair, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	stop = func() {
		cancel()
		for _, p := range pairs {
			p.wait()
		}
	}
	ports, err := freePorts(2 * len(makers))
	for i, m := range makers {
		at := filepath.Join(dir, m.name)
		if err == nil {
			err = os.MkdirAll(at, 0o777)
		}
		if err != nil {
			return pairs, stop, err
		}
		var p *pair
		p, err = m.start(ctx, at, ports[2*i], ports[2*i+1])
		pairs = append(pairs, p)
	}
	return pairs, stop, err
}

func compareFans(ctx context.Context, o nodeOptions, makers []maker, dir string, w io.Writer) error {
	pairs, stop, err := startEach(ctx, makers, filepath.Join(dir, "fans"))
	defer stop()
	if err != nil {
		return err
	}
	r := report{w: w, options: o.options}
	fmt.Fprintf(w, "publishers:subscribers, %d messages of all publishers together on the way; %v a round; MQTT version %d\n\n", o.window, o.duration, o.version)
	r.columns(pairs)
	for _, qos := range o.qos {
		for _, f := range o.fans {
			if err := measureFan(ctx, o, &r, pairs, f, qos); err != nil {
				return err
			}
		}
	}
	r.summary()
	return nil
}

func measureFan(ctx context.Context, o nodeOptions, r *report, pairs []*pair, f fan, qos int) error {
	l := load{qos: qos, size: o.size, fan: f}
	per := o.options
	per.publishers, per.window = f.publishers, max(o.window/f.publishers, 2)
	for round := range o.rounds {
		var results []loadgen.Result
		for _, p := range pairs {
			res, err := p.measure(ctx, per, l)
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
	return pairs[len(pairs)-1].takeProfiles(ctx, per, l)
}
