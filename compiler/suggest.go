package compiler

import (
	"slices"
	"strings"

	words "clink/internal/suggest" // suggest is a function here
)

// suggest returns the one candidate that was most likely meant by the
// misspelt word, or "": it must be close, and closer than any other.
func suggest(word string, candidates []string) string {
	if len(word) > 256 {
		return ""
	}
	as := word // it is written
	word = strings.ToLower(word)
	best, bestAt, tied := "", reach(word), false
	for _, c := range candidates {
		if c == as || len(c) > 256 {
			continue
		}
		d := words.Distance(word, strings.ToLower(c), bestAt)
		switch {
		case d < bestAt || d == bestAt && best == "":
			best, bestAt, tied = c, d, false
		case d == bestAt:
			tied = true
		}
	}
	if tied || bestAt >= max(len(word), len(best)) {
		return ""
	}
	return best
}

// reach is how far off a candidate may be.
func reach(word string) int { return min(len(word)/3+1, 4) }

// nearTo returns the candidates that suggest would look at twice.
func nearTo(word string, candidates []string) []string {
	if len(word) > 256 {
		return nil
	}
	word = strings.ToLower(word)
	most := reach(word)
	return slices.DeleteFunc(slices.Clone(candidates), func(c string) bool {
		return len(c) > 256 || words.Distance(word, strings.ToLower(c), most) > most
	})
}
