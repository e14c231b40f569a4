package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"clink/bench/loadgen"
	"clink/compiler"
	"clink/internal/freeport"
	"clink/internal/testgc"
	"clink/topic"

	"go.uber.org/goleak"
)

// The test binary stands in for a broker that is started and stopped.
func TestMain(m *testing.M) {
	switch os.Getenv("BENCH_CHILD") {
	case "listen":
		ln, err := net.Listen("tcp", os.Getenv("BENCH_ADDR"))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for {
			if c, err := ln.Accept(); err == nil {
				c.Close()
			}
		}
	case "fail":
		fmt.Println("cannot read the configuration")
		os.Exit(1)
	}
	testgc.Set()
	goleak.VerifyTestMain(m)
}

func TestProcessIsStoppedByItsContext(t *testing.T) {
	addrs, err := freeport.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BENCH_CHILD", "listen")
	t.Setenv("BENCH_ADDR", addrs[0])
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var p pair
	if err := p.start(ctx, t.TempDir(), "child", addrs[0], os.Args[0]); err != nil {
		t.Fatal(err)
	}
	if u := usage(p.pids); u.RSS <= 0 && runtime.GOOS == "linux" {
		t.Errorf("usage of a running process: %+v", u)
	}
	cancel()
	p.wait()
	if p.processes[0].cmd.ProcessState == nil {
		t.Error("the process was not waited for")
	}
}

func TestProcessThatFailsSaysWhy(t *testing.T) {
	t.Setenv("BENCH_CHILD", "fail")
	var p pair
	err := p.start(t.Context(), t.TempDir(), "child", "127.0.0.1:1", os.Args[0])
	if err == nil || !strings.Contains(err.Error(), "child ended before it was ready") || !strings.Contains(err.Error(), "cannot read the configuration") {
		t.Errorf("got %v", err)
	}
	p.wait()
}

func TestParseStat(t *testing.T) {
	const line = "4711 (a (broker) x) S 1 4711 4711 0 -1 4194304 1 2 3 4 250 50 7 8 20 0 9 0 100 123456 10 18446744073709551615"
	cpu, rss := parseStat(line)
	if want := int64(10 * os.Getpagesize()); cpu != 3150*time.Millisecond || rss != want {
		t.Errorf("got %v, %d; want 3.15s, %d", cpu, rss, want)
	}
	if cpu, rss := parseStat("4711 (x) S"); cpu != 0 || rss != 0 {
		t.Errorf("a short line gives %v, %d", cpu, rss)
	}
}

func TestOptions(t *testing.T) {
	for args, want := range map[string]string{
		"":                                 "",
		"-qos 1 -sizes 64,4096 -rounds 7":  "",
		"-target h:1,h:2 -pids 1,2":        "",
		"-also emqx=h:1,h:2 -username u":   "",
		"-quick -rounds 1":                 "",
		"-qos 2":                           `-qos: "2" is not a number between 0 and 1`,
		"-qos ,":                           "-qos needs a value",
		"-sizes 19":                        `-sizes: "19" is not a number between 20`,
		"-target h:1":                      "two addresses are needed",
		"-target h,h:2":                    "-target: address h: missing port",
		"-also h:1,h:2":                    "NAME=A,B is meant",
		"-also =h:1,h:2":                   "NAME=A,B is meant",
		"-also e=h:1,h:2 -target h:1,h:2":  "do not go together",
		"-pids 1":                          "go with -target",
		"-rounds 0":                        "-rounds and -duration must be more than 0",
		"-repeats 0":                       "-repeats is from 1",
		"-cut 1ms":                         "-cut is from 100ms",
		"-routes 5":                        `-routes: "5" is not a number between 100`,
		"-clients 0":                       "-clients is from 1",
		"-only speed":                      `-only: there is no "speed"`,
		"-only cut -target h:1,h:2":        "at a -target there is only throughput, latency",
		"-target h:1,h:2 -profiles /tmp/x": "-profiles is for the clinkd processes started here",
		"surplus":                          `unexpected argument "surplus"`,
	} {
		_, err := parseLink(strings.Fields(args))
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", args, err)
		case want != "" && (!errors.Is(err, errUsage) || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
	if _, err := parseLink([]string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestQuickLeavesWhatIsGiven(t *testing.T) {
	o, err := parseLink(strings.Fields("-quick -rounds 4 -only routes,latency"))
	if err != nil {
		t.Fatal(err)
	}
	if o.rounds != 4 || o.duration != time.Second || o.repeats != 1 {
		t.Errorf("%d rounds of %v, %d repeats", o.rounds, o.duration, o.repeats)
	}
	if want := []string{partLatency, partRoutes}; !slices.Equal(o.parts, want) {
		t.Errorf("parts %v, want %v", o.parts, want)
	}
	if o, err = parseLink([]string{"-target", "h:1,h:2"}); err != nil || !slices.Equal(o.parts, flowParts) {
		t.Errorf("a target is measured in %v, %v", o.parts, err)
	}
}

func TestReport(t *testing.T) {
	result := func(rate float64, cpu, p50 time.Duration) loadgen.Result {
		return loadgen.Result{Rate: rate, Delivered: 1000, CPU: cpu, RSS: 1 << 20, P50: p50, P99: p50, Lost: 1}
	}
	var out bytes.Buffer
	r := report{w: io.Discard}
	r.columns([]*pair{{name: "mosquitto"}, {name: "clinkd"}, {name: "third"}})
	for _, ours := range []float64{300, 100, 200} {
		third := result(50, 0, 2*time.Millisecond)
		r.add(load{QoS: 1, Size: 1024}, []loadgen.Result{result(100, time.Second, time.Millisecond), result(ours, time.Second/2, 3*time.Millisecond), third})
	}
	r.summary(&out)
	const want = `
Median over 3 rounds of clinkd or third / mosquitto in the same round (lowest to highest):

| case | throughput | CPU per message | RSS | p50 | p99 | lost, duplicated, reordered |
|---|---|---|---|---|---|---|
| QoS 1, 1 KiB, clinkd | **2.00** (1.00 to 3.00) | **0.50** (0.50 to 0.50) | **1.00** (1.00 to 1.00) | **3.00** (3.00 to 3.00) | **3.00** (3.00 to 3.00) | mosquitto 3, 0, 0; clinkd 3, 0, 0 |
| QoS 1, 1 KiB, third | **0.50** (0.50 to 0.50) | - | **1.00** (1.00 to 1.00) | **2.00** (2.00 to 2.00) | **2.00** (2.00 to 2.00) | mosquitto 3, 0, 0; third 3, 0, 0 |
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestMedianAndRounding(t *testing.T) {
	for _, c := range []struct {
		xs   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.xs); got != c.want {
			t.Errorf("median of %v: %v", c.xs, got)
		}
	}
	for in, want := range map[time.Duration]time.Duration{0: 0, 999: 999, 1234567: 1230000, 71312 * time.Microsecond: 71300 * time.Microsecond} {
		if got := round3(in); got != want {
			t.Errorf("round3(%v) = %v, want %v", in, got, want)
		}
	}
}

// The topology that is measured must be one that clinkc finds nothing in, also
// where each end is reached through something else.
func TestTopologyIsClean(t *testing.T) {
	for name, via := range map[string][2]string{
		"straight": {"127.0.0.1:40001", "127.0.0.1:40002"},
		"proxies":  {"127.0.0.1:40003", "127.0.0.1:40004"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := writeTopology(dir, "127.0.0.1:40001", "127.0.0.1:40002", via[0], via[1]); err != nil {
				t.Fatal(err)
			}
			res, err := compiler.Compile(t.Context(), os.DirFS(dir), compiler.Options{Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range res.Findings {
				t.Errorf("%s: %s", f.Rule, f.Message)
			}
			for site, peer := range map[string]string{siteA: siteB, siteB: siteA} {
				l, ok := res.Topology.Sites[site].Link(peer)
				if !ok || l.Password.IsZero() || !slices.Equal(l.Topics, []topic.Filter{"fwd/#"}) {
					t.Errorf("%s: link to %s: %+v", site, peer, l)
				}
			}
		})
	}
}
