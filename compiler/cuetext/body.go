package cuetext

import (
	"bytes"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// A Body is what stands in a struct's braces, in a list's brackets, or in a
// file: elements, each a range of bytes.
type Body struct {
	text       []byte
	open, shut int // behind the opening brace, and of the closing one
	elts       [][2]int
	list, file bool
	ellipsis   bool // the last element is ...
}

// In is the body of a file, a struct, a list, or an import declaration; ok is
// false for one without braces, and for any other node.
func In(text []byte, n ast.Node) (b Body, ok bool) {
	between := func(open, shut token.Pos, elts [][2]int) (Body, bool) {
		if !open.IsValid() || !shut.IsValid() {
			return Body{}, false
		}
		return Body{text: text, open: open.Offset() + 1, shut: shut.Offset(), elts: elts}, true
	}
	switch n := n.(type) {
	case *ast.File:
		return Body{text: text, shut: len(text), elts: ranges(n.Decls), file: true}, true
	case *ast.StructLit:
		b, ok = between(n.Lbrace, n.Rbrace, ranges(n.Elts))
		if len(n.Elts) > 0 {
			_, b.ellipsis = n.Elts[len(n.Elts)-1].(*ast.Ellipsis)
		}
	case *ast.ListLit:
		b, ok = between(n.Lbrack, n.Rbrack, ranges(n.Elts))
		b.list = true
	case *ast.ImportDecl:
		b, ok = between(n.Lparen, n.Rparen, ranges(n.Specs))
	}
	return b, ok
}

// ranges are those of the elements; comments are none.
func ranges[N ast.Node](nodes []N) [][2]int {
	var l [][2]int
	for _, n := range nodes {
		if _, comment := any(n).(*ast.CommentGroup); !comment {
			l = append(l, [2]int{n.Pos().Offset(), n.End().Offset()})
		}
	}
	return l
}

// End is the index for an element at the end, which in CUE is in front of three
// dots.
func (b Body) End() int {
	if b.ellipsis {
		return len(b.elts) - 1
	}
	return len(b.elts)
}

// At returns which element begins at an offset, or -1.
func (b Body) At(offset int) int {
	for i, e := range b.elts {
		if e[0] == offset {
			return i
		}
	}
	return -1
}

// Only reports whether nothing is in the body but the element and what goes
// with it when it is removed.
func (b Body) Only(i int) bool {
	if len(b.elts) != 1 || b.file {
		return false
	}
	e := b.Remove(i)
	return isBlank(Apply(b.text[b.open:b.shut], Edit{max(e.From, b.open) - b.open, min(e.To, b.shut) - b.open, e.Text}))
}

// first reports whether the element is the first thing on its line.
func (b Body) first(i int) bool {
	start := lineStart(b.text, b.elts[i][0])
	return start >= b.open && isBlank(b.text[start:b.elts[i][0]])
}

// tail returns the offset behind the element's own comma, the one behind its
// line, and whether nothing else than its own comment follows on that line.
func (b Body) tail(i int) (comma, end int, last bool) {
	to := b.elts[i][1]
	comma, end = to, lineEnd(b.text, to)
	rest := b.text[to:end]
	if after := bytes.TrimLeft(rest, " \t"); bytes.HasPrefix(after, []byte(",")) {
		comma = end - len(after) + 1
		rest = after[1:]
	}
	return comma, end, (isBlank(rest) || isComment(rest)) && (b.file || end <= b.shut)
}

// indents returns the white space before the elements, and before the line on
// which the body begins, and what each level adds.
func (b Body) indents() (inner, outer, unit string) {
	unit = unitOf(b.text)
	if b.file {
		return "", "", unit
	}
	outer = indentAt(b.text, b.open)
	inner = outer + unit
	for i := range b.elts {
		if b.first(i) {
			inner = indentAt(b.text, b.elts[i][0])
			if u, ok := strings.CutPrefix(inner, outer); ok && u != "" {
				unit = u
			}
			break
		}
	}
	return inner, outer, unit
}

// Insert puts an element before the one with the index, or at the end. It is
// given as it is written in one line, and as CUE text of any layout for where
// it has lines to itself.
func (b Body) Insert(i int, line, block string) Edit {
	nl := newline(b.text)
	inner, outer, unit := b.indents()
	lines := layOut(block, inner, unit, nl)
	if b.list {
		lines = inner + line + "," + nl
	}
	inside := b.text[b.open:b.shut]
	switch {
	case len(b.elts) == 0 && !b.file && isBlank(inside):
		if b.list {
			return Edit{b.open, b.shut, line}
		}
		return Edit{b.open, b.shut, nl + lines + outer}
	case len(b.elts) == 0:
		if b.file {
			return Append(b.text, block)
		}
		// Comments stand alone in there, and are not to become those of the element.
		at := lineEnd(b.text, b.open)
		if inner = indentAt(b.text, lineStart(b.text, b.shut)-1); b.list {
			return Edit{at, at, inner + line + "," + nl}
		}
		return Edit{at, at, layOut(block, inner, unit, nl)}
	case !b.file && bytes.IndexByte(inside, '\n') < 0:
		return b.inline(i, line)
	case i < len(b.elts):
		return b.before(i, line, lines)
	}
	return b.after(len(b.elts)-1, line, lines)
}

func (b Body) inline(i int, line string) Edit {
	if i < len(b.elts) {
		at := b.elts[i][0]
		return Edit{at, at, line + ", "}
	}
	at := b.elts[i-1][1]
	return Edit{at, at, ", " + line}
}

// before puts lines before an element that is not the last.
func (b Body) before(i int, line, lines string) Edit {
	if !b.first(i) || b.list && !b.alone(i) {
		return b.inline(i, line)
	}
	at := withComments(b.text, b.elts[i][0], b.open)
	if b.spaced() {
		lines += newline(b.text)
	}
	return Edit{at, at, lines}
}

// After puts an element behind the one with the index, in the way of
// [Body.Insert].
func (b Body) After(i int, line, block string) Edit {
	inner, _, unit := b.indents()
	nl := newline(b.text)
	if !b.file && bytes.IndexByte(b.text[b.open:b.shut], '\n') < 0 {
		return b.inline(i+1, line)
	}
	return b.after(i, line, layOut(block, inner, unit, nl))
}

// after puts lines behind an element.
func (b Body) after(i int, line, lines string) Edit {
	_, end, alone := b.tail(i)
	nl := newline(b.text)
	if b.spaced() {
		lines = nl + lines
	}
	switch {
	case b.list && (!b.first(i) || !alone), !alone && i+1 < len(b.elts):
		return b.inline(i+1, line)
	case !alone:
		// The closing brace is on the line of the last element.
		at := b.elts[i][1]
		return Edit{at, at, nl + strings.TrimSuffix(lines, nl)}
	case end == len(b.text) && !bytes.HasSuffix(b.text, []byte("\n")):
		return Edit{end, end, nl + lines}
	}
	return Edit{end, end, lines}
}

// Append puts a statement at the end of a file, behind a blank line.
func Append(text []byte, block string) Edit {
	nl, at := newline(text), len(text)
	lines := nl + layOut(block, "", unitOf(text), nl)
	if at > 0 && text[at-1] != '\n' {
		lines = nl + lines
	}
	return Edit{at, at, lines}
}

// Successor is the index of the first of a struct's fields behind which the
// name would be out of order: the end, if they are in no order.
func (b Body) Successor(elts []ast.Decl, name string, cmp func(a, b string) int) int {
	var names []string
	for _, el := range elts {
		switch el.(type) {
		case *ast.CommentGroup, *ast.Ellipsis:
			continue
		}
		f, ok := el.(*ast.Field)
		if !ok {
			return b.End()
		}
		n, ok := LabelName(f.Label)
		if !ok {
			return b.End()
		}
		names = append(names, n)
	}
	i := slices.IndexFunc(names, func(n string) bool { return cmp(n, name) > 0 })
	if i < 0 || !slices.IsSortedFunc(names, cmp) {
		return b.End()
	}
	return i
}

// alone reports whether the element has its lines to itself.
func (b Body) alone(i int) bool {
	_, _, last := b.tail(i)
	return b.first(i) && last
}

// spaced reports whether blank lines stand between the elements of a struct.
func (b Body) spaced() bool {
	if b.list || len(b.elts) < 2 {
		return false
	}
	for i := 1; i < len(b.elts); i++ {
		_, end, _ := b.tail(i - 1)
		if end > b.elts[i][0] || !isBlank(b.text[end:lineEnd(b.text, end)]) {
			return false
		}
	}
	return true
}
