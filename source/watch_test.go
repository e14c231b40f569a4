package source

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// topologyDir returns a new directory with one site and a rules directory, in
// a parent of its own.
func topologyDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "topology")
	write(t, dir, "a.cue", "one")
	write(t, dir, "rules/r.cue", "one")
	return dir
}

func rename(t *testing.T, dir, from, to string) {
	t.Helper()
	must(t, os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)))
}

// TestWatchSees has each way in which editors and tools change files.
func TestWatchSees(t *testing.T) {
	tests := []struct {
		name       string
		do         func(t *testing.T, dir string)
		file, text string
	}{
		{"in-place write", func(t *testing.T, dir string) { write(t, dir, "a.cue", "two") }, "a.cue", "two"},
		{"write of the same length", func(t *testing.T, dir string) { write(t, dir, "a.cue", "eno") }, "a.cue", "eno"},
		{"rename over", func(t *testing.T, dir string) {
			write(t, dir, ".a.cue.tmp", "two")
			rename(t, dir, ".a.cue.tmp", "a.cue")
		}, "a.cue", "two"},
		{"as vim does", func(t *testing.T, dir string) {
			must(t, os.Remove(touch(t, dir, "4913")))
			rename(t, dir, "a.cue", "a.cue~")
			write(t, dir, "a.cue", "two")
			must(t, os.Remove(filepath.Join(dir, "a.cue~")))
		}, "a.cue", "two"},
		{"new file", func(t *testing.T, dir string) { write(t, dir, "b.cue", "b") }, "b.cue", "b"},
		{"deleted file", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "rules/r.cue"))) }, "rules/r.cue", ""},
		{"file moved in", func(t *testing.T, dir string) {
			write(t, filepath.Dir(dir), "b", "b")
			rename(t, filepath.Dir(dir), "b", "topology/b.cue")
		}, "b.cue", "b"},
		{"subdirectory's file", func(t *testing.T, dir string) { write(t, dir, "rules/r.cue", "two") }, "rules/r.cue", "two"},
		{"new subdirectories with a file at once", func(t *testing.T, dir string) { write(t, dir, "x/y/z/b.cue", "b") }, "x/y/z/b.cue", "b"},
		{"subdirectory deleted", func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Join(dir, "rules"))) }, "rules/r.cue", ""},
		{"subdirectory replaced", func(t *testing.T, dir string) {
			rename(t, dir, "rules", ".old")
			write(t, dir, "rules/r.cue", "two")
		}, "rules/r.cue", "two"},
		{"directory deleted and made anew", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir))
			write(t, dir, "a.cue", "two")
		}, "a.cue", "two"},
		{"directory replaced by a rename", func(t *testing.T, dir string) {
			write(t, dir+".new", "a.cue", "two")
			must(t, os.Rename(dir, dir+".old"))
			must(t, os.Rename(dir+".new", dir))
		}, "a.cue", "two"},
		{"parent deleted and made anew", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(filepath.Dir(dir)))
			write(t, dir, "a.cue", "two")
		}, "a.cue", "two"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := topologyDir(t)
			w := startWatch(t, dir, Options{})
			tt.do(t, dir)
			w.sees(tt.file, tt.text)
			// Whatever happened to the directories, they are watched again.
			write(t, dir, "a.cue", "three")
			w.sees("a.cue", "three")
			write(t, dir, "rules/r.cue", "three")
			w.sees("rules/r.cue", "three")
		})
	}
}

func TestWatchSeesConfigMapSwap(t *testing.T) {
	dir := t.TempDir()
	configMap(t, dir, "..v1", map[string]string{"a.cue": "one", "rules/r.cue": "one"})
	w := startWatch(t, dir, Options{})
	for i, text := range []string{"two", "three", "four"} {
		configMap(t, dir, fmt.Sprintf("..v%d", i+2), map[string]string{"a.cue": text, "rules/r.cue": text})
		w.sees("a.cue", text)
	}
}

func TestWatchSeesRootLinkSwitched(t *testing.T) {
	top := t.TempDir()
	write(t, top, "r1/a.cue", "one")
	write(t, top, "r2/a.cue", "two")
	must(t, os.Symlink("r1", filepath.Join(top, "current")))
	w := startWatch(t, filepath.Join(top, "current"), Options{})
	write(t, top, "r1/a.cue", "one more")
	w.sees("a.cue", "one more")
	must(t, os.Symlink("r2", filepath.Join(top, "next")))
	rename(t, top, "next", "current")
	w.sees("a.cue", "two")
	write(t, top, "r2/a.cue", "two more")
	w.sees("a.cue", "two more")
}

func TestWatchSeesLinkedFileChange(t *testing.T) {
	outside, dir := t.TempDir(), topologyDir(t)
	write(t, outside, "shared.cue", "one")
	must(t, os.Symlink(filepath.Join(outside, "shared.cue"), filepath.Join(dir, "s.cue")))
	w := startWatch(t, dir, Options{})
	write(t, outside, "shared.cue", "two")
	w.sees("s.cue", "two")
}

// TestWatchWaitsForGit has a checkout of a hundred files that pauses half way:
// the tree in between must not be seen.
func TestWatchWaitsForGit(t *testing.T) {
	work := t.TempDir()
	dir := mkdir(t, work, "topology")
	name := func(i int) string { return fmt.Sprintf("s%02d.cue", i) }
	for i := range 100 {
		write(t, dir, name(i), "one")
	}
	write(t, work, ".git/HEAD", "ref: refs/heads/main\n")
	w := startWatch(t, dir, Options{})
	lock := touch(t, work, ".git/index.lock")
	checkout := func(from, to int) {
		for i := from; i < to; i++ {
			must(t, os.Remove(filepath.Join(dir, name(i))))
			write(t, dir, name(i), "two")
		}
	}
	checkout(0, 50)
	w.line("waiting for git")
	checkout(50, 100)
	must(t, os.Remove(lock))
	w.wake()
	s := snapshot(t, w.d)
	for i := range 100 {
		if got, err := s.ReadFile(name(i)); err != nil || string(got) != "two" {
			t.Fatalf("at the first wake-up %s holds %q, %v", name(i), got, err)
		}
	}
	w.quiet()
}

func TestGitLockIsWaitedForOnce(t *testing.T) {
	dir := topologyDir(t)
	lock := touch(t, dir, ".git/index.lock")
	w := &watcher{dir: open(t, dir, Options{})}
	start := time.Now()
	steps := []struct {
		after time.Duration
		want  bool
	}{{0, true}, {lockWait - 1, true}, {lockWait, false}, {lockWait + time.Hour, false}}
	for _, s := range steps {
		if got := w.gitBusy(start.Add(s.after)); got != s.want {
			t.Errorf("after %v: busy %v, want %v", s.after, got, s.want)
		}
	}
	must(t, os.Remove(lock))
	if w.gitBusy(start) {
		t.Error("busy without a lock")
	}
	touch(t, dir, ".git/index.lock")
	if !w.gitBusy(start.Add(2 * time.Hour)) {
		t.Error("a new lock is not waited for")
	}
}

func TestWatchDoesNotWakeForTheSameContent(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, dir string)
	}{
		{"same text again", func(t *testing.T, dir string) { write(t, dir, "a.cue", "one") }},
		{"away and back", func(t *testing.T, dir string) {
			must(t, os.Rename(dir, dir+".away"))
			must(t, os.Rename(dir+".away", dir))
		}},
		{"new empty directory", func(t *testing.T, dir string) { mkdir(t, dir, "new") }},
		{"deleted and written again", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "a.cue")))
			write(t, dir, "a.cue", "one")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for done := false; !done; {
				dir := topologyDir(t)
				w := startWatch(t, dir, Options{})
				w.line("changed=true")
				if done = atOnce(func() { tt.do(t, dir) }); done {
					w.line("changed=false")
					w.quiet()
				}
			}
		})
	}
}

func TestWatchMinds(t *testing.T) {
	dir := topologyDir(t)
	w := &watcher{dir: open(t, dir, Options{}), paths: map[string]bool{dir: true, filepath.Join(dir, "rules"): true}}
	mkdir(t, dir, "new")
	tests := []struct {
		name string
		op   fsnotify.Op
		want bool
	}{
		{"a.cue", fsnotify.Write, true}, {"a.cue", fsnotify.Chmod, false}, {"a.cue", fsnotify.Create | fsnotify.Chmod, true},
		{"a.cue~", fsnotify.Create, false}, {"4913", fsnotify.Create, false}, {".#a.cue", fsnotify.Create, false}, {"README.md", fsnotify.Write, false},
		{"rules", fsnotify.Remove, true}, {"new", fsnotify.Create, true}, {"gone", fsnotify.Remove, false},
		{"..data", fsnotify.Create, true}, {"..data_tmp", fsnotify.Create, false}, {".", fsnotify.Rename, true}, {"../other", fsnotify.Create, false},
	}
	for _, tt := range tests {
		if got := w.minds(fsnotify.Event{Name: filepath.Join(dir, tt.name), Op: tt.op}); got != tt.want {
			t.Errorf("minds(%s %s) = %v, want %v", tt.op, tt.name, got, tt.want)
		}
	}
	w.failing = true
	if !w.minds(fsnotify.Event{Name: filepath.Join(dir, "a.cue"), Op: fsnotify.Chmod}) {
		t.Error("after an error a change of mode does not count")
	}
}

// TestWatchTellsOfTrouble has the directory become unreadable and readable.
func TestWatchTellsOfTrouble(t *testing.T) {
	dir := topologyDir(t)
	w := startWatch(t, dir, Options{})
	rename(t, filepath.Dir(dir), "topology", "away")
	w.wake()
	if s, err := w.d.Snapshot(t.Context()); err == nil {
		t.Fatalf("Snapshot = %v of a directory that is not there", s)
	}
	rename(t, filepath.Dir(dir), "away", "topology")
	w.sees("a.cue", "one")
	must(t, os.Symlink("/usr", filepath.Join(dir, "out")))
	w.wake()
	must(t, os.Remove(filepath.Join(dir, "out")))
	write(t, dir, "a.cue", "two")
	w.sees("a.cue", "two")
}

func TestWatchBeginsWithoutDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x", "y")
	w := startWatch(t, dir, Options{})
	write(t, dir, "a.cue", "one")
	w.sees("a.cue", "one")
}

func TestWatchRescans(t *testing.T) {
	outside, dir := t.TempDir(), topologyDir(t)
	write(t, outside, "b", "one")
	// A write by another name of the file gives the directory no event.
	must(t, os.Link(filepath.Join(outside, "b"), filepath.Join(dir, "b.cue")))
	w := startWatch(t, dir, Options{Rescan: 200 * time.Millisecond})
	write(t, outside, "b", "two")
	w.sees("b.cue", "two")
}

func TestWatchExtra(t *testing.T) {
	for !watchesExtra(t) {
	}
}

// watchesExtra returns false where the machine was too slow to change a file at
// once.
func watchesExtra(t *testing.T) bool {
	t.Helper()
	outside, dir := t.TempDir(), topologyDir(t)
	write(t, dir, "secrets/a", "one")
	write(t, outside, "live/cert-1", "one")
	must(t, os.Symlink("live/cert-1", filepath.Join(outside, "cert")))
	w := startWatch(t, dir, Options{})
	w.line("changed=true")
	extra := []string{"secrets/a", "certs/missing", filepath.Join(outside, "cert")}
	w.d.SetExtra(extra)
	w.line("changed=false")
	steps := []struct {
		name string
		do   func()
	}{
		{"rewritten", func() { write(t, dir, "secrets/a", "two") }},
		{"renamed over", func() { write(t, dir, "secrets/.a", "three"); rename(t, dir, "secrets/.a", "secrets/a") }},
		{"deleted", func() { must(t, os.Remove(filepath.Join(dir, "secrets/a"))) }},
		{"its directory deleted and made anew", func() {
			must(t, os.RemoveAll(filepath.Join(dir, "secrets")))
			write(t, dir, "secrets/a", "four")
		}},
		{"come to be", func() { write(t, dir, "certs/missing", "one") }},
		{"link's target rewritten", func() { write(t, outside, "live/cert-1", "one more") }},
		{"link switched", func() {
			write(t, outside, "live/cert-2", "two")
			must(t, os.Symlink("live/cert-2", filepath.Join(outside, "tmp")))
			rename(t, outside, "tmp", "cert")
		}},
	}
	digest := Digest(dir, extra)
	for _, s := range steps {
		t.Log(s.name)
		if !atOnce(s.do) {
			return false
		}
		for before := digest; digest == before; digest = Digest(dir, extra) {
			w.wake()
		}
	}
	w.d.SetExtra(nil)
	w.line("changed=false")
	write(t, dir, "secrets/a", "five")
	w.quiet()
	return true
}
