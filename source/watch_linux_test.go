package source

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSnapshotWithoutPermission reads as another user would, also where the
// tests run as root.
func TestSnapshotWithoutPermission(t *testing.T) {
	for _, name := range []string{"a.cue", "rules"} {
		dir := topologyDir(t)
		openUp(t, dir)
		must(t, os.Chmod(filepath.Join(dir, name), 0))
		err := asNobody(t, func() error {
			_, err := open(t, dir, Options{}).Snapshot(context.Background())
			return err
		})
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), name+": permission denied") {
			t.Errorf("Snapshot with %s closed: %v", name, err)
		}
		must(t, os.Chmod(filepath.Join(dir, name), 0o755))
	}
}

// openUp lets every user come to dir.
func openUp(t *testing.T, dir string) {
	t.Helper()
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		must(t, os.Chmod(up, 0o755))
	}
}

// asNobody calls f on a thread without root's right to read everything.
func asNobody(t *testing.T, f func() error) error {
	t.Helper()
	if os.Getuid() != 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	must(t, syscall.Setfsuid(65534))
	defer syscall.Setfsuid(0)
	return f()
}

// TestWatchSurvivesOverflow makes more events than the kernel keeps while
// nobody takes them, so that the one that matters is lost.
func TestWatchSurvivesOverflow(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	dir := topologyDir(t)
	log := logged{make(chan string, 10000)}
	d := open(t, dir, Options{Log: slog.New(log), Rescan: time.Hour})
	w := &watch{t: t, d: d, wakes: make(chan struct{}, 1000), log: log}
	ctx, cancel := context.WithCancel(t.Context())
	release, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- d.Watch(ctx, func() {
			w.wakes <- struct{}{}
			<-release
		})
	}()
	w.wake()
	names := []string{filepath.Join(dir, "x"), filepath.Join(dir, "y")}
	must(t, os.WriteFile(names[0], nil, 0o644))
	for i := range limit { // two events each
		must(t, os.Rename(names[i%2], names[(i+1)%2]))
	}
	write(t, dir, "a.cue", "two")
	close(release)
	w.line("overflow")
	w.sees("a.cue", "two")
	cancel()
	must(t, <-done)
}

// TestWatchLooksWithoutEvents has the system refuse to watch the directory
// around, which is closed to the user.
func TestWatchLooksWithoutEvents(t *testing.T) {
	outside, dir := t.TempDir(), topologyDir(t)
	openUp(t, dir)
	write(t, outside, "b", "one")
	must(t, os.Link(filepath.Join(outside, "b"), filepath.Join(dir, "b.cue")))
	must(t, os.Chmod(filepath.Dir(dir), 0o311))
	log := logged{make(chan string, 10000)}
	d := open(t, dir, Options{Log: slog.New(log), Rescan: time.Hour})
	w := &watch{t: t, d: d, wakes: make(chan struct{}, 1000), log: log}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- asNobody(t, func() error { return d.Watch(ctx, func() { w.wakes <- struct{}{} }) })
	}()
	w.wake()
	w.line("does not watch all")
	write(t, outside, "b", "two")
	w.sees("b.cue", "two")
	cancel()
	must(t, <-done)
}
