package diagnostic

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	tabStop   = 4   // columns, counted from the bar that precedes a source line
	maxColumn = 120 // of a source line that are shown; longer ones are cut around the range
	lead      = 30  // columns shown before the range in a line that is cut
)

// A cell is one character of a source line, or one masked credential, as it is
// shown.
type cell struct {
	text   string
	width  int // columns
	offset int // of its first byte in the line
}

// excerpt lays out a source line for the place behind the bar of a snippet. It
// returns the text, the columns to leave free before the carets, and how many
// carets mark the bytes from (inclusive) to (exclusive): at least one, at most
// to one column behind the text.
func excerpt(line []byte, hidden [][2]int, from, to int) (text string, pad, carets int) {
	from = min(from, len(line))
	to = min(max(to, from), len(line))
	cells, start, width := layout(line, hidden, from)
	var b strings.Builder
	column := 1
	b.WriteByte(' ')
	if width > maxColumn {
		var cut bool
		if cells, cut = window(cells, start); cut {
			b.WriteString("…")
			column++
		}
	}
	pad = -1
	for i, c := range cells {
		if column+c.width > maxColumn && i < len(cells)-1 {
			b.WriteString("…")
			column++
			break
		}
		if c.offset >= from && pad < 0 {
			pad = column
		}
		if c.offset >= from && c.offset < to {
			carets = column + c.width - pad
		}
		b.WriteString(c.text)
		column += c.width
	}
	if pad < 0 {
		pad = column
	}
	return strings.TrimRight(b.String(), " "), pad, max(carets, 1)
}

// layout turns a line into cells. It returns the column at which byte offset
// from is shown and the width of the whole, the space behind the bar included.
func layout(line []byte, hidden [][2]int, from int) (cells []cell, start, width int) {
	width, start = 1, -1
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRune(line[i:])
		masked := len(hidden) > 0 && i == hidden[0][0]
		if masked {
			size = hidden[0][1] - i
			hidden = hidden[1:]
		}
		if start < 0 && i+size > from {
			start = width
		}
		c := cell{offset: i}
		switch {
		case masked:
			c.text, c.width = maskText, len(maskText)
		case r == '\t':
			c.width = tabStop - width%tabStop
			c.text = strings.Repeat(" ", c.width)
		default:
			c.text, c.width = show(r)
		}
		cells = append(cells, c)
		width += c.width
		i += size
	}
	if start < 0 {
		start = width
	}
	return cells, start, width
}

// window drops the cells of a long line that lie far before column start, and
// reports whether there were any.
func window(cells []cell, start int) ([]cell, bool) {
	column := 1
	for i, c := range cells {
		if column >= start-lead {
			return cells[i:], i > 0
		}
		column += c.width
	}
	return nil, len(cells) > 0
}

// visible is s on one line, with nothing in it that a terminal acts upon.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		text, _ := show(r)
		b.WriteString(text)
	}
	return b.String()
}

// show returns a form of r that a terminal prints and does not obey, and the
// columns it takes: control characters as their pictures, invisible and
// direction-changing ones by number, everything else as it is.
func show(r rune) (string, int) {
	switch {
	case r < ' ':
		return string('\u2400' + r), 1
	case r == 0x7f:
		return "\u2421", 1
	case r < 0x7f:
		return string(r), 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return string(r), 0
	case r != ' ' && !unicode.IsGraphic(r):
		s := fmt.Sprintf("<U+%04X>", r)
		return s, len(s)
	case unicode.Is(&wide, r):
		return string(r), 2
	}
	return string(r), 1
}

// wide are the characters that terminals show in two columns: the wide and
// full-width ones of Unicode Standard Annex #11, joined to coarse ranges.
var wide = unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1}, // Hangul Jamo
		{Lo: 0x231a, Hi: 0x231b, Stride: 1},
		{Lo: 0x23e9, Hi: 0x23ec, Stride: 1},
		{Lo: 0x2705, Hi: 0x2705, Stride: 1},
		{Lo: 0x274c, Hi: 0x274c, Stride: 1},
		{Lo: 0x2e80, Hi: 0x303e, Stride: 1}, // CJK radicals, punctuation
		{Lo: 0x3041, Hi: 0x33ff, Stride: 1}, // kana, Bopomofo, compatibility
		{Lo: 0x3400, Hi: 0x4dbf, Stride: 1}, // CJK extension A
		{Lo: 0x4e00, Hi: 0xa4cf, Stride: 1}, // CJK, Yi
		{Lo: 0xa960, Hi: 0xa97f, Stride: 1}, // Hangul Jamo extended A
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1}, // Hangul
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1}, // CJK compatibility
		{Lo: 0xfe30, Hi: 0xfe6f, Stride: 1}, // CJK compatibility forms
		{Lo: 0xff00, Hi: 0xff60, Stride: 1}, // full-width forms
		{Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1f300, Hi: 0x1f64f, Stride: 1}, // pictographs, emoticons
		{Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1}, // transport
		{Lo: 0x1f900, Hi: 0x1faff, Stride: 1}, // supplemental pictographs
		{Lo: 0x20000, Hi: 0x3fffd, Stride: 1}, // CJK extensions B and on
	},
}
