package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clink/bench/loadgen"
)

// A whole run, as short as can be where something is to happen in it on a busy
// machine, too: what starts must run, be cut, be asked for
// its routes, and end. What comes of it as figures is nobody's business here.
// With CLINK_LONG mosquitto takes part, which waits five seconds after each cut.
func TestEverythingIsMeasured(t *testing.T) {
	dir := t.TempDir()
	args := "-rounds 1 -duration 200ms -warm-up 10ms -qos 1 -sizes 64 -rates 400 -publishers 2 -repeats 1 -cut 500ms -cut-rate 100 -routes 300 -clients 40"
	if _, err := mosquittoProgram(); err != nil || os.Getenv("CLINK_LONG") == "" {
		args += " -alone"
	}
	o, err := parseLink(append(strings.Fields(args), "-json", filepath.Join(dir, "x.json"), "-svg", filepath.Join(dir, "x.svg")))
	if err != nil {
		t.Fatal(err)
	}
	o.afterCut, o.cutQuiet = 100*time.Millisecond, time.Minute
	var said bytes.Buffer
	if err := compareLink(t.Context(), o, &said); err != nil {
		t.Fatalf("%v after\n%s", err, &said)
	}
	out, err := readOutcome(o.json)
	if err != nil {
		t.Fatal(err)
	}
	checkFlow(t, out)
	checkCuts(t, out, o)
	checkRoutes(t, out)
	for _, c := range out.Clients {
		if c.Clients != 40 || len(c.Runs) != 1 || c.Runs[0].Connected <= 0 {
			t.Errorf("idle clients: %+v", c)
		}
	}
	if len(out.Clients) == 0 || out.Machine.CPUs == 0 || out.Machine.Took <= 0 {
		t.Errorf("%d brokers with clients, on %+v", len(out.Clients), out.Machine)
	}
	if _, err := os.Stat(o.svg); err != nil {
		t.Error(err)
	}
}

func checkFlow(t *testing.T, out *outcome) {
	t.Helper()
	var names []string
	for _, c := range out.Cases {
		names = append(names, c.Load.String())
		for i, x := range c.Rounds[0] {
			if x.Sent == 0 || x.Received+x.Lost != x.Sent+x.Duplicates {
				t.Errorf("%v at %s: %+v", c.Load, out.Names[i], x)
			}
		}
	}
	if want := []string{"QoS 1, 64 B", "QoS 1, 256 B, 400 msg/s"}; !slices.Equal(names, want) {
		t.Errorf("cases %q, want %q", names, want)
	}
	if last := out.Names[len(out.Names)-1]; last != ourName {
		t.Errorf("compared were %q", out.Names)
	}
}

func checkCuts(t *testing.T, out *outcome, o linkOptions) {
	t.Helper()
	for _, c := range out.Cuts {
		r := c.Runs[0]
		if r.Sent == 0 || r.First < 0 || r.Drained < r.First {
			t.Errorf("a cut of %s: %+v", c.Name, r)
		}
	}
	if n := len(out.Cuts); n != 3 && !(o.alone && n == 1) {
		t.Errorf("%d kinds of brokers were cut", n)
	}
}

func checkRoutes(t *testing.T, out *outcome) {
	t.Helper()
	var kinds []string
	for _, c := range out.Routes {
		kinds = append(kinds, c.Kind)
		r := c.Runs[0]
		if c.Routes != 300 || c.Bytes < 20 || r.Subscribed <= 0 || r.Bootstrap <= 0 || r.Gone <= 0 || r.LiveOwn <= 0 || r.Live < r.LiveOwn {
			t.Errorf("routes: %+v", c)
		}
	}
	if want := []string{kindExact, kindWildcard}; !slices.Equal(kinds, want) {
		t.Errorf("kinds of routes %q, want %q", kinds, want)
	}
}

// sampleOutcome is a whole run with round figures.
func sampleOutcome() *outcome {
	out := &outcome{Settings: settings{Rounds: 5, Cut: 3 * time.Second, CutRate: 2000}}
	out.Machine = machine{OS: "plan9/mips", CPUs: 3, Mosquitto: "2.0.11", Busy: .25}
	out.w, out.Names = io.Discard, []string{peerRaised, ourName}
	add := func(l load, more float64) {
		peer := loadgen.Result{Rate: 1000, Delivered: 1000, CPU: time.Second, P50: time.Millisecond, P99: 2 * time.Millisecond, RSS: 1 << 20}
		ours := peer
		ours.Rate, ours.CPU, ours.P99 = 1000*more, time.Duration(float64(time.Second)/more), time.Duration(float64(2*time.Millisecond)*more)
		out.add(l, []loadgen.Result{peer, ours})
	}
	for _, x := range flowTargets { // some loads are there twice, and have two rounds
		add(load{QoS: x.qos, Size: x.size, Rate: x.rate}, 2)
	}
	for _, name := range []string{peerRaised, peerDefault, ourName} {
		out.Cuts = append(out.Cuts, cutCase{name, []cutRun{{Sent: 12345, Lost: uint64(len(name)), First: time.Second / 2, Drained: time.Second}}})
	}
	for _, kind := range []string{kindExact, kindWildcard} {
		run := routeRun{Subscribed: time.Second, Bootstrap: time.Second, Far: memory{900, 600, 0}, Near: memory{90, 60, 0}, Gone: time.Second, Live: 3 * time.Second, LiveOwn: time.Second}
		out.Routes = append(out.Routes, routeCase{100_000, kind, routeFilter(kind, 7), 30, []routeRun{run}})
	}
	for _, name := range out.Names {
		out.Clients = append(out.Clients, clientCase{name, 10, []clientRun{{time.Second, memory{RSS: 2048}}}})
	}
	return out
}

func TestTargetTableHasAllRows(t *testing.T) {
	var b strings.Builder
	out := sampleOutcome()
	if err := out.show(linkOptions{}, &b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| throughput, QoS 0, 64 B | **2.00** (2.00 to 2.00) | ≥ 2.5 | ≥ 4 | no |",
		"| throughput, QoS 0, 1 KiB | **2.00** (2.00 to 2.00) | ≥ 1.5 | ≥ 3 | must |",
		"| throughput, QoS 0, 16 KiB | **2.00** (2.00 to 2.00) | ≥ 0.5 | ≥ 1 | aim |",
		"| throughput, QoS 1, 64 B | **2.00** (2.00 to 2.00) | ≥ 2 | ≥ 3.5 | must |",
		"| throughput, QoS 1, 1 KiB | **2.00** (2.00 to 2.00) | ≥ 1.7 | ≥ 3 | must |",
		"| throughput, QoS 1, 16 KiB | **2.00** (2.00 to 2.00) | ≥ 0.7 | ≥ 1.2 | aim |",
		"| CPU per message, QoS 1, 64 B | **0.50** (0.50 to 0.50) | ≤ 0.5 | ≤ 0.3 | must |",
		"| CPU per message, QoS 1, 1 KiB | **0.50** (0.50 to 0.50) | ≤ 0.6 | ≤ 0.3 | must |",
		"| p99 latency, QoS 1, 256 B, 1,000 msg/s | **2.00** (2.00 to 2.00) | ≤ 2 | ≤ 1.2 | must |",
		"| p99 latency, QoS 1, 256 B, 5,000 msg/s | **2.00** (2.00 to 2.00) | ≤ 2 | ≤ 1.2 | must |",
		"| bootstrap of 100,000 routes | **1.00 s** (1.00 to 1.00) | ≤ 2 s | ≤ 0.6 s | must |",
		"| SUBSCRIBE to routes, 100,000 filters | **3.00 s** (3.00 to 3.00) | ≤ 2 s | ≤ 0.6 s | no |",
		"| bootstrap of 1,000,000 routes | - | ≤ 20 s | ≤ 6 s | not measured |",
		"| SUBSCRIBE to routes, 1,000,000 filters | - | ≤ 20 s | ≤ 6 s | not measured |",
		"| memory of a route, exact | **600 B** (600 to 600) | ≤ 150 B | ≤ 80 B | no |",
		"| memory of a route, wildcard | **600 B** (600 to 600) | ≤ 700 B | ≤ 330 B | must |",
		"| link back until first message | **0.50 s** (0.50 to 0.50) | ≤ 1 s | ≤ 0.3 s | must |",
		"| reordered, cuts included | **0** | 0 | 0 | aim |",
		"| duplicated without a cut | **0** | 0 | 0 | aim |",
		"| lost without a cut | **0** | 0 | 0 | aim |",
		"| lost in cuts of 3 s at 2,000 msg/s, QoS 1 | **6** | 0 | 0 | no |",
		"| mosquitto's bridge, its default queue of 1,000 | 12345 | 17 | 0 | 0 | **0.50 s** (0.50 to 0.50) | **1.00 s** (1.00 to 1.00) |",
		"| 100,000 wildcard | `fwd/site/0/dev/7/+/cmd` | 1.00 s | **1.00 s** | 1.00 s, 3.00 s | 1.00 s | **600 B** (900 B) | 60 B (90 B) |",
		"| mosquitto | 1.00 s | **2.0 KiB** | - |",
		"plan9/mips, 3 processors, ",
		"other work had 25 % of the processors meanwhile",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Log(b.String())
	}
}

// Without a peer there are no ratios, and a whole table still.
func TestTargetsOfAnythingLess(t *testing.T) {
	var empty outcome
	all := sampleOutcome().verdicts()
	for _, v := range empty.verdicts() {
		if v.Met != notMeasured || v.measured() != "-" {
			t.Errorf("%s of nothing is %s, %s", v.Name, v.measured(), v.Met)
		}
	}
	if n := len(empty.verdicts()); n != len(all) {
		t.Errorf("%d targets where nothing was measured, %d where all was", n, len(all))
	}
	out := sampleOutcome()
	out.Names = []string{ourName, "another"}
	out.Cuts[2].Runs[0].First = -1
	for _, v := range out.verdicts() {
		if v.Unit == "x" && v.Met != notMeasured {
			t.Errorf("%s: %s without mosquitto", v.Name, v.measured())
		}
		if v.Name == firstMessage && v.Met != metNo {
			t.Errorf("a first message that never came: %s, %s", v.measured(), v.Met)
		}
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	extreme := sampleOutcome()
	extreme.Machine.OS = `<&">`
	extreme.Cases[0].Rounds[0][1].Rate = 1e12
	extreme.Routes[0].Runs[0].Far.Heap = -1
	for name, out := range map[string]*outcome{"whole": sampleOutcome(), "nothing": {}, "extreme": extreme} {
		out.Targets = out.verdicts()
		svg := out.plot()
		d := xml.NewDecoder(bytes.NewReader(svg))
		var text strings.Builder
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v in\n%s", name, err, svg)
			}
			if c, ok := token.(xml.CharData); ok {
				text.Write(c)
			}
		}
		if bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
			t.Errorf("%s: a place that is no number:\n%s", name, svg)
		}
		for _, v := range out.Targets {
			if label := strings.TrimPrefix(v.Name, "throughput, "); len(v.Values) > 0 && v.Unit != "" && !strings.Contains(text.String(), label) {
				t.Errorf("%s: no %q", name, label)
			}
		}
	}
}

func TestPagesAreWritten(t *testing.T) {
	root := t.TempDir()
	files := map[string]string{}
	for name := range pages {
		files[name] = "before\n" + figuresBegin + "old\n" + figuresEnd + "after\n"
	}
	if err := writeFiles(root, files); err != nil {
		t.Fatal(err)
	}
	out := sampleOutcome()
	out.Targets = out.verdicts()
	for range 2 { // the second changes nothing
		if err := out.writePages(root); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"README.md":       "| lost in cuts of 3 s, of 12,345 messages, QoS 1 | 6 | 17 with its default queue, 9 with a larger one |\n",
		"README.zh.md":    "| 吞吐量,16 KiB | 2.00 | 2.00 |\n",
		"bench/README.md": "| throughput, QoS 1, 16 KiB | **2.00** (2.00 to 2.00) | ≥ 0.7 | ≥ 1.2 | aim |\n",
	} {
		b, err := os.ReadFile(filepath.Join(root, name))
		text := string(b)
		if err != nil || !strings.Contains(text, want) || strings.Contains(text, "old") || strings.Contains(text, "<no value>") ||
			!strings.HasPrefix(text, "before\n"+figuresBegin) || !strings.HasSuffix(text, figuresEnd+"after\n") {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	if _, err := os.Stat(filepath.Join(root, pictureFile)); err != nil {
		t.Error(err)
	}
}

// What lacks something leaves the pages alone.
func TestPagesNeedAWholeRun(t *testing.T) {
	for name, spoil := range map[string]func(*outcome){
		"throughput": func(o *outcome) { o.Cases = o.Cases[1:] },
		"cuts":       func(o *outcome) { o.Cuts = o.Cuts[:1] },
		"routes":     func(o *outcome) { o.Routes = nil },
		"clients":    func(o *outcome) { o.Clients = o.Clients[1:] },
		"peer":       func(o *outcome) { o.Names = []string{"other", ourName} },
	} {
		out := sampleOutcome()
		spoil(out)
		if _, err := out.figuresFor("figures.md.tmpl"); !errors.Is(err, errNotWhole) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if _, err := readPages(t.TempDir()); err == nil || !strings.Contains(err.Error(), "-write is for the top directory of a checkout") {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := readPages(".."); err != nil {
		t.Errorf("this checkout: %v", err)
	}
}

func TestOutcomeThatDoesNotHoldTogether(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	for text, want := range map[string]string{
		"{": "is not what -json writes",
		`{"brokers":["a","b"],"cases":[{"load":{},"rounds":[[{}]]}]}`: "has 1 results of 2 brokers",
		`{"cases":[{"load":{}}]}`:                                     "has no rounds",
		`{"cuts":[{"brokers":"a"}]}`:                                  "the cuts of a have no runs",
		`{"routes":[{"routes":7}]}`:                                   "7  routes have no runs",
		`{"clients":[{"broker":"a"}]}`:                                "the clients of a have no runs",
		`{"cuts":[{"brokers":"a"}],"x":{}}`:                           "the cuts of a have no runs",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readOutcome(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	whole := sampleOutcome()
	b, err := json.Marshal(whole)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	back, err := readOutcome(file)
	if err != nil {
		t.Fatal(err)
	}
	var want, got strings.Builder
	whole.tables(&want)
	back.tables(&got)
	if want.String() != got.String() {
		t.Errorf("read back:\n%s\nwant\n%s", &got, &want)
	}
}

func TestProcessorTimeOfOthers(t *testing.T) {
	const stat = "cpu  100 20 30 4000 500 6 7 8 90 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
	if got, want := allBusy(stat), 1710*time.Millisecond; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := allBusy("intr 1"); got != 0 {
		t.Errorf("of something else: %v", got)
	}
}
