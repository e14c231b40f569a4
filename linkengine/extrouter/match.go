package extrouter

import (
	"strings"
	"sync/atomic"
)

// A node is a level of wildcard filters under its parent, or one whole filter
// without wildcards. Readers see what is atomic; the rest belongs to whoever
// holds the table's lock.
type node struct {
	parent *node
	text   string
	hash   uint64
	id     uint32
	kids   int32 // nodes that have this one as parent

	here  atomic.Pointer[member] // of the filter that ends here
	below atomic.Pointer[member] // of the filter that ends in # here
	plus  atomic.Pointer[node]
}

// A member is one cluster that announced a filter. Lists are changed by
// putting a new one in place; only count changes in one that readers may hold,
// and they do not look at it.
type member struct {
	cluster string
	count   int32
	next    *member
}

// Match appends to dst the clusters that have a route which matches the topic
// name, each once, and returns it. It allocates only where dst has no room.
func (t *Table) Match(name string, dst []string) []string {
	if n := t.exact.get(nil, name); n != nil {
		dst = collect(n.here.Load(), dst)
	}
	return t.walk(&t.root, name, true, name != "" && name[0] == '$', dst)
}

// walk visits the nodes under n that match rest. With more unset rest is past
// its end. system stops wildcards at the first level of $ topics (MQTT 5.0
// §4.7.2).
func (t *Table) walk(n *node, rest string, more, system bool, dst []string) []string {
	if !system {
		dst = collect(n.below.Load(), dst)
	}
	if !more {
		return collect(n.here.Load(), dst)
	}
	level, rest, more := strings.Cut(rest, "/")
	if plus := n.plus.Load(); plus != nil && !system {
		dst = t.walk(plus, rest, more, false, dst)
	}
	if kid := t.levels.get(n, level); kid != nil {
		dst = t.walk(kid, rest, more, false, dst)
	}
	return dst
}

func collect(m *member, dst []string) []string {
next:
	for ; m != nil; m = m.next {
		for _, have := range dst {
			if have == m.cluster {
				continue next
			}
		}
		dst = append(dst, m.cluster)
	}
	return dst
}

// slot returns where the members of the filter are kept, and the node that
// holds it. Nodes that are missing are made.
func (t *Table) slot(filter string) (*node, *atomic.Pointer[member]) {
	if !strings.ContainsAny(filter, "+#") {
		n := t.exact.get(nil, filter)
		if n == nil {
			n = t.node(&t.exact, nil, filter)
		}
		return n, &n.here
	}
	n := &t.root
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if level == "#" {
			return n, &n.below
		}
		n = t.child(n, level)
	}
	return n, &n.here
}

func (t *Table) child(n *node, level string) *node {
	if level == "+" {
		kid := n.plus.Load()
		if kid == nil {
			kid = &node{parent: n, text: level, id: t.nextID()}
			n.kids++
			n.plus.Store(kid)
		}
		return kid
	}
	kid := t.levels.get(n, level)
	if kid == nil {
		kid = t.node(&t.levels, n, level)
		n.kids++
	}
	return kid
}

func (t *Table) node(x *index, parent *node, text string) *node {
	n := &node{parent: parent, text: text, id: t.nextID()}
	x.put(n)
	return n
}

func (t *Table) nextID() uint32 { t.lastID++; return t.lastID }

// insert counts one more route of the cluster on the filter.
func (t *Table) insert(filter string, c *cluster) {
	_, at := t.slot(filter)
	first := at.Load()
	for m := first; m != nil; m = m.next {
		if m.cluster == c.name {
			m.count++
			return
		}
	}
	at.Store(&member{cluster: c.name, count: 1, next: first})
}

// withdraw counts one route less, and clears away what is empty then.
func (t *Table) withdraw(filter string, c *cluster) {
	n, at := t.slot(filter)
	first := at.Load()
	for m := first; m != nil; m = m.next {
		if m.cluster != c.name {
			continue
		}
		if m.count--; m.count == 0 {
			at.Store(without(first, c.name))
		}
	}
	t.prune(n)
}

func without(m *member, name string) *member {
	var list *member
	for ; m != nil; m = m.next {
		if m.cluster != name {
			list = &member{cluster: m.cluster, count: m.count, next: list}
		}
	}
	return list
}

func (t *Table) prune(n *node) {
	for n != &t.root && n != nil && n.kids == 0 && n.here.Load() == nil && n.below.Load() == nil {
		switch parent := n.parent; {
		case parent == nil:
			t.exact.delete(n)
		case parent.plus.Load() == n:
			parent.plus.Store(nil)
		default:
			t.levels.delete(n)
		}
		if n = n.parent; n != nil {
			n.kids--
		}
	}
}
