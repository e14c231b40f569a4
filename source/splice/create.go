package splice

import (
	"maps"
	"slices"
	"strings"

	"clink/compiler/cuetext"

	"cuelang.org/go/cue/ast"
)

// create writes a link that is not there: among the site's other links, in
// order of name where they are; else into the braces of its cluster, or of the
// site; else as a statement of its own at the end of the site's file.
func (h *half) create() error {
	want := maps.Clone(h.Want)
	delete(want, "name")
	maps.DeleteFunc(want, func(_ string, v any) bool {
		m, ok := v.(map[string]any)
		return ok && len(m) == 0
	})
	fields, err := cuetext.Fields("", want, fieldOrder)
	if err != nil {
		return h.invalid(nil, err)
	}
	name := cuetext.Quote(h.Peer) + ": "
	line, block := name+"{"+strings.Join(fields, ", ")+"}", name+"{\n"+strings.Join(fields, "\n")+"\n}"
	path := h.linkPath()
	if c, s, ok := h.amongLinks(); ok {
		b, _ := cuetext.In(c.file.text, s)
		return c.file.apply(b.Insert(b.Successor(s.Elts, h.Peer, strings.Compare), line, block))
	}
	if done, err := h.besideLinks(line, block); done {
		return err
	}
	for n := atLinks; n > atSite; n-- {
		for _, c := range find(h.files, path[:n]...).chains {
			if s := braces(c.last().Value); s != nil {
				b, _ := cuetext.In(c.file.text, s)
				under := labels(path[n:atLink])
				return c.file.apply(b.Insert(b.End(), under+line, under+block))
			}
		}
	}
	f := h.home()
	return f.apply(cuetext.Append(f.text, "sites: "+cuetext.Quote(h.Site)+": "+labels(path[atCluster:atLink])+block))
}

// home is the file that the site stands in first, or is made in.
func (h *half) home() *file {
	if c := find(h.files, "sites", h.Site).chains; len(c) > 0 {
		return c[0].file
	}
	if x := h.generator(); x.node != nil {
		return x.file
	}
	pos := h.s.now.Topology.Sites[h.Site].Pos
	for _, f := range h.files {
		if f.name == pos.File {
			return f
		}
	}
	return h.files[0]
}

// amongLinks returns the struct with braces that holds most of the site's links.
func (h *half) amongLinks() (at chain, best *ast.StructLit, ok bool) {
	for _, c := range find(h.files, h.linkPath()[:atLink]...).chains {
		if s := braces(c.last().Value); s != nil && (best == nil || len(s.Elts) > len(best.Elts)) {
			at, best = c, s
		}
	}
	return at, best, best != nil
}

// besideLinks writes a link as a statement of its own, beside others like it.
func (h *half) besideLinks(line, block string) (done bool, err error) {
	groups := map[*ast.StructLit][]chain{}
	var most *ast.StructLit
	chains := find(h.files, h.linkPath()[:atLink]...).chains
	for _, c := range chains {
		in := c.steps[c.statement(atLinks)].in
		if in == nil {
			in = fileKey(c.file, groups)
		}
		groups[in] = append(groups[in], c)
		if most == nil || len(groups[in]) > len(groups[most]) {
			most = in
		}
	}
	if most == nil {
		return false, nil
	}
	group := groups[most]
	next, pattern := neighbour(group, h.Peer)
	t := pattern.statement(atLinks)
	under := pattern.upTo(t, pattern.last().Value)
	b := pattern.body(t)
	at := b.At(pattern.steps[t].field.Pos().Offset())
	if next {
		return true, pattern.file.apply(b.Insert(at, under+line, under+block))
	}
	return true, pattern.file.apply(b.After(at, under+line, under+block))
}

// fileKey stands for the file as what its statements stand in.
func fileKey(f *file, groups map[*ast.StructLit][]chain) *ast.StructLit {
	for key, l := range groups {
		if l[0].file == f && l[0].steps[l[0].statement(atLinks)].in == nil {
			return key
		}
	}
	return &ast.StructLit{}
}

// neighbour returns the statement before which a name belongs, if they are in
// order and it is not the last; else the last of them.
func neighbour(group []chain, name string) (before bool, c chain) {
	var names []string
	for _, c := range group {
		n := ""
		for _, s := range structs(c.last().Value) {
			for _, d := range s.Elts {
				if f, ok := d.(*ast.Field); ok {
					n, _ = cuetext.LabelName(f.Label)
				}
			}
		}
		names = append(names, n)
	}
	i := slices.IndexFunc(names, func(n string) bool { return n > name })
	if i < 0 || !slices.IsSorted(names) {
		return false, group[len(group)-1]
	}
	return true, group[i]
}
