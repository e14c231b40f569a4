package compiler

import (
	"bytes"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/literal"

	"clink/diagnostic"
)

// An editor makes edits of the users' files that touch nothing but what is to
// change: ranges of bytes at the places of the syntax tree. It edits what is
// written out, once, in one place; for anything else (a reference, a
// comprehension, a value that two files give) it has no edit.
type editor struct{ x *index }

// literal replaces a value that is one literal.
func (e *editor) literal(text string, path ...string) (diagnostic.Edit, bool) {
	d, ok := e.only(path)
	if !ok {
		return diagnostic.Edit{}, false
	}
	if _, ok := d.value.(*ast.BasicLit); !ok {
		return diagnostic.Edit{}, false
	}
	return diagnostic.Edit{Pos: nodePos(d.value), Text: text}, true
}

// only returns what stands at a path, if it stands in one place alone.
func (e *editor) only(path []string) (decl, bool) {
	p := e.x.find(path...)
	if p == nil || len(p.decls) != 1 {
		return decl{}, false
	}
	return p.decls[0], true
}

// remove takes an element out of a list, with the line that it has to itself.
func (e *editor) remove(i int, path ...string) (diagnostic.Edit, bool) {
	d, ok := e.only(path)
	list, isList := d.value.(*ast.ListLit)
	if !ok || !isList || i >= len(list.Elts) {
		return diagnostic.Edit{}, false
	}
	text := e.x.texts[d.file]
	from, to := list.Elts[i].Pos().Offset(), list.Elts[i].End().Offset()
	start, end := lineAround(text, from, to)
	before, after := bytes.TrimSpace(text[start:from]), bytes.TrimSpace(text[to:end])
	if comma, ok := bytes.CutPrefix(after, []byte(",")); ok {
		after = bytes.TrimSpace(comma)
	}
	switch {
	case len(before) == 0 && (len(after) == 0 || bytes.HasPrefix(after, []byte("//"))) && end < len(text):
		from, to = start, end // its comment goes with it
	case i+1 < len(list.Elts):
		to = list.Elts[i+1].Pos().Offset()
	case i > 0:
		from = list.Elts[i-1].End().Offset()
	}
	if cut := text[from:to]; bytes.Contains(cut, []byte("//")) && !bytes.HasSuffix(cut, []byte("\n")) && !bytes.Contains(text[list.Elts[i].Pos().Offset():list.Elts[i].End().Offset()], []byte("//")) {
		return diagnostic.Edit{}, false // somebody's words are in between
	}
	return diagnostic.Edit{Pos: rangePos(d.file, text, from, to)}, true
}

// lineAround returns the offsets of the lines that hold the range, the last
// newline included.
func lineAround(text []byte, from, to int) (start, end int) {
	start = bytes.LastIndexByte(text[:from], '\n') + 1
	end = len(text)
	if i := bytes.IndexByte(text[to:], '\n'); i >= 0 {
		end = to + i + 1
	}
	return start, end
}

// insert adds fields, CUE text of the form "name: value", to the struct at a
// path: where its other fields are in order of name, in its place among them,
// else at the end. Where no braces are there to put it into, it follows as a
// statement of its own at the end of the file that declares the site.
func (e *editor) insert(name, value string, path ...string) (diagnostic.Edit, bool) {
	if d, s := e.braces(path); s != nil {
		return e.into(d.file, s, name, value)
	}
	site := e.x.find(path[:min(2, len(path))]...)
	if site == nil || len(site.decls) == 0 {
		return diagnostic.Edit{}, false
	}
	file := site.decls[0].file
	text := e.x.texts[file]
	var chain strings.Builder
	for i, label := range path {
		if i == 0 || i == 2 || i == 3 {
			chain.WriteString(label + ": ")
		} else {
			chain.WriteString(literal.String.Quote(label) + ": ")
		}
	}
	added := textBlock(chain.String()+name+": "+value, "", "\t", newline(text))
	lead := newline(text)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		lead += newline(text)
	}
	return diagnostic.Edit{Pos: rangePos(file, text, len(text), len(text)), Text: lead + added}, true
}

// braces returns the first struct with braces that stands at a path.
func (e *editor) braces(path []string) (decl, *ast.StructLit) {
	for _, d := range e.x.find(path...).declarations() {
		if s, ok := d.value.(*ast.StructLit); ok && s.Lbrace.IsValid() {
			return d, s
		}
	}
	return decl{}, nil
}

// into adds a field to a struct with braces.
func (e *editor) into(file string, s *ast.StructLit, name, value string) (diagnostic.Edit, bool) {
	text := e.x.texts[file]
	open, shut := s.Lbrace.Offset()+1, s.Rbrace.Offset()
	at := func(from, to int, insert string) (diagnostic.Edit, bool) {
		return diagnostic.Edit{Pos: rangePos(file, text, from, to), Text: insert}, true
	}
	nl, outer := newline(text), indentAt(text, shut)
	field := name + ": " + value
	if len(s.Elts) == 0 {
		if len(bytes.TrimSpace(text[open:shut])) > 0 {
			return diagnostic.Edit{}, false // a comment stands alone in there
		}
		outer = indentAt(text, open)
		// The braces are in the range, so that no second edit is laid into it.
		return at(open-1, shut+1, "{"+nl+textBlock(field, outer+"\t", "\t", nl)+outer+"}")
	}
	last := s.Elts[len(s.Elts)-1]
	if bytes.IndexByte(text[open:shut], '\n') < 0 {
		return at(last.End().Offset(), last.End().Offset(), ", "+inline(field))
	}
	inner := indentAt(text, s.Elts[0].Pos().Offset())
	unit := strings.TrimPrefix(inner, outer)
	if unit == "" || unit == inner && outer != "" {
		unit = "\t"
	}
	if next := successor(s.Elts, name); next != nil {
		from := startOf(text, next.Pos().Offset())
		return at(from, from, textBlock(field, inner, unit, nl))
	}
	_, end := lineAround(text, last.Pos().Offset(), last.End().Offset())
	if end > shut { // the brace is on the line of the last field
		return at(last.End().Offset(), last.End().Offset(), nl+strings.TrimSuffix(textBlock(field, inner, unit, nl), nl))
	}
	return at(end, end, textBlock(field, inner, unit, nl))
}

// successor returns the first field behind which the name would be out of
// order, nil if the fields are in no order or it comes last.
func successor(elts []ast.Decl, name string) ast.Decl {
	want, err := literal.Unquote(name)
	if err != nil {
		return nil
	}
	var names []string
	for _, el := range elts {
		f, ok := el.(*ast.Field)
		if !ok {
			return nil
		}
		n, ok := labelName(f.Label)
		if !ok {
			return nil
		}
		names = append(names, n)
	}
	if !slices.IsSorted(names) {
		return nil
	}
	if i := slices.IndexFunc(names, func(n string) bool { return n > want }); i >= 0 {
		return elts[i]
	}
	return nil
}

// startOf is where the lines of a field begin, with the comments right above.
func startOf(text []byte, offset int) int {
	start := bytes.LastIndexByte(text[:offset], '\n') + 1
	for start > 0 {
		above := bytes.LastIndexByte(text[:start-1], '\n') + 1
		if !bytes.HasPrefix(bytes.TrimSpace(text[above:start]), []byte("//")) {
			break
		}
		start = above
	}
	return start
}

// indentAt is the white space that the line of an offset begins with.
func indentAt(text []byte, offset int) string {
	line := text[bytes.LastIndexByte(text[:offset], '\n')+1:]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

func newline(text []byte) string {
	if bytes.Contains(text, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// textBlock is CUE text in the form that "cue fmt" gives it, each line behind the
// indent, and with unit for each further level.
func textBlock(text, indent, unit, nl string) string {
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

// inline is a field in one line.
func inline(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	joined := strings.Join(lines, ", ")
	return strings.NewReplacer("{, ", "{", ", }", "}").Replace(joined)
}

// rangePos is a range of byte offsets.
func rangePos(file string, text []byte, from, to int) diagnostic.Pos {
	at := func(offset int) (line, column int) {
		return bytes.Count(text[:offset], []byte("\n")) + 1, offset - bytes.LastIndexByte(text[:offset], '\n')
	}
	p := diagnostic.Pos{File: file}
	p.Line, p.Column = at(from)
	p.EndLine, p.EndColumn = at(to)
	return p
}

// quote is a text as a CUE string.
func quote(s string) string { return literal.String.Quote(s) }
