package splice

import (
	"clink/compiler/cuetext"

	"cuelang.org/go/cue/ast"
)

// A binding is a name that CUE wants to be used: of an import, a let clause or
// an alias.
type binding struct {
	name string
	node ast.Node
	in   *ast.StructLit  // what a let clause stands in; nil: the file
	decl *ast.ImportDecl // of an import
}

// unused returns the names that are bound in a file and not used in it.
func unused(f *file) []binding {
	var l []binding
	used := map[ast.Node]bool{}
	collect := func(decls []ast.Decl, in *ast.StructLit) {
		for _, d := range decls {
			switch d := d.(type) {
			case *ast.ImportDecl:
				for _, s := range d.Specs {
					l = append(l, binding{name: "import " + s.Path.Value, node: s, decl: d})
				}
			case *ast.LetClause:
				l = append(l, binding{name: "let " + d.Ident.Name, node: d, in: in})
			case *ast.Field:
				if a, ok := d.Label.(*ast.Alias); ok {
					l = append(l, binding{name: "alias " + a.Ident.Name, node: a})
				}
			}
		}
	}
	collect(f.tree.Decls, nil)
	ast.Walk(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructLit:
			collect(n.Elts, n)
		case *ast.Ident:
			used[n.Node] = true
			if field, ok := n.Node.(*ast.Field); ok {
				used[field.Label] = true
			}
		}
		return true
	}, nil)
	var free []binding
	for _, b := range l {
		if !used[b.node] {
			free = append(free, b)
		}
	}
	return free
}

func names(l []binding) map[string]bool {
	m := map[string]bool{}
	for _, b := range l {
		m[b.name] = true
	}
	return m
}

// tidy takes out what has lost its last user by the edits: CUE refuses a file
// with an import, a let clause or an alias that nobody uses. Each may have been
// the last user of another.
func (f *file) tidy() error {
	for {
		var next *binding
		for _, b := range unused(f) {
			if !f.unused[b.name] {
				next = &b
				break
			}
		}
		if next == nil {
			return nil
		}
		if err := f.apply(f.without(*next)); err != nil {
			return err
		}
	}
}

// without takes a binding out.
func (f *file) without(b binding) cuetext.Edit {
	whole, _ := cuetext.In(f.text, f.tree)
	switch n := b.node.(type) {
	case *ast.Alias:
		return cuetext.Edit{From: n.Pos().Offset(), To: n.Expr.Pos().Offset()}
	case *ast.ImportSpec:
		if len(b.decl.Specs) == 1 {
			return whole.Remove(whole.At(b.decl.Pos().Offset()))
		}
		imports, _ := cuetext.In(f.text, b.decl)
		return imports.Remove(imports.At(n.Pos().Offset()))
	}
	if b.in != nil {
		whole, _ = cuetext.In(f.text, b.in)
	}
	return whole.Remove(whole.At(b.node.Pos().Offset()))
}
