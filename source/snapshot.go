package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// A Snapshot is the CUE files of a topology directory as they were at one
// moment. It is an [fs.FS] with slash-separated names relative to the
// directory, never changes, and may be read from several goroutines.
type Snapshot struct {
	Revision string // first 16 hexadecimal digits of SHA-256 over names and contents
	Commit   string // HEAD's commit id if the directory is in a git work tree, else ""

	files map[string]file
	dirs  map[string][]fs.DirEntry
}

type file struct {
	data []byte
	mod  time.Time
}

// Snapshot reads the directory. If a file changes meanwhile it reads again, a
// few times; then it gives up with [ErrUnstable].
func (d *Dir) Snapshot(ctx context.Context) (*Snapshot, error) {
	d.writing.RLock()
	defer d.writing.RUnlock()
	t, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	s := newSnapshot(t.files)
	s.Commit = commit(d.path)
	return s, nil
}

func newSnapshot(files map[string]file) *Snapshot {
	s := &Snapshot{Revision: revision(files), files: files, dirs: map[string][]fs.DirEntry{".": {}}}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		s.place(name, s.info(name))
	}
	for _, entries := range s.dirs {
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return s
}

// place enters name into its directory, and that into its own.
func (s *Snapshot) place(name string, e fs.DirEntry) {
	dir := path.Dir(name)
	if _, ok := s.dirs[dir]; !ok {
		s.place(dir, info{name: path.Base(dir), mode: fs.ModeDir | 0o555})
	}
	s.dirs[dir] = append(s.dirs[dir], e)
}

func (s *Snapshot) info(name string) info {
	f := s.files[name]
	return info{name: path.Base(name), size: int64(len(f.data)), mode: 0o444, mod: f.mod}
}

// revision frames each part with its length, so that no two trees can give the
// same bytes to hash.
func revision(files map[string]file) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%d %s %d ", len(name), name, len(files[name].data))
		h.Write(files[name].data)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Files returns the names of all files in order.
func (s *Snapshot) Files() []string { return slices.Sorted(maps.Keys(s.files)) }

// Open opens a file or directory for reading.
func (s *Snapshot) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if f, ok := s.files[name]; ok {
		return &openFile{Reader: bytes.NewReader(f.data), info: s.info(name)}, nil
	}
	if entries, ok := s.dirs[name]; ok {
		return &openDir{info: info{name: path.Base(name), mode: fs.ModeDir | 0o555}, rest: entries}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadFile returns a copy of the content of a file.
func (s *Snapshot) ReadFile(name string) ([]byte, error) {
	f, ok := s.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return append([]byte{}, f.data...), nil
}

// ReadDir returns the entries of a directory in order of name.
func (s *Snapshot) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, ok := s.dirs[name]
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(entries), nil
}

// An info is both the fs.FileInfo and the fs.DirEntry of a file or directory.
type info struct {
	name string
	size int64
	mode fs.FileMode
	mod  time.Time
}

func (i info) Name() string               { return i.name }
func (i info) Size() int64                { return i.size }
func (i info) Mode() fs.FileMode          { return i.mode }
func (i info) Type() fs.FileMode          { return i.mode.Type() }
func (i info) ModTime() time.Time         { return i.mod }
func (i info) IsDir() bool                { return i.mode.IsDir() }
func (i info) Sys() any                   { return nil }
func (i info) Info() (fs.FileInfo, error) { return i, nil }
func (i info) String() string             { return fs.FormatDirEntry(i) }

type openFile struct {
	*bytes.Reader
	info info
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	info info
	rest []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: fs.ErrInvalid}
}

// ReadDir follows fs.ReadDirFile: n <= 0 means all the rest, without io.EOF.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(d.rest) {
		if n > 0 && len(d.rest) == 0 {
			return nil, io.EOF
		}
		n = len(d.rest)
	}
	out := slices.Clone(d.rest[:n])
	d.rest = d.rest[n:]
	return out, nil
}
