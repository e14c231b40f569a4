package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// An outcome is all that a run of bench link has measured. Everything that is
// shown is made of it.
type outcome struct {
	Machine  machine  `json:"machine"`
	Settings settings `json:"settings"`
	report
	Cuts    []cutCase    `json:"cuts,omitempty"`
	Routes  []routeCase  `json:"routes,omitempty"`
	Clients []clientCase `json:"clients,omitempty"`
	Targets []verdict    `json:"targets"` // for the reader; never read back
}

// settings are those that one needs to know to read an outcome. Durations are
// in nanoseconds.
type settings struct {
	Rounds     int           `json:"rounds"`
	Repeats    int           `json:"repeats"`
	Duration   time.Duration `json:"duration"`
	Publishers int           `json:"publishers"`
	Window     int           `json:"window"`
	Rate       int           `json:"rate"`
	Version    int           `json:"mqtt"`
	Cut        time.Duration `json:"cut"`
	CutRate    int           `json:"cut_rate"`
}

// maxOutcome bounds what is read of an earlier run.
const maxOutcome = 64 << 20

func readOutcome(file string) (*outcome, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxOutcome))
	if err != nil {
		return nil, err
	}
	var out outcome
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("%s is not what -json writes: %w", file, err)
	}
	return &out, out.whole()
}

// whole makes sure that what was read holds together.
func (out *outcome) whole() error {
	for _, c := range out.Cases {
		if len(c.Rounds) == 0 {
			return fmt.Errorf("%v has no rounds", c.Load)
		}
		for _, round := range c.Rounds {
			if len(round) != len(out.Names) || len(round) == 0 {
				return fmt.Errorf("a round of %v has %d results of %d brokers", c.Load, len(round), len(out.Names))
			}
		}
	}
	for _, c := range out.Cuts {
		if len(c.Runs) == 0 {
			return fmt.Errorf("the cuts of %s have no runs", c.Name)
		}
	}
	for _, c := range out.Routes {
		if len(c.Runs) == 0 {
			return fmt.Errorf("%d %s routes have no runs", c.Routes, c.Kind)
		}
	}
	for _, c := range out.Clients {
		if len(c.Runs) == 0 {
			return fmt.Errorf("the clients of %s have no runs", c.Name)
		}
	}
	return nil
}

// places makes sure, before anything is measured, that the outcome can be
// written where it is wanted.
func (o linkOptions) places() (err error) {
	for _, file := range []string{o.json, o.svg} {
		if file == "" {
			continue
		}
		f, fault := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o666)
		if err = errors.Join(err, fault); fault == nil {
			f.Close()
		}
	}
	if o.write {
		_, fault := readPages(".")
		err = errors.Join(err, fault)
	}
	return err
}

// show prints the tables, and writes the files that are wanted.
func (out *outcome) show(o linkOptions, w io.Writer) error {
	out.Targets = out.verdicts()
	out.tables(w)
	if o.json != "" {
		b, err := json.MarshalIndent(out, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(b, '\n'), 0o666); err != nil {
			return err
		}
	}
	if o.svg != "" {
		if err := os.WriteFile(o.svg, out.plot(), 0o666); err != nil {
			return err
		}
	}
	if o.write {
		return out.writePages(".")
	}
	return nil
}

// tables prints everything in Markdown.
func (out *outcome) tables(w io.Writer) {
	fmt.Fprintf(w, "\n%v.\n", out.Machine)
	out.targetTable(w)
	out.report.summary(w)
	out.cutTable(w)
	out.routeTable(w)
	out.clientTable(w)
}

func (out *outcome) targetTable(w io.Writer) {
	if len(out.Targets) == 0 {
		return
	}
	fmt.Fprintln(w, "\n| target | measured | must | aim | met |\n|---|---|---|---|---|")
	for _, v := range out.Targets {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", v.Name, v.measured(), v.limit(v.Must), v.limit(v.Aim), v.Met)
	}
	if out.Settings.Rounds < 5 {
		fmt.Fprintln(w, "\nFewer than five rounds: good for a look, not for a claim.")
	}
}

func (out *outcome) cutTable(w io.Writer) {
	if len(out.Cuts) == 0 {
		return
	}
	fmt.Fprintf(w, "\nThe link is cut for %s at QoS 1, %s messages a second of %d B; the sum, or the median (lowest to highest), of %d cuts:\n\n",
		durationText(out.Settings.Cut), grouped(out.Settings.CutRate), latencySize, len(out.Cuts[0].Runs))
	fmt.Fprintln(w, "| brokers | sent | lost | duplicated | reordered | link back until first message | until all are there |\n|---|---|---|---|---|---|---|")
	for _, c := range out.Cuts {
		var sum cutRun
		for _, r := range c.Runs {
			sum.Sent, sum.Lost, sum.Duplicates, sum.Reordered = sum.Sent+r.Sent, sum.Lost+r.Lost, sum.Duplicates+r.Duplicates, sum.Reordered+r.Reordered
		}
		fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %s | %s |\n", cutNames[c.Name], sum.Sent, sum.Lost, sum.Duplicates, sum.Reordered,
			secondsSpread(c.times(func(r cutRun) time.Duration { return r.First })), secondsSpread(c.times(func(r cutRun) time.Duration { return r.Drained })))
	}
}

func durationText(d time.Duration) string { return fmt.Sprintf("%g s", d.Seconds()) }

var cutNames = map[string]string{
	ourName:     "clinkd, as it is by default",
	peerRaised:  "mosquitto's bridge, queue raised to 100,000",
	peerDefault: "mosquitto's bridge, its default queue of 1,000",
}

// times are in seconds, without those that never came.
func (c cutCase) times(of func(cutRun) time.Duration) (xs []float64) {
	for _, r := range c.Runs {
		if d := of(r); d >= 0 {
			xs = append(xs, d.Seconds())
		}
	}
	return xs
}

func secondsSpread(xs []float64) string {
	if len(xs) == 0 {
		return "never"
	}
	return fmt.Sprintf("**%.2f s** (%.2f to %.2f)", median(xs), slices.Min(xs), slices.Max(xs))
}

func (out *outcome) routeTable(w io.Writer) {
	if len(out.Routes) == 0 {
		return
	}
	fmt.Fprintf(w, "\nRoutes of a link, median of %d; mosquitto's bridge knows none, so there is nothing to set beside them:\n\n", len(out.Routes[0].Runs))
	fmt.Fprintln(w, "| routes | for example | subscribed | bootstrap | link up: subscribed, there | gone | heap (RSS) of a route at the far end | of a filter at the near end |\n|---|---|---|---|---|---|---|---|")
	for _, c := range out.Routes {
		of := func(f func(routeRun) float64) float64 { return median(c.of(f)) }
		fmt.Fprintf(w, "| %s %s | `%s` | %.2f s | **%.2f s** | %.2f s, %.2f s | %.2f s | **%.0f B** (%.0f B) | %.0f B (%.0f B) |\n",
			grouped(c.Routes), c.Kind, c.Filter,
			of(func(r routeRun) float64 { return r.Subscribed.Seconds() }), of(bootstrapOf),
			of(func(r routeRun) float64 { return r.LiveOwn.Seconds() }), of(liveOf),
			of(func(r routeRun) float64 { return r.Gone.Seconds() }),
			of(farHeapOf), of(func(r routeRun) float64 { return r.Far.RSS }),
			of(func(r routeRun) float64 { return r.Near.Heap }), of(func(r routeRun) float64 { return r.Near.RSS }))
	}
}

func (c routeCase) of(f func(routeRun) float64) (xs []float64) {
	for _, r := range c.Runs {
		xs = append(xs, f(r))
	}
	return xs
}

func bootstrapOf(r routeRun) float64 { return r.Bootstrap.Seconds() }
func liveOf(r routeRun) float64      { return r.Live.Seconds() }
func farHeapOf(r routeRun) float64   { return r.Far.Heap }

func (out *outcome) clientTable(w io.Writer) {
	if len(out.Clients) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s idle clients of one node, median of %d:\n\n", grouped(out.Clients[0].Clients), len(out.Clients[0].Runs))
	fmt.Fprintln(w, "| broker | all connected | RSS of each | live heap, stacks of each |\n|---|---|---|---|")
	for _, c := range out.Clients {
		heap, stacks := c.each(func(m memory) float64 { return m.Heap }), c.each(func(m memory) float64 { return m.Stacks })
		fmt.Fprintf(w, "| %s | %.2f s | **%s** | %s |\n", c.Name, c.connected(), kib(c.each(func(m memory) float64 { return m.RSS })),
			known(heap > 0, strings.Join([]string{kib(heap), kib(stacks)}, ", ")))
	}
}

func kib(x float64) string { return fmt.Sprintf("%.1f KiB", x/1024) }

func (c clientCase) connected() float64 {
	var xs []float64
	for _, r := range c.Runs {
		xs = append(xs, r.Connected.Seconds())
	}
	return median(xs)
}

func (c clientCase) each(f func(memory) float64) float64 {
	var xs []float64
	for _, r := range c.Runs {
		xs = append(xs, f(r.Each))
	}
	return median(xs)
}
