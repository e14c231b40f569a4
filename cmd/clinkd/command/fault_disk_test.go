package command_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// mounted mounts a file system at dir until the test ends, after what the test
// has started by then was ended; processes that it starts later end before.
func mounted(t *testing.T, dir string, args ...string) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("only root can mount a file system")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Skipf("nothing can be mounted: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", dir, err, out)
		}
	})
}

// fill writes a file until there is no room left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1024); err == nil; {
		_, err = f.Write(block)
	}
	if !strings.Contains(err.Error(), "no space left") {
		t.Fatal(err)
	}
}

// The disk that a link's queue is on is full while the peer is away. Nothing
// stops, and nothing is lost while the process lives.
func TestFaultSpoolDiskFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, `queue: {sync: "always", max_bytes: "64MB"}`)
	spool := filepath.Join(r.a.data, "site-a", "spool")
	mounted(t, spool, "-t", "tmpfs", "-o", "size=512k", "tmpfs")
	r.begin(r.a)
	r.begin(r.b)
	r.flow()
	r.b.road.set(func(w *road) { w.closed = true })
	r.b.road.reset()
	r.published()
	fill(t, filepath.Join(spool, "filler"))
	until(t, "messages that are not stored", func() bool { return r.a.metric("clink_link_dropped_total", `reason="not-stored"`) > 0 })
	r.published() // publishers do not wait
	until(t, "a word of it in the log", func() bool { return strings.Contains(r.a.log.String(), "no space left") })
	if err := os.Remove(filepath.Join(spool, "filler")); err != nil {
		t.Fatal(err)
	}
	r.b.road.heal()
	r.clean()
	r.whole()
	r.oncePerSend()
	if all, noted := r.a.metric("clink_link_dropped_total"), r.a.metric("clink_link_dropped_total", `reason="not-stored"`); all != noted {
		t.Errorf("%d messages were dropped, beside %d that were not stored", all-noted, noted)
	}
}

// Where a link's queue cannot be made, messages wait in memory.
func TestFaultSpoolReadOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, `queue: sync: "always"`)
	mounted(t, filepath.Join(r.a.data, "site-a", "spool"), "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs")
	r.begin(r.a)
	r.begin(r.b)
	r.flow()
	if log := r.a.log.String(); !strings.Contains(log, "read-only file system") {
		t.Errorf("the log does not say why:\n%s", log)
	}
	r.b.road.set(func(w *road) { w.closed = true })
	r.b.road.reset()
	r.published()
	r.b.road.heal()
	r.clean()
	r.whole()
	r.oncePerSend()
}

// A data directory that cannot be written ends clinkd with a clear text: it
// could keep no promise.
func TestFaultDataDirectoryReadOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	mounted(t, r.a.data, "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs")
	cmd := exec.CommandContext(t.Context(), r.bin, "run", "--site", "site-a", "--http", "127.0.0.1:0", "--data-dir", r.a.data, r.dir)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), r.a.data) || !strings.Contains(string(out), "read-only file system") {
		t.Errorf("%v: %s", err, out)
	}
}
