package diagram

import "strconv"

// An entry of the legend is a look, and how many links have it; the arrow's has
// none.
type entry struct {
	look  look
	text  string
	at    point
	arrow bool
}

const (
	sample    = 34 * px // the line of an entry
	entryGap  = 22 * px
	legendRow = 26 * px
	mostWide  = 360 * px // a legend may be wider than what it is about
)

// legend returns the entries for what is there, in rows below the picture, and
// how high they are.
func (p *picture) legend() ([]entry, int) {
	var l []entry
	arrows := false
	count := map[string]int{}
	for _, s := range p.lines {
		count[s.look.state]++
		arrows = arrows || s.edge.AToB.any() || s.edge.BToA.any()
	}
	if arrows {
		l = append(l, entry{look: lookOf(configured), text: p.words.carries, arrow: true})
	}
	for _, k := range looks {
		if n := count[k.state]; n > 0 {
			l = append(l, entry{look: k, text: k.word(p.options.Lang) + " (" + strconv.Itoa(n) + ")"})
		}
	}
	if len(l) == 0 {
		return nil, 0
	}
	left, most := p.bounds.min.x+margin, p.bounds.min.x+max(p.bounds.max.x-p.bounds.min.x, legendWidth(p))-margin
	x, y := left, p.bounds.max.y+legendRow/2
	for i := range l {
		wide := l[i].width()
		if x > left && x+wide > most {
			x, y = left, y+legendRow
		}
		l[i].at = point{x, y}
		x += wide + entryGap
	}
	return l, y - p.bounds.max.y + legendRow
}

func (e entry) width() int { return sample + 8*px + width(e.text, smallSize) }

// legendWidth is the least width of a picture with a legend.
func legendWidth(p *picture) int {
	if len(p.lines) == 0 {
		return 0
	}
	return mostWide
}

func (p *picture) writeLegend(w *xmlWriter, entries []entry) {
	if len(entries) == 0 {
		return
	}
	w.start("g", "class", "legend")
	w.WriteByte('\n')
	for _, e := range entries {
		w.start("g", "class", e.look.colour, "color", paint(e.look.colour))
		c := line(e.at, point{e.at.x + sample, e.at.y})
		w.empty("path", "d", c.data(), "fill", "none", "stroke", "currentColor", "stroke-width", num(e.look.width), "stroke-dasharray", e.look.dash)
		if e.arrow {
			w.empty("path", "d", head(c.reversed(), 0, headSize), "fill", "currentColor")
		}
		if e.look.sign != "" {
			writeSign(w, e.look, around(point{e.at.x + sample/2, e.at.y}, signSize, signSize), "")
		}
		w.end("g")
		w.text("text", e.text, "class", "tag", "x", num(e.at.x+sample+8*px), "y", num(e.at.y+4*px), "font-size", num(smallSize), "fill", paint("muted"))
	}
	w.end("g")
}
