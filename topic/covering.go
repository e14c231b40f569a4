package topic

import "slices"

// Covering returns for each filter where the first other one stands that makes
// it redundant, which is one that covers it, or one that is equal and comes
// later; -1 if there is none. The time it takes grows with the length of the
// list, not with its square: lists come from outside.
func Covering(filters []Filter) []int {
	root := &node{}
	for i, f := range filters {
		at := root
		for _, level := range split(f) {
			at = at.child(level)
		}
		at.places = append(at.places, i)
	}
	by := make([]int, len(filters))
	for i, f := range filters {
		s := search{self: i, found: -1}
		s.walk(root, split(f), f != "" && f[0] == '$')
		by[i] = s.found
	}
	return by
}

// A node is what filters have in common up to some level.
type node struct {
	next   map[string]*node
	places []int // of the filters that end here, in order
}

func (n *node) child(level string) *node {
	if n.next == nil {
		n.next = map[string]*node{}
	}
	c := n.next[level]
	if c == nil {
		c = &node{}
		n.next[level] = c
	}
	return c
}

// A search looks for what makes one filter redundant.
type search struct{ self, found int }

// walk goes down wherever a filter may lead that covers one with these levels
// still to come. Wildcards do not cover a first level that begins with $.
func (s *search) walk(n *node, levels []string, dollar bool) {
	if all := n.next["#"]; all != nil && !dollar {
		s.see(all)
	}
	if len(levels) == 0 {
		s.see(n)
		return
	}
	level := levels[0]
	if level == "#" && len(levels) == 1 {
		return // nothing but # covers it
	}
	if c := n.next[level]; c != nil {
		s.walk(c, levels[1:], false)
	}
	if c := n.next["+"]; c != nil && level != "+" && !dollar {
		s.walk(c, levels[1:], false)
	}
}

// see takes the filters that end at n, which cover the one that is looked at or
// are equal to it. Of equal ones only those after it count.
func (s *search) see(n *node) {
	at := 0
	if i, itself := slices.BinarySearch(n.places, s.self); itself {
		at = i + 1
	}
	if at < len(n.places) && (s.found < 0 || n.places[at] < s.found) {
		s.found = n.places[at]
	}
}
