package compiler

import (
	"strings"

	"clink/compiler/cuetext"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"
)

// A tree is a file that parses, with what its text alone tells of how it must
// be evaluated.
type tree struct {
	file *ast.File
	// contained: it says nothing but sites by their names, and names nothing
	// at the top of the package. Whether another file has a say in it is not
	// known from its text.
	contained bool
	refers    bool // it may take values from sites of any file
}

func newTree(f *ast.File) *tree {
	t := &tree{file: f, contained: true}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.Package, *ast.CommentGroup:
		case *ast.ImportDecl:
			for _, s := range d.Specs {
				t.contained = t.contained && isBuiltin(s)
			}
		case *ast.Attribute:
			t.contained, t.refers = false, true
		case *ast.Field:
			t.contained = t.contained && onlySites(d)
			if _, alias := d.Label.(*ast.Alias); alias || d.Alias != nil {
				t.refers = true
			}
			if _, alias := d.Value.(*ast.Alias); alias {
				t.refers = true
			}
		default:
			t.contained = false
		}
	}
	for _, id := range f.Unresolved {
		t.refers = t.refers || id.Name == "sites"
	}
	ast.Walk(f, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok || id.Node == nil {
			return true
		}
		if id.Scope == ast.Node(f) {
			if _, imported := id.Node.(*ast.ImportSpec); !imported {
				t.contained = false
				t.refers = t.refers || id.Name == "sites"
			}
		}
		return true
	}, nil)
	return t
}

func isBuiltin(s *ast.ImportSpec) bool {
	name, err := literal.Unquote(s.Path.Value)
	first, _, _ := strings.Cut(name, "/")
	return err == nil && !strings.Contains(first, ".")
}

// onlySites reports whether the field is a struct of sites that are each
// written out by name.
func onlySites(d *ast.Field) bool {
	body, ok := d.Value.(*ast.StructLit)
	if !ok || !isPlainLabel(d) || d.Label.(ast.Node) == nil {
		return false
	}
	if name, _ := cuetext.LabelName(d.Label); name != "sites" {
		return false
	}
	for _, el := range body.Elts {
		switch el := el.(type) {
		case *ast.CommentGroup:
		case *ast.Field:
			if !isPlainLabel(el) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// isPlainLabel reports whether the field is an ordinary one with a name that
// is written out.
func isPlainLabel(d *ast.Field) bool {
	if d.Alias != nil || d.Constraint != token.ILLEGAL || d.Value == nil {
		return false
	}
	switch l := d.Label.(type) {
	case *ast.Ident:
		return !strings.HasPrefix(l.Name, "_") && !strings.HasPrefix(l.Name, "#")
	case *ast.BasicLit:
		_, ok := cuetext.LabelName(l)
		return ok
	}
	return false
}

// alone returns the files that no other file has a say in, and which have none
// in others: each can be evaluated by itself, and means the same.
func (c *compilation) alone() map[string]bool {
	m := map[string]bool{}
	sites := c.index.find("sites")
	if sites == nil || c.together {
		return m
	}
	sites.expand()
	if len(c.index.root.wildIn) > 0 || len(sites.wildIn) > 0 {
		return m
	}
	for name, t := range c.trees {
		if t.refers {
			return map[string]bool{}
		}
		if t.contained && len(c.index.deps[name]) == 0 && !c.index.overSites[name] {
			m[name] = true
		}
	}
	for _, s := range sites.kids {
		for _, d := range s.decls[1:] {
			if d.file != s.decls[0].file {
				delete(m, d.file)
				delete(m, s.decls[0].file)
			}
		}
	}
	return m
}

// plain returns what an expression of literals alone says, as [read] would
// from its value; false if there is anything else in it. That it is not
// contradictory is for CUE to say.
func plain(e ast.Expr) (any, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return plainLit(e)
	case *ast.ListLit:
		l := make([]any, len(e.Elts))
		for i, el := range e.Elts {
			x, ok := plain(el)
			if !ok {
				return nil, false
			}
			l[i] = x
		}
		return l, true
	case *ast.StructLit:
		o := object{}
		return o, o.addPlain(e)
	}
	return nil, false
}

func plainLit(e *ast.BasicLit) (any, bool) {
	switch e.Kind {
	case token.TRUE, token.FALSE:
		return e.Kind == token.TRUE, true
	case token.STRING:
		if !strings.HasPrefix(e.Value, `"`) {
			return nil, false // bytes, or a raw string
		}
		s, err := literal.Unquote(e.Value)
		return s, err == nil
	case token.INT:
		var n literal.NumInfo
		if err := literal.ParseNum(e.Value, &n); err != nil || !n.IsInt() {
			return nil, false
		}
		var i int64
		for _, d := range []byte(n.String()) {
			if d < '0' || d > '9' || i > 1<<58 {
				return nil, false
			}
			i = i*10 + int64(d-'0')
		}
		return i, true
	}
	return nil, false
}

// addPlain adds what a struct of literals says; a field that stands twice is
// what both say.
func (o object) addPlain(s *ast.StructLit) bool {
	for _, el := range s.Elts {
		d, ok := el.(*ast.Field)
		if !ok || !isPlainLabel(d) {
			if _, comment := el.(*ast.CommentGroup); comment {
				continue
			}
			return false
		}
		name, _ := cuetext.LabelName(d.Label)
		if body, ok := d.Value.(*ast.StructLit); ok {
			if was, ok := o[name].(object); ok {
				if !was.addPlain(body) {
					return false
				}
				continue
			}
		}
		x, ok := plain(d.Value)
		if !ok {
			return false
		}
		o[name] = x
	}
	return true
}

// plainSites returns the sites of a contained file that is all literals.
func plainSites(f *ast.File) (object, bool) {
	all := object{}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.Package, *ast.CommentGroup:
		case *ast.Field:
			body, ok := d.Value.(*ast.StructLit)
			if !ok || !all.addPlain(body) {
				return nil, false
			}
		default:
			return nil, false
		}
	}
	return all, true
}
