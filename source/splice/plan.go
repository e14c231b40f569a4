package splice

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"clink/compiler/cuetext"
	"clink/diagnostic"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// A half is one link of one site, while it is edited.
type half struct {
	LinkEdit
	s     *splicer
	files []*file
	ops   []op
}

// What is to be done at a field, whose path begins below the link.
type action int

const (
	replace   action = iota // its value, a literal or by override
	replaceAt               // the elements of its list
	insert                  // it, where it is not written
	remove                  // it, wherever it is written
	drop                    // what gives it, by override
)

type op struct {
	action action
	path   []string
	value  any
	was    []any // of replaceAt: the elements by value
}

func (s *splicer) edit(e LinkEdit) error {
	site := s.now.Topology.Sites[e.Site]
	if site == nil {
		return fmt.Errorf("edit the link of %s to %s: the source has no site %s", e.Site, e.Peer, e.Site)
	}
	h := &half{LinkEdit: e, s: s}
	names := slices.Clone(site.Files)
	if len(names) == 0 {
		names = append(names, site.Pos.File)
	}
	for _, name := range names {
		f, err := s.open(name)
		if err != nil {
			return err
		}
		h.files = append(h.files, f)
	}
	given, there := s.now.Given(e.Site, e.Peer)
	written := h.find()
	switch {
	case e.Want == nil && there && len(written.chains) == 0:
		return h.generated("deleted")
	case e.Want == nil:
		return h.delete()
	case !there && len(written.chains) == 0:
		return h.create()
	}
	want := maps.Clone(e.Want)
	delete(want, "name")
	def, err := s.now.Defaults(e.Site, want)
	if err != nil {
		return err
	}
	if h.ops, err = h.compare(nil, want, given, def); err != nil || len(h.ops) == 0 {
		return err
	}
	if len(written.chains) == 0 {
		return h.generated("changed")
	}
	return h.run(want, given, def)
}

// linkPath is where the half, or a field of it, stands.
func (h *half) linkPath(field ...string) []string {
	return append([]string{"sites", h.Site, "cluster", "links", h.Peer}, field...)
}

func (h *half) find(field ...string) place { return find(h.files, h.linkPath(field...)...) }

// conflict is the refusal of an edit at a node.
func (h *half) conflict(n ast.Node, field []string, why string) error {
	return &ConflictError{
		Pos: cuetext.NodePos(n), Field: strings.Join(field, "."), Why: why, Related: h.refersTo(n),
		site: h.Site, peer: h.Peer, kind: ErrConflict,
	}
}

// generated is the refusal of an edit of a link that nobody has written out: it
// cannot be deleted, or changed.
func (h *half) generated(what string) error {
	l, _ := h.s.now.Topology.Sites[h.Site].Link(h.Peer)
	pos := l.Pos
	if x := h.generator(); x.node != nil {
		pos = cuetext.NodePos(x.node)
	}
	return &ConflictError{
		Pos: pos, Why: "the link is made here, together with others, and cannot be " + what + " alone: edit the source",
		site: h.Site, peer: h.Peer, kind: ErrConflict,
	}
}

// generator returns what makes a link that nobody has written out, or a field of
// one: a comprehension, a name that is computed, a reference. A pattern makes
// none.
func (h *half) generator(field ...string) (made wild) {
	best, full := no, h.linkPath(field...)
	for _, x := range h.find().wilds {
		var a answer
		switch f, isField := x.node.(*ast.Field); {
		case !isField:
			a = gives(h.files, x.node, full[x.depth:], 0)
		case isPattern(f):
		case x.depth+1 == len(full):
			a = yes
		default:
			a = gives(h.files, f.Value, full[x.depth+1:], 0)
		}
		if a > best {
			made, best = x, a
		}
	}
	return made
}

func isPattern(f *ast.Field) bool {
	l := f.Label
	if a, ok := l.(*ast.Alias); ok {
		l, _ = a.Expr.(ast.Label)
	}
	_, ok := l.(*ast.ListLit)
	return ok || f.Constraint != token.ILLEGAL
}

// compare returns what is to be done for the fields below a path to be those
// that are wanted.
func (h *half) compare(above []string, want, given, def map[string]any) ([]op, error) {
	var ops []op
	for _, name := range h.names(above, want, given) {
		path := append(above[:len(above):len(above)], name)
		at := h.find(path...)
		w, wanted := want[name]
		sub, isStruct := w.(map[string]any)
		if isStruct && len(sub) == 0 {
			wanted = false // says nothing
		}
		g, isGiven := given[name]
		var more []op
		var err error
		switch {
		case !wanted:
			more, err = h.unwanted(path, at, isGiven)
		case isStruct && at.holdsFields():
			gm, _ := g.(map[string]any)
			dm, _ := def[name].(map[string]any)
			more, err = h.compare(path, sub, gm, dm)
			more = gathered(path, at, more)
		default:
			more, err = h.leaf(path, at, w, g, isGiven, def[name])
		}
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	return ops, nil
}

// names are those of all fields that are wanted, given or written below a path.
func (h *half) names(above []string, want, given map[string]any) []string {
	set := map[string]bool{}
	for name := range want {
		set[name] = true
	}
	for name := range given {
		set[name] = true
	}
	for _, c := range h.find(above...).chains {
		for _, s := range structs(c.last().Value) {
			for _, d := range s.Elts {
				if f, ok := d.(*ast.Field); ok {
					if name, ok := plainName(f.Label); ok {
						set[name] = true
					}
				}
			}
		}
	}
	l := slices.Sorted(maps.Keys(set))
	slices.SortStableFunc(l, within(above))
	return l
}

// plainName is the name of a label that makes data.
func plainName(l ast.Label) (string, bool) {
	if id, ok := l.(*ast.Ident); ok && (strings.HasPrefix(id.Name, "_") || strings.HasPrefix(id.Name, "#")) {
		return "", false
	}
	return cuetext.LabelName(l)
}

// holdsFields reports whether what is written at a place, if anything, may hold
// fields.
func (p place) holdsFields() bool {
	for _, c := range p.chains {
		switch unparen(c.last().Value).(type) {
		case *ast.BasicLit, *ast.ListLit:
			return false
		}
	}
	return true
}

// gathered makes the insertions into a struct that is not written yet one.
func gathered(path []string, at place, ops []op) []op {
	if len(at.chains) > 0 || len(ops) < 2 {
		return ops
	}
	all := map[string]any{}
	var others []op
	for _, o := range ops {
		if o.action != insert || len(o.path) != len(path)+1 {
			others = append(others, o)
			continue
		}
		all[o.path[len(path)]] = o.value
	}
	if len(all) == 0 {
		return others
	}
	return append(others, op{action: insert, path: path, value: all})
}

// unwanted takes a field out.
func (h *half) unwanted(path []string, at place, isGiven bool) ([]op, error) {
	if len(at.chains) == 0 {
		if x, a := h.giver(path, at); a != no && isGiven {
			return h.dropped(path, x)
		}
		if isGiven && len(h.find().chains) == 0 && h.generator(path...).node != nil {
			return nil, h.generated("changed")
		}
		// What a pattern gives is the team's own default.
		return nil, nil
	}
	n := h.scattered(at)
	if n != nil {
		return nil, h.twice(path, at)
	}
	for _, c := range at.chains {
		if n := notLiteral(c.last().Value); n != nil && !h.Override {
			return nil, h.conflict(n, path, kind(n)+" gives it, so that it cannot be taken out without you: take it out in the source, or write with override")
		}
	}
	return []op{{action: remove, path: path}}, nil
}

// leaf gives a field a value that is to stand in one place.
func (h *half) leaf(path []string, at place, w, g any, isGiven bool, def any) ([]op, error) {
	if len(at.chains) == 0 && !isGiven {
		g, isGiven = def, def != nil
		if isGiven && equal(g, w) {
			return nil, nil
		}
		return []op{{action: insert, path: path, value: w}}, nil
	}
	if isGiven && equal(g, w) {
		return nil, nil
	}
	switch len(at.chains) {
	case 0:
		if x, a := h.giver(path, at); a != no {
			return h.dropped(path, x)
		}
		return []op{{action: insert, path: path, value: w}}, nil
	case 1:
		return h.replaced(path, at.chains[0], w, g)
	}
	return nil, h.twice(path, at)
}

// scattered returns the second of several values that are not structs, whose
// fields could be told apart.
func (h *half) scattered(at place) ast.Node {
	if len(at.chains) < 2 {
		return nil
	}
	for _, c := range at.chains {
		if len(structs(c.last().Value)) == 0 {
			return at.chains[1].last().Value
		}
	}
	return nil
}

func (h *half) twice(path []string, at place) error {
	e := &ConflictError{
		Pos: cuetext.NodePos(at.chains[0].last().Value), Field: strings.Join(path, "."),
		Why:  "it is set in more than one place: leave it in one of them",
		site: h.Site, peer: h.Peer, kind: ErrConflict,
	}
	for _, c := range at.chains[1:] {
		e.Related = append(e.Related, diagnostic.Related{Message: "it is set here too", Pos: cuetext.NodePos(c.last().Value)})
	}
	return e
}

// giver returns what inside the link gives a field that is not written, and
// whether that is sure.
func (h *half) giver(path []string, at place) (from wild, best answer) {
	full := h.linkPath(path...)
	for _, x := range at.wilds {
		if x.depth <= atLink {
			continue
		}
		if a := gives(h.files, x.node, full[x.depth:], 0); a > best {
			from, best = x, a
		}
	}
	return from, best
}

// dropped takes out by override what gives a field.
func (h *half) dropped(path []string, x wild) ([]op, error) {
	if !h.Override {
		return nil, h.conflict(x.node, path, kind(x.node)+" gives it: change what it stands for, or write with override, which puts the values in its place")
	}
	return []op{{action: drop, path: path}}, nil
}

// replaced gives a field another value in its place.
func (h *half) replaced(path []string, c chain, w, g any) ([]op, error) {
	value := unparen(c.last().Value)
	set := []op{{action: replace, path: path, value: w}}
	list, isList := value.(*ast.ListLit)
	wants, isArray := w.([]any)
	has, _ := g.([]any)
	if isList && isArray && len(has) == len(list.Elts) && !isOpen(list) {
		return h.elements(path, list, has, wants)
	}
	if n := notLiteral(value); n != nil && !h.Override {
		return nil, h.conflict(n, path, kind(n)+" stands there, not a literal: change it in the source, or write with override")
	}
	return set, nil
}

// isOpen reports whether a list has elements that are not written out.
func isOpen(l *ast.ListLit) bool {
	return slices.ContainsFunc(l.Elts, func(e ast.Expr) bool {
		switch e.(type) {
		case *ast.Ellipsis, *ast.Comprehension:
			return true
		}
		return false
	})
}

// elements changes a list one by one.
func (h *half) elements(path []string, list *ast.ListLit, has, wants []any) ([]op, error) {
	for _, c := range script(has, wants) {
		for i := c.from; i < c.to; i++ {
			if n := notLiteral(list.Elts[i]); n != nil && !h.Override {
				return nil, h.conflict(n, path, kind(n)+" gives this element: change it in the source, or write with override")
			}
		}
	}
	return []op{{action: replaceAt, path: path, value: wants, was: has}}, nil
}

// equal reports whether two JSON values are the same.
func equal(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, isNumber := b.(json.Number)
		x, ok1 := cuetext.Number(a)
		y, ok2 := cuetext.Number(b)
		return isNumber && ok1 && ok2 && x == y
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equal)
	}
	switch b.(type) {
	case []any, map[string]any:
		return false
	}
	return a == b
}
