// Package flow says which messages can travel between which sites of a
// topology, and what of that changes from one topology to another.
//
// A message published at one site crosses a link to another if both halves of
// the link are there and enabled, the far half's topics match it, and the near
// site may export it. It goes no further: a message that came over a link is
// never sent on. The rules of $ topics are MQTT's, as package topic has them.
//
// The package knows the topology as it is wanted. Whether a link is up,
// suspended or held back is not its business.
package flow

import (
	"cmp"
	"slices"

	"clink/topic"
	"clink/topology"
)

// A Flow is what can travel from one site to another: messages published at
// From that match one of Topics can reach clients at To. No member of Topics
// covers another.
type Flow struct {
	From   string         `json:"from"`
	To     string         `json:"to"`
	Topics []topic.Filter `json:"topics"`
}

// Flows returns every pair of sites between which something can flow, in order
// of From and To. Exports must have been derived.
func Flows(t *topology.Topology) []Flow {
	flows := []Flow{}
	if t == nil {
		return flows
	}
	h := halvesOf(t)
	for _, p := range h.pairs() {
		if topics := h.crossing(p); len(topics) > 0 {
			flows = append(flows, Flow{p.from, p.to, topics})
		}
	}
	return flows
}

// A pair is a direction between two sites.
type pair struct{ from, to string }

func (p pair) compare(q pair) int {
	return cmp.Or(cmp.Compare(p.from, q.from), cmp.Compare(p.to, q.to))
}

func (p pair) back() pair { return pair{p.to, p.from} }

// halves are the halves of all links between sites of t, by who has it and
// towards whom: a site in the middle of many has too many to look through for
// each.
type halves struct {
	t  *topology.Topology
	of map[pair]*topology.Link
}

func halvesOf(t *topology.Topology) halves {
	h := halves{t, make(map[pair]*topology.Link, t.Links())}
	for name, s := range t.Sites {
		for i := range s.Links {
			if l := &s.Links[i]; t.Sites[l.Name] != nil && l.Name != name {
				h.of[pair{name, l.Name}] = l
			}
		}
	}
	return h
}

// pairs are the directions that links of t could carry something in, in order.
func (h halves) pairs() []pair {
	var l []pair
	for p := range h.of {
		l = append(l, p, p.back())
	}
	slices.SortFunc(l, pair.compare)
	return slices.Compact(l)
}

// crossing returns the topics that cross from one site to another.
func (h halves) crossing(p pair) []topic.Filter {
	if !h.stands(p) || !h.stands(p.back()) {
		return nil
	}
	exported := usable(h.t.Sites[p.from].Exports[p.to])
	wanted := h.of[p.back()]
	if wanted == nil {
		return reduced(exported) // an external site: it may want all that it may be sent
	}
	topics := usable(wanted.Topics)
	if slices.Equal(topics, exported) {
		return reduced(topics)
	}
	var both []topic.Filter
	for _, f := range topics {
		both = append(both, topic.IntersectAll(f, exported)...)
	}
	return reduced(both)
}

// stands reports whether a site's half of a link is there and enabled. The half
// of an external site that is not declared counts as there, towards a site that
// is not external too.
func (h halves) stands(p pair) bool {
	if l := h.of[p]; l != nil {
		return l.Enable
	}
	return h.t.Sites[p.from].Target.Kind == topology.External && h.t.Sites[p.to].Target.Kind != topology.External
}

// usable leaves out what means nothing in a link: what is no filter, and the
// reserved topics.
func usable(filters []topic.Filter) []topic.Filter {
	var l []topic.Filter
	for _, f := range filters {
		if _, err := topic.Parse(string(f)); err == nil && f.Reserved() == "" {
			l = append(l, f)
		}
	}
	return l
}

func reduced(filters []topic.Filter) []topic.Filter {
	kept, _ := topic.Reduce(filters)
	return kept
}
