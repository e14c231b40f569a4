package diagram

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"clink/topic"
)

// Options say how a graph is drawn.
type Options struct {
	// Status is what is known of links that run, by site and peer: connected,
	// replicating, flowing, rejected, down, disabled, suspended or unknown. With
	// nil, links are drawn as the source has them.
	Status map[[2]string]string
	Lang   string // of the words: "en" or "zh"; "" is "en"
}

// SVG returns the graph as a picture that stands alone, or within a page. Its
// colours are CSS variables, --clink-bg, --clink-ok and so on, with defaults
// that follow the reader's light or dark theme.
func (g Graph) SVG(o Options) []byte {
	p := picture{graph: g, options: o, words: wordsOf(o.Lang)}
	p.place()
	return p.write()
}

// A picture is a graph on its way to be drawn.
type picture struct {
	graph   Graph
	options Options
	words   words

	labels []string // by node, as its box has it
	layout *layout
	lines  []stroke
	taken  []rect // by signs
	bounds rect
}

// A stroke is an edge as it is drawn, from A to B.
type stroke struct {
	edge  Edge
	look  look
	curve curve
	// How far from its ends its arrowheads are: where many meet, farther out.
	fromA, fromB int
	signed       bool // it is to have a sign
	sign         rect // where its sign is; empty: nowhere
	word         string
}

const (
	padding   = 12 * px
	tagGap    = 8 * px
	mostName  = 176 * px
	leastBox  = 72 * px
	margin    = 24 * px
	signSize  = 18 * px
	crowd     = 40  // edges; of more only what is wrong has a sign
	multitude = 120 // edges; of more the sound ones are drawn faintly
	manyStops = 80  // edges; more are no stops of the Tab key
)

// place lays everything out.
func (p *picture) place() {
	index := map[string]int{}
	widths := make([]int, len(p.graph.Nodes))
	p.labels = make([]string, len(p.graph.Nodes))
	for i, n := range p.graph.Nodes {
		index[n.Name] = i
		p.labels[i] = shorten(visible(n.Name), fontSize, mostName)
		widths[i] = width(p.labels[i], fontSize) + 2*padding
		if tag := p.words.kinds[n.Kind]; tag != "" {
			widths[i] += width(tag, smallSize) + tagGap
		}
		widths[i] = even(max(widths[i], leastBox))
	}
	adj := make([][]int, len(widths))
	for _, e := range p.graph.Edges {
		a, b := index[e.A], index[e.B]
		adj[a], adj[b] = append(adj[a], b), append(adj[b], a)
	}
	for i := range adj {
		slices.Sort(adj[i])
	}
	p.addLines()
	p.layout = newLayout(widths, adj, p.room())
	for i := range p.lines {
		s := &p.lines[i]
		a, b := index[s.edge.A], index[s.edge.B]
		s.curve = p.layout.curve(a, b)
	}
	p.clearHeads()
	p.placeSigns()
	p.bound()
}

// even makes a width one of which there is a half.
func even(n int) int { return n + n%2 }

// addLines decides how each edge is drawn: which have a sign, and a word with it.
func (p *picture) addLines() {
	for _, e := range p.graph.Edges {
		s := stroke{edge: e, look: lookOf(e.state(p.options.Status))}
		few := len(p.graph.Edges) <= crowd
		s.signed = s.look.sign != "" && (few || !s.look.well())
		if few && s.signed && !s.look.well() {
			s.word = s.look.word(p.options.Lang)
		}
		p.lines = append(p.lines, s)
	}
}

// room is the least length of an edge: for its arrowheads, its sign, its word.
func (p *picture) room() int {
	room := 90 * px
	for _, s := range p.lines {
		if s.signed {
			room = max(room, 110*px+width(s.word, smallSize))
		}
	}
	return room
}

// clearHeads keeps arrowheads apart that point to the same place.
func (p *picture) clearHeads() {
	ends := map[point]int{}
	for _, s := range p.lines {
		ends[s.curve[0]]++
		ends[s.curve[3]]++
	}
	for i := range p.lines {
		s := &p.lines[i]
		s.fromA, s.fromB = clearance(ends[s.curve[0]]), clearance(ends[s.curve[3]])
	}
}

// clearance is how far from a box the arrowheads of so many edges fit side by
// side.
func clearance(edges int) int {
	if edges < 2 {
		return 2 * px
	}
	return min(3*px+edges*22, 60*px)
}

// placeSigns finds room for the signs of edges, of what is wrong first. A sign
// for whose word there is no room goes without.
func (p *picture) placeSigns() {
	for _, well := range []bool{false, true} {
		for i := range p.lines {
			s := &p.lines[i]
			if !s.signed || s.look.well() != well {
				continue
			}
			if p.placeSign(s); s.sign == (rect{}) && s.word != "" {
				s.word = ""
				p.placeSign(s)
			}
		}
	}
}

// placeSign puts a sign near the middle of its edge, and rather to the end
// where fewer edges meet.
func (p *picture) placeSign(s *stroke) {
	wide := signSize
	if s.word != "" {
		wide = even(wide + width(s.word, smallSize) + 6*px)
	}
	c := s.curve
	if s.fromB < s.fromA {
		c = c.reversed()
	}
	start := 500
	if s.fromA != s.fromB {
		start = 440
	}
	for _, away := range []int{0, -80, 80, -160, 160, 240, -240, 310} {
		r := around(c.at(start+away), wide, signSize)
		if p.free(r) {
			s.sign = r
			p.taken = append(p.taken, r)
			return
		}
	}
}

func (p *picture) free(r rect) bool {
	for i := range p.graph.Nodes {
		if p.layout.box(i).overlaps(r) {
			return false
		}
	}
	return !slices.ContainsFunc(p.taken, r.overlaps)
}

// bound is all of it.
func (p *picture) bound() {
	all := rect{}
	for i := range p.graph.Nodes {
		all = all.union(p.layout.box(i))
	}
	for _, s := range p.lines {
		for part := 0; part <= 1000; part += 100 {
			all = all.union(around(s.curve.at(part), 2*px, 2*px))
		}
		if s.sign != (rect{}) {
			all = all.union(s.sign)
		}
	}
	p.bounds = rect{point{all.min.x - margin, all.min.y - margin}, point{all.max.x + margin, all.max.y + margin}}
}

func (p *picture) write() []byte {
	w := &xmlWriter{}
	legend, high := p.legend()
	b := p.bounds
	if len(p.graph.Nodes) == 0 {
		b = rect{point{-240 * px, -80 * px}, point{240 * px, 80 * px}}
	}
	b.max.x = max(b.max.x, b.min.x+legendWidth(p))
	b.max.y += high
	title := fmt.Sprintf(p.words.title, len(p.graph.Nodes), len(p.graph.Edges))
	wide, tall := num(b.max.x-b.min.x), num(b.max.y-b.min.y)
	w.start("svg", "xmlns", "http://www.w3.org/2000/svg", "class", "clink-graph", "role", "graphics-document", "aria-label", title,
		"width", wide, "height", tall, "viewBox", num(b.min.x)+" "+num(b.min.y)+" "+wide+" "+tall, "lang", p.lang(),
		"font-family", "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK SC', sans-serif", "font-size", num(fontSize))
	w.WriteByte('\n')
	w.text("title", title)
	w.start("style")
	w.WriteString(sheet())
	w.end("style")
	w.empty("rect", "class", "ground", "x", num(b.min.x), "y", num(b.min.y), "width", wide, "height", tall, "fill", paint("bg"))
	if len(p.graph.Nodes) == 0 {
		p.writeEmpty(w)
	}
	for i := range p.lines {
		p.writeLink(w, &p.lines[i])
	}
	w.start("g", "class", "signs", "aria-hidden", "true", "pointer-events", "none")
	w.WriteByte('\n')
	for i := range p.lines {
		if s := &p.lines[i]; s.sign != (rect{}) {
			writeSign(w, s.look, s.sign, s.word)
		}
	}
	w.end("g")
	for i := range p.graph.Nodes {
		p.writeSite(w, i)
	}
	p.writeLegend(w, legend)
	w.end("svg")
	return w.Bytes()
}

func (p *picture) lang() string {
	if p.options.Lang == "zh" {
		return "zh"
	}
	return "en"
}

func (p *picture) writeEmpty(w *xmlWriter) {
	w.empty("rect", "class", "box", "x", "-180", "y", "-48", "width", "360", "height", "96", "rx", "8",
		"fill", paint("box"), "stroke", paint("border"), "stroke-dasharray", "6 5")
	w.text("text", p.words.empty, "class", "name", "y", "-4", "text-anchor", "middle", "font-size", "16", "font-weight", "600", "fill", paint("fg"))
	w.text("text", p.words.hint, "class", "tag", "y", "22", "text-anchor", "middle", "fill", paint("muted"))
}

// writeLink draws an edge: its line, and an arrowhead for each direction in
// which something travels.
func (p *picture) writeLink(w *xmlWriter, s *stroke) {
	stop := "0"
	if len(p.lines) > manyStops {
		stop = "-1"
	}
	title := p.linkTitle(s)
	w.start("g", "class", "link "+s.look.colour, "data-a", s.edge.A, "data-b", s.edge.B, "data-state", s.look.state,
		"tabindex", stop, "role", "graphics-symbol", "aria-label", visibleLines(title), "color", paint(s.look.colour))
	w.WriteByte('\n')
	w.start("title")
	w.WriteString(escaped.Replace(possible(title)))
	w.end("title")
	w.empty("path", "d", s.curve.data(), "fill", "none", "stroke", "none", "stroke-width", "12", "pointer-events", "stroke")
	wide, faint := s.look.width, ""
	if s.look.well() && len(p.lines) > multitude {
		wide, faint = px, "0.35"
	}
	if s.look.state == oneSided {
		near, far := s.curve.split(500)
		if s.edge.AHalf == absent {
			near, far = far, near
		}
		w.empty("path", "class", "wire", "d", near.data(), "fill", "none", "stroke", "currentColor", "stroke-width", num(wide))
		w.empty("path", "class", "wire", "d", far.data(), "fill", "none", "stroke", "currentColor", "stroke-width", num(wide), "stroke-dasharray", "1 6")
	} else {
		w.empty("path", "class", "wire", "d", s.curve.data(), "fill", "none", "stroke", "currentColor", "stroke-width", num(wide),
			"stroke-dasharray", s.look.dash, "stroke-opacity", faint)
	}
	if s.edge.AToB.any() {
		w.empty("path", "class", "head", "d", head(s.curve.reversed(), s.fromB, p.headSize()), "fill", "currentColor", "fill-opacity", faint)
	}
	if s.edge.BToA.any() {
		w.empty("path", "class", "head", "d", head(s.curve, s.fromA, p.headSize()), "fill", "currentColor", "fill-opacity", faint)
	}
	w.end("g")
}

// any reports whether something travels this way, or did.
func (d Direction) any() bool { return len(d.Topics)+len(d.Stops) > 0 }

const headSize = 9 * px

func (p *picture) headSize() int {
	if len(p.lines) > multitude {
		return 6 * px
	}
	return headSize
}

// head is an arrowhead on the curve that points to its start.
func head(c curve, away, long int) string {
	long = min(long, c.length()/3)
	tip := c.at(c.part(away, 400))
	back := c.at(c.part(away+long, 480))
	side := tip.along(back, long/2)
	return "M" + pair(tip) + "L" + pair(point{back.x - side.y, back.y + side.x}) + "L" + pair(point{back.x + side.y, back.y - side.x}) + "Z"
}

func writeSign(w *xmlWriter, l look, at rect, word string) {
	w.start("g", "class", l.colour, "color", paint(l.colour))
	w.empty("rect", "class", "plate", "x", num(at.min.x), "y", num(at.min.y), "width", num(at.max.x-at.min.x), "height", num(signSize), "rx", num(signSize/2),
		"fill", paint("bg"), "stroke", "currentColor")
	w.empty("path", "transform", "translate("+pair(point{at.min.x + signSize/2, at.min.y + signSize/2})+") scale(0.1)", "d", l.sign,
		"fill", "none", "stroke", "currentColor", "stroke-width", "16", "stroke-linecap", "round", "stroke-linejoin", "round")
	if word != "" {
		w.text("text", word, "x", num(at.min.x+signSize), "y", num(at.min.y+13*px), "font-size", num(smallSize), "fill", "currentColor")
	}
	w.end("g")
}

func (p *picture) writeSite(w *xmlWriter, i int) {
	n, box := p.graph.Nodes[i], p.layout.box(i)
	title := p.siteTitle(n, len(p.layout.adj[i]))
	w.start("g", "class", "site", "data-site", n.Name, "data-kind", n.Kind, "data-change", n.Change,
		"tabindex", "0", "role", "graphics-symbol", "aria-label", visibleLines(title))
	w.WriteByte('\n')
	w.start("title")
	w.WriteString(escaped.Replace(possible(title)))
	w.end("title")
	dash := map[string]string{"external": "5 4", unknown: "2 4"}[n.Kind]
	if n.Change == removed {
		dash = "5 5"
	}
	wide := "1.2"
	if n.Change != "" {
		wide = "2.4"
	}
	w.empty("rect", "class", "box", "x", num(box.min.x), "y", num(box.min.y), "width", num(p.layout.widths[i]), "height", num(boxHeight), "rx", "7",
		"fill", paint("box"), "stroke", paint("border"), "stroke-width", wide, "stroke-dasharray", dash)
	y, tag := num(p.layout.center[i].y+45), p.words.kinds[n.Kind]
	if tag == "" {
		w.text("text", p.labels[i], "class", "name", "x", num(p.layout.center[i].x), "y", y, "text-anchor", "middle", "unicode-bidi", "isolate", "fill", paint("fg"))
	} else {
		w.text("text", p.labels[i], "class", "name", "x", num(box.min.x+padding), "y", y, "unicode-bidi", "isolate", "fill", paint("fg"))
		w.text("text", tag, "class", "tag", "x", num(box.max.x-padding), "y", y, "text-anchor", "end", "font-size", num(smallSize), "fill", paint("muted"))
	}
	w.end("g")
}

// The most that a title tells of a name, and of topics.
const (
	titleName   = 300
	titleTopics = 12
	titleTopic  = 100
)

func (p *picture) siteTitle(n Node, links int) string {
	parts := []string{clip(visible(n.Name), titleName), p.words.kindsInFull[n.Kind]}
	if n.Change != "" {
		parts = append(parts, lookOf(n.Change).word(p.options.Lang))
	}
	if p.lang() == "zh" {
		return strings.Join(append(parts, strconv.Itoa(links)+" 个连接"), p.words.join)
	}
	if links == 1 {
		return strings.Join(append(parts, "1 link"), p.words.join)
	}
	return strings.Join(append(parts, strconv.Itoa(links)+" links"), p.words.join)
}

// linkTitle says a line each: the state, what travels either way, and the state
// of a half where that is not plain.
func (p *picture) linkTitle(s *stroke) string {
	e := s.edge
	a, b := clip(visible(e.A), titleName), clip(visible(e.B), titleName)
	l := []string{
		a + " – " + b + p.words.colon + s.look.word(p.options.Lang),
		a + " → " + b + p.words.colon + p.direction(e.AToB.told(e.Change)),
		b + " → " + a + p.words.colon + p.direction(e.BToA.told(e.Change)),
	}
	for _, h := range []struct{ name, peer, own, half string }{{e.A, e.B, a, e.AHalf}, {e.B, e.A, b, e.BHalf}} {
		if h.half != enabled {
			l = append(l, fmt.Sprintf(p.words.half, h.own)+p.words.colon+p.words.halves[h.half])
		} else if live := p.options.Status[[2]string{h.name, h.peer}]; live != "" {
			l = append(l, fmt.Sprintf(p.words.live, h.own)+p.words.colon+lookOf(live).word(p.options.Lang))
		}
	}
	return strings.Join(l, "\n")
}

func (p *picture) direction(d Direction) string {
	var l []string
	if len(d.Topics) > 0 || len(d.Starts)+len(d.Stops) == 0 {
		l = append(l, p.filters(d.Topics))
	}
	if len(d.Starts) > 0 {
		l = append(l, p.words.starts+p.words.colon+p.filters(d.Starts))
	}
	if len(d.Stops) > 0 {
		l = append(l, p.words.stops+p.words.colon+p.filters(d.Stops))
	}
	return strings.Join(l, p.words.also)
}

func (p *picture) filters(l []topic.Filter) string {
	if len(l) == 0 {
		return p.words.nothing
	}
	var some []string
	for _, f := range l[:min(len(l), titleTopics)] {
		some = append(some, clip(visible(string(f)), titleTopic))
	}
	if more := len(l) - titleTopics; more > 0 {
		some = append(some, fmt.Sprintf(p.words.more, more))
	}
	return strings.Join(some, p.words.join)
}

// visibleLines is a title on one line, as a label has it.
func visibleLines(title string) string { return strings.ReplaceAll(title, "\n", "; ") }
