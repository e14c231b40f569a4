package extrouter

import (
	"slices"
	"strings"
)

// Filters returns those filters of a cluster's routes that match the topic
// name, in order, at most so many.
func (t *Table) Filters(cluster, name string, most int) []string {
	s := search{table: t, cluster: cluster, most: most}
	if n := t.exact.get(nil, name); n != nil && slices.Contains(collect(n.here.Load(), true, nil), cluster) {
		s.found = append(s.found, name)
	}
	s.walk(&t.root, name, true, name != "" && name[0] == '$', nil)
	slices.Sort(s.found)
	return s.found
}

// A search is a walk of [Table.Filters].
type search struct {
	table   *Table
	cluster string
	most    int
	found   []string
}

// walk is Table.walk, with the levels that led to n.
func (s *search) walk(n *node, rest string, more, system bool, path []string) {
	if len(s.found) >= s.most {
		return
	}
	if !system && slices.Contains(collect(n.below.Load(), true, nil), s.cluster) {
		s.found = append(s.found, strings.Join(append(path, "#"), "/"))
	}
	if !more {
		if slices.Contains(collect(n.here.Load(), true, nil), s.cluster) && len(s.found) < s.most {
			s.found = append(s.found, strings.Join(path, "/"))
		}
		return
	}
	level, rest, more := strings.Cut(rest, "/")
	if plus := n.plus.Load(); plus != nil && !system {
		s.walk(plus, rest, more, false, append(path, "+"))
	}
	if kid := s.table.levels.get(n, level); kid != nil {
		s.walk(kid, rest, more, false, append(path, level))
	}
}

// Has reports whether a cluster has a route with the filter, and not a past one.
func (t *Table) Has(cluster, filter string) bool {
	if !strings.ContainsAny(filter, "+#") {
		n := t.exact.get(nil, filter)
		return n != nil && slices.Contains(collect(n.here.Load(), false, nil), cluster)
	}
	n := &t.root
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case level == "#" && !more:
			return slices.Contains(collect(n.below.Load(), false, nil), cluster)
		case level == "+":
			n = n.plus.Load()
		default:
			n = t.levels.get(n, level)
		}
		if n == nil {
			return false
		}
	}
	return slices.Contains(collect(n.here.Load(), false, nil), cluster)
}
