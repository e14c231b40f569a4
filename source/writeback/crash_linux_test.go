package writeback_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"clink/source/writeback"
)

const (
	crashDir  = "CLINK_TEST_CRASH_DIR"
	crashStep = "CLINK_TEST_CRASH_STEP"
)

func pairRequest(t *testing.T) writeback.Request {
	return writeback.Request{Op: writeback.Create, Site: "a", Pair: true, Links: []map[string]any{fields(t, `{"name":"c","server":"127.0.0.1:1885","username":"a","password":"clear","topics":["x"]}`)}}
}

// TestCrashChild is the process that dies; on its own it does nothing.
func TestCrashChild(t *testing.T) {
	if os.Getenv(crashDir) == "" {
		t.Skip("run by TestEditSurvivesKill")
	}
	w := openWorld(t, os.Getenv(crashDir), func(what string) {
		if what == os.Getenv(crashStep) {
			must(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
		}
	})
	w.edit(pairRequest(t))
	t.Fatal("not killed")
}

// Killed at any step, both halves are there or none, and whatever the source
// refers to exists.
func TestEditSurvivesKill(t *testing.T) {
	var steps []string
	w := newWorld(t)
	openWorld(t, w.dir, func(what string) { steps = append(steps, what) }).edit(pairRequest(t))
	if len(steps) < 10 {
		t.Fatalf("the steps are %q", steps)
	}
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
			cmd.Env = append(os.Environ(), crashDir+"="+w.dir, crashStep+"="+step)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child ended with %v: %s", err, out)
			}
			w.referred()
			must(t, w.d.Recover(t.Context()))
			w.referred()
			a, c := strings.Contains(w.read("a.cue"), `"c": {`), strings.Contains(w.read("c.cue"), "links")
			if a != c {
				t.Errorf("of the two halves, a's is there: %v, c's: %v", a, c)
			}
			w.edit(writeback.Request{Op: writeback.Put, Site: "a", Pair: true, Links: pairRequest(t).Links})
		})
	}
}

// referred checks that each file exists that the source refers to.
func (w *world) referred() {
	w.t.Helper()
	for name, text := range w.files() {
		if !strings.HasSuffix(name, ".cue") {
			continue
		}
		for _, part := range strings.Split(text, `"file://`)[1:] {
			ref, _, _ := strings.Cut(part, `"`)
			if _, err := os.Stat(filepath.Join(w.dir, ref)); err != nil {
				w.t.Errorf("%s refers to %s: %v", name, ref, err)
			}
		}
	}
}
