package reconciler

import (
	"slices"
	"strings"

	"clink/topology"
)

// Diff returns the least changes that make actual desired: deletions first,
// then updates, then creations, each by name of the peer. Links that are equal
// ([topology.Link.Equal]) give none.
func Diff(actual, desired []topology.Link) []topology.Change {
	now, want := byName(actual), byName(desired)
	var deletes, updates, creates []topology.Change
	for name, l := range now {
		if _, ok := want[name]; !ok {
			deletes = append(deletes, topology.Change{Op: topology.Delete, Peer: name, Link: l})
		}
	}
	for name, l := range want {
		was, ok := now[name]
		switch {
		case !ok:
			creates = append(creates, topology.Change{Op: topology.Create, Peer: name, Link: l})
		case !was.Equal(l):
			updates = append(updates, topology.Change{Op: topology.Update, Peer: name, Link: l})
		}
	}
	for _, part := range [][]topology.Change{deletes, updates, creates} {
		slices.SortFunc(part, func(a, b topology.Change) int { return strings.Compare(a.Peer, b.Peer) })
	}
	return slices.Concat(deletes, updates, creates)
}

func byName(links []topology.Link) map[string]topology.Link {
	m := make(map[string]topology.Link, len(links))
	for _, l := range links {
		m[l.Name] = l
	}
	return m
}
