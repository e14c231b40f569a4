package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Why files could not be replaced. Errors of [Dir.Replace] wrap one of these or
// the operating system's error.
var (
	ErrStale    = errors.New("the source was changed meanwhile")
	ErrReadOnly = errors.New("the source is read-only")
	ErrNoSpace  = errors.New("there is no space left for the source")
)

// Replace puts texts into the places of files of the directory: all of them,
// or none with an error. It does so only if the directory still is what base
// was read from; else the error is [ErrStale].
//
// Whoever reads a file sees it whole, old or new. Modes stay, and a file that
// is a symbolic link stays one. A file that somebody saves in the same moment
// keeps what he saved. If the process or the machine dies in between, the next
// call, or [Dir.Recover], leaves all of the old or all of the new. One process
// replaces at a time. [Dir.Watch] does not wake for it.
//
// It returns the snapshot of the directory afterwards.
func (d *Dir) Replace(ctx context.Context, base *Snapshot, texts map[string][]byte) (*Snapshot, error) {
	d.writing.Lock()
	defer d.writing.Unlock()
	unlock, err := d.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := d.recover(); err != nil {
		return nil, err
	}
	t, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	if revision(t.files) != base.Revision {
		return nil, fmt.Errorf("%w: it is no longer revision %s", ErrStale, base.Revision)
	}
	total := 0
	for name, f := range t.files {
		if text, ok := texts[name]; ok {
			total += len(text)
		} else {
			total += len(f.data)
		}
	}
	if total > maxBytes {
		return nil, fmt.Errorf("write the source: %w: its CUE files would hold more than %d bytes", ErrTooLarge, maxBytes)
	}
	s, err := d.stage(t.files, texts)
	defer s.discard()
	if err != nil {
		return nil, WriteError(err)
	}
	if err := s.commit(); err != nil {
		return nil, WriteError(err)
	}
	next := maps.Clone(t.files)
	for _, f := range s.files {
		next[f.name] = file{f.text, f.modTime()}
	}
	after := newSnapshot(next)
	after.Commit = base.Commit
	d.mu.Lock()
	d.written = after.Revision
	d.mu.Unlock()
	return after, nil
}

// Recover ends what a process that died left half done. It is to be called
// before the directory is first read by a process that will replace files.
func (d *Dir) Recover(ctx context.Context) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if !isDir(d.path) {
		return nil
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return d.recover()
}

// wrote reports whether rev is what the last replacement left, and whether
// something else has taken the place of that since the last call: then the
// directory has changed, even if it is as it was before the replacement.
func (d *Dir) wrote(rev string) (ours, gone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if gone = d.written != "" && rev != d.written; gone {
		d.written = ""
	}
	return d.written != "", gone
}

// WriteError wraps an error of the disk in [ErrNoSpace] or [ErrReadOnly], where
// it is one of these.
func WriteError(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}

const (
	tempPrefix  = ".clink-edit-" // a name that no reader of a topology minds
	journalName = ".clink-journal"
)

// A staged set of files lies complete beside the places that they are to take.
type staged struct {
	dir   *Dir
	files []*stagedFile
	dirs  []string // that hold any of them
	kept  bool     // what lies beside the places is still needed
}

type stagedFile struct {
	name  string // in the topology
	place string // absolute, without symbolic links
	temp  string
	old   string // digest of what is in the place
	text  []byte
}

func (f *stagedFile) modTime() (t time.Time) {
	if info, err := os.Stat(f.place); err == nil {
		return info.ModTime()
	}
	return t
}

func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// digestAt is the digest of a file, "" if it cannot be read.
func digestAt(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return digestOf(text)
}

// stage writes the texts beside their places. What it returns is to be
// discarded, also with an error.
func (d *Dir) stage(files map[string]file, texts map[string][]byte) (*staged, error) {
	s := &staged{dir: d}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		was, ok := files[name]
		if !ok {
			return s, fmt.Errorf("write %s: the source has no such file", name)
		}
		place, err := filepath.EvalSymlinks(filepath.Join(d.path, filepath.FromSlash(name)))
		if err != nil {
			return s, fmt.Errorf("write %s: %w", name, bare(err))
		}
		f := &stagedFile{name: name, place: place, old: digestOf(was.data), text: texts[name]}
		s.files = append(s.files, f)
		s.dirs = append(s.dirs, filepath.Dir(place))
		if err := f.write(); err != nil {
			return s, fmt.Errorf("write %s: %w", name, bare(err))
		}
		d.step("staged " + name)
	}
	slices.Sort(s.dirs)
	s.dirs = slices.Compact(s.dirs)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dir := range s.dirs {
		d.used[dir] = true
	}
	return s, nil
}

func (f *stagedFile) write() error {
	info, err := os.Stat(f.place)
	if err != nil {
		return err
	}
	t, err := os.CreateTemp(filepath.Dir(f.place), tempPrefix)
	if err != nil {
		return err
	}
	f.temp = t.Name()
	_, err = t.Write(f.text)
	likeOwner(t, info)
	return errors.Join(err, t.Chmod(info.Mode().Perm()), t.Sync(), t.Close())
}

// commit swaps the files with what is in their places. A file that is not what
// it was is swapped back, and all others with it.
func (s *staged) commit() error {
	if err := s.writeJournal(); err != nil {
		return err
	}
	for i, f := range s.files {
		err := exchange(f.temp, f.place)
		s.dir.step("exchanged " + f.name)
		switch {
		case err != nil:
			return s.back(i, err)
		case digestAt(f.temp) != f.old:
			return s.back(i+1, fmt.Errorf("%w: %s was saved in the same moment", ErrStale, f.name))
		}
	}
	s.dir.step("all exchanged")
	// The new texts are in force. Whoever is told that this failed would undo
	// what they need.
	if err := s.end(); err != nil {
		s.dir.log.Warn("the source was changed, and it is not certain that this outlives a loss of power", "dir", s.dir.path, "err", err)
	}
	return nil
}

// back swaps back the first n files. What cannot be is left to the journal, and
// to the next call that reads it.
func (s *staged) back(n int, err error) error {
	var left error
	for _, done := range s.files[:n] {
		left = errors.Join(left, exchange(done.temp, done.place))
	}
	if left != nil {
		s.kept = true
		return errors.Join(err, left)
	}
	return errors.Join(err, s.end())
}

// end makes what was done last, and takes the journal away.
func (s *staged) end() error {
	err := syncDirs(s.dirs)
	s.dir.step("synced")
	if len(s.files) > 1 {
		err = errors.Join(err, os.Remove(s.dir.journal()))
		s.dir.step("ended")
	}
	return err
}

// discard takes away what lies beside the places.
func (s *staged) discard() {
	for _, f := range s.files {
		if f.temp != "" && !s.kept {
			_ = os.Remove(f.temp) // what stays is taken away by the next call
		}
	}
}

func syncDirs(dirs []string) error {
	var errs []error
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, f.Sync(), f.Close())
	}
	return errors.Join(errs...)
}

// isTemp reports whether a directory entry is one of ours.
func isTemp(e fs.DirEntry) bool {
	return e.Type().IsRegular() && strings.HasPrefix(e.Name(), tempPrefix)
}

// exchangeByLink is for systems and file systems that cannot swap two files.
// The place always has a file in it.
func exchangeByLink(a, b string) error {
	old := a + ".old"
	if err := os.Link(b, old); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return errors.Join(err, os.Remove(old))
	}
	return os.Rename(old, a)
}
