package command

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// stdinName is how positions name what came from standard input.
const stdinName = "stdin.cue"

// maxStdin bounds it, in bytes.
const maxStdin = 64 << 20

// readStdin reads one CUE file, as a directory that holds nothing else.
func (c Command) readStdin() (fs.FS, string, error) {
	if c.Stdin == nil {
		return nil, "", errors.New("read standard input: there is none")
	}
	data, err := io.ReadAll(io.LimitReader(c.Stdin, maxStdin+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("read standard input: %w", err)
	case len(data) > maxStdin:
		return nil, "", fmt.Errorf("read standard input: more than %d bytes", maxStdin)
	}
	sum := sha256.Sum256(data)
	return stdinFS{data}, hex.EncodeToString(sum[:])[:16], nil
}

// A stdinFS is a directory with one file.
type stdinFS struct{ data []byte }

func (f stdinFS) Open(name string) (fs.File, error) {
	switch {
	case !fs.ValidPath(name):
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	case name == ".":
		return &stdinDir{entry: stdinInfo{name: stdinName, size: int64(len(f.data)), mode: 0o444}}, nil
	case name == stdinName:
		return stdinFile{bytes.NewReader(f.data)}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

type stdinFile struct{ *bytes.Reader }

func (f stdinFile) Stat() (fs.FileInfo, error) {
	return stdinInfo{name: stdinName, size: f.Size(), mode: 0o444}, nil
}
func (f stdinFile) Close() error { return nil }

type stdinDir struct {
	entry stdinInfo
	read  bool
}

func (d *stdinDir) Stat() (fs.FileInfo, error) {
	return stdinInfo{name: ".", mode: fs.ModeDir | 0o555}, nil
}
func (d *stdinDir) Close() error { return nil }

func (d *stdinDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: fs.ErrInvalid}
}

// ReadDir follows fs.ReadDirFile.
func (d *stdinDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.read && n > 0 {
		return nil, io.EOF
	}
	if d.read {
		return nil, nil
	}
	d.read = true
	return []fs.DirEntry{fs.FileInfoToDirEntry(d.entry)}, nil
}

type stdinInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i stdinInfo) Name() string       { return i.name }
func (i stdinInfo) Size() int64        { return i.size }
func (i stdinInfo) Mode() fs.FileMode  { return i.mode }
func (i stdinInfo) ModTime() time.Time { return time.Time{} }
func (i stdinInfo) IsDir() bool        { return i.mode.IsDir() }
func (i stdinInfo) Sys() any           { return nil }
