package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDigest(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "s/a", "one")
	write(t, dir, "s/b", "two")
	files := []string{"s/a", "s/b", "s/missing"}
	start := Digest(dir, files)
	same := map[string]string{
		"order":         Digest(dir, []string{"s/missing", "s/b", "s/a"}),
		"repetition":    Digest(dir, append(files, "s/a")),
		"absolute name": Digest(dir, []string{filepath.Join(dir, "s/a"), "s/b", "s/missing"}),
	}
	for name, got := range same {
		if got != start {
			t.Errorf("%s changes the digest", name)
		}
	}
	seen := map[string]string{start: "the start"}
	step := func(name string) {
		t.Helper()
		d := Digest(dir, files)
		if was, ok := seen[d]; ok || d == "" || strings.Contains(d, "one") {
			t.Errorf("after %s the digest is that of %s", name, was)
		}
		seen[d] = name
	}
	write(t, dir, "s/a", "uno")
	step("a change")
	write(t, dir, "s/missing", "")
	step("coming to be")
	must(t, os.Remove(filepath.Join(dir, "s/b")))
	step("going away")
	must(t, os.Mkdir(filepath.Join(dir, "s/b"), 0o755))
	step("becoming a directory")
	if d := Digest(dir, nil); d != "" {
		t.Errorf("Digest of no files = %q", d)
	}
}
