package compiler_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"clink/compiler"
)

// slow takes some seconds: long enough to be given up, and it ends.
const slow = `package topology

import "list"

_a: list.Range(0, 1500, 1)
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
		{"among files that stand alone", "evaluating m.cue given up: it took more than 400ms",
			fstest.MapFS{"a.cue": text(strings.ReplaceAll(good, "%", "a")), "m.cue": text(slow), "z.cue": text(strings.ReplaceAll(good, "%", "z"))}},
		{"among files that refer to one another", "evaluating m.cue or n.cue given up",
			fstest.MapFS{"a.cue": text(strings.ReplaceAll(good, "%", "a")), "m.cue": text(slow), "n.cue": text("package topology\n\nsites: c: labels: sites.a.labels\n")}},
		{"among a team's own rules", "evaluating rules/slow.cue given up",
			fstest.MapFS{"a.cue": text(strings.ReplaceAll(good, "%", "a")), "rules/slow.cue": text(strings.ReplaceAll(strings.ReplaceAll(slow, "topology", "rules"), "sites: b: labels: x: \"\\(len(_b))\"", "findings: x: _b"))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := compiler.Compile(context.Background(), tt.files, compiler.Options{Timeout: 400 * time.Millisecond})
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
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
