package splice

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"

	"clink/compiler"
	"clink/compiler/cuetext"
	"clink/diagnostic"
	"clink/topology"
)

// Prove compiles a source in which edits were made and compares it with the one
// before: each edited half must say exactly what was intended, and everything
// else what it said before. The error is a [ConflictError] then; the result is
// returned with it.
//
// A wanted value that the schema refuses is no error here: it is among the
// findings of the result, as are all others, which are the caller's to judge.
func Prove(ctx context.Context, fsys fs.FS, edits []LinkEdit, before *compiler.Result, opts compiler.Options) (*compiler.Result, error) {
	if opts.Previous == nil {
		opts.Previous = before
	}
	after, err := compiler.Compile(ctx, fsys, opts)
	if err != nil {
		return nil, err
	}
	p := &proof{before: before, after: after, edited: map[diagnostic.Scope]bool{}}
	for _, e := range edits {
		p.edited[diagnostic.Scope{Site: e.Site, Peer: e.Peer}] = true
	}
	if d, ok := p.newFault(); ok && len(edits) > 0 {
		e := p.refuse(ErrUnintended, edits[0].Site, edits[0].Peer, "", d.Pos, "after the edit, "+d.Message)
		e.Related = d.Related
		return after, e
	}
	for _, e := range edits {
		if err := p.half(e); err != nil {
			return after, err
		}
	}
	return after, p.others()
}

type proof struct {
	before, after *compiler.Result
	edited        map[diagnostic.Scope]bool
}

func (p *proof) refuse(kind error, site, peer, field string, pos diagnostic.Pos, why string) *ConflictError {
	return &ConflictError{Pos: pos, Field: field, Why: why, site: site, peer: peer, kind: kind}
}

// half compares an edited half with what it is to be.
func (p *proof) half(e LinkEdit) error {
	var l topology.Link
	there := false
	site := p.after.Topology.Sites[e.Site]
	if site != nil {
		l, there = site.Link(e.Peer)
	}
	switch {
	case site == nil:
		return p.refuse(ErrUnintended, e.Site, e.Peer, "", p.before.Topology.Sites[e.Site].Pos, "its site would be gone")
	case e.Want == nil && !there:
		return nil
	case e.Want == nil:
		return p.refuse(ErrConflict, e.Site, e.Peer, "", l.Pos, "it is made here too, and would still be there: edit the source")
	case !there:
		return p.refuse(ErrUnintended, e.Site, e.Peer, "", site.Pos, "it would not be there")
	}
	given, _ := p.after.Given(e.Site, e.Peer)
	def, err := p.after.Defaults(e.Site, e.Want)
	if err != nil {
		return err
	}
	h := &half{LinkEdit: e, s: &splicer{now: p.after}}
	for _, name := range site.Files {
		f := &file{name: name}
		if err := f.set(p.after.Sources[name]); err != nil {
			return err
		}
		h.files = append(h.files, f)
	}
	want := maps.Clone(e.Want)
	delete(want, "name")
	return p.fields(h, l, nil, want, given, def)
}

// fields compares the fields below a path with what they are to be.
func (p *proof) fields(h *half, l topology.Link, above []string, want, given, def map[string]any) error {
	for _, name := range h.names(above, want, given) {
		path := append(above[:len(above):len(above)], name)
		w, wanted := want[name]
		g, isGiven := given[name]
		sub, isStruct := w.(map[string]any)
		if isStruct && len(sub) == 0 {
			wanted = false
		}
		gm, givenStruct := g.(map[string]any)
		switch {
		case wanted && isStruct && (givenStruct || !isGiven):
			dm, _ := def[name].(map[string]any)
			if err := p.fields(h, l, path, sub, gm, dm); err != nil {
				return err
			}
		case wanted && (isGiven && equal(g, w) || !isGiven && equal(def[name], w)):
		case !wanted && (!isGiven || len(h.find(path...).chains) == 0):
		default:
			return p.mismatch(h, l, path, wanted)
		}
	}
	return nil
}

// mismatch says why a field is not what it is to be.
func (p *proof) mismatch(h *half, l topology.Link, path []string, wanted bool) error {
	scope := diagnostic.Scope{Site: h.Site, Peer: h.Peer}
	field := strings.Join(path, ".")
	for _, d := range p.after.Findings {
		if d.Rule != "schema" || !slices.Contains(d.Holds, scope) {
			continue
		}
		if len(d.Related) == 0 {
			return nil // the value is refused for itself
		}
		e := p.refuse(ErrConflict, h.Site, h.Peer, field, d.Pos, "another place in the source gives it a different value: change it there")
		e.Related = d.Related
		return e
	}
	pos := l.Pos
	if at := h.find(path...); len(at.chains) > 0 {
		pos = cuetext.NodePos(at.chains[0].last().Value)
	}
	why := "it would not have the value that is wanted"
	if !wanted {
		why = "it would still be there"
	}
	return p.refuse(ErrUnintended, h.Site, h.Peer, field, pos, why)
}

// others compares everything that was not edited.
func (p *proof) others() error {
	a, b := p.before.Topology, p.after.Topology
	for _, name := range slices.Compact(slices.Sorted(slices.Values(append(a.Names(), b.Names()...)))) {
		s, t := a.Sites[name], b.Sites[name]
		switch {
		case t == nil:
			return p.refuse(ErrUnintended, name, "", "", s.Pos, "the site would be gone")
		case s == nil:
			return p.refuse(ErrUnintended, name, "", "", t.Pos, "the site would come into being")
		case !sameSite(s, t):
			return p.refuse(ErrUnintended, name, "", "", s.Pos, "something else of the site would change")
		}
		if err := p.links(s, t); err != nil {
			return err
		}
	}
	if !maps.Equal(a.Severity, b.Severity) {
		return p.refuse(ErrUnintended, "", "", "policy.severity", diagnostic.Pos{}, "it would change")
	}
	if pos, ok := changedPolicy(a.Policies, b.Policies); ok {
		return p.refuse(ErrUnintended, "", "", "policy.flows", pos, "it would change")
	}
	return nil
}

// changedPolicy is where a policy of flows stands that is not the same before
// and after.
func changedPolicy(before, after []topology.Policy) (diagnostic.Pos, bool) {
	for _, pair := range [...][2][]topology.Policy{{before, after}, {after, before}} {
		for _, p := range pair[0] {
			if !slices.ContainsFunc(pair[1], p.Equal) {
				return p.Pos, true
			}
		}
	}
	return diagnostic.Pos{}, false
}

// links compares the links of a site that were not edited.
func (p *proof) links(s, t *topology.Site) error {
	for _, l := range slices.Concat(s.Links, t.Links) {
		if p.edited[diagnostic.Scope{Site: s.Name, Peer: l.Name}] {
			continue
		}
		was, before := s.Link(l.Name)
		is, after := t.Link(l.Name)
		if before != after || !was.Equal(is) || !p.before.SameGiven(p.after, s.Name, l.Name) {
			return p.refuse(ErrUnintended, s.Name, l.Name, "", l.Pos, "it would change too, because it depends on what is edited")
		}
	}
	return nil
}

// sameSite compares sites without their links.
func sameSite(s, t *topology.Site) bool {
	plain := func(s *topology.Site) topology.Site {
		c := *s
		c.Links, c.Grants, c.Exports, c.Pos, c.Files = nil, nil, nil, diagnostic.Pos{}, nil
		c.Listeners = slices.Clone(c.Listeners)
		for i := range c.Listeners {
			c.Listeners[i].Pos = diagnostic.Pos{}
		}
		return c
	}
	return reflect.DeepEqual(plain(s), plain(t))
}

// newFault returns a schema finding that was not there before and concerns no
// edited half.
func (p *proof) newFault() (diagnostic.Diagnostic, bool) {
	had := map[string]int{}
	key := func(d diagnostic.Diagnostic) string { return fmt.Sprint(d.Pos.File, d.Holds, d.Message) }
	for _, d := range p.before.Findings {
		had[key(d)]++
	}
	for _, d := range p.after.Findings {
		if had[key(d)]--; d.Rule != "schema" || had[key(d)] >= 0 {
			continue
		}
		if !slices.ContainsFunc(d.Holds, func(s diagnostic.Scope) bool { return p.edited[s] }) {
			return d, true
		}
	}
	return diagnostic.Diagnostic{}, false
}
