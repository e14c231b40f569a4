package compiler

import (
	"bytes"
	"iter"
	"regexp"
	"slices"
	"strconv"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"clink/compiler/cuetext"
	"clink/diagnostic"
)

// An index finds where the users' files say something: CUE's own positions of
// structs are those of the schema. It knows labels that are written out; what
// a pattern or comprehension makes has no place in it.
type index struct {
	root  *place
	texts map[string][]byte
	deps  map[string][]string // the files that a file's values come from, by file

	overSites map[string]bool // files with a value that depends on which sites there are
}

// A place is one path in the users' files and everything they say there.
type place struct {
	decls    []decl
	kids     map[string]*place // nil until expanded
	order    []string          // of kids, as they stand in the source
	wildIn   []string          // files that say something here for labels that are not written out
	expanded bool
}

// A decl is one field, or one element of a list.
type decl struct {
	file  string
	label ast.Node // nil for an element of a list
	value ast.Expr
}

func newIndex(files []*ast.File, texts map[string][]byte) *index {
	x := &index{root: &place{kids: map[string]*place{}, expanded: true}, texts: texts}
	for _, f := range files {
		x.root.addDecls(f.Filename, f.Decls)
	}
	return x
}

func (p *place) addDecls(file string, decls []ast.Decl) {
	for _, d := range decls {
		switch d := d.(type) {
		case *ast.Field:
			name, ok := cuetext.LabelName(d.Label)
			if !ok || d.Value == nil || d.Constraint == token.OPTION {
				p.wild(file)
				continue
			}
			p.add(name, decl{file, d.Label, d.Value})
		case *ast.EmbedDecl:
			p.addExpr(file, d.Expr)
		case *ast.Comprehension:
			p.wild(file)
		}
	}
}

func (p *place) wild(file string) {
	if !slices.Contains(p.wildIn, file) {
		p.wildIn = append(p.wildIn, file)
	}
}

func (p *place) add(name string, d decl) {
	kid := p.kids[name]
	if kid == nil {
		kid = &place{}
		p.kids[name] = kid
		p.order = append(p.order, name)
	}
	kid.decls = append(kid.decls, d)
}

func (p *place) addExpr(file string, e ast.Expr) {
	switch e := e.(type) {
	case *ast.StructLit:
		p.addDecls(file, e.Elts)
	case *ast.ListLit:
		for i, el := range e.Elts {
			if _, more := el.(*ast.Ellipsis); more {
				return
			}
			if _, more := el.(*ast.Comprehension); more {
				p.wild(file)
				return
			}
			p.add(strconv.Itoa(i), decl{file, nil, el})
		}
	case *ast.ParenExpr:
		p.addExpr(file, e.X)
	case *ast.BinaryExpr:
		if e.Op == token.AND {
			p.addExpr(file, e.X)
			p.addExpr(file, e.Y)
			return
		}
		p.wild(file)
	case *ast.BasicLit:
	default:
		p.wild(file)
	}
}

func (p *place) expand() {
	if p.expanded {
		return
	}
	p.expanded = true
	p.kids = map[string]*place{}
	for _, d := range p.decls {
		p.addExpr(d.file, d.value)
	}
}

// find returns the place at the path, nil if no file writes it out.
func (x *index) find(path ...string) *place {
	p := x.root
	for _, name := range path {
		p.expand()
		if p = p.kids[name]; p == nil {
			return nil
		}
	}
	return p
}

// written goes over the labels that are written out below the place, in the
// order of the source.
func (p *place) written() iter.Seq[string] {
	return func(yield func(string) bool) {
		if p == nil {
			return
		}
		p.expand()
		for _, name := range p.order {
			if !yield(name) {
				return
			}
		}
	}
}

// declarations returns every field or element that stands here.
func (p *place) declarations() []decl {
	if p == nil {
		return nil
	}
	return p.decls
}

// labelPos is where the path's label stands first in the source, else that of
// the nearest label above it.
func (x *index) labelPos(path ...string) diagnostic.Pos {
	for n := len(path); n > 0; n-- {
		p := x.find(path[:n]...)
		if p == nil {
			continue
		}
		for _, d := range p.decls {
			if d.label != nil {
				return cuetext.NodePos(d.label)
			}
			return cuetext.NodePos(d.value)
		}
	}
	return diagnostic.Pos{}
}

// valuePos is the value at the path where it is written out once.
func (x *index) valuePos(path ...string) (diagnostic.Pos, bool) {
	p := x.find(path...)
	if p == nil || len(p.decls) == 0 {
		return diagnostic.Pos{}, false
	}
	return cuetext.NodePos(p.decls[0].value), true
}

// tokenPos is the token at p: CUE's errors know where something begins only.
func tokenPos(p token.Pos, text []byte) diagnostic.Pos {
	at := p.Position()
	d := diagnostic.Pos{File: at.Filename, Line: at.Line, Column: at.Column, EndLine: at.Line, EndColumn: at.Column}
	// The parser's place for the end of a line may be behind it.
	if start := at.Offset - (at.Column - 1); start >= 0 && start <= len(text) {
		line, _, _ := bytes.Cut(text[start:], []byte("\n"))
		d.Column = min(d.Column, len(bytes.TrimSuffix(line, []byte("\r")))+1)
		d.EndColumn = d.Column
	}
	if at.Offset < 0 || at.Offset >= len(text) || d.Column < at.Column {
		return d
	}
	d.EndColumn += tokenLen(text[at.Offset:])
	return d
}

var tokenForm = regexp.MustCompile(`^(?:"(?:[^"\\\n]|\\[^\n])*"|[\p{L}\p{N}_#$.]+|[^\s])`)

func tokenLen(text []byte) int {
	line, _, _ := bytes.Cut(text[:min(len(text), 4096)], []byte("\n"))
	return len(tokenForm.Find(line))
}

func offsetPos(name string, text []byte, offset int) diagnostic.Pos {
	line := bytes.Count(text[:offset], []byte("\n")) + 1
	column := offset - bytes.LastIndexByte(text[:offset], '\n')
	return diagnostic.Pos{File: name, Line: line, Column: column, EndLine: line, EndColumn: column + 1}
}
