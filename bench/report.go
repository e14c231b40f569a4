package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"clink/bench/loadgen"
)

// A report gathers and prints what was measured.
type report struct {
	options
	w      io.Writer
	names  []string
	loads  []load
	rounds map[load][][]loadgen.Result // by round, then in the order of names
}

func (r *report) head(pairs []*pair) {
	how := fmt.Sprintf("each with at most %d messages on the way", r.window)
	if r.rate > 0 {
		how = fmt.Sprintf("%d messages a second together", r.rate)
	}
	fmt.Fprintf(r.w, "%d publishers at A, %s; 1 subscriber at B; %v a round; MQTT version %d\n\n", r.publishers, how, r.duration, r.version)
	r.columns(pairs)
}

// columns begins the lines of the rounds.
func (r *report) columns(pairs []*pair) {
	for _, p := range pairs {
		r.names = append(r.names, p.name)
	}
	fmt.Fprintf(r.w, "%-20s %5s  %-10s %9s %9s %8s %9s %9s %7s %5s %6s\n",
		"case", "round", "brokers", "msg/s", "CPU/msg", "RSS", "p50", "p99", "lost", "twice", "order")
}

func (r *report) line(l load, round int, name string, x loadgen.Result) {
	fmt.Fprintf(r.w, "%-20v %5d  %-10s %9.0f %9s %8s %9v %9v %7d %5d %6d\n", l, round+1, name, x.Rate,
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

func (r *report) add(l load, results []loadgen.Result) {
	if r.rounds == nil {
		r.rounds = map[load][][]loadgen.Result{}
	}
	if r.rounds[l] == nil {
		r.loads = append(r.loads, l)
	}
	r.rounds[l] = append(r.rounds[l], results)
}

// summary prints a table in Markdown: ratios where there is a peer, medians of
// plain figures where there is none.
func (r *report) summary() {
	if len(r.names) == 1 {
		r.plain()
		return
	}
	fmt.Fprintf(r.w, "\nMedian over %d rounds of %s / %s in the same round (lowest to highest):\n\n", r.options.rounds, r.names[1], r.names[0])
	fmt.Fprintln(r.w, "| case | throughput | CPU per message | RSS | p50 | p99 | lost, duplicated, reordered |")
	fmt.Fprintln(r.w, "|---|---|---|---|---|---|---|")
	for _, l := range r.loads {
		cells := []string{l.String()}
		for _, f := range figures {
			cells = append(cells, r.ratio(l, f))
		}
		fmt.Fprintf(r.w, "| %s | %s |\n", strings.Join(cells, " | "), r.faults(l))
	}
}

// figures are the columns that ratios are taken of.
var figures = []func(loadgen.Result) float64{
	func(x loadgen.Result) float64 { return x.Rate },
	func(x loadgen.Result) float64 { return float64(x.CPUPerMessage()) },
	func(x loadgen.Result) float64 { return float64(x.RSS) },
	func(x loadgen.Result) float64 { return float64(x.P50) },
	func(x loadgen.Result) float64 { return float64(x.P99) },
}

func (r *report) ratio(l load, figure func(loadgen.Result) float64) string {
	var rs []float64
	for _, round := range r.rounds[l] {
		peer, ours := figure(round[0]), figure(round[1])
		if peer <= 0 || ours <= 0 {
			return "-"
		}
		rs = append(rs, ours/peer)
	}
	return fmt.Sprintf("**%.2f** (%.2f to %.2f)", median(rs), slices.Min(rs), slices.Max(rs))
}

// faults adds up over all rounds, for each pair.
func (r *report) faults(l load) string {
	var cells []string
	for i, name := range r.names {
		var lost, twice, order uint64
		for _, round := range r.rounds[l] {
			lost += round[i].Lost
			twice += round[i].Duplicates
			order += round[i].Reordered
		}
		cells = append(cells, fmt.Sprintf("%s %d, %d, %d", name, lost, twice, order))
	}
	return strings.Join(cells, "; ")
}

func (r *report) plain() {
	fmt.Fprintf(r.w, "\nMedian over %d rounds; these are figures of this machine, not claims:\n\n", r.options.rounds)
	fmt.Fprintln(r.w, "| case | messages/s | CPU per message | p50 | p99 | lost, duplicated, reordered |")
	fmt.Fprintln(r.w, "|---|---|---|---|---|---|")
	for _, l := range r.loads {
		of := func(i int) float64 {
			var xs []float64
			for _, round := range r.rounds[l] {
				xs = append(xs, figures[i](round[0]))
			}
			return median(xs)
		}
		fmt.Fprintf(r.w, "| %v | %.0f | %s | %v | %v | %s |\n", l, of(0), known(of(1) > 0, time.Duration(of(1))),
			round3(time.Duration(of(3))), round3(time.Duration(of(4))), r.faults(l))
	}
}

// median of at least one number.
func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	n := len(xs)
	return (xs[(n-1)/2] + xs[n/2]) / 2
}
