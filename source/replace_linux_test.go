package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	oldA, oldB = "a: 1\n", "b: 1\n"
	newA, newB = "a: 2 // longer\n", "b: 2 // longer\n"
)

func pair(t *testing.T) (string, *Dir) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "a.cue", oldA)
	write(t, dir, "b.cue", oldB)
	write(t, dir, "c.cue", "c: 1\n")
	return dir, open(t, dir, Options{})
}

func both() map[string][]byte {
	return map[string][]byte{"a.cue": []byte(newA), "b.cue": []byte(newB)}
}

// leftovers are what a replacement must not leave.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var l []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".clink") {
			l = append(l, e.Name())
		}
	}
	return l
}

func content(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	return string(b)
}

func TestReplaceReplacesAllAndKeepsModesAndLinks(t *testing.T) {
	dir, d := pair(t)
	must(t, os.Mkdir(filepath.Join(dir, "real"), 0o777))
	must(t, os.Rename(filepath.Join(dir, "b.cue"), filepath.Join(dir, "real", "b.txt")))
	must(t, os.Symlink("real/b.txt", filepath.Join(dir, "b.cue")))
	must(t, os.Chmod(filepath.Join(dir, "a.cue"), 0o640))
	after, err := d.Replace(t.Context(), snapshot(t, d), both())
	must(t, err)
	if a, b := content(t, dir, "a.cue"), content(t, dir, "real/b.txt"); a != newA || b != newB {
		t.Errorf("the files are %q and %q", a, b)
	}
	if info, err := os.Lstat(filepath.Join(dir, "b.cue")); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("b.cue is no symbolic link any more: %v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "a.cue")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v, want 0640", info.Mode(), err)
	}
	if got := snapshot(t, d).Revision; got != after.Revision {
		t.Errorf("revision %s on disk, %s returned", got, after.Revision)
	}
	if l := append(leftovers(t, dir), leftovers(t, filepath.Join(dir, "real"))...); len(l) > 0 {
		t.Errorf("left over: %q", l)
	}
}

func TestReplaceRefusesAnotherState(t *testing.T) {
	dir, d := pair(t)
	base := snapshot(t, d)
	write(t, dir, "c.cue", "c: 2\n") // not even one of the files to be replaced
	if _, err := d.Replace(t.Context(), base, both()); !errors.Is(err, ErrStale) {
		t.Errorf("Replace = %v, want ErrStale", err)
	}
	if content(t, dir, "a.cue") != oldA || len(leftovers(t, dir)) > 0 {
		t.Error("something was written")
	}
}

// Somebody saves a file between the last look and the swap: by writing into it,
// or by renaming another over it.
func TestReplaceGivesWayToASaveInTheSameMoment(t *testing.T) {
	for how, save := range map[string]func(string){
		"in place": func(name string) { must(t, os.WriteFile(name, []byte("mine"), 0o666)) },
		"by rename": func(name string) {
			must(t, os.WriteFile(name+".tmp", []byte("mine"), 0o666))
			must(t, os.Rename(name+".tmp", name))
		},
	} {
		t.Run(how, func(t *testing.T) {
			dir, d := pair(t)
			base := snapshot(t, d)
			d.step = func(what string) {
				if what == "exchanged a.cue" {
					save(filepath.Join(dir, "b.cue"))
				}
			}
			if _, err := d.Replace(t.Context(), base, both()); !errors.Is(err, ErrStale) {
				t.Errorf("Replace = %v, want ErrStale", err)
			}
			if a, b := content(t, dir, "a.cue"), content(t, dir, "b.cue"); a != oldA || b != "mine" {
				t.Errorf("the files are %q and %q", a, b)
			}
			if l := leftovers(t, dir); len(l) > 0 {
				t.Errorf("left over: %q", l)
			}
		})
	}
}

func TestReplaceByManyWritersLosesNothing(t *testing.T) {
	dir, d := pair(t)
	other := open(t, dir, Options{}) // as another process has it
	var wg sync.WaitGroup
	const writers, each = 4, 25
	for w := range writers {
		wg.Go(func() {
			mine := []*Dir{d, other}[w%2]
			for i := range each {
				line := fmt.Sprintf("w%d_%d: 1\n", w, i)
				for {
					base, err := mine.Snapshot(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					text, err := base.ReadFile("a.cue")
					if err != nil {
						t.Error(err)
						return
					}
					_, err = mine.Replace(t.Context(), base, map[string][]byte{"a.cue": append(text, line...)})
					if err == nil {
						break
					}
					if !errors.Is(err, ErrStale) && !errors.Is(err, ErrUnstable) {
						t.Errorf("Replace = %v", err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if n := strings.Count(content(t, dir, "a.cue"), "w"); n != writers*each {
		t.Errorf("%d edits are there, want %d", n, writers*each)
	}
}

// The steps at which a process can die.
func steps(t *testing.T) []string {
	_, d := pair(t)
	var l []string
	d.step = func(what string) { l = append(l, what) }
	if _, err := d.Replace(t.Context(), snapshot(t, d), both()); err != nil {
		t.Fatal(err)
	}
	return l
}

const (
	crashDir  = "CLINK_TEST_CRASH_DIR"
	crashStep = "CLINK_TEST_CRASH_STEP"
)

// TestCrashChild is the process that dies; on its own it does nothing.
func TestCrashChild(t *testing.T) {
	if os.Getenv(crashDir) == "" {
		t.Skip("run by TestReplaceSurvivesKill")
	}
	d := open(t, os.Getenv(crashDir), Options{})
	base := snapshot(t, d)
	d.step = func(what string) {
		if what == os.Getenv(crashStep) {
			must(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
		}
	}
	_, err := d.Replace(t.Context(), base, both())
	t.Fatalf("not killed: %v", err)
}

func crash(t *testing.T, dir, step string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir, crashStep+"="+step)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended with %v: %s", err, out)
	}
}

func TestReplaceSurvivesKill(t *testing.T) {
	all := steps(t)
	if want := []string{"staged a.cue", "staged b.cue", "journal written", "journal in force", "exchanged a.cue", "exchanged b.cue", "all exchanged", "synced", "ended"}; !slices.Equal(all, want) {
		t.Fatalf("the steps are %q", all)
	}
	for _, step := range all {
		t.Run(step, func(t *testing.T) {
			dir, d := pair(t)
			crash(t, dir, step)
			for name, olds := range map[string][2]string{"a.cue": {oldA, newA}, "b.cue": {oldB, newB}} {
				if got := content(t, dir, name); got != olds[0] && got != olds[1] {
					t.Errorf("right after the kill %s is %q", name, got)
				}
			}
			must(t, d.Recover(t.Context()))
			a, b := content(t, dir, "a.cue"), content(t, dir, "b.cue")
			if !(a == oldA && b == oldB) && !(a == newA && b == newB) {
				t.Errorf("the files are %q and %q: neither all old nor all new", a, b)
			}
			if l := leftovers(t, dir); len(l) > 0 {
				t.Errorf("left over: %q", l)
			}
			if _, err := d.Replace(t.Context(), snapshot(t, d), map[string][]byte{"a.cue": []byte("a: 3\n")}); err != nil {
				t.Errorf("the next replacement: %v", err)
			}
		})
	}
}

// What somebody saved between the kill and the recovery is his.
func TestRecoverLeavesWhatWasSavedSince(t *testing.T) {
	dir, d := pair(t)
	crash(t, dir, "exchanged a.cue")
	write(t, dir, "b.cue", "mine")
	must(t, d.Recover(t.Context()))
	if b := content(t, dir, "b.cue"); b != "mine" {
		t.Errorf("b.cue is %q", b)
	}
}

func TestRecoverKeepsAJournalThatItCannotRead(t *testing.T) {
	dir, d := pair(t)
	write(t, dir, journalName, "{")
	if err := d.Recover(t.Context()); err == nil || !strings.Contains(err.Error(), journalName) {
		t.Errorf("Recover = %v", err)
	}
	if _, err := d.Replace(t.Context(), snapshot(t, d), both()); err == nil {
		t.Error("files were replaced beside an unfinished change")
	}
}

func TestReplaceOnAFullOrReadOnlyDisk(t *testing.T) {
	for _, tt := range []struct {
		name, options string
		want          error
	}{{"full", "size=64k", ErrNoSpace}, {"read-only", "", ErrReadOnly}} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, tt.options); err != nil {
				t.Skipf("a file system of a size of its own cannot be mounted here: %v", err)
			}
			t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
			write(t, dir, "a.cue", oldA)
			write(t, dir, "b.cue", oldB)
			d := open(t, dir, Options{})
			base := snapshot(t, d)
			texts := both()
			if tt.want == ErrReadOnly {
				must(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
			} else {
				texts["b.cue"] = slices.Repeat([]byte("x"), 100_000)
			}
			if _, err := d.Replace(t.Context(), base, texts); !errors.Is(err, tt.want) {
				t.Errorf("Replace = %v, want %v", err, tt.want)
			}
			if a, b := content(t, dir, "a.cue"), content(t, dir, "b.cue"); a != oldA || b != oldB {
				t.Errorf("the files are %q and %q", a, b)
			}
			if l := leftovers(t, dir); len(l) > 0 {
				t.Errorf("left over: %q", l)
			}
		})
	}
}

func TestWithIsTheSnapshotAfterReplace(t *testing.T) {
	_, d := pair(t)
	base := snapshot(t, d)
	after, err := d.Replace(t.Context(), base, both())
	must(t, err)
	if got := base.With(both()); got.Revision != after.Revision || !maps.EqualFunc(got.files, after.files, func(a, b file) bool { return string(a.data) == string(b.data) }) {
		t.Errorf("With gives revision %s, Replace %s", got.Revision, after.Revision)
	}
}

// A replacement that somebody takes back at once, before Watch has looked, is
// told: whoever replaced goes by what he wrote.
func TestWatchTellsOfAReplacementTakenBack(t *testing.T) {
	for done := false; !done; {
		dir := t.TempDir()
		write(t, dir, "a.cue", oldA)
		write(t, dir, "b.cue", oldB)
		w := startWatch(t, dir, Options{})
		done = atOnce(func() {
			_, err := w.d.Replace(t.Context(), snapshot(t, w.d), both())
			must(t, err)
			write(t, dir, "a.cue", oldA)
			write(t, dir, "b.cue", oldB)
		})
		if done {
			w.wake()
			w.quiet()
		}
	}
}

// What a replacement left is known to whoever made it; what an editor saves
// afterwards is told, also if it brings that state back.
func TestWatchDoesNotEchoAReplacement(t *testing.T) {
	dir, d := pair(t)
	looks := make(chan string, 100)
	d.log = slog.New(logged{looks})
	wakes := make(chan struct{}, 100)
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { done <- d.Watch(ctx, func() { wakes <- struct{}{} }) }()
	wake := func(what string) {
		t.Helper()
		select {
		case <-wakes:
		case <-time.After(deadline):
			t.Fatalf("not woken %s", what)
		}
	}
	wake("at the beginning")
	_, err := d.Replace(t.Context(), snapshot(t, d), both())
	must(t, err)
	for looked := false; !looked; {
		select {
		case line := <-looks: // the first one is of the time before
			looked = strings.Contains(line, "looked at") && strings.Contains(line, "changed=false")
		case <-time.After(deadline):
			t.Fatal("nobody looked")
		}
	}
	if n := len(wakes); n != 0 {
		t.Errorf("%d wakes for what the process wrote itself", n)
	}
	save := func(text string) { // at once
		write(t, dir, ".c.tmp", text)
		rename(t, dir, ".c.tmp", "c.cue")
	}
	save("c: 2\n")
	wake("by an editor")
	save("c: 1\n")
	wake("by an editor that brings the state back")
	stop()
	must(t, <-done)
	if n := len(wakes); n != 0 {
		t.Errorf("%d more wakes", n)
	}
}

// Whoever replaced a file knows of that state, and acts upon it. If an editor
// puts the old state back before anybody looks, that is news.
func TestWatchTellsThatAReplacementWasUndone(t *testing.T) {
	dir, d := pair(t)
	wakes := 0
	w := &watcher{dir: d, wake: func() { wakes++ }, stale: true, burst: burst{quiet: quiet, limit: longest}}
	defer w.close()
	w.look(t.Context(), time.Now())
	_, err := d.Replace(t.Context(), snapshot(t, d), both())
	must(t, err)
	write(t, dir, "a.cue", oldA)
	write(t, dir, "b.cue", oldB)
	w.look(t.Context(), time.Now())
	if wakes != 2 {
		t.Errorf("%d wakes, want one at the beginning and one for what was put back", wakes)
	}
	w.look(t.Context(), time.Now())
	if wakes != 2 {
		t.Errorf("woken again for nothing")
	}
}

// Once the new texts are in their places they are there, whatever goes wrong
// after that: whoever is told otherwise takes away what they refer to.
func TestReplaceThatCannotBeSyncedIsMade(t *testing.T) {
	parent := t.TempDir()
	dir, away := filepath.Join(parent, "topology"), filepath.Join(parent, "away")
	write(t, dir, "a.cue", oldA)
	d := open(t, dir, Options{Step: func(what string) {
		if what == "all exchanged" {
			must(t, os.Rename(dir, away)) // so that there is nothing to be synced
		}
	}})
	_, err := d.Replace(t.Context(), snapshot(t, d), map[string][]byte{"a.cue": []byte(newA)})
	must(t, os.Rename(away, dir))
	if got := content(t, dir, "a.cue"); (err == nil) != (got == newA) {
		t.Errorf("Replace = %v, and the file is %q", err, got)
	}
	must(t, d.Recover(t.Context()))
	if l := leftovers(t, dir); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
}

// Where one of several files cannot be swapped back, what was in its place is
// kept, and the next call ends what was begun.
func TestReplaceThatCannotBeTakenBackIsEnded(t *testing.T) {
	dir, d := pair(t)
	moved := filepath.Join(t.TempDir(), "a.cue")
	d.step = func(what string) {
		if what == "exchanged b.cue" {
			write(t, dir, "b.cue", "b: 3 // not what was put there\n")
			must(t, os.Rename(filepath.Join(dir, "a.cue"), moved))
			matches, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
			must(t, err)
			for _, m := range matches {
				if text, err := os.ReadFile(m); err == nil && string(text) == oldB {
					must(t, os.WriteFile(m, []byte("b: 2\n"), 0o644)) // saved in the same moment
				}
			}
		}
	}
	_, err := d.Replace(t.Context(), snapshot(t, d), both())
	if err == nil {
		t.Fatal("Replace succeeded")
	}
	must(t, os.Rename(moved, filepath.Join(dir, "a.cue")))
	d.step = func(string) {}
	must(t, d.Recover(t.Context()))
	if l := leftovers(t, dir); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
	if a, b := content(t, dir, "a.cue"), content(t, dir, "b.cue"); a != newA || b != "b: 2\n" {
		t.Errorf("a %q, b %q", a, b)
	}
}
