package compiler_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clink/compiler"
	"clink/diagnostic"
	"clink/internal/secret"
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

// corpus holds the topologies that are looked at, one folder each, named after
// a rule and a case. Those under bad have all that is found in them in
// want.txt; nothing is found in those under good, which are nearly bad.
const corpus = "../testdata/topologies"

// vetted is the day on which the corpus is looked at.
var vetted = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// vet is what is found in a folder, certificates and all.
func vet(t *testing.T, dir string) diagnostic.List {
	t.Helper()
	fsys := os.DirFS(dir)
	opts := compiler.Options{
		Now:      vetted,
		ReadFile: func(name string) ([]byte, error) { return fs.ReadFile(fsys, name) },
	}
	if strings.Contains(dir, "/secret-unreadable-") {
		opts.Here = []string{"a", "b"}
		opts.Secret = func(r secret.Ref) error {
			_, err := r.Resolve(dir)
			return err
		}
	}
	r, err := compiler.Compile(t.Context(), fsys, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r.Findings
}

func TestVet(t *testing.T) {
	dirs, err := filepath.Glob(corpus + "/*/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no cases", err)
	}
	for i, dir := range dirs {
		if testing.Short() && i%4 > 0 {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := wanted(vet(t, dir))
			file := filepath.Join(dir, "want.txt")
			if filepath.Base(filepath.Dir(dir)) == "good" {
				if got != "" {
					t.Errorf("found:\n%s\nwant nothing", got)
				}
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) || got == "" {
				t.Errorf("found:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// A rule has two bad cases at least and one that is nearly bad.
func TestVetCoversEveryRule(t *testing.T) {
	bad := map[string]int{}
	dirs, err := filepath.Glob(corpus + "/bad/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		found, err := os.ReadFile(filepath.Join(dir, "want.txt"))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range diagnostic.Rules() {
			if strings.Contains(string(found), "["+r.Name+"]") {
				bad[r.Name]++
			}
		}
	}
	for _, r := range diagnostic.Rules() {
		if r.Explanation == nil {
			continue
		}
		near, err := filepath.Glob(corpus + "/good/" + r.Name + "-*")
		if err != nil {
			t.Fatal(err)
		}
		if bad[r.Name] < 2 || len(near) < 1 {
			t.Errorf("%s: %d bad cases and %d near ones", r.Name, bad[r.Name], len(near))
		}
	}
}
