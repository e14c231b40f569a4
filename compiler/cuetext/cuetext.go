// Package cuetext edits the text of CUE files and leaves every byte alone that
// is not to change: it finds, from the places of the syntax tree, the range of
// bytes to replace. It knows elements, indentation and comments, and nothing of
// what the text means.
package cuetext

import (
	"bytes"
	"slices"
	"strings"

	"clink/diagnostic"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
)

// An Edit replaces the bytes from From to To by Text.
type Edit struct {
	From, To int
	Text     string
}

// Apply returns the text with the edits made, none of which may overlap.
func Apply(text []byte, edits ...Edit) []byte {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b Edit) int { return b.From - a.From })
	for _, e := range edits {
		text = slices.Concat(text[:e.From], []byte(e.Text), text[e.To:])
	}
	return text
}

// Pos is a range of byte offsets of a file.
func Pos(file string, text []byte, from, to int) diagnostic.Pos {
	at := func(offset int) (line, column int) {
		return bytes.Count(text[:offset], []byte("\n")) + 1, offset - bytes.LastIndexByte(text[:offset], '\n')
	}
	p := diagnostic.Pos{File: file}
	p.Line, p.Column = at(from)
	p.EndLine, p.EndColumn = at(to)
	return p
}

// NodePos is the range of a node in a user's file.
func NodePos(n ast.Node) diagnostic.Pos {
	if a, ok := n.(*ast.Alias); ok {
		n = a.Expr
	}
	p, e := n.Pos().Position(), n.End().Position()
	return diagnostic.Pos{File: p.Filename, Line: p.Line, Column: p.Column, EndLine: e.Line, EndColumn: e.Column}
}

// newline is how the text ends its lines.
func newline(text []byte) string {
	if bytes.Contains(text, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// layOut is CUE text in the form that "cue fmt" gives it, each line behind the
// indent, with unit for each further level and nl at its end.
func layOut(text, indent, unit, nl string) string {
	if nice, err := format.Source([]byte(text)); err == nil {
		text = string(nice)
	}
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		line = strings.TrimSuffix(line, "\n")
		deep := len(line) - len(strings.TrimLeft(line, "\t"))
		b.WriteString(indent + strings.Repeat(unit, deep) + line[deep:] + nl)
	}
	return b.String()
}

// unitOf is what a text indents a level with: the white space that the first line
// begins with that has any.
func unitOf(text []byte) string {
	for line := range bytes.Lines(text) {
		if deep := indentAt(line, 0); deep != "" && !isBlank(line) && !isComment(line) {
			return deep
		}
	}
	return "\t"
}

// lineStart is the offset at which the line of an offset begins.
func lineStart(text []byte, offset int) int { return bytes.LastIndexByte(text[:offset], '\n') + 1 }

// lineEnd is the offset behind the newline that ends the line of an offset.
func lineEnd(text []byte, offset int) int {
	if i := bytes.IndexByte(text[offset:], '\n'); i >= 0 {
		return offset + i + 1
	}
	return len(text)
}

// withComments is where the lines of an element begin, with the comments right
// above it, at least at floor.
func withComments(text []byte, offset, floor int) int {
	start := lineStart(text, offset)
	for start > floor {
		above := lineStart(text, start-1)
		if above < floor || !isComment(text[above:start]) {
			break
		}
		start = above
	}
	return start
}

// indentAt is the white space that the line of an offset begins with.
func indentAt(text []byte, offset int) string {
	line := text[lineStart(text, offset):]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

func isBlank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }

func isComment(text []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte("//")) }
