package source

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	quiet     = 100 * time.Millisecond
	longest   = 2 * time.Second  // of a burst without quiet
	lockWait  = 10 * time.Second // for git to take its index.lock away
	blindLook = 2 * time.Second  // between looks when the system gives no events
	rounds    = 5                // of arming and reading until both agree
)

// Watch calls wake once at the beginning, and then each time that the content
// of the CUE files or of the extra files (see [Dir.SetExtra]) differs from what
// it was at the call before; becoming unreadable and readable again counts. It
// returns nil when ctx ends. Calls of wake are one after the other, and hold up
// the watching.
//
// Events of the file system only say when to look. A burst of them is waited
// out for 100 ms of quiet, 2 s at most, and while git holds its index.lock.
// Looking is done without events too, at the Dir's interval.
func (d *Dir) Watch(ctx context.Context, wake func()) error {
	w := &watcher{dir: d, wake: wake, stale: true, burst: burst{quiet: quiet, limit: longest}}
	defer w.close()
	ticker := time.NewTicker(d.rescan)
	defer ticker.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		events, faults := w.channels()
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			if !w.minds(e) {
				continue
			}
			w.burst.add(time.Now())
		case err := <-faults: // events were lost, or the watcher is broken
			d.log.Debug("watching the topology directory", "dir", d.path, "err", err)
			w.stale = true
			w.burst.add(time.Now())
		case <-d.poke:
			w.burst.add(time.Now())
		case <-ticker.C:
			w.burst.add(time.Now())
		case <-timer.C:
			w.look(ctx, time.Now())
		}
		if due, ok := w.burst.due(); ok {
			timer.Reset(time.Until(due))
		}
	}
}

// A watcher is the state of one call of Watch.
type watcher struct {
	dir  *Dir
	wake func()

	burst   burst
	seen    string // revision at the last call of wake; "" before the first
	failing bool   // the last look ended in an error

	notify *fsnotify.Watcher
	blind  bool            // not all of armed is truly watched
	stale  bool            // armed must be watched anew
	armed  []string        // directories, in order
	paths  map[string]bool // what matters in them besides CUE files

	lock      fs.FileInfo // git's index.lock, if it is there
	lockSince time.Time
}

func (w *watcher) channels() (<-chan fsnotify.Event, <-chan error) {
	if w.notify == nil {
		return nil, nil
	}
	return w.notify.Events, w.notify.Errors
}

func (w *watcher) close() {
	if w.notify != nil {
		w.notify.Close()
	}
}

// minds reports whether the event may mean a change of content. A directory
// that is moved or replaced takes its watch along; all are then taken anew.
func (w *watcher) minds(e fsnotify.Event) bool {
	base := filepath.Base(e.Name)
	if e.Op == 0 || e.Op == fsnotify.Chmod && !w.failing {
		return false
	}
	if w.paths[e.Name] || base == "..data" {
		w.stale = w.stale || e.Has(fsnotify.Create|fsnotify.Remove|fsnotify.Rename)
		return true
	}
	if strings.HasPrefix(base, ".") {
		return false
	}
	return strings.HasSuffix(base, ".cue") || e.Has(fsnotify.Create) && under(e.Name, resolved(w.dir.path)) && isDir(e.Name)
}

// look compares the directory with what was seen last, and wakes if it
// differs.
func (w *watcher) look(ctx context.Context, now time.Time) {
	w.burst.clear()
	if w.gitBusy(now) {
		w.dir.log.Debug("waiting for git to finish", "dir", w.dir.path)
		w.burst.add(now)
		return
	}
	t, err := w.read(ctx)
	if ctx.Err() != nil {
		return
	}
	w.failing = err != nil
	if errors.Is(err, ErrUnstable) {
		w.burst.add(time.Now())
		return
	}
	rev := revision(t.files)
	if err != nil {
		rev = err.Error()
	}
	// Both are looked at: the extra files' states are noted by looking.
	extra := w.dir.extraChanged()
	ours, gone := w.dir.wrote(rev)
	changed := extra || gone || rev != w.seen
	if !extra && ours {
		w.seen, changed = rev, false // whoever wrote it knows
	}
	w.dir.log.Debug("looked at the topology directory", "dir", w.dir.path, "changed", changed, "err", err)
	if changed {
		w.seen = rev
		w.wake()
	}
	if w.blind || w.stale {
		w.burst.add(time.Now().Add(blindLook - quiet))
	}
}

// read reads until the directories found are the directories watched, so that
// nothing falls between the reading and the watching.
func (w *watcher) read(ctx context.Context) (*tree, error) {
	for n := 1; ; n++ {
		t, err := w.dir.read(ctx)
		if ctx.Err() != nil {
			return t, err
		}
		dirs, paths := w.wanted(t, err)
		w.paths = paths
		if !w.stale && slices.Equal(dirs, w.armed) || n == rounds {
			return t, err
		}
		w.arm(dirs)
	}
}

// wanted returns the directories to watch for the tree, without symbolic links
// in their names, and the paths in them that matter besides CUE files: the
// directories themselves and the links to them, the extra files, and what of
// the way to any of these is missing.
func (w *watcher) wanted(t *tree, err error) (dirs []string, paths map[string]bool) {
	paths = map[string]bool{}
	names := append(w.dir.extraNames(), w.dir.path)
	for _, name := range names {
		for _, at := range []string{name, resolved(name)} {
			paths[inRealDir(at)] = true
			dir := filepath.Dir(at)
			for !isDir(dir) && dir != filepath.Dir(dir) {
				paths[inRealDir(dir)] = true
				dir = filepath.Dir(dir)
			}
			dirs = append(dirs, resolved(dir))
		}
	}
	walked := slices.Clone(t.dirs)
	if err != nil { // the tree may not be whole
		walked = append(walked, slices.DeleteFunc(slices.Clone(w.armed), func(dir string) bool { return !isDir(dir) })...)
	}
	for _, dir := range walked {
		paths[inRealDir(dir)] = true
		dirs = append(dirs, resolved(dir))
		paths[resolved(dir)] = true
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), paths
}

// resolved returns path without symbolic links, or path if there is nothing.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// inRealDir returns path with the links in all but its last element resolved:
// the form in which events name it.
func inRealDir(path string) string {
	return filepath.Join(resolved(filepath.Dir(path)), filepath.Base(path))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// arm watches the directories. It begins from nothing each time: a watch
// belongs to the directory that had the name when it was set.
func (w *watcher) arm(dirs []string) {
	w.stale = false
	fault := error(nil)
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		fault = err
	} else {
		for _, dir := range dirs {
			err := notify.Add(dir)
			if errors.Is(err, fs.ErrNotExist) {
				w.stale = true
			} else if err != nil {
				fault = err
			}
		}
	}
	w.close()
	w.notify, w.armed = notify, dirs
	if fault != nil && !w.blind {
		w.dir.log.Warn("the system does not watch all of the topology directory, so it is looked at every "+blindLook.String(), "dir", w.dir.path, "err", fault)
	}
	w.blind = fault != nil
}

// gitBusy reports whether git is rewriting the work tree: it holds index.lock
// meanwhile. A lock that stays is left over from a crash and waited for once.
func (w *watcher) gitBusy(now time.Time) bool {
	gitdir := gitDir(w.dir.path)
	if gitdir == "" {
		return false
	}
	info, err := os.Stat(filepath.Join(gitdir, "index.lock"))
	if err != nil {
		w.lock = nil
		return false
	}
	if w.lock == nil || !os.SameFile(w.lock, info) {
		w.lock, w.lockSince = info, now
	}
	return now.Sub(w.lockSince) < lockWait
}
