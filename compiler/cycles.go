package compiler

import (
	"fmt"
	"slices"
	"strings"

	"clink/diagnostic"
)

// cycles tells of rings of three or more sites, one for each group of sites
// that are linked with one another. It is looked for only where the policy
// asks: a message crosses one link at most, so rings do no harm.
func (k *checker) cycles() {
	if s, ok := k.t.Severity["link-cycle"]; !ok || s == diagnostic.Off {
		return
	}
	near := k.neighbours()
	seen := map[string]bool{}
	for _, start := range k.t.Names() {
		if !seen[start] {
			if ring := findRing(near, start, seen); ring != nil {
				k.add(k.ring(ring))
			}
		}
	}
}

// neighbours returns, for each site, those it has a link with in either
// direction, in order.
func (k *checker) neighbours() map[string][]string {
	near := map[string][]string{}
	for _, s := range k.t.Names() {
		for _, l := range k.t.Sites[s].Links {
			if l.Enable && l.Name != s && k.t.Sites[l.Name] != nil {
				near[s] = append(near[s], l.Name)
				near[l.Name] = append(near[l.Name], s)
			}
		}
	}
	for s := range near {
		slices.Sort(near[s])
		near[s] = slices.Compact(near[s])
	}
	return near
}

// findRing goes through all sites that are joined with start, breadth first,
// and returns the first ring that closes, nil for none.
func findRing(near map[string][]string, start string, seen map[string]bool) []string {
	from := map[string]string{start: ""}
	var ring []string
	for todo := []string{start}; len(todo) > 0; todo = todo[1:] {
		at := todo[0]
		seen[at] = true
		for _, n := range near[at] {
			if _, known := from[n]; !known {
				from[n] = at
				todo = append(todo, n)
			} else if n != from[at] && ring == nil {
				ring = joined(wayBack(from, at), wayBack(from, n))
			}
		}
	}
	return ring
}

// wayBack is the way from a site to where the search began.
func wayBack(from map[string]string, at string) []string {
	var way []string
	for ; at != ""; at = from[at] {
		way = append(way, at)
	}
	return way
}

// joined is the ring of two ways back up to where they meet.
func joined(a, b []string) []string {
	for i, site := range a {
		if j := slices.Index(b, site); j >= 0 {
			back := slices.Clone(b[:j])
			slices.Reverse(back)
			return append(append([]string{}, a[:i+1]...), back...)
		}
	}
	return nil
}

func (k *checker) ring(ring []string) diagnostic.Diagnostic {
	first := slices.Index(ring, slices.Min(ring))
	ring = slices.Concat(ring[first:], ring[:first])
	if len(ring) > 2 && ring[1] > ring[len(ring)-1] {
		slices.Reverse(ring[1:])
	}
	d := diagnostic.Diagnostic{
		Rule: "link-cycle", Severity: diagnostic.Info, Label: "in this ring", Sites: ring,
		Message: fmt.Sprintf("%d sites are linked in a ring: %s", len(ring), strings.Join(append(slices.Clone(ring), ring[0]), " - ")),
		Help:    "it is safe: no message crosses a second link; clinkc explain link-cycle",
	}
	for i, site := range ring {
		next := ring[(i+1)%len(ring)]
		pos := k.link(site, next)
		if _, ok := k.t.Sites[site].Link(next); !ok {
			pos = k.link(next, site)
		}
		if i == 0 {
			d.Pos = pos
		} else {
			d.Related = append(d.Related, diagnostic.Related{Message: "and " + site + " with " + next, Pos: pos})
		}
	}
	return d
}
