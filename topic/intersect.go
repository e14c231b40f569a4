package topic

import (
	"slices"
	"strings"
)

// Intersect returns the filter that matches exactly the names that both a and
// b match, and false if there are none (Cluster Linking protocol, section
// 5.1). It is commutative.
func Intersect(a, b Filter) (Filter, bool) {
	if dollarApart(a, b) || dollarApart(b, a) {
		return "", false
	}
	if a == b {
		return a, true
	}
	levels, ok := intersect(split(a), split(b), nil)
	if !ok {
		return "", false
	}
	return Filter(strings.Join(levels, "/")), true
}

// Meets reports whether any name is matched by both filters, as [Intersect]
// does, at no cost in memory.
func (f Filter) Meets(g Filter) bool {
	if dollarApart(f, g) || dollarApart(g, f) {
		return false
	}
	a, b := string(f), string(g)
	for {
		if a == "#" || b == "#" {
			return true
		}
		x, restA, moreA := strings.Cut(a, "/")
		y, restB, moreB := strings.Cut(b, "/")
		if x != y && x != "+" && y != "+" {
			return false
		}
		switch {
		case moreA && moreB:
			a, b = restA, restB
		case moreA:
			return restA == "#" // a/# matches its parent a
		case moreB:
			return restB == "#"
		default:
			return true
		}
	}
}

// dollarApart reports whether a begins with a $ level and b with a wildcard.
func dollarApart(a, b Filter) bool {
	return strings.HasPrefix(string(a), "$") && b != "" && (b[0] == '+' || b[0] == '#')
}

func split(f Filter) []string { return strings.Split(string(f), "/") }

func intersect(a, b, out []string) ([]string, bool) {
	for {
		switch {
		case lone(b, "#"):
			return append(out, a...), true
		case lone(a, "#"):
			return append(out, b...), true
		case len(a) == 0 || len(b) == 0:
			return out, len(a) == len(b)
		}
		level, ok := intersectLevel(a[0], b[0])
		if !ok {
			return nil, false
		}
		out, a, b = append(out, level), a[1:], b[1:]
	}
}

func lone(levels []string, wildcard string) bool {
	return len(levels) == 1 && levels[0] == wildcard
}

// intersectLevel is for two levels neither of which is a last #.
func intersectLevel(a, b string) (string, bool) {
	switch {
	case a == b:
		return a, true
	case a == "+":
		return b, true
	case b == "+":
		return a, true
	}
	return "", false
}

// Covers reports whether every name that g matches is matched by f.
func (f Filter) Covers(g Filter) bool {
	both, ok := Intersect(f, g)
	return ok && both == g
}

// IntersectAll returns what f has in common with the union of the filters
// wanted, in the order in which EMQX announces it (section 5.2): no member
// covers another, overlapping members stay apart.
func IntersectAll(f Filter, wanted []Filter) []Filter {
	var set []Filter
	for _, w := range wanted {
		both, ok := Intersect(f, w)
		if !ok || slices.ContainsFunc(set, func(m Filter) bool { return m.Covers(both) }) {
			continue
		}
		set = slices.DeleteFunc(set, both.Covers)
		set = slices.Insert(set, 0, both)
	}
	return set
}

// Reduce splits filters into those that say something of their own and those
// that another one covers, both in the given order. Of equal filters the last
// is kept, as EMQX does (section 5.3).
func Reduce(filters []Filter) (kept, redundant []Filter) {
	for i, by := range Covering(filters) {
		if by >= 0 {
			redundant = append(redundant, filters[i])
		} else {
			kept = append(kept, filters[i])
		}
	}
	return kept, redundant
}
