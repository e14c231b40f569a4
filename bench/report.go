package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"clink/bench/loadgen"
)

// A report gathers and prints what was measured of loads.
type report struct {
	w     io.Writer  // of the lines of the rounds
	Names []string   `json:"brokers"` // the first is what the others are compared with, unless it is alone
	Cases []loadCase `json:"cases"`
}

// A loadCase is what came of one load.
type loadCase struct {
	Load   load               `json:"load"`
	Rounds [][]loadgen.Result `json:"rounds"` // by round, then in the order of the report's names
}

// columns begins the lines of the rounds.
func (r *report) columns(pairs []*pair) {
	r.Names = nil
	for _, p := range pairs {
		r.Names = append(r.Names, p.name)
	}
	fmt.Fprintf(r.w, "%-26s %5s  %-10s %9s %9s %8s %9s %9s %7s %5s %6s\n",
		"case", "round", "brokers", "msg/s", "CPU/msg", "RSS", "p50", "p99", "lost", "twice", "order")
}

func (r *report) line(l load, round int, name string, x loadgen.Result) {
	fmt.Fprintf(r.w, "%-26v %5d  %-10s %9.0f %9s %8s %9v %9v %7d %5d %6d\n", l, round+1, name, x.Rate,
		known(x.CPU > 0, x.CPUPerMessage().Round(10*time.Nanosecond)), known(x.RSS > 0, fmt.Sprintf("%d MiB", x.RSS>>20)),
		round3(x.P50), round3(x.P99), x.Lost, x.Duplicates, x.Reordered)
}

func known(is bool, v any) string {
	if !is {
		return "-"
	}
	return fmt.Sprint(v)
}

// round3 keeps about three digits.
func round3(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// add takes one round of a load.
func (r *report) add(l load, results []loadgen.Result) {
	i := slices.IndexFunc(r.Cases, func(c loadCase) bool { return c.Load == l })
	if i < 0 {
		i, r.Cases = len(r.Cases), append(r.Cases, loadCase{Load: l})
	}
	r.Cases[i].Rounds = append(r.Cases[i].Rounds, results)
}

// summary prints a table in Markdown: ratios where there is a peer, medians of
// plain figures where there is none.
func (r *report) summary(w io.Writer) {
	if len(r.Cases) == 0 {
		return
	}
	if len(r.Names) == 1 {
		r.plain(w)
		return
	}
	fmt.Fprintf(w, "\nMedian over %d rounds of %s / %s in the same round (lowest to highest):\n\n", len(r.Cases[0].Rounds), strings.Join(r.Names[1:], " or "), r.Names[0])
	fmt.Fprintln(w, "| case | throughput | CPU per message | RSS | p50 | p99 | lost, duplicated, reordered |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	for _, c := range r.Cases {
		for i := 1; i < len(r.Names); i++ {
			cells := []string{c.Load.String()}
			if len(r.Names) > 2 {
				cells[0] += ", " + r.Names[i]
			}
			for _, f := range figures {
				cells = append(cells, spreadOf(c.ratios(i, f)))
			}
			fmt.Fprintf(w, "| %s | %s; %s |\n", strings.Join(cells, " | "), c.faults(r.Names, 0), c.faults(r.Names, i))
		}
	}
}

// A figure is one of the columns that ratios are taken of.
type figure func(loadgen.Result) float64

var (
	rateOf figure = func(x loadgen.Result) float64 { return x.Rate }
	cpuOf  figure = func(x loadgen.Result) float64 { return float64(x.CPUPerMessage()) }
	rssOf  figure = func(x loadgen.Result) float64 { return float64(x.RSS) }
	p50Of  figure = func(x loadgen.Result) float64 { return float64(x.P50) }
	p99Of  figure = func(x loadgen.Result) float64 { return float64(x.P99) }
)

var figures = []figure{rateOf, cpuOf, rssOf, p50Of, p99Of}

// ratios are those of the i-th brokers to the first, round by round; none where
// one of them is not known.
func (c loadCase) ratios(i int, f figure) []float64 {
	var rs []float64
	for _, round := range c.Rounds {
		peer, other := f(round[0]), f(round[i])
		if peer <= 0 || other <= 0 {
			return nil
		}
		rs = append(rs, other/peer)
	}
	return rs
}

// of are the plain figures of the i-th brokers.
func (c loadCase) of(i int, f figure) []float64 {
	var xs []float64
	for _, round := range c.Rounds {
		xs = append(xs, f(round[i]))
	}
	return xs
}

// faults adds up over all rounds.
func (c loadCase) faults(names []string, i int) string {
	lost, twice, order := c.counts(i)
	return fmt.Sprintf("%s %d, %d, %d", names[i], lost, twice, order)
}

func (c loadCase) counts(i int) (lost, twice, order uint64) {
	for _, round := range c.Rounds {
		lost += round[i].Lost
		twice += round[i].Duplicates
		order += round[i].Reordered
	}
	return lost, twice, order
}

func (r *report) plain(w io.Writer) {
	fmt.Fprintf(w, "\nMedian over %d rounds; these are figures of this machine, not claims:\n\n", len(r.Cases[0].Rounds))
	fmt.Fprintln(w, "| case | messages/s | CPU per message | p50 | p99 | lost, duplicated, reordered |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	for _, c := range r.Cases {
		cpu := median(c.of(0, cpuOf))
		fmt.Fprintf(w, "| %v | %.0f | %s | %v | %v | %s |\n", c.Load, median(c.of(0, rateOf)), known(cpu > 0, time.Duration(cpu)),
			round3(time.Duration(median(c.of(0, p50Of)))), round3(time.Duration(median(c.of(0, p99Of)))), c.faults(r.Names, 0))
	}
}

// spreadOf is the median with the lowest and the highest.
func spreadOf(xs []float64) string {
	if len(xs) == 0 {
		return "-"
	}
	return fmt.Sprintf("**%.2f** (%.2f to %.2f)", median(xs), slices.Min(xs), slices.Max(xs))
}

// median of at least one number.
func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	n := len(xs)
	return (xs[(n-1)/2] + xs[n/2]) / 2
}
