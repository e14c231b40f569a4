package compiler

import (
	"slices"
	"strings"
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
		d := distance(word, strings.ToLower(c), bestAt)
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
		return len(c) > 256 || distance(word, strings.ToLower(c), most) > most
	})
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to make b of a; above most it is most+1.
func distance(a, b string, most int) int {
	if d := len(a) - len(b); d > most || -d > most {
		return most + 1
	}
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		if slices.Min(row) > most {
			return most + 1
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
