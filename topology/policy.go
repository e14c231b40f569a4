package topology

import (
	"slices"
	"strings"

	"clink/diagnostic"
	"clink/topic"
)

// A Policy is what a team says of flows (policy.flows): from each site that
// From chooses to each other one that To chooses, messages under Topics must
// never travel, or must always be able to.
type Policy struct {
	Name     string
	Always   bool // they must; else they must never
	Topics   []topic.Filter
	From, To Selector

	Pos diagnostic.Pos // of its label, never or always
}

// Equal reports whether two policies say the same; where they stand does not
// count.
func (p Policy) Equal(q Policy) bool {
	same := func(a, b Choice) bool { return a.Label == b.Label && slices.Equal(a.Values, b.Values) }
	return p.Name == q.Name && p.Always == q.Always && slices.Equal(p.Topics, q.Topics) &&
		slices.EqualFunc(p.From, q.From, same) && slices.EqualFunc(p.To, q.To, same)
}

// A Selector chooses the sites that meet every condition, in order of label.
// Without a condition it chooses all.
type Selector []Choice

// SelectSite is the label that stands for the site's own name.
const SelectSite = "site"

// A Choice is met by a site whose label has one of the values that are
// written as they are, if there are such, and none of those written as !x. The
// value of a label that a site does not have is empty. Without any value it is
// met by none.
type Choice struct {
	Label  string
	Values []string
}

// Chooses reports whether the selector chooses the site.
func (s Selector) Chooses(site *Site) bool {
	for _, c := range s {
		value := site.Labels[c.Label]
		if c.Label == SelectSite {
			value = site.Name
		}
		if !c.Met(value) {
			return false
		}
	}
	return true
}

// Met reports whether a label's value meets the condition.
func (c Choice) Met(value string) bool {
	wants, has := false, false
	for _, v := range c.Values {
		if not, ok := strings.CutPrefix(v, "!"); ok {
			if not == value {
				return false
			}
			continue
		}
		wants, has = true, has || v == value
	}
	return len(c.Values) > 0 && (has || !wants)
}
