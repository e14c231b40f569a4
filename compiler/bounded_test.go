package compiler_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"clink/compiler"
)

// slow is given up, and it ends.
const slow = `package topology

import "list"

_a: list.Range(0, ` + many + `, 1)
_b: [for x in _a for y in _a if x == -1 {y}]
sites: b: labels: x: "\(len(_b))"
`

// What is given up says in which file the time goes.
func TestTimeoutNamesTheFile(t *testing.T) {
	const good = "package topology\n\nsites: %: labels: x: \"1\"\n"
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, tt := range []struct {
		name, want string
		files      fstest.MapFS
	}{
		{"among files that stand alone", "evaluating m.cue given up: it took more than TIME",
			fstest.MapFS{"a.cue": text(strings.ReplaceAll(good, "%", "a")), "m.cue": text(slow), "z.cue": text(strings.ReplaceAll(good, "%", "z"))}},
		{"among files that refer to one another", "evaluating m.cue or n.cue given up",
			fstest.MapFS{"a.cue": text(strings.ReplaceAll(good, "%", "a")), "m.cue": text(slow), "n.cue": text("package topology\n\nsites: c: labels: sites.a.labels\n")}},
		{"among a team's own rules", "evaluating rules/slow.cue given up",
			fstest.MapFS{"a.cue": text(strings.ReplaceAll(good, "%", "a")), "rules/slow.cue": text(strings.ReplaceAll(strings.ReplaceAll(slow, "topology", "rules"), "sites: b: labels: x: \"\\(len(_b))\"", "findings: x: _b"))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			gaveUp(t, tt.files, tt.want)
		})
	}
}

// gaveUp has a compilation be given up while it evaluates what is slow, and
// checks that the error says so. How soon it comes there is up to the machine:
// it gets more time until it does, and it has failed if it comes to an end.
func gaveUp(t *testing.T, files fs.FS, want string) {
	t.Helper()
	var told []error
	for timeout := 100 * time.Millisecond; ; timeout *= 2 {
		_, err := compiler.Compile(context.Background(), files, compiler.Options{Timeout: timeout})
		told = append(told, err)
		switch {
		case !errors.Is(err, context.DeadlineExceeded):
			t.Fatalf("told %v, want %q", told, want)
		case strings.Contains(err.Error(), strings.ReplaceAll(want, "TIME", timeout.String())):
			return
		}
	}
}

func TestPhases(t *testing.T) {
	files := ring(10)
	r := compile(t, files)
	want := map[string]string{"files": "10 files, ", "evaluate": "10 of 10 files alone", "rules": "20 links"}
	for _, p := range r.Phases {
		if !strings.HasPrefix(p.Note, want[p.Name]) {
			t.Errorf("phase %s: note %q, want %q", p.Name, p.Note, want[p.Name])
		}
		if p.Took <= 0 {
			t.Errorf("phase %s took %v", p.Name, p.Took)
		}
		delete(want, p.Name)
	}
	if len(want) > 0 {
		t.Errorf("%v is missing in %v", want, r.Phases)
	}
	files["site-00003.cue"].Data = append([]byte("// changed\n"), files["site-00003.cue"].Data...)
	again, err := compiler.Compile(context.Background(), files, compiler.Options{Previous: r})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range again.Phases {
		if p.Name == "evaluate" && p.Note != "1 of 10 files alone" {
			t.Errorf("after one change: %q", p.Note)
		}
	}
}
