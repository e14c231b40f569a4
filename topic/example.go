package topic

import (
	"slices"
	"strconv"
	"strings"
)

// Example returns a topic name that f matches and none of the others does, and
// false if there is none: then f is covered by the others together, which
// [Filter.Covers] cannot tell of a single one (a and a/+/# together cover a/#).
func Example(f Filter, others []Filter) (string, bool) {
	s := seeking{others: others}
	for _, g := range others {
		if !dollarApart(f, g) {
			s.rests = append(s.rests, split(g))
		}
	}
	levels := split(f)
	last := len(levels) - 1
	open := levels[last] == "#"
	if open {
		levels = levels[:last]
	}
	for _, l := range levels {
		s.step(l)
	}
	// One level more and one more again: every length that f leaves open is a
	// case of its own until the others make no difference any more.
	for open && (s.matched() || s.nameless()) && !s.endless() {
		s.step("+")
	}
	if s.matched() {
		return "", false
	}
	return s.text(), true
}

// A seeking follows one name, level by level, through many filters at once.
//
// A level that f leaves open is one that no filter names: whatever matches
// that, matches every other level too, so no other choice could do better.
type seeking struct {
	others []Filter
	rests  [][]string // of the filters that match so far
	name   []string   // + for a level that no filter names
}

func (s *seeking) step(level string) {
	s.name = append(s.name, level)
	var left [][]string
	for _, r := range s.rests {
		switch {
		case lone(r, "#"):
			left = append(left, r)
		case len(r) > 0 && (r[0] == "+" || r[0] == level):
			left = append(left, r[1:])
		}
	}
	s.rests = left
}

// matched reports whether a filter matches the name as it is.
func (s *seeking) matched() bool {
	return slices.ContainsFunc(s.rests, func(r []string) bool { return len(r) == 0 || lone(r, "#") })
}

// nameless reports whether what there is of the name is the empty text, which
// is no topic name: /# matches it in theory alone.
func (s *seeking) nameless() bool {
	return len(s.name) == 0 || len(s.name) == 1 && s.name[0] == ""
}

// endless reports whether a filter matches the name and whatever may follow.
func (s *seeking) endless() bool {
	return slices.ContainsFunc(s.rests, func(r []string) bool { return lone(r, "#") })
}

// text is the name with a word for the levels left open.
func (s *seeking) text() string {
	named := map[string]bool{}
	for _, g := range s.others {
		for l := range strings.SplitSeq(string(g), "/") {
			named[l] = true
		}
	}
	word := "x"
	for i := 1; named[word]; i++ {
		word = "x" + strconv.Itoa(i)
	}
	levels := slices.Clone(s.name)
	for i, l := range levels {
		if l == "+" {
			levels[i] = word
		}
	}
	return strings.Join(levels, "/")
}
