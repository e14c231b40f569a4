package writeback

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"clink/diagnostic"
	"clink/source/splice"
)

// judge refuses a change that brings findings which gate, or with Strict any.
// What was there before stands in nobody's way: an incident is no time to be
// asked to mend something else.
func (c *change) judge() error {
	if len(c.files) == 0 {
		return nil
	}
	var grave diagnostic.List
	for _, d := range c.fresh() {
		rule, known := diagnostic.FindRule(d.Rule)
		if known && rule.Gates && holds(d) || c.r.Strict {
			grave = append(grave, d)
		}
	}
	if len(grave) == 0 {
		return nil
	}
	var texts []string
	for _, d := range grave[:min(len(grave), maxTexts)] {
		texts = append(texts, d.Pos.String()+": "+d.Message)
	}
	if n := len(grave) - maxTexts; n > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", n))
	}
	r := refuse(Invalid, "nothing was written: %s", strings.Join(texts, "; "))
	r.Findings = grave[:min(len(grave), maxFindings)]
	return r
}

// What a refusal tells at most. One body can bring a finding for each of its
// words.
const (
	maxTexts    = 5
	maxFindings = 100
)

// holds reports whether a finding of a rule that gates does so in this case:
// it does where it holds a link or site back, or says that something cannot be
// read at all.
func holds(d diagnostic.Diagnostic) bool {
	return len(d.Holds) > 0 || d.Rule == "schema"
}

// fresh are the findings that were not there before, as often as they are there
// now. Positions do not tell them apart: they move. What they hold back does: a
// fault that goes from one link to another is new there, though its words are
// the same.
func (c *change) fresh() diagnostic.List {
	key := func(d diagnostic.Diagnostic) string {
		scopes := make([]string, len(d.Holds))
		for i, h := range d.Holds {
			scopes[i] = h.Site + "\x00" + h.Peer
		}
		slices.Sort(scopes)
		return strings.Join(slices.Concat([]string{d.Rule, cmp.Or(d.Key, d.Message)}, d.Sites, scopes), "\x00")
	}
	had := map[string]int{}
	for _, d := range c.before.Findings {
		had[key(d)]++
	}
	var l diagnostic.List
	for _, d := range c.after.Findings {
		if k := key(d); had[k] > 0 {
			had[k]--
			continue
		}
		l = append(l, d)
	}
	return l
}

// told are the findings that the answer tells: those that are new, and those
// that name a half which was touched.
func (c *change) told() diagnostic.List {
	l := c.fresh()
	for _, d := range c.after.Findings {
		names := slices.ContainsFunc(c.edits, func(e splice.LinkEdit) bool {
			return slices.Contains(d.Sites, e.Site) && slices.Contains(d.Sites, e.Peer)
		})
		if names {
			l = append(l, d)
		}
	}
	return l.Sort()
}
