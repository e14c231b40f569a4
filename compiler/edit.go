package compiler

import (
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"clink/compiler/cuetext"
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
	return diagnostic.Edit{Pos: cuetext.NodePos(d.value), Text: text}, true
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
	b, _ := cuetext.In(e.x.texts[d.file], list)
	return e.edit(d.file, b.Remove(i)), true
}

// edit is an edit of a file, at its lines and columns.
func (e *editor) edit(file string, t cuetext.Edit) diagnostic.Edit {
	return diagnostic.Edit{Pos: cuetext.Pos(file, e.x.texts[file], t.From, t.To), Text: t.Text}
}

// A field is one that is to be added, as it is written in one line, and as CUE
// text of any layout for where it has lines to itself. One without a name goes
// to the end.
type field struct{ name, line, block string }

// newField is a field that holds others.
func newField(name string, fields ...string) field {
	label := cuetext.Quote(name) + ": "
	return field{name, label + "{" + strings.Join(fields, ", ") + "}", label + "{\n" + strings.Join(fields, "\n") + "\n}"}
}

// under is the field behind the labels of those around it.
func (f field) under(labels ...string) field {
	if len(labels) == 0 {
		return f
	}
	chain := strings.Join(labels, ": ") + ": "
	return field{"", chain + f.line, chain + f.block}
}

// insert adds a field to the struct at a path: where its other fields are in
// order of name, in its place among them, else at the end. Where no braces
// are there to put it into, it follows as a statement of its own at the end of
// the file that declares the site.
func (e *editor) insert(f field, path ...string) (diagnostic.Edit, bool) {
	if d, s := e.braces(path); s != nil {
		b, _ := cuetext.In(e.x.texts[d.file], s)
		at := b.End()
		if f.name != "" {
			at = b.Successor(s.Elts, f.name, strings.Compare)
		}
		return e.edit(d.file, b.Insert(at, f.line, f.block)), true
	}
	site := e.x.find(path[:min(2, len(path))]...)
	if site == nil || len(site.decls) == 0 {
		return diagnostic.Edit{}, false
	}
	labels := slices.Clone(path)
	for i := range labels {
		if i != 0 && i != 2 && i != 3 {
			labels[i] = cuetext.Quote(labels[i])
		}
	}
	file := site.decls[0].file
	return e.edit(file, cuetext.Append(e.x.texts[file], f.under(labels...).block)), true
}

// braces returns the first struct with braces that stands at a path.
func (e *editor) braces(path []string) (decl, *ast.StructLit) {
	for _, d := range e.x.find(path...).declarations() {
		if s := braced(d.value); s != nil {
			return d, s
		}
	}
	return decl{}, nil
}

// braced is a struct with braces, also one that a template is unified with.
func braced(e ast.Expr) *ast.StructLit {
	switch e := e.(type) {
	case *ast.StructLit:
		if e.Lbrace.IsValid() {
			return e
		}
	case *ast.BinaryExpr:
		if e.Op != token.AND {
			return nil
		}
		if s := braced(e.X); s != nil {
			return s
		}
		return braced(e.Y)
	}
	return nil
}
