package command

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clink/source"

	"go.uber.org/goleak"
)

// A source whose evaluation was given up is not evaluated again until it
// changes: what was given up is still going on.
func TestEndlessSourceIsTriedOnce(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.cue")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("package topology\n\nimport \"list\"\n\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What is given up ends some time: wait for that.
	t.Cleanup(func() {
		for began := time.Now(); goleak.Find() != nil; {
			if time.Since(began) > 5*time.Minute {
				t.Fatal("the evaluation did not end")
			}
		}
	})
	src, err := source.Open(dir, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l := &loader{dir: src, dataDir: t.TempDir(), log: slog.New(slog.NewTextHandler(&log, nil)), timeout: 100 * time.Millisecond}
	for n := 500; err == nil; n *= 2 { // until that is too much for this machine
		write(fmt.Sprintf("_a: list.Range(0, %d, 1)\n_b: [for x in _a for y in _a if x == -1 {y}]\nsites: a: labels: x: \"\\(len(_b))\"\n", n))
		_, err = l.load(t.Context())
	}
	if !strings.Contains(err.Error(), "evaluating a.cue given up") {
		t.Fatalf("first: %v", err)
	}
	l.timeout = 0 // a second evaluation would succeed
	if _, err := l.load(t.Context()); err == nil || !strings.Contains(err.Error(), "evaluating a.cue given up") || !strings.Contains(err.Error(), "not tried again") {
		t.Fatalf("second: %v", err)
	}
	if n := strings.Count(log.String(), "given up"); n == 0 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("log: %s", log.String())
	}
	write("sites: a: labels: x: \"\\(len(list.Range(0, 7, 1)))\"\n")
	for range 2 {
		d, err := l.load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Topology.Sites["a"].Labels["x"]; got != "7" {
			t.Errorf("label %q", got)
		}
	}
}
