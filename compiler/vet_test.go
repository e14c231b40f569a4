package compiler_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clink/diagnostic"
)

var update = flag.Bool("update", false, "write what is found into want.txt")

// wanted is the form of want.txt: a line a finding, indented below it the
// related places, the help and what it holds back.
func wanted(l diagnostic.List) string {
	var b strings.Builder
	for _, d := range l {
		fmt.Fprintf(&b, "%s[%s] %s %s\n", d.Severity, d.Rule, span(d.Pos), d.Message)
		if d.Label != "" {
			fmt.Fprintf(&b, "  label %s\n", d.Label)
		}
		for _, r := range d.Related {
			fmt.Fprintf(&b, "  see %s %s\n", span(r.Pos), r.Message)
		}
		if d.Help != "" {
			fmt.Fprintf(&b, "  help %s\n", d.Help)
		}
		fmt.Fprintf(&b, "  sites %s\n", strings.Join(d.Sites, " "))
		for _, h := range d.Holds {
			fmt.Fprintf(&b, "  holds %s %s\n", h.Site, h.Peer)
		}
	}
	return b.String()
}

func span(p diagnostic.Pos) string {
	if p.Line == p.EndLine {
		return fmt.Sprintf("%v-%d", p, p.EndColumn)
	}
	return fmt.Sprintf("%v-%d:%d", p, p.EndLine, p.EndColumn)
}

// Each folder of testdata/vet is a topology, named after a rule and a case, and
// want.txt is all that is found in it.
func TestVet(t *testing.T) {
	dirs, err := filepath.Glob("testdata/vet/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no cases", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := wanted(compile(t, os.DirFS(dir)).Findings)
			file := filepath.Join(dir, "want.txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("found:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// A rule has two bad cases at least and one that is nearly bad.
func TestVetCoversEveryRule(t *testing.T) {
	dirs, err := filepath.Glob("testdata/vet/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range diagnostic.Rules() {
		if r.Explanation == nil || r.Name == "name-unsafe" {
			continue
		}
		bad, near := 0, 0
		for _, dir := range dirs {
			found, err := os.ReadFile(filepath.Join(dir, "want.txt"))
			if err != nil {
				t.Fatal(err)
			}
			rest, ok := strings.CutPrefix(filepath.Base(dir), r.Name+"-")
			switch {
			case strings.Contains(string(found), "["+r.Name+"]"):
				bad++
			case ok && strings.HasPrefix(rest, "ok"):
				near++
			}
		}
		if bad < 2 || near < 1 {
			t.Errorf("%s: %d bad cases and %d near ones", r.Name, bad, near)
		}
	}
}
