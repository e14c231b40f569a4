//go:build unix

package git

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestHookThatHangs(t *testing.T) {
	w := newWork(t)
	fifo := w.path("started")
	mkfifo(t, fifo)
	w.script(".git/hooks/pre-commit", "trap '' TERM\necho $$ >started\nwhile :; do sleep 1; done\n")
	w.write("new.cue", "n: 1\n")
	ctx, cancel := context.WithCancel(t.Context())
	pid := make(chan string, 1)
	go func() {
		b, _ := os.ReadFile(fifo) // until the hook has written and closed it
		pid <- strings.TrimSpace(string(b))
		cancel()
	}()
	_, err := w.open().Commit(ctx, w.change("new.cue"))
	w.wantError(err, context.Canceled)
	wantGone(t, <-pid)
	os.Remove(fifo)
	w.wantStatus("?? new.cue")
	if _, err := os.Stat(w.path(".git/index.lock")); err == nil {
		t.Error("the index is still locked")
	}
}

// A commit whose last hook is stopped is made all the same.
func TestHookThatHangsAfterwards(t *testing.T) {
	w := newWork(t)
	fifo := w.path("started")
	mkfifo(t, fifo)
	w.script(".git/hooks/post-commit", "echo $$ >started\nwhile :; do sleep 1; done\n")
	w.write("new.cue", "n: 1\n")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = os.ReadFile(fifo)
		cancel()
	}()
	id, err := w.open().Commit(ctx, w.change("new.cue"))
	if err != nil || id != w.git("rev-parse", "HEAD") {
		t.Errorf("Commit = %s, %v", id, err)
	}
	os.Remove(fifo)
	w.wantTouched("A new.cue")
	w.wantStatus()
}

func mkfifo(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantGone checks that a process has ended. One that was killed may still have
// to be collected by whoever inherits it.
func wantGone(t *testing.T, pid string) {
	t.Helper()
	id, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	for syscall.Kill(id, 0) == nil {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if errors.Is(err, os.ErrNotExist) || string(stat) != "" && zombie(string(stat)) {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal("the hook is still running")
		}
	}
}

func zombie(stat string) bool {
	for i := len(stat) - 1; i >= 0; i-- {
		if stat[i] == ')' {
			return i+2 < len(stat) && stat[i+2] == 'Z'
		}
	}
	return false
}
