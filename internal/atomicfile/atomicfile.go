// Package atomicfile writes files that appear whole or not at all, also when
// the machine loses its power meanwhile, and that their owner alone may read.
package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace puts a file of this content in the place of whatever is at path. One
// caller at a time replaces a file: what a crash left of one is taken away by
// the next.
func Replace(path string, content []byte) error {
	return ReplaceBy(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// ReplaceBy is [Replace] with the content that write writes.
func ReplaceBy(path string, write func(io.Writer) error) error {
	temp := path + ".tmp"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return finish(f, path, write, os.Rename)
}

// Unfinished is what the names of files begin with that [Create] is making, and
// that it leaves only if it is killed.
const Unfinished = ".clink-new-"

// Create puts a file of this content at path, if there is nothing, not even a
// link; else the error is [io/fs.ErrExist].
func Create(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), Unfinished+"*") // mode 0600
	if err != nil {
		return err
	}
	return finish(f, path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}, os.Link)
}

// finish writes the file and has it placed. Nothing stays under its first name.
func finish(f *os.File, path string, write func(io.Writer) error, place func(from, to string) error) error {
	defer os.Remove(f.Name())
	err := write(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := place(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes what was renamed, made and removed in a directory last.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
