package command

import (
	"fmt"
	"slices"

	"clink/diagnostic"
)

// gathered tells once what one line makes many times: a fault in a template or
// a comprehension is one fault, however many links have it from there.
func gathered(l diagnostic.List) diagnostic.List {
	type origin struct {
		rule     string
		pos      diagnostic.Pos
		severity diagnostic.Severity
	}
	first, kin := map[origin]int{}, map[int]int{}
	var out diagnostic.List
	for _, d := range l {
		if !d.Shared {
			out = append(out, d)
			continue
		}
		o := origin{d.Rule, d.Pos, d.Severity}
		i, again := first[o]
		if !again {
			i, first[o] = len(out), len(out)
			d.Sites = slices.Clone(d.Sites)
			out = append(out, d)
		}
		kin[i] += max(1, len(d.Links)) // those with the same words are one already
		for _, s := range d.Sites {
			if !slices.Contains(out[i].Sites, s) {
				out[i].Sites = append(out[i].Sites, s)
			}
		}
	}
	for i, n := range kin {
		if n > 1 {
			out[i].Message += fmt.Sprintf("; %d more of the kind come from here", n-1)
		}
	}
	return out
}
