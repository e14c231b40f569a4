// Package diagram draws a topology: its sites, and one edge for each pair of
// them that a link joins, with what travels in either direction.
//
// The same topology gives the same bytes, whatever the machine. Names are data:
// whatever is in them, they cannot become markup in any of the formats.
package diagram

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"clink/flow"
	"clink/topic"
	"clink/topology"
)

// A Graph is what is drawn. Nodes are in order of name, edges in order of A and
// B, and A is before B.
type Graph struct {
	Nodes []Node `json:"nodes"`
	Edges []Edge `json:"edges"`
}

// A Node is a site, or of Kind "unknown" a name that a link gives and no site
// has.
type Node struct {
	Name   string            `json:"name"`
	Kind   string            `json:"kind"` // embedded, emqx, external or unknown
	Labels map[string]string `json:"labels,omitempty"`
	Change string            `json:"change,omitempty"` // of Diff: added or removed
}

// An Edge is the link between two sites. Its halves are "enabled", "disabled",
// "absent", or "undeclared": the half of an external site, which counts as
// there.
type Edge struct {
	A      string    `json:"a"`
	B      string    `json:"b"`
	State  string    `json:"state"` // configured, one-sided or disabled
	AHalf  string    `json:"a_half"`
	BHalf  string    `json:"b_half"`
	AToB   Direction `json:"a_to_b"`
	BToA   Direction `json:"b_to_a"`
	Change string    `json:"change,omitempty"` // of Diff: added, removed or changed
}

// A Direction is what travels one way. Starts and Stops are those of Diff, as
// package flow has them.
type Direction struct {
	Topics []topic.Filter `json:"topics"`
	Starts []topic.Filter `json:"starts,omitempty"`
	Stops  []topic.Filter `json:"stops,omitempty"`
}

// The states of a half, and of an edge without a look at what is live.
const (
	enabled    = "enabled"
	disabled   = "disabled"
	absent     = "absent"
	undeclared = "undeclared"

	configured = "configured"
	oneSided   = "one-sided"
)

// The changes of Diff.
const (
	added   = "added"
	removed = "removed"
	changed = "changed"
)

const unknown = "unknown" // a kind of node, and a state of a link

// New returns the graph of a topology whose exports have been derived. A link
// of a site to itself is no edge.
func New(t *topology.Topology) Graph {
	g := Graph{Nodes: []Node{}, Edges: []Edge{}}
	if t == nil {
		return g
	}
	kinds := map[string]string{}
	edges := map[[2]string]bool{}
	for name, s := range t.Sites {
		kinds[name] = cmp.Or(s.Target.Kind, topology.Embedded)
		for _, l := range s.Links {
			if t.Sites[l.Name] == nil {
				kinds[l.Name] = unknown
			}
			if l.Name != name {
				edges[[2]string{min(name, l.Name), max(name, l.Name)}] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		n := Node{Name: name, Kind: kinds[name]}
		if s := t.Sites[name]; s != nil {
			n.Labels = s.Labels
		}
		g.Nodes = append(g.Nodes, n)
	}
	flows := topics(t)
	for _, p := range slices.SortedFunc(maps.Keys(edges), order) {
		g.Edges = append(g.Edges, edge(t, p, flows))
	}
	return g
}

func order(p, q [2]string) int {
	return cmp.Or(cmp.Compare(p[0], q[0]), cmp.Compare(p[1], q[1]))
}

// topics are what travels, by the sites it travels from and to.
func topics(t *topology.Topology) map[[2]string][]topic.Filter {
	m := map[[2]string][]topic.Filter{}
	for _, f := range flow.Flows(t) {
		m[[2]string{f.From, f.To}] = f.Topics
	}
	return m
}

func edge(t *topology.Topology, p [2]string, flows map[[2]string][]topic.Filter) Edge {
	e := Edge{A: p[0], B: p[1], AHalf: half(t, p[0], p[1]), BHalf: half(t, p[1], p[0]), State: configured}
	e.AToB.Topics = append([]topic.Filter{}, flows[p]...)
	e.BToA.Topics = append([]topic.Filter{}, flows[[2]string{p[1], p[0]}]...)
	switch {
	case e.AHalf == absent || e.BHalf == absent:
		e.State = oneSided
	case e.AHalf == disabled || e.BHalf == disabled:
		e.State = disabled
	}
	return e
}

// half says how a site's half of a link stands.
func half(t *topology.Topology, site, peer string) string {
	s, p := t.Sites[site], t.Sites[peer]
	if s == nil {
		return absent
	}
	l, declared := s.Link(peer)
	switch {
	case declared && l.Enable:
		return enabled
	case declared:
		return disabled
	case s.Target.Kind == topology.External && p != nil && p.Target.Kind != topology.External:
		return undeclared
	}
	return absent
}

// Diff returns the graph of both topologies together. What is in one of them
// alone is marked as added or removed; an edge whose halves or flows differ, as
// changed.
func Diff(old, new *topology.Topology) Graph {
	before, g := New(old), New(new)
	nodes, edges := map[string]Node{}, map[[2]string]Edge{}
	for _, n := range before.Nodes {
		nodes[n.Name] = n
	}
	for _, e := range before.Edges {
		edges[[2]string{e.A, e.B}] = e
	}
	changes := map[[2]string]flow.Change{}
	for _, c := range flow.Diff(old, new) {
		changes[[2]string{c.From, c.To}] = c
	}
	for i := range g.Nodes {
		g.Nodes[i].Change = mark(nodes, g.Nodes[i].Name)
	}
	for i := range g.Edges {
		e := &g.Edges[i]
		was := edges[[2]string{e.A, e.B}]
		if e.Change = mark(edges, [2]string{e.A, e.B}); e.compare(was, changes) && e.Change == "" {
			e.Change = changed
		}
	}
	for _, n := range nodes {
		n.Change = removed
		g.Nodes = append(g.Nodes, n)
	}
	for _, e := range edges {
		e.Change = removed
		e.compare(Edge{}, changes)
		e.AToB.Topics, e.BToA.Topics = []topic.Filter{}, []topic.Filter{}
		g.Edges = append(g.Edges, e)
	}
	slices.SortFunc(g.Nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(g.Edges, func(a, b Edge) int { return order([2]string{a.A, a.B}, [2]string{b.A, b.B}) })
	return g
}

// mark takes what has a key out of those that were there before. It is added if
// it was not.
func mark[K comparable, V any](before map[K]V, key K) string {
	_, there := before[key]
	delete(before, key)
	if there {
		return ""
	}
	return added
}

// compare fills in what starts and stops, and reports whether anything differs.
func (e *Edge) compare(was Edge, changes map[[2]string]flow.Change) bool {
	ab, ba := changes[[2]string{e.A, e.B}], changes[[2]string{e.B, e.A}]
	e.AToB.Starts, e.AToB.Stops = ab.Starts, ab.Stops
	e.BToA.Starts, e.BToA.Stops = ba.Starts, ba.Stops
	return len(ab.Starts)+len(ab.Stops)+len(ba.Starts)+len(ba.Stops) > 0 || e.AHalf != was.AHalf || e.BHalf != was.BHalf
}

// told is d without what would be said twice: all of an added link starts, and
// what starts is among the topics.
func (d Direction) told(change string) Direction {
	switch {
	case change == added:
		d.Starts = nil
	case slices.Equal(d.Starts, d.Topics):
		d.Topics = nil
	}
	return d
}

// JSON returns the graph as indented JSON with a newline at the end.
func (g Graph) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the graph as JSON: %w", err)
	}
	return append(text, '\n'), nil
}
