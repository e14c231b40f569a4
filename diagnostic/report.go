package diagnostic

import (
	"fmt"
	"strings"
)

// A Report is the outcome of one check, ready to be printed. Each format that
// it can be printed in is a method of it, in a file of its own.
type Report struct {
	Revision string            // of the source that was checked
	Findings List              // in the order in which they are printed
	Waived   List              // what is accepted: counted, and shown where a format has a place for it
	Sites    int               // how many were checked
	Links    int               // how many were checked
	Sources  map[string][]byte // by Pos.File, for snippets; a file that is not here is named without one

	Names   []string // of the sites that were checked
	Version string   // of the program that checked
	FailOn  Severity // from which severity on a finding fails the check; Off: Error
	// Prefix is the topology directory as seen from the root of the checkout,
	// slash-separated, for the formats that a code host reads. "": it is that.
	Prefix string
}

// summary says for people what was found, or that nothing was, and in what.
func (r Report) summary() string {
	checked := plural(r.Sites, "site") + ", " + plural(r.Links, "link")
	var found []string
	for s := Error; s > Off; s-- {
		if n := r.Findings.Count(s); n > 0 {
			found = append(found, plural(n, s.String()))
		}
	}
	waived := ""
	if n := len(r.Waived); n > 0 {
		waived = fmt.Sprintf(", %d waived", n)
	}
	if found == nil {
		return checked + ": no findings" + waived
	}
	return strings.Join(found, ", ") + waived + " in " + checked
}

// plural writes a count of things; an info is one finding among infos.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
