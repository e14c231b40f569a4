package command

import "clink/internal/suggest"

// didYouMean is a question after the nearest of the known words, or "" where
// none is near: more than a third of it would have to change.
func didYouMean(word string, known []string) string {
	if len(word) > 100 {
		return "" // no word of ours: not worth the square
	}
	best, least := "", len(word)/3+1
	for _, k := range known {
		if d := suggest.Distance(word, k, least); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}
