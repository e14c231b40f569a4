package splice

import (
	"maps"
	"slices"
	"strings"

	"clink/compiler/cuetext"
	"clink/diagnostic"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// maxFollowed bounds how many references are followed, one behind the other.
const maxFollowed = 20

// An answer is what is known of whether an expression gives a field.
type answer int

const (
	no answer = iota
	perhaps
	yes
)

// gives reports whether an expression gives what is at a path below it.
func gives(files []*file, n ast.Node, path []string, depth int) answer {
	if depth > maxFollowed {
		return perhaps
	}
	switch n := n.(type) {
	case *ast.StructLit:
		return givesDecls(files, n.Elts, path, depth)
	case *ast.Field: // a pattern, or a name that is made
		return perhaps
	case *ast.Comprehension:
		return gives(files, n.Value, path, depth+1)
	case *ast.ParenExpr:
		return gives(files, n.X, path, depth)
	case *ast.Alias:
		return gives(files, n.Expr, path, depth)
	case *ast.BinaryExpr:
		if n.Op == token.AND {
			return max(gives(files, n.X, path, depth+1), gives(files, n.Y, path, depth+1))
		}
	case *ast.BasicLit, *ast.ListLit:
		return no
	case *ast.Ident, *ast.SelectorExpr:
		targets, ok := follow(files, n.(ast.Expr), depth+1)
		if !ok {
			return perhaps
		}
		best := no
		for _, t := range targets {
			best = max(best, gives(files, t, path, depth+1))
		}
		return best
	}
	return perhaps
}

func givesDecls(files []*file, decls []ast.Decl, path []string, depth int) answer {
	best := no
	for _, d := range decls {
		switch d := d.(type) {
		case *ast.Field:
			name, ok := cuetext.LabelName(d.Label)
			switch {
			case !ok && len(path) == 1:
				best = max(best, perhaps)
			case !ok:
				best = max(best, min(perhaps, gives(files, d.Value, path[1:], depth+1)))
			case name == path[0] && len(path) == 1:
				return yes
			case name == path[0]:
				best = max(best, gives(files, d.Value, path[1:], depth+1))
			}
		case *ast.EmbedDecl:
			best = max(best, gives(files, d.Expr, path, depth+1))
		case *ast.Comprehension:
			best = max(best, gives(files, d, path, depth+1))
		}
	}
	return best
}

// follow returns the expressions that a reference names, if they can be found
// in the files.
func follow(files []*file, e ast.Expr, depth int) ([]ast.Expr, bool) {
	if depth > maxFollowed {
		return nil, false
	}
	switch e := e.(type) {
	case *ast.Ident:
		return followIdent(files, e)
	case *ast.SelectorExpr:
		name, ok := cuetext.LabelName(e.Sel)
		around, found := follow(files, e.X, depth+1)
		if !ok || !found {
			return nil, false
		}
		var l []ast.Expr
		for _, x := range around {
			for _, s := range structs(x) {
				l = append(l, fieldsNamed(s.Elts, name)...)
			}
		}
		return l, len(l) > 0
	}
	return nil, false
}

func followIdent(files []*file, id *ast.Ident) ([]ast.Expr, bool) {
	switch n := id.Node.(type) {
	case *ast.Field:
		return []ast.Expr{n.Value}, n.Value != nil
	case *ast.LetClause:
		return []ast.Expr{n.Expr}, true
	case *ast.Alias:
		return []ast.Expr{n.Expr}, true
	case ast.Expr:
		return []ast.Expr{n}, true
	case nil:
		var l []ast.Expr
		for _, f := range files {
			l = append(l, fieldsNamed(f.tree.Decls, id.Name)...)
		}
		return l, len(l) > 0
	}
	return nil, false
}

func fieldsNamed(decls []ast.Decl, name string) []ast.Expr {
	var l []ast.Expr
	for _, d := range decls {
		f, ok := d.(*ast.Field)
		if !ok || f.Value == nil {
			continue
		}
		if n, ok := cuetext.LabelName(f.Label); ok && n == name {
			l = append(l, f.Value)
		}
	}
	return l
}

// kind says in words what an expression is that is no literal.
func kind(n ast.Node) string {
	switch n := n.(type) {
	case *ast.Ident:
		switch n.Node.(type) {
		case *ast.LetClause:
			return "a reference to a let clause"
		case *ast.ImportSpec:
			return "a reference to an import"
		}
		return "a reference"
	case *ast.SelectorExpr, *ast.IndexExpr:
		return "a reference"
	case *ast.Interpolation:
		return "an interpolation"
	case *ast.CallExpr:
		return "a call"
	case *ast.Comprehension:
		return "a comprehension"
	case *ast.Field:
		return "a pattern, or a name that is computed"
	case *ast.BinaryExpr:
		switch n.Op {
		case token.OR:
			return "a disjunction"
		case token.AND:
			return "a unification"
		}
	}
	return "an expression"
}

// refersTo returns the places of what an expression names, in whichever file of
// the topology.
func (h *half) refersTo(n ast.Node) []diagnostic.Related {
	if l := refersTo(h.files, n); len(l) > 0 {
		return l
	}
	files := slices.Clone(h.files)
	for _, name := range slices.Sorted(maps.Keys(h.s.now.Sources)) {
		f := &file{name: name}
		if h.s.files[name] == nil && f.set(h.s.now.Sources[name]) == nil {
			files = append(files, f)
		}
	}
	return refersTo(files, n)
}

// refersTo returns the places of what an expression names.
func refersTo(files []*file, n ast.Node) []diagnostic.Related {
	const most = 5
	var l []diagnostic.Related
	ast.Walk(n, func(n ast.Node) bool {
		e, ok := n.(ast.Expr)
		if !ok || len(l) == most {
			return len(l) < most
		}
		switch e.(type) {
		case *ast.Ident, *ast.SelectorExpr:
			targets, found := follow(files, e, 0)
			for _, t := range targets {
				if p := cuetext.NodePos(t); p.Line > 0 && len(l) < most {
					l = append(l, diagnostic.Related{Message: "what " + nameOf(e) + " is", Pos: p})
				}
			}
			return !found
		}
		return true
	}, nil)
	return l
}

// nameOf is a reference as it is written, if it is short.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if name, ok := cuetext.LabelName(e.Sel); ok {
			if s := nameOf(e.X) + "." + cuetext.Label(name); len(s) < 80 && !strings.HasPrefix(s, ".") {
				return s
			}
		}
	}
	return "it"
}
