package compiler

import (
	"bytes"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"clink/compiler/cuetext"
	"clink/diagnostic"
)

// Origins are where values come from that no file writes at their own path: a
// template, an imported package, a pattern or a comprehension makes them. That
// is where their author mends them.
type origins map[string]diagnostic.Pos // by pathKey

// An originReader walks through a site beside its place in the source.
type originReader struct {
	c    *compilation
	at   origins
	seen map[ast.Node]diagnostic.Pos // one line makes many values
}

// origins notes where what is not written out of a site comes from.
func (c *compilation) origins(v cue.Value, path []string) {
	sites := c.index.find("sites")
	made := len(c.index.root.wildIn) > 0 || sites != nil && len(sites.wildIn) > 0
	p := c.index.find(path...)
	if !made && p.literal() {
		return
	}
	if c.from == nil {
		c.from = origins{}
	}
	r := originReader{c: c, at: c.from, seen: map[ast.Node]diagnostic.Pos{}}
	r.walk(v, p, path)
}

// literal reports whether all that the place holds is written out in it.
func (p *place) literal() bool {
	if p == nil || len(p.decls) == 0 {
		return false
	}
	p.expand()
	if len(p.wildIn) > 0 {
		return false
	}
	for _, kid := range p.kids {
		if !kid.literal() {
			return false
		}
	}
	return true
}

func (r *originReader) walk(v cue.Value, p *place, path []string) {
	if p == nil || len(p.decls) == 0 {
		if pos := r.made(v); !pos.IsZero() {
			r.at[pathKey(path)] = pos
		}
	}
	if p != nil {
		p.expand()
	}
	kid := func(name string) *place {
		if p == nil {
			return nil
		}
		return p.kids[name]
	}
	if v.IncompleteKind() == cue.ListKind {
		if d, ok := v.Default(); ok {
			v = d
		}
		for i, el := range elements(v) {
			name := cue.Index(i).String()
			r.walk(el, kid(name), append(slices.Clip(path), name))
		}
		return
	}
	it, err := v.Fields()
	if err != nil {
		return
	}
	for it.Next() {
		if sel := it.Selector(); sel.Type() == cue.StringLabel {
			r.walk(it.Value(), kid(sel.Unquoted()), append(slices.Clip(path), sel.Unquoted()))
		}
	}
}

// made is the expression that gives a value, where there are several the one
// that holds; of a struct it is where that begins.
func (r *originReader) made(v cue.Value) diagnostic.Pos {
	if d, ok := v.Default(); ok {
		v = d
	}
	node := madeFrom(v, 4)
	if node == nil {
		return diagnostic.Pos{}
	}
	pos, ok := r.seen[node]
	if !ok {
		part := node
		if f, isField := node.(*ast.Field); isField {
			part = given(f)
		}
		pos = cuetext.NodePos(part)
		r.seen[node] = pos
	}
	return pos
}

// originOf is the origin of the value at a path, as far as the files that are
// evaluated together tell.
func (c *compilation) originOf(path []string) diagnostic.Pos {
	v := c.root.LookupPath(makePath(path))
	if !v.Exists() {
		return diagnostic.Pos{}
	}
	r := originReader{c: c, seen: map[ast.Node]diagnostic.Pos{}}
	return r.made(v)
}

// madeFrom is what in the user's files made a value.
func madeFrom(v cue.Value, depth int) ast.Node {
	if n := v.Source(); n != nil && isUser(n.Pos()) {
		return n
	}
	if depth == 0 {
		return nil
	}
	if op, args := v.Expr(); op != cue.NoOp {
		for _, a := range args {
			if n := madeFrom(a, depth-1); n != nil {
				return n
			}
		}
	}
	return nil
}

// given is the part of a field that a maintainer would edit: its value, of
// alternatives the default; of one with fields of its own the label.
func given(f *ast.Field) ast.Node {
	var e ast.Node = f.Value
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.BinaryExpr:
			if x.Op != token.OR {
				return x
			}
			d := preferred(x)
			if d == nil {
				return x
			}
			e = d
		case *ast.StructLit, nil:
			return f.Label
		default:
			return e
		}
	}
}

// preferred is the alternative that is marked as the default, nil if none is.
func preferred(e ast.Expr) ast.Expr {
	switch x := e.(type) {
	case *ast.UnaryExpr:
		if x.Op == token.MUL {
			return x.X
		}
	case *ast.BinaryExpr:
		if x.Op == token.OR {
			if d := preferred(x.X); d != nil {
				return d
			}
			return preferred(x.Y)
		}
	}
	return nil
}

// An owner is who has a value from an origin: a link, or all else of a site.
type owner = diagnostic.Scope

// owners are those who have something from each origin.
func (o origins) owners() map[diagnostic.Pos]map[owner]bool {
	all := map[diagnostic.Pos]map[owner]bool{}
	for key, pos := range o {
		path := strings.Split(key, "\x00")
		who := owner{Site: path[1]}
		if isLink(path) {
			who.Peer = path[4]
		}
		if all[pos] == nil {
			all[pos] = map[owner]bool{}
		}
		all[pos][who] = true
	}
	return all
}

// who are the owners that a finding is about.
func who(d diagnostic.Diagnostic) []owner {
	switch {
	case len(d.Links) > 0:
		return d.Links
	case len(d.Holds) > 0:
		return d.Holds
	case len(d.Sites) > 0:
		return []owner{{Site: d.Sites[0]}}
	}
	return nil
}

// settle decides where findings belong whose place is an origin. Where all who
// have the value from there have the fault, it is the origin's; else it is
// that of the links which make this of it, and the origin is shown beside; of
// links that are not written out, each is told at the origin by itself.
func (c *compilation) settle(l diagnostic.List) {
	if len(c.from) == 0 {
		return
	}
	type at struct {
		rule string
		pos  diagnostic.Pos
	}
	owners, faulty := c.from.owners(), map[at]map[owner]bool{}
	for _, d := range l {
		if len(owners[d.Pos]) < 2 {
			continue
		}
		a := at{d.Rule, d.Pos}
		if faulty[a] == nil {
			faulty[a] = map[owner]bool{}
		}
		for _, o := range who(d) {
			faulty[a][o] = true
		}
	}
	for i := range l {
		d := &l[i]
		bad, all := faulty[at{d.Rule, d.Pos}], owners[d.Pos]
		if len(bad) == 0 {
			continue
		}
		origin := d.Pos
		if link := who(*d)[0]; len(bad) < len(all) && all[link] && link.Peer != "" {
			if p := linkPath(link.Site, link.Peer); len(c.index.find(p...).declarations()) > 0 {
				d.Pos, d.Label = c.index.labelPos(p...), "this link"
				d.Related = append(related("which has it from here", origin), d.Related...)
				continue
			}
		}
		d.Shared = len(bad) > 1 && len(bad) >= len(all) && !(outside[d.Rule] && c.computed(origin))
		d.Related = slices.DeleteFunc(d.Related, func(r diagnostic.Related) bool { return r.Pos == origin })
	}
}

// outside are the rules on what is beside the source: of files with computed
// names each is missing by itself.
var outside = map[string]bool{"secret-unreadable": true, "tls-files": true, "tls-cert": true}

// computed reports whether what stands at a place is more than a string as it
// is written.
func (c *compilation) computed(p diagnostic.Pos) bool {
	lines := bytes.SplitAfterN(c.src.text(p.File), []byte("\n"), p.Line+1)
	if p.Line > len(lines) || p.EndLine != p.Line || p.EndColumn-1 > len(lines[p.Line-1]) {
		return true
	}
	text := lines[p.Line-1][p.Column-1 : p.EndColumn-1]
	return len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' || bytes.Contains(text, []byte(`\(`))
}
