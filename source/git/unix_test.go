//go:build unix

package git

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"testing"
)

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
