package diagnostic

import "regexp"

// maskText stands in a snippet for a credential, whatever its length.
const maskText = "******"

// credential matches a field that holds a credential, with a string literal as
// its value. The one group that takes part is the inside of the literal; of
// forms that may go on below the line, or whose end is not plain to see, it is
// the rest of the line.
var credential = regexp.MustCompile(`\b(?:password|password_hash|secret)"?[?!]?\s*:\s*(?:` +
	`(?:"""|'''|##+["'])(.*)|` +
	`#["'](.*?)(?:["']#|$)|` +
	`"((?:\\.|[^"\\])*)|` +
	`'((?:\\.|[^'\\])*))`)

// reference is the beginning of a text that names a credential and is none.
var reference = regexp.MustCompile(`^(?:file|env)://`)

// labelStart and labelEnd match what of a rule's name a text begins or ends with.
var labelStart, labelEnd = regexp.MustCompile(`^[a-z-]+`), regexp.MustCompile(`[a-z-]*$`)

// isRuleName reports whether a field whose name ends as a credential's does is
// called after a rule, such as "literal-secret" in the policy.
func isRuleName(line []byte, at int) bool {
	_, known := FindRule(string(labelEnd.Find(line[:at])) + string(labelStart.Find(line[at:])))
	return known
}

// secrets returns the parts of a source line, as ascending byte offsets (from,
// to), that must not be shown: a snippet may stand in a log or a pull request.
func secrets(line []byte) [][2]int {
	var l [][2]int
	for _, m := range credential.FindAllSubmatchIndex(line, -1) {
		if isRuleName(line, m[0]) {
			continue
		}
		for m = m[2:]; len(m) > 0; m = m[2:] {
			if from, to := m[0], m[1]; from >= 0 && from < to && !reference.Match(line[from:to]) {
				l = append(l, [2]int{from, to})
			}
		}
	}
	return l
}
