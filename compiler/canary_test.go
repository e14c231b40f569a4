package compiler_test

import (
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
)

// Two defects of cue v0.17.1 that the rules steer clear of. When one of these
// fails after an upgrade, the defect is gone, and so is that constraint.
func TestDefectsOfCUE(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"let before a field added to what is gone through": {
			`items: {a: {n: 1}}
items: {
	for k, v in items {
		let x = v.n + 1
		(k): derived: x
	}
}`, "not allowed"},
		"a guard with len around a list that another one made": {
			`site: {
	name: "a"
	if false {host: "h"}
	if false {port: 1}
}
found: [if len(site) > 1 {site}]
if len(found) != 0 {report: found}`, "incomplete"},
	} {
		err := cuecontext.New().CompileString(tt.text).Validate(cue.Concrete(true))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
