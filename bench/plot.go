package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
	"time"
)

// The plot's places, in pixels.
const (
	plotWidth  = 860
	plotLeft   = 290 // of the axes
	plotRight  = 660
	plotMargin = 20
	rowHeight  = 24
	rowBand    = 16 // of it, coloured
)

// A plotRow is one target in the plot.
type plotRow struct {
	label, value, met string
	low, mid, high    float64 // on the axis of its section
	must, aim, peer   float64 // peer 0: none of its own
	more              bool
}

// A plotSection is rows that share an axis.
type plotSection struct {
	title    string
	peerLine string // what the line at 1 is; "": no line
	rows     []plotRow
}

// plot draws the targets that were measured, as SVG.
func (out *outcome) plot() []byte {
	var d drawing
	y := 60.0
	for _, s := range out.plotSections() {
		if len(s.rows) > 0 {
			y = d.section(s, y) + 16
		}
	}
	for _, line := range out.plotNotes() {
		d.text(plotMargin, y, "start", "note", line)
		y += 18
	}
	return d.finish("A link of clinkd beside mosquitto's bridge", int(y))
}

// plotSections are: more than the peer, less than the peer, and what the peer
// has no figure for, which is shown as parts of what it must not exceed.
func (out *outcome) plotSections() []plotSection {
	sections := []plotSection{
		{title: "Throughput, times the bridge's: right is better", peerLine: "mosquitto's bridge"},
		{title: "Cost, times the bridge's: left is better", peerLine: "mosquitto's bridge"},
		{title: "Routes, and what follows a cut, as parts of what it must not exceed: left is better"},
	}
	for _, v := range out.Targets {
		if len(v.Values) == 0 || v.Unit == "" {
			continue
		}
		unit, at := 1.0, 1
		switch {
		case v.Unit != "x":
			unit, at = v.Must, 2
		case v.More:
			at = 0
		}
		row := plotRow{label: strings.TrimPrefix(v.Name, "throughput, "), value: v.text(median(v.Values)), met: v.Met, more: v.More,
			low: slices.Min(v.Values) / unit, mid: median(v.Values) / unit, high: slices.Max(v.Values) / unit, must: v.Must / unit, aim: v.Aim / unit}
		if v.Name == firstMessage {
			if c, err := out.cutsOf("raised"); err == nil {
				row.peer = middle(c.times(func(r cutRun) time.Duration { return r.First })) / unit
			}
		}
		sections[at].rows = append(sections[at].rows, row)
	}
	return sections
}

// plotNotes are the figures that are counts, and where it all comes from.
func (out *outcome) plotNotes() (lines []string) {
	if ours, err := out.cutSum("ours", func(r cutRun) uint64 { return r.Lost }); err == nil {
		sent, _ := out.cutSum("ours", func(r cutRun) uint64 { return r.Sent })
		text := fmt.Sprintf("Lost in cuts of %s, of %s messages: clinkd %s", durationText(out.Settings.Cut), sent, ours)
		if lost, err := out.cutSum("default", func(r cutRun) uint64 { return r.Lost }); err == nil {
			raised, _ := out.cutSum("raised", func(r cutRun) uint64 { return r.Lost })
			text += fmt.Sprintf("; mosquitto %s with its default queue, %s with a larger one", lost, raised)
		}
		lines = append(lines, text+".")
	}
	var counts []string
	for _, v := range out.Targets {
		if v.Unit == "" && len(v.Values) > 0 && !strings.HasPrefix(v.Name, "lost in cuts") {
			counts = append(counts, fmt.Sprintf("%s: %.0f", v.Name, v.Values[0]))
		}
	}
	if len(counts) > 0 {
		lines = append(lines, "clinkd's messages "+strings.Join(counts, "; ")+".")
	}
	m := out.Machine
	where := fmt.Sprintf("%s, %d processors, %s", m.OS, m.CPUs, m.Began.Format("2006-01-02"))
	if m.Mosquitto != "" {
		where += ", mosquitto " + m.Mosquitto
	}
	if busy := m.BusyPercent(); busy != "" {
		where += "; other work had " + busy + " of the processors"
	}
	return append(lines, where+".")
}

// A drawing is SVG in the making.
type drawing struct{ bytes.Buffer }

func (d *drawing) text(x, y float64, anchor, class, s string) {
	fmt.Fprintf(d, "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"%s\" class=\"%s\">%s</text>\n", x, y, anchor, class, html.EscapeString(s))
}

func (d *drawing) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(d, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class)
}

func (d *drawing) band(x1, x2, y float64, class string) {
	if x2 > x1 {
		fmt.Fprintf(d, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" class=\"%s\"/>\n", x1, y-rowBand/2, x2-x1, rowBand, class)
	}
}

// section draws one below y, and returns where it ends.
func (d *drawing) section(s plotSection, y float64) float64 {
	d.text(plotMargin, y, "start", "title", s.title)
	a := axisOf(s)
	top, bottom := y+30, y+30+float64(len(s.rows))*rowHeight
	for _, tick := range a.ticks() {
		x := a.at(math.Pow(2, tick))
		d.line(x, top, x, bottom, "grid")
		d.text(x, top-6, "middle", "tick", tickText(tick))
	}
	for i, r := range s.rows {
		d.row(r, a, top+(float64(i)+.5)*rowHeight)
	}
	if s.peerLine != "" {
		d.line(a.at(1), top, a.at(1), bottom+4, "peer")
		d.text(a.at(1), bottom+16, "middle", "tick", s.peerLine)
		bottom += 12
	}
	return bottom + 12
}

// row draws what must and what shall be reached as bands, and upon them what
// was measured.
func (d *drawing) row(r plotRow, a axis, y float64) {
	d.text(plotLeft-12, y+4, "end", "label", r.label)
	d.band(plotLeft, plotRight, y, "track")
	if r.more {
		d.band(a.at(r.must), plotRight, y, "must")
		d.band(a.at(r.aim), plotRight, y, "aim")
	} else {
		d.band(plotLeft, a.at(r.must), y, "must")
		d.band(plotLeft, a.at(r.aim), y, "aim")
	}
	class := "good"
	if r.met == metNo {
		class = "bad"
	}
	d.line(a.at(r.low), y, a.at(r.high), y, class)
	fmt.Fprintf(d, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" class=\"%s\"/>\n", a.at(r.mid), y, class)
	if r.peer > 0 {
		fmt.Fprintf(d, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" class=\"other\"/>\n", a.at(r.peer), y)
	}
	d.text(plotRight+70, y+4, "end", "label", r.value)
	d.text(plotRight+84, y+4, "start", "verdict "+class, map[string]string{metAim: "aim reached", metMust: "must reached", metNo: "not reached"}[r.met])
}

// An axis is logarithmic, from one power of two to another.
type axis struct{ low, high float64 } // exponents

// axisOf makes room for everything in a section.
func axisOf(s plotSection) axis {
	a := axis{math.Inf(1), math.Inf(-1)}
	for _, r := range s.rows {
		for _, x := range []float64{r.low, r.high, r.must, r.aim, r.peer, 1} {
			if x > 0 {
				a.low, a.high = min(a.low, math.Log2(x)), max(a.high, math.Log2(x))
			}
		}
	}
	return axis{max(math.Floor(a.low-.2), -12), min(math.Ceil(a.high+.2), 12)}
}

// at is where a value is, at an end if it is beyond it.
func (a axis) at(x float64) float64 {
	part := 0.0
	if x > 0 {
		part = (math.Log2(x) - a.low) / (a.high - a.low)
	}
	return plotLeft + min(max(part, 0), 1)*(plotRight-plotLeft)
}

// ticks are exponents, with 0 among them, and few enough to be read.
func (a axis) ticks() (ts []float64) {
	step := math.Ceil((a.high - a.low) / 8)
	for e := math.Ceil(a.low/step) * step; e <= a.high; e += step {
		ts = append(ts, e)
	}
	return ts
}

// tickText is two to the power of e.
func tickText(e float64) string {
	if e < 0 {
		return fmt.Sprintf("1/%.0f×", math.Pow(2, -e))
	}
	return fmt.Sprintf("%.0f×", math.Pow(2, e))
}

const plotStyle = `<style>
text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
.paper { fill: #ffffff; stroke: #d1d9e0; }
.head { font-size: 17px; font-weight: 600; }
.title { font-size: 13px; font-weight: 600; }
.label, .verdict, .note { font-size: 12px; }
.tick { font-size: 11px; fill: #59636e; }
.note, .key { fill: #59636e; }
.key { font-size: 11px; }
.grid { stroke: #d1d9e0; stroke-width: 1; }
.track { fill: #59636e; fill-opacity: .07; }
.must { fill: #1a7f37; fill-opacity: .16; }
.aim { fill: #1a7f37; fill-opacity: .24; }
.peer { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 4 3; }
line.good { stroke: #0969da; stroke-width: 3; stroke-linecap: round; }
circle.good { fill: #0969da; }
line.bad { stroke: #bc4c00; stroke-width: 3; stroke-linecap: round; }
circle.bad { fill: #bc4c00; }
circle.other { fill: none; stroke: #59636e; stroke-width: 2; }
text.bad { fill: #bc4c00; font-weight: 600; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.paper { fill: #0d1117; stroke: #3d444d; }
.tick, .note, .key { fill: #9198a1; }
.grid { stroke: #3d444d; }
.track { fill: #9198a1; fill-opacity: .1; }
.must { fill: #3fb950; fill-opacity: .2; }
.aim { fill: #3fb950; fill-opacity: .28; }
.peer { stroke: #9198a1; }
line.good { stroke: #58a6ff; }
circle.good { fill: #58a6ff; }
line.bad { stroke: #f0883e; }
circle.bad { fill: #f0883e; }
circle.other { stroke: #9198a1; }
text.bad { fill: #f0883e; }
}
</style>
`

// finish puts the frame around what was drawn.
func (d *drawing) finish(title string, height int) []byte {
	var all drawing
	fmt.Fprintf(&all, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n<title>%s</title>\n",
		plotWidth, height, plotWidth, height, html.EscapeString(title))
	all.WriteString(plotStyle)
	fmt.Fprintf(&all, "<rect x=\"0.5\" y=\"0.5\" width=\"%d\" height=\"%d\" rx=\"6\" class=\"paper\"/>\n", plotWidth-1, height-1)
	all.text(plotMargin, 30, "start", "head", title)
	all.legend(plotWidth-plotMargin, 26)
	all.Write(d.Bytes())
	all.WriteString("</svg>\n")
	return all.Bytes()
}

// legend says what the marks are, ending at x.
func (d *drawing) legend(x, y float64) {
	d.text(x, y, "end", "key", "aim")
	d.band(x-44, x-24, y-4, "must")
	d.band(x-44, x-24, y-4, "aim")
	d.text(x-58, y, "end", "key", "must")
	d.band(x-108, x-88, y-4, "must")
	d.text(x-122, y, "end", "key", "bridge")
	fmt.Fprintf(d, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" class=\"other\"/>\n", x-166, y-4)
	d.text(x-182, y, "end", "key", "median, lowest to highest")
	d.line(x-352, y-4, x-330, y-4, "good")
	fmt.Fprintf(d, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" class=\"good\"/>\n", x-341, y-4)
}
