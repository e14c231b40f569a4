package splice_test

import (
	"slices"
	"strings"
	"testing"

	"clink/source/splice"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
)

// outside checks that the text that is not the link's own is as it was: but for
// space and commas between elements, for what has lost its last user, and for
// what holds nothing any more. A file that was clean is laid out anew and must
// be clean after.
func (r *random) outside(what string, e splice.LinkEdit, changed map[string][]byte) {
	r.t.Helper()
	for name, text := range changed {
		before := r.fsys[name].Data
		if nice, err := format.Source(before); err == nil && string(nice) == string(before) {
			if again, err := format.Source(text); err != nil || string(again) != string(text) {
				r.t.Fatalf("%s\n%s was clean and is no more: %v\n%s", what, name, err, text)
			}
		}
		was, is := rest(r.t, before, e), rest(r.t, text, e)
		if was != is {
			r.t.Fatalf("%s\nthe rest of %s has changed:\n%s\n%s", what, name, r.diff(changed), splice.Diff("rest", []byte(was), []byte(is)))
		}
	}
}

// rest is a file without one link, and without what holds nothing else.
func rest(t *testing.T, text []byte, e splice.LinkEdit) string {
	f, err := parser.ParseFile("f.cue", text, parser.ParseComments)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	c := cutter{text: text, path: []string{"sites", e.Site, "cluster", "links", e.Peer}}
	var cuts [][2]int
	ast.Walk(f, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.ImportDecl, *ast.LetClause:
			cuts = append(cuts, [2]int{n.Pos().Offset(), n.End().Offset()})
		}
		return true
	}, nil)
	cuts = append(cuts, c.cuts(f.Decls, 0)...)
	return compact(without(text, cuts))
}

// compact is a text without space, and without commas.
func compact(text []byte) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(string(text)), ""), ",", "")
}

// without cuts ranges out, with their own comments; what lies in another goes
// with it.
func without(text []byte, cuts [][2]int) []byte {
	slices.SortFunc(cuts, func(a, b [2]int) int { return b[0] - a[0] })
	for i, c := range cuts {
		if slices.ContainsFunc(cuts[i+1:], func(d [2]int) bool { return d[0] <= c[0] && c[1] <= d[1] }) {
			continue
		}
		text = slices.Concat(ownComments(text[:c[0]]), behind(text[c[1]:]))
	}
	return text
}

type cutter struct {
	text []byte
	path []string
}

// cuts are the ranges that are the link's, below the elements of a struct.
func (c cutter) cuts(decls []ast.Decl, depth int) (l [][2]int) {
	for _, d := range decls {
		f, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		label := f.Label
		if a, ok := label.(*ast.Alias); ok {
			label = a.Expr.(ast.Label)
		}
		if name, _, _ := ast.LabelName(label); name != c.path[depth] {
			continue
		}
		whole := [2]int{f.Pos().Offset(), f.End().Offset()}
		s, isStruct := f.Value.(*ast.StructLit)
		switch {
		case depth == len(c.path)-1:
			l = append(l, whole)
		case !isStruct:
		default:
			inner := c.cuts(s.Elts, depth+1)
			from, to := s.Pos().Offset(), s.End().Offset()
			var moved [][2]int
			for _, x := range inner {
				moved = append(moved, [2]int{x[0] - from, x[1] - from})
			}
			left := compact(without(c.text[from:to], moved))
			if left == "" || left == "{}" {
				inner = [][2]int{whole}
			}
			l = append(l, inner...)
		}
	}
	return l
}

// ownComments cuts off the comments right above the end of a text.
func ownComments(text []byte) []byte {
	for {
		s := strings.TrimRight(string(text), " \t\r")
		if !strings.HasSuffix(s, "\n") {
			return text
		}
		s = strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
		line := s[strings.LastIndexByte(s, '\n')+1:]
		if !strings.HasPrefix(strings.TrimSpace(line), "//") {
			return text
		}
		text = []byte(s[:len(s)-len(line)])
	}
}

// behind cuts off the comment on the line that a text begins in.
func behind(text []byte) []byte {
	line, more, _ := strings.Cut(string(text), "\n")
	if s := strings.TrimLeft(line, " \t,"); strings.HasPrefix(s, "//") {
		return []byte("\n" + more)
	}
	return text
}
