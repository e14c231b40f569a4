package compiler

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"clink/compiler/cuetext"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
)

// A shape is what schema.cue allows at one place, read from its text. CUE says
// whether a value fits; which fields there are, which are missing, and in what
// words a constraint is told, is read from here: for a value with several
// faults CUE tells only some of them.
type shape struct {
	fields   map[string]*shape
	any      *shape   // of fields with any name
	elem     *shape   // of a list
	required []string // fields that must be there
	managed  *shape   // what is required besides in a site that is not external
	words    string   // of @explain
}

// newShape returns the shape of #Topology.
func newShape(text []byte) (*shape, error) {
	f, err := parser.ParseFile("schema.cue", text)
	if err != nil {
		return nil, fmt.Errorf("parse the schema: %w", err)
	}
	b := shapeBuilder{defs: map[string]*ast.Field{}, done: map[string]*shape{}}
	for _, d := range f.Decls {
		if field, ok := d.(*ast.Field); ok {
			name, _ := cuetext.LabelName(field.Label)
			b.defs[name] = field
		}
	}
	return b.definition("#Topology"), nil
}

type shapeBuilder struct {
	defs map[string]*ast.Field
	done map[string]*shape
}

func (b *shapeBuilder) definition(name string) *shape {
	if s := b.done[name]; s != nil {
		return s
	}
	s := &shape{}
	b.done[name] = s
	if f := b.defs[name]; f != nil {
		b.expr(s, f.Value)
		if w := explain(f.Attrs); w != "" {
			s.words = w
		}
	}
	return s
}

func (b *shapeBuilder) expr(s *shape, e ast.Expr) {
	switch e := e.(type) {
	case *ast.Ident:
		if d := b.definition(e.Name); d != nil {
			s.merge(d)
		}
	case *ast.StructLit:
		b.decls(s, e.Elts)
	case *ast.ListLit:
		for _, el := range e.Elts {
			if el, ok := el.(*ast.Ellipsis); ok && el.Type != nil {
				s.elem = &shape{}
				b.expr(s.elem, el.Type)
			}
		}
	}
}

func (s *shape) merge(d *shape) {
	if d.fields != nil {
		s.fields = maps.Clone(d.fields)
	}
	s.any, s.elem, s.managed, s.words = d.any, d.elem, d.managed, d.words
	s.required = slices.Clone(d.required)
}

func (b *shapeBuilder) decls(s *shape, decls []ast.Decl) {
	if s.fields == nil {
		s.fields = map[string]*shape{}
	}
	for _, d := range decls {
		switch d := d.(type) {
		case *ast.EmbedDecl:
			b.expr(s, d.Expr)
		case *ast.Comprehension:
			s.managed = &shape{}
			b.expr(s.managed, d.Value)
		case *ast.Field:
			kid := &shape{}
			b.expr(kid, d.Value)
			if w := explain(d.Attrs); w != "" {
				kid.words = w
			}
			name, ok := cuetext.LabelName(d.Label)
			if !ok {
				s.any = kid
				continue
			}
			s.fields[name] = kid
			if d.Constraint == token.NOT {
				s.required = append(s.required, name)
			}
		}
	}
}

func explain(attrs []*ast.Attribute) string {
	for _, a := range attrs {
		key, body := a.Split()
		if key != "explain" {
			continue
		}
		if w, err := strconv.Unquote(body); err == nil {
			return w
		}
	}
	return ""
}

// step returns the shape of a field, nil if there is no such field.
func (s *shape) step(name string) *shape {
	if s == nil {
		return nil
	}
	if kid := s.fields[name]; kid != nil {
		return kid
	}
	if s.any != nil {
		return s.any
	}
	return nil
}

func (s *shape) names() []string { return slices.Sorted(maps.Keys(s.fields)) }

func (s *shape) isStruct() bool { return s.fields != nil || s.any != nil }
