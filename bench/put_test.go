package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"clink/compiler"
)

// The topologies that are changed and read must be clean, and as large as is
// said.
func TestPutTopologiesAreClean(t *testing.T) {
	for name, c := range map[string]struct {
		write        func(dir string) error
		sites, links int
	}{
		"put":           {func(dir string) error { return writePut(dir, "127.0.0.1:21001", "127.0.0.1:21002") }, putOthers + 2, 100},
		"hub":           {func(dir string) error { return writeHub(dir, 40, true) }, 41, 80},
		"hub, disabled": {func(dir string) error { return writeHub(dir, 40, false) }, 41, 80},
	} {
		dir := t.TempDir()
		if err := c.write(dir); err != nil {
			t.Fatal(err)
		}
		res, err := compiler.Compile(t.Context(), os.DirFS(dir), compiler.Options{Now: time.Now(), ReadFile: func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) }})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Findings) > 0 || len(res.Topology.Sites) != c.sites || res.Topology.Links() != c.links {
			t.Errorf("%s: %d sites, %d links, want %d, %d: %v", name, len(res.Topology.Sites), res.Topology.Links(), c.sites, c.links, res.Findings)
		}
	}
}

func TestPutOptions(t *testing.T) {
	for args, want := range map[string]string{
		"":                    "",
		"-row 0 -gets 0":      "",
		"-changes 1":          "-changes is from 2",
		"-row -1":             "from 0",
		"-links 0":            "-links is from 1",
		"-changes 3 and more": `unexpected argument "and"`,
	} {
		_, err := parsePut(strings.Fields(args))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func TestSpread(t *testing.T) {
	var l []time.Duration
	for n := range 200 {
		l = append(l, time.Duration(200-n)*time.Millisecond)
	}
	if got, want := spread(l), "**100.0 ms**, 198.0 ms, 200.0 ms"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := spread(l[:1]), "**200.0 ms**, 200.0 ms, 200.0 ms"; got != want {
		t.Errorf("of one: got %s, want %s", got, want)
	}
	if got := spread(nil); got != "" {
		t.Errorf("of none: %s", got)
	}
}

// All that is measured is done once or twice, whatever time it takes.
func TestPutMeasuresAll(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("changes are committed with git")
	}
	var out strings.Builder
	if err := measurePut(t.Context(), putOptions{changes: 2, row: 5, gets: 2, links: 3}, &out); err != nil {
		t.Fatalf("%v after\n%s", err, &out)
	}
	for _, row := range []string{
		`\| a topic more, a topic less \| no \| 2 \|`, `\| pair deleted, pair made \| no \| 2 \|`,
		`\| a topic more, a topic less \| a commit each \| 2 \|`, `\| pair deleted, pair made \| a commit each \| 2 \|`,
		`\n\| 0 \| [1-9]`, `\n\| 5 \| [1-9]`, `\nAll 5 are in git, a commit each\.\n`, `\n\| 3 \| links are disabled \| \d{4} \| 2 \|`, `\n\| 3 \| refuse connections \| \d{4} \| 2 \|`,
	} {
		if !regexp.MustCompile(row).MatchString(out.String()) {
			t.Errorf("%s is not in\n%s", row, &out)
		}
	}
}
