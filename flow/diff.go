package flow

import (
	"maps"
	"slices"

	"clink/topic"
	"clink/topology"
)

// A Change is what changes of a flow. Starts are filters of the new flow that
// the old one did not carry as a whole: of their topics at least one is new.
// Stops are filters of the old flow that the new one does not carry as a whole.
// A flow that widens from a/b to a/# starts a/# and stops nothing; one that
// narrows from a/# to a/b stops a/#, and a/b goes on.
type Change struct {
	From   string         `json:"from"`
	To     string         `json:"to"`
	Starts []topic.Filter `json:"starts"`
	Stops  []topic.Filter `json:"stops"`
}

// Diff returns the flows that change from one topology to another, in order of
// From and To. A nil topology has no sites.
func Diff(old, new *topology.Topology) []Change {
	before, after := byPair(old), byPair(new)
	all := maps.Clone(before)
	maps.Copy(all, after)
	changes := []Change{}
	for _, p := range slices.SortedFunc(maps.Keys(all), pair.compare) {
		c := Change{p.from, p.to, beyond(after[p], before[p]), beyond(before[p], after[p])}
		if len(c.Starts)+len(c.Stops) > 0 {
			changes = append(changes, c)
		}
	}
	return changes
}

func byPair(t *topology.Topology) map[pair][]topic.Filter {
	m := map[pair][]topic.Filter{}
	for _, f := range Flows(t) {
		m[pair{f.From, f.To}] = f.Topics
	}
	return m
}

// beyond returns the filters that match something that none of the others does.
func beyond(filters, others []topic.Filter) []topic.Filter {
	l := []topic.Filter{}
	if slices.Equal(filters, others) {
		return l
	}
	for _, f := range filters {
		if _, more := topic.Example(f, others); more {
			l = append(l, f)
		}
	}
	return l
}
