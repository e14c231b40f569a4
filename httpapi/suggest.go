package httpapi

import (
	"strings"

	"clink/internal/suggest"
)

// reach is how far off a candidate may not be any more.
const reach = 3

// didYouMean names the one candidate that a misspelt word is close to.
func didYouMean(word string, candidates []string) string {
	best, most, tied := "", reach, false
	for _, c := range candidates {
		switch d := suggest.Distance(strings.ToLower(word), c, reach); {
		case d < most:
			best, most, tied = c, d, false
		case d == most:
			tied = true
		}
	}
	if best == "" || tied || len(word) <= most {
		return ""
	}
	return "; did you mean " + best + "?"
}
