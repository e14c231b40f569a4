package cuetext

import "bytes"

// Remove takes an element out, with the comments that are its own: those right
// above it and the one behind it on its last line. A line that it has to itself
// goes whole, and one of the blank lines around it that would be left over.
func (b Body) Remove(i int) Edit {
	from, to := b.elts[i][0], b.elts[i][1]
	comma, end, last := b.tail(i)
	switch {
	case last && b.first(i):
		return b.blanks(withComments(b.text, from, b.open), end)
	case last && i > 0 && b.sameLine(i):
		return Edit{b.elts[i-1][1], b.beforeNewline(end), ""}
	case last:
		// The brace stands before it; the line's end separates as well.
		return Edit{b.trimLeft(from), b.beforeNewline(end), ""}
	case i+1 < len(b.elts) && comma > to:
		return Edit{from, skip(b.text, comma), ""}
	case comma > to:
		to = comma
	}
	if i == len(b.elts)-1 && b.first(i) { // only the brace follows: what is said above is said of this one
		from = skip(b.text, withComments(b.text, from, b.open))
	}
	switch {
	case i > 0 && b.sameLine(i):
		from = b.elts[i-1][1] // and the comma between
	case i > 0 && b.first(i) && !b.commentBetween(i, from):
		from = b.elts[i-1][1] // and the line's end
	case !b.first(i):
		from = b.trimLeft(from)
	}
	return Edit{from, to, ""}
}

// commentBetween reports whether there is a comment between what is removed with
// an element, from an offset on, and the one before it.
func (b Body) commentBetween(i, from int) bool {
	return bytes.Contains(b.text[b.elts[i-1][1]:from], []byte("//"))
}

// sameLine reports whether an element begins on the line on which the one
// before it ends.
func (b Body) sameLine(i int) bool {
	return lineStart(b.text, b.elts[i-1][1]) == lineStart(b.text, b.elts[i][0])
}

// trimLeft is the offset behind what stands before an offset on its line.
func (b Body) trimLeft(offset int) int {
	for offset > b.open && (b.text[offset-1] == ' ' || b.text[offset-1] == '\t') {
		offset--
	}
	return offset
}

func (b Body) beforeNewline(end int) int {
	if end > 0 && b.text[end-1] == '\n' {
		end--
		if end > 0 && b.text[end-1] == '\r' {
			end--
		}
	}
	return end
}

// skip is the offset behind the white space at an offset.
func skip(text []byte, offset int) int {
	for offset < len(text) && (text[offset] == ' ' || text[offset] == '\t') {
		offset++
	}
	return offset
}

// blanks widens a range of whole lines by an adjoining blank line that would be
// one too many without them.
func (b Body) blanks(from, to int) Edit {
	above := from
	if from > b.open {
		above = lineStart(b.text, from-1)
	}
	blankAbove := above < from && above >= b.open && isBlank(b.text[above:from])
	below := lineEnd(b.text, to)
	blankBelow := below > to && isBlank(b.text[to:below]) && (b.file || below <= b.shut)
	atTop := !blankAbove && lineStart(b.text, max(b.open-1, 0)) == above || from == 0
	atEnd := isBlank(b.text[to:b.shut]) && (b.file || lineStart(b.text, b.shut) == to)
	switch {
	case blankAbove && (blankBelow || atEnd || to == len(b.text)):
		return Edit{above, to, ""}
	case blankBelow && atTop && !b.file:
		return Edit{from, below, ""}
	}
	return Edit{from, to, ""}
}
