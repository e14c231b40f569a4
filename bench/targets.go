package main

import (
	"fmt"
	"slices"
)

// A verdict is one target and how far it is met.
type verdict struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`   // "x": times the peer; "s", "B", or "" for a count
	Values []float64 `json:"values"` // one of each round, or one count; null where not measured
	Must   float64   `json:"must"`
	Aim    float64   `json:"aim"`
	More   bool      `json:"more"` // more is better
	Met    string    `json:"met"`
}

const firstMessage = "link back until first message"

// Words of verdict.Met.
const (
	metAim      = "aim"
	metMust     = "must"
	metNo       = "no"
	notMeasured = "not measured"
)

// Targets of the flow, as ratios to the peer.
var flowTargets = []struct {
	what            string
	figure          figure
	qos, size, rate int
	must, aim       float64
	more            bool
}{
	{"throughput", rateOf, 0, 64, 0, 2.5, 4, true},
	{"throughput", rateOf, 0, 1024, 0, 1.5, 3, true},
	{"throughput", rateOf, 0, 16384, 0, 0.5, 1, true},
	{"throughput", rateOf, 1, 64, 0, 2, 3.5, true},
	{"throughput", rateOf, 1, 1024, 0, 1.7, 3, true},
	{"throughput", rateOf, 1, 16384, 0, 0.7, 1.2, true},
	{"CPU per message", cpuOf, 1, 64, 0, 0.5, 0.3, false},
	{"CPU per message", cpuOf, 1, 1024, 0, 0.6, 0.3, false},
	{"p99 latency", p99Of, 1, latencySize, 1000, 2, 1.2, false},
	{"p99 latency", p99Of, 1, latencySize, 5000, 2, 1.2, false},
}

// Targets of routes, by their number; those of memory by their kind. The aim of
// a wildcard route is without its string.
var (
	bootstrapTargets = []struct {
		routes    int
		must, aim float64
	}{{100_000, 2, 0.6}, {1_000_000, 20, 6}}
	memoryTargets = []struct {
		kind               string
		must, aim, strings float64
	}{{kindExact, 150, 80, 0}, {kindWildcard, 700, 300, 1}}
)

// verdicts holds what was measured against the targets, each of which has a
// line. Without a peer to compare with there are none.
func (out *outcome) verdicts() (vs []verdict) {
	for _, t := range flowTargets {
		l := load{QoS: t.qos, Size: t.size, Rate: t.rate}
		vs = append(vs, verdict{Name: fmt.Sprintf("%s, %v", t.what, l), Unit: "x", Values: out.flow(l, t.figure), Must: t.must, Aim: t.aim, More: t.more})
	}
	for _, t := range bootstrapTargets {
		boot := verdict{Name: fmt.Sprintf("bootstrap of %s routes", grouped(t.routes)), Unit: "s", Must: t.must, Aim: t.aim}
		live := verdict{Name: fmt.Sprintf("SUBSCRIBE to routes, %s filters", grouped(t.routes)), Unit: "s", Must: t.must, Aim: t.aim}
		for _, c := range out.Routes {
			if c.Routes == t.routes {
				boot.Values = append(boot.Values, c.of(bootstrapOf)...)
				live.Values = append(live.Values, c.of(liveOf)...)
			}
		}
		vs = append(vs, boot, live)
	}
	for _, t := range memoryTargets {
		v := verdict{Name: "memory of a route, " + t.kind, Unit: "B", Must: t.must, Aim: t.aim}
		for _, c := range out.Routes {
			if c.Kind == t.kind {
				v.Values = append(v.Values, c.of(farHeapOf)...)
				v.Aim = t.aim + t.strings*c.Bytes
			}
		}
		vs = append(vs, v)
	}
	vs = append(vs, out.faultVerdicts()...)
	for i := range vs {
		vs[i].judge()
	}
	return vs
}

// flow are the ratios of clinkd to the peer in a case whose other parts are not
// told apart.
func (out *outcome) flow(l load, f figure) []float64 {
	i := slices.Index(out.Names, ourName)
	if i < 1 || out.Names[0] != peerRaised {
		return nil
	}
	for _, c := range out.Cases {
		if c.Load.QoS == l.QoS && c.Load.Size == l.Size && c.Load.Rate == l.Rate {
			return c.ratios(i, f)
		}
	}
	return nil
}

// faultVerdicts are about what was lost, came twice, out of order, or late.
func (out *outcome) faultVerdicts() []verdict {
	first := verdict{Name: firstMessage, Unit: "s", Must: 1, Aim: 0.3}
	cut := verdict{Name: fmt.Sprintf("lost in cuts of %s at %s msg/s, QoS 1", durationText(out.Settings.Cut), grouped(out.Settings.CutRate))}
	order, twice, lost := verdict{Name: "reordered, cuts included"}, verdict{Name: "duplicated without a cut"}, verdict{Name: "lost without a cut"}
	if i := slices.Index(out.Names, ourName); i >= 0 {
		var sum [3]float64
		for _, c := range out.Cases {
			l, t, o := c.counts(i)
			sum[0], sum[1], sum[2] = sum[0]+float64(l), sum[1]+float64(t), sum[2]+float64(o)
		}
		if len(out.Cases) > 0 {
			lost.Values, twice.Values, order.Values = sum[:1], sum[1:2], []float64{sum[2]}
		}
	}
	for _, c := range out.Cuts {
		if c.Name != ourName {
			continue
		}
		cut.Values = []float64{0}
		if order.Values == nil {
			order.Values = []float64{0}
		}
		for _, r := range c.Runs {
			first.Values = append(first.Values, r.first().Seconds())
			cut.Values[0] += float64(r.Lost)
			order.Values[0] += float64(r.Reordered)
		}
	}
	return []verdict{first, order, twice, lost, cut}
}

// judge compares the median with the limits.
func (v *verdict) judge() {
	within := func(x, limit float64) bool { return x == limit || (x > limit) == v.More }
	switch {
	case len(v.Values) == 0:
		v.Met = notMeasured
	case within(median(v.Values), v.Aim):
		v.Met = metAim
	case within(median(v.Values), v.Must):
		v.Met = metMust
	default:
		v.Met = metNo
	}
}

func (v verdict) measured() string {
	switch {
	case len(v.Values) == 0:
		return "-"
	case v.Unit == "":
		return fmt.Sprintf("**%.0f**", v.Values[0])
	}
	return fmt.Sprintf("**%s** (%s to %s)", v.text(median(v.Values)), v.number(slices.Min(v.Values)), v.number(slices.Max(v.Values)))
}

func (v verdict) limit(x float64) string {
	if v.Unit == "" {
		return fmt.Sprintf("%.0f", x)
	}
	sign := "≤ "
	if v.More {
		sign = "≥ "
	}
	if v.Unit == "B" {
		return fmt.Sprintf("%s%.0f B", sign, x)
	}
	return fmt.Sprintf("%s%g%s", sign, x, v.unit())
}

func (v verdict) text(x float64) string { return v.number(x) + v.unit() }

func (v verdict) number(x float64) string {
	if v.Unit == "B" {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

func (v verdict) unit() string {
	if v.Unit == "x" {
		return ""
	}
	return " " + v.Unit
}
