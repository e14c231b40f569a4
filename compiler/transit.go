package compiler

import (
	"slices"
	"strconv"

	"clink/topic"
	"clink/topology"
)

// A transit knows what sites say that their clients publish, to find what a
// link wants that could only come over a further link: a message that came
// over a link is never sent on over another one.
type transit struct {
	t *topology.Topology
	// By site and filter, the neighbours that publish what the filter matches:
	// many links want the same.
	known map[[2]string][]string
}

func newTransit(t *topology.Topology) *transit {
	return &transit{t, map[[2]string][]string{}}
}

// wanted returns, by place in the link's topics, a neighbour of the peer that
// alone declares to publish what is wanted: neither the peer itself nor any
// site that is linked with this one does.
func (x *transit) wanted(site string, l topology.Link) map[string]string {
	peer := x.t.Sites[l.Name]
	var found map[string]string
	for i, f := range l.Topics {
		if publishes(peer, f) {
			continue
		}
		far := slices.DeleteFunc(slices.Clone(x.neighbours(peer, f)), func(n string) bool { return n == site })
		if len(far) == 0 || slices.ContainsFunc(far, func(n string) bool { return x.direct(site, n, f) }) {
			continue
		}
		if found == nil {
			found = map[string]string{}
		}
		found[strconv.Itoa(i)] = far[0]
	}
	return found
}

// neighbours returns the sites linked with one that publish what f matches.
func (x *transit) neighbours(s *topology.Site, f topic.Filter) []string {
	key := [2]string{s.Name, string(f)}
	if far, ok := x.known[key]; ok {
		return far
	}
	far := []string{}
	for _, l := range s.Links {
		if n := x.t.Sites[l.Name]; n != nil && l.Enable && n != s && publishes(n, f) {
			far = append(far, l.Name)
		}
	}
	x.known[key] = far
	return far
}

// direct reports whether a site has a link of its own that brings it what it
// wants of the other.
func (x *transit) direct(site, other string, f topic.Filter) bool {
	l, ok := x.t.Sites[site].Link(other)
	return ok && l.Enable && slices.ContainsFunc(l.Topics, func(g topic.Filter) bool {
		_, meet := topic.Intersect(f, g)
		return meet
	})
}

func publishes(s *topology.Site, f topic.Filter) bool {
	return slices.ContainsFunc(s.Intent.Publishes, func(p topic.Filter) bool {
		_, meet := topic.Intersect(f, p)
		return meet
	})
}
