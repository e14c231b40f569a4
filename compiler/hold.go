package compiler

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"clink/diagnostic"
	"clink/topology"
)

// Hold returns what of a new result may be applied. A site that does not fit
// the schema, or that a file which could not be used says something about,
// stays as it was last; a gating finding keeps the links it names as they were
// last; everything else is taken from now. What was deleted or disabled is so
// in any case. A site or link that was never good stays out.
//
// What comes of it may be neither now nor last: where it would carry what the
// policy forbids, the links that do stay as they were too. A policy of flows
// that cannot be read goes on.
//
// What is held is listed in order, with the time since when; it goes on from
// lastHeld for what was held before. Grants and exports are derived for the
// outcome. The arguments are not changed; last may be nil.
func Hold(now *Result, last *topology.Topology, lastHeld []topology.Held, at time.Time) (*topology.Topology, []topology.Held) {
	if last == nil {
		last = &topology.Topology{}
	}
	h := holder{now: now, last: last, lastHeld: lastHeld, at: at, scopes: map[diagnostic.Scope]reason{}}
	h.reasons()
	out := h.outcome()
	for h.breaches(out) {
		out = h.outcome()
	}
	return out, h.held
}

// outcome is what applies with the reasons there are.
func (h *holder) outcome() *topology.Topology {
	now, last := h.now, h.last
	h.held = nil
	out := &topology.Topology{Sites: map[string]*topology.Site{}, Severity: now.Topology.Severity, Policies: h.policies()}
	names := slices.Concat(now.Topology.Names(), last.Names())
	for scope := range h.scopes {
		names = append(names, scope.Site)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if s := h.site(name); s != nil {
			out.Sites[name] = s
		}
	}
	Derive(out)
	return out
}

// A reason is why something is held.
type reason struct{ rule, why string }

type holder struct {
	now      *Result
	last     *topology.Topology
	lastHeld []topology.Held
	at       time.Time

	scopes map[diagnostic.Scope]reason
	lost   map[string]reason // by file
	held   []topology.Held
}

// reasons collects what the findings hold back.
func (h *holder) reasons() {
	h.lost = map[string]reason{}
	for _, d := range h.now.Findings {
		r, known := diagnostic.FindRule(d.Rule)
		if !known || !r.Gates {
			continue
		}
		why := reason{d.Rule, d.Message}
		if !d.Pos.IsZero() {
			why.why = fmt.Sprintf("%s: %s", d.Pos, d.Message)
		}
		for _, scope := range d.Holds {
			if _, ok := h.scopes[scope]; !ok {
				h.scopes[scope] = why
			}
		}
		_, lost := h.now.lost[d.Pos.File]
		if d.Rule == ruleSchema && len(d.Holds) == 0 && (lost || h.now.lost == nil) {
			h.lost[d.Pos.File] = why
		}
	}
	for file, why := range h.now.lost {
		if _, told := h.lost[file]; !told {
			h.lost[file] = reason{ruleSchema, file + ": " + why}
		}
	}
}

// site returns what applies of one site, nil for nothing.
func (h *holder) site(name string) *topology.Site {
	now, last := h.now.Topology.Sites[name], h.last.Sites[name]
	why, whole := h.scopes[diagnostic.Scope{Site: name}]
	if file, ok := h.lostFile(name, last); ok && !whole {
		if why, whole = h.lost[file], true; why == (reason{}) {
			why = reason{ruleSchema, file + ": what it makes is not known while there are other schema findings"}
		}
	}
	switch {
	case whole:
		h.hold(name, "", why)
		if last == nil {
			return nil
		}
		return h.reduced(now, last)
	case now == nil:
		return nil
	}
	s := *now
	s.Links = nil
	for _, l := range now.Links {
		why, held := h.scopes[diagnostic.Scope{Site: name, Peer: l.Name}]
		if !held {
			s.Links = append(s.Links, l)
			continue
		}
		h.hold(name, l.Name, why)
		if was, ok := linkOf(last, l.Name); ok {
			was.Enable = was.Enable && l.Enable
			s.Links = append(s.Links, was)
		}
	}
	h.unread(&s, now, last)
	return &s
}

// unread keeps the links that the source still names but that could not be
// read at all.
func (h *holder) unread(s, now, last *topology.Site) {
	if last == nil {
		return
	}
	for _, was := range last.Links {
		if _, ok := now.Link(was.Name); ok {
			continue
		}
		why, held := h.unreadable(s.Name, was.Name)
		if !held && h.now.masked[pathKey([]string{"sites", s.Name})] {
			why, held = reason{ruleSchema, "which links are made is not known while the site has other schema findings"}, true
		}
		if held {
			h.hold(s.Name, was.Name, why)
			s.Links = append(s.Links, was)
		}
	}
	slices.SortFunc(s.Links, func(a, b topology.Link) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

// lostFile returns the file without which nothing is known of the site.
func (h *holder) lostFile(name string, last *topology.Site) (string, bool) {
	if len(h.lost) == 0 && len(h.now.masked) == 0 {
		return "", false
	}
	if last != nil {
		for _, f := range last.Files {
			if _, lost := h.lost[f]; lost {
				return f, true
			}
		}
	}
	if last != nil && h.now.Topology.Sites[name] == nil && h.now.masked[last.Pos.File] {
		return last.Pos.File, true
	}
	if h.now.partial[name] {
		return slices.Min(slices.Collect(maps.Keys(h.lost))), true
	}
	return "", false
}

// reduced is a site as it was last, less what is deleted or disabled now.
func (h *holder) reduced(now, last *topology.Site) *topology.Site {
	s := *last
	if now == nil {
		return &s
	}
	s.Links = nil
	for _, was := range last.Links {
		l, ok := now.Link(was.Name)
		switch {
		case ok:
			was.Enable = was.Enable && l.Enable
		case h.gone(last, was.Pos, linkPath(last.Name, was.Name)):
			continue
		}
		s.Links = append(s.Links, was)
	}
	s.Listeners = nil
	for _, was := range last.Listeners {
		i := slices.IndexFunc(now.Listeners, func(l topology.Listener) bool { return l.Name == was.Name })
		switch {
		case i >= 0:
			was.Enable = was.Enable && now.Listeners[i].Enable
		case h.gone(last, was.Pos, []string{"sites", last.Name, "listeners", was.Name}):
			continue
		}
		s.Listeners = append(s.Listeners, was)
	}
	return &s
}

// gone reports whether what is not there any more was deleted, and not only
// unreadable now.
func (h *holder) gone(last *topology.Site, was diagnostic.Pos, path []string) bool {
	if h.now.bad.touches(path...) || h.now.masked[pathKey(path[:2])] {
		return false
	}
	if _, held := h.unreadable(last.Name, path[len(path)-1]); held {
		return false
	}
	lost := slices.ContainsFunc(last.Files, func(f string) bool { _, ok := h.lost[f]; return ok })
	if !lost {
		return true
	}
	// A part of the site is unknown: what stood in a file that was read, and
	// is not made from other sites, is known to be gone.
	_, there := h.lost[was.File]
	return was.File != "" && !there && !h.now.tainted[was.File]
}

// unreadable reports whether a link is held because it cannot be read. Another
// finding may name a link that is not there: that it is not is its fault.
func (h *holder) unreadable(site, peer string) (reason, bool) {
	why, held := h.scopes[diagnostic.Scope{Site: site, Peer: peer}]
	return why, held && why.rule == ruleSchema
}

func (h *holder) hold(site, peer string, why reason) {
	since := h.at
	for _, was := range h.lastHeld {
		if was.Site == site && was.Peer == peer {
			since = was.Since
		}
	}
	h.held = append(h.held, topology.Held{Site: site, Peer: peer, Rule: why.rule, Why: why.why, Since: since})
}

func linkOf(s *topology.Site, peer string) (topology.Link, bool) {
	if s == nil {
		return topology.Link{}, false
	}
	return s.Link(peer)
}
