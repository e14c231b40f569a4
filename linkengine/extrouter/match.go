package extrouter

import (
	"iter"
	"slices"
	"strings"
	"sync/atomic"
)

// An exact is a filter without wildcards.
type exact struct {
	text string
	here atomic.Pointer[holders]
}

// A node is a level of filters with wildcards, under its parent. Readers see
// what is atomic, and what never changes; the rest belongs to whoever holds the
// table's lock.
type node struct {
	parent *node
	text   string
	id     uint32
	kids   int32 // nodes that have this one as parent

	here  atomic.Pointer[holders] // of the filter that ends here
	below atomic.Pointer[holders] // of the filter that ends in # here
	plus  atomic.Pointer[node]
}

func (e *exact) key() (*node, string) { return nil, e.text }
func (n *node) key() (*node, string)  { return n.parent, n.text }

// Match appends to dst the clusters that have a route which matches the topic
// name, each once, and returns it. It allocates only where dst has no room.
func (t *Table) Match(name string, dst []string) []string { return t.match(name, true, dst) }

// Announced reports whether the cluster has a route which matches the topic name
// and is no past one: it was announced by an actor as it is now.
func (t *Table) Announced(cluster, name string) bool {
	var room [16]string
	return slices.Contains(t.match(name, false, room[:0]), cluster)
}

// match is Match with or without past routes.
func (t *Table) match(name string, past bool, dst []string) []string {
	if e := t.exact.get(nil, name); e != nil {
		dst = collect(e.here.Load(), past, dst)
	}
	return t.walk(&t.root, name, step{more: true, system: name != "" && name[0] == '$', past: past}, dst)
}

// A step says how a walk goes on: with more unset the rest is past its end;
// system stops wildcards at the first level of $ topics (MQTT 5.0 §4.7.2).
type step struct{ more, system, past bool }

// walk visits the nodes under n that match rest.
func (t *Table) walk(n *node, rest string, s step, dst []string) []string {
	if !s.system {
		dst = collect(n.below.Load(), s.past, dst)
	}
	if !s.more {
		return collect(n.here.Load(), s.past, dst)
	}
	level, rest, more := strings.Cut(rest, "/")
	next := step{more: more, past: s.past}
	if plus := n.plus.Load(); plus != nil && !s.system {
		dst = t.walk(plus, rest, next, dst)
	}
	if kid := t.levels.get(n, level); kid != nil {
		dst = t.walk(kid, rest, next, dst)
	}
	return dst
}

func collect(h *holders, past bool, dst []string) []string {
next:
	for ; h != nil; h = h.next {
		if !past && h.cluster.past.Load() {
			continue
		}
		for _, have := range dst {
			if have == h.cluster.name {
				continue next
			}
		}
		dst = append(dst, h.cluster.name)
	}
	return dst
}

// A spot is where the holders of one filter are kept, and what can be cleared
// away once there are none: e or n.
type spot struct {
	at *atomic.Pointer[holders]
	e  *exact
	n  *node
}

// filter is the filter whose holders are there.
func (s spot) filter() string {
	if s.e != nil {
		return s.e.text
	}
	var levels []string
	for n := s.n; n.parent != nil; n = n.parent {
		levels = append(levels, n.text)
	}
	slices.Reverse(levels)
	if s.at == &s.n.below {
		levels = append(levels, "#")
	}
	return strings.Join(levels, "/")
}

// spot returns the place of the filter. What is missing is made if make is set;
// else the result has no place.
func (t *Table) spot(filter string, make bool) spot {
	if !strings.ContainsAny(filter, "+#") {
		e := t.exact.get(nil, filter)
		if e == nil && make {
			e = &exact{text: filter}
			t.exact.put(e)
		}
		if e == nil {
			return spot{}
		}
		return spot{at: &e.here, e: e}
	}
	n := &t.root
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if level == "#" && !more {
			return spot{at: &n.below, n: n}
		}
		kid := t.child(n, level)
		if kid == nil {
			if !make {
				return spot{}
			}
			kid = t.grow(n, level, len(filter))
		}
		n = kid
	}
	return spot{at: &n.here, n: n}
}

func (t *Table) child(n *node, level string) *node {
	if level == "+" {
		return n.plus.Load()
	}
	return t.levels.get(n, level)
}

// grow adds a node. Its text is a part of a filter of the given length, which
// it may outlive: what is long for that is copied.
func (t *Table) grow(parent *node, level string, length int) *node {
	t.lastID++
	kid := &node{parent: parent, text: level, id: t.lastID}
	parent.kids++
	if level == "+" {
		kid.text = "+"
		parent.plus.Store(kid)
		return kid
	}
	if length > 128 && length > 4*len(level) {
		kid.text = strings.Clone(level)
	}
	t.levels.put(kid)
	return kid
}

// set makes h the holders at the spot, and clears away what is empty then.
func (t *Table) set(s spot, h *holders) {
	s.at.Store(h)
	switch {
	case h != nil:
	case s.e != nil:
		t.exact.delete(s.e)
	default:
		t.prune(s.n)
	}
}

func (t *Table) prune(n *node) {
	for n != &t.root && n.kids == 0 && n.here.Load() == nil && n.below.Load() == nil {
		if parent := n.parent; parent.plus.Load() == n {
			parent.plus.Store(nil)
		} else {
			t.levels.delete(n)
		}
		n = n.parent
		n.kids--
	}
}

// spots yields the spots that have holders. The one that was yielded last may
// be cleared away meanwhile.
func (t *Table) spots() iter.Seq[spot] {
	return func(yield func(spot) bool) {
		for e := range t.exact.all() {
			if e.here.Load() != nil && !yield(spot{at: &e.here, e: e}) {
				return
			}
		}
		for n := range t.nodes() {
			if n.here.Load() != nil && !yield(spot{at: &n.here, n: n}) {
				return
			}
			if n.below.Load() != nil && !yield(spot{at: &n.below, n: n}) {
				return
			}
		}
	}
}

// nodes yields all nodes; those of + hang on others.
func (t *Table) nodes() iter.Seq[*node] {
	return func(yield func(*node) bool) {
		chain := func(n *node) bool {
			for ; n != nil; n = n.plus.Load() {
				if !yield(n) {
					return false
				}
			}
			return true
		}
		if !chain(&t.root) {
			return
		}
		for n := range t.levels.all() {
			if !chain(n) {
				return
			}
		}
	}
}
