package httpapi

import "strings"

// didYouMean names the one candidate that a misspelt word is close to.
func didYouMean(word string, candidates []string) string {
	best, most, tied := "", 3, false
	for _, c := range candidates {
		switch d := distance(strings.ToLower(word), c); {
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

// distance is the number of letters to insert, delete or replace to make b of
// a; of words that cannot be close it only says that.
func distance(a, b string) int {
	if len(a) > len(b)+3 || len(b) > len(a)+3 {
		return 4
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
