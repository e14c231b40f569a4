package splice

import (
	"strings"

	"clink/compiler/cuetext"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// Depths in the path of a link's field: sites, S, cluster, links, P, field.
const (
	atSite    = 1
	atCluster = 2
	atLinks   = 3
	atLink    = 4
)

// A step is one field on the way down to another.
type step struct {
	field *ast.Field
	in    *ast.StructLit // what it stands in; nil: the file
}

// A chain is one place at which a path is written out: a field for each label.
type chain struct {
	file  *file
	steps []step
}

func (c chain) last() *ast.Field { return c.steps[len(c.steps)-1].field }

// A wild is something on the way that may say more than is written out there: a
// reference, a comprehension, a pattern.
type wild struct {
	file  *file
	depth int // the labels of the path above it
	node  ast.Node

	in     *ast.StructLit  // it is an element of
	elem   ast.Decl        // as which
	parent *ast.BinaryExpr // or it is an operand of
	field  *ast.Field      // or the whole value of
}

// A place is all that the files say at a path.
type place struct {
	chains []chain
	wilds  []wild
}

// find returns what the files say at a path.
func find(files []*file, path ...string) place {
	w := &walk{path: path}
	for _, f := range files {
		w.file = f
		w.decls(f.tree.Decls, nil, nil)
	}
	return w.place
}

type walk struct {
	path []string
	file *file
	place
}

func (w *walk) decls(list []ast.Decl, in *ast.StructLit, steps []step) {
	for _, d := range list {
		switch d := d.(type) {
		case *ast.Field:
			w.aField(d, in, steps)
		case *ast.EmbedDecl:
			w.expr(d.Expr, steps, wild{in: in, elem: d})
		case *ast.Comprehension:
			w.wild(steps, wild{node: d, in: in, elem: d})
		}
	}
}

func (w *walk) aField(d *ast.Field, in *ast.StructLit, steps []step) {
	name, written := cuetext.LabelName(d.Label)
	if id, ok := d.Label.(*ast.Ident); ok && (strings.HasPrefix(id.Name, "_") || strings.HasPrefix(id.Name, "#")) {
		return // hidden: never on the way of names in data
	}
	switch {
	case !written, d.Constraint != token.ILLEGAL && name == w.path[len(steps)]:
		w.wild(steps, wild{node: d, in: in, elem: d})
		return
	case name != w.path[len(steps)] || d.Value == nil:
		return
	}
	next := append(steps[:len(steps):len(steps)], step{d, in})
	if len(next) == len(w.path) {
		w.chains = append(w.chains, chain{w.file, next})
		return
	}
	w.expr(d.Value, next, wild{field: d})
}

// expr goes through an expression that is said at a step; as says what it is
// there.
func (w *walk) expr(e ast.Expr, steps []step, as wild) {
	switch e := e.(type) {
	case *ast.StructLit:
		w.decls(e.Elts, e, steps)
	case *ast.ParenExpr:
		w.expr(e.X, steps, as)
	case *ast.Alias:
		w.expr(e.Expr, steps, as)
	case *ast.BinaryExpr:
		if e.Op == token.AND {
			w.expr(e.X, steps, wild{parent: e})
			w.expr(e.Y, steps, wild{parent: e})
			return
		}
		as.node = e
		w.wild(steps, as)
	case *ast.BasicLit, *ast.ListLit:
	default:
		as.node = e
		w.wild(steps, as)
	}
}

func (w *walk) wild(steps []step, x wild) {
	x.file, x.depth = w.file, len(steps)
	w.wilds = append(w.wilds, x)
}

// structs returns the struct literals that a value is unified from.
func structs(e ast.Expr) []*ast.StructLit {
	switch e := e.(type) {
	case *ast.StructLit:
		return []*ast.StructLit{e}
	case *ast.ParenExpr:
		return structs(e.X)
	case *ast.Alias:
		return structs(e.Expr)
	case *ast.BinaryExpr:
		if e.Op == token.AND {
			return append(structs(e.X), structs(e.Y)...)
		}
	}
	return nil
}

// braces returns the first struct with braces of a value.
func braces(e ast.Expr) *ast.StructLit {
	for _, s := range structs(e) {
		if s.Lbrace.IsValid() {
			return s
		}
	}
	return nil
}

// unparen is an expression without parentheses around it.
func unparen(e ast.Expr) ast.Expr {
	for {
		p, ok := e.(*ast.ParenExpr)
		if !ok {
			return e
		}
		e = p.X
	}
}

// notLiteral returns the first part of a value that is no literal, nil if it is
// one as a whole.
func notLiteral(e ast.Expr) ast.Node {
	switch e := unparen(e).(type) {
	case *ast.BasicLit:
		return nil
	case *ast.UnaryExpr:
		if _, ok := e.X.(*ast.BasicLit); ok && (e.Op == token.SUB || e.Op == token.ADD) {
			return nil
		}
		return e
	case *ast.ListLit:
		for _, el := range e.Elts {
			if n := notLiteral(el); n != nil {
				return n
			}
		}
		return nil
	case *ast.StructLit:
		for _, d := range e.Elts {
			if n := notLiteralDecl(d); n != nil {
				return n
			}
		}
		return nil
	default:
		return e
	}
}

func notLiteralDecl(d ast.Decl) ast.Node {
	switch d := d.(type) {
	case *ast.CommentGroup, *ast.Attribute:
		return nil
	case *ast.Field:
		if _, ok := cuetext.LabelName(d.Label); ok && d.Constraint == token.ILLEGAL && d.Value != nil {
			return notLiteral(d.Value)
		}
	}
	return d
}
