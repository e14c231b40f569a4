package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// A tree is what one reading found: the files by slash-separated name, and
// the directories whose change could change them.
type tree struct {
	files map[string]file
	dirs  []string
}

const attempts = 5

// errMoved says that something changed between being listed and being read.
var errMoved = errors.New("changed while being read")

// read lists, reads and lists again, until both lists are the same. With an
// error the tree holds the directories it came to, and no files.
func (d *Dir) read(ctx context.Context) (*tree, error) {
	pause := 10 * time.Millisecond
	for n := 1; ; n++ {
		t, err := d.readOnce(ctx)
		if err == nil || !passing(err) {
			return t, err
		}
		if n == attempts {
			if errors.Is(err, errMoved) {
				err = fmt.Errorf("read %s: %w (%v)", d.path, ErrUnstable, err)
			}
			return t, err
		}
		select {
		case <-ctx.Done():
			return t, ctx.Err()
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// passing reports whether the error may be owed to somebody writing just now:
// a listed file that is gone is one, a topology directory that is not there is
// not.
func passing(err error) bool {
	return errors.Is(err, errMoved) || errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNoDir)
}

// racy is how much younger than the reading a file must not be for its time
// stamp to prove that it has not changed since: file systems stamp coarsely.
const racy = 50 * time.Millisecond

func (d *Dir) readOnce(ctx context.Context) (*tree, error) {
	began := time.Now()
	before, err := list(ctx, d.path)
	t := &tree{dirs: before.dirs}
	if err != nil {
		return t, err
	}
	files, young, err := readFiles(ctx, before.files, began.Add(-racy))
	if err != nil {
		return t, err
	}
	after, err := list(ctx, d.path)
	if err != nil {
		return t, err
	}
	if !slices.EqualFunc(before.files, after.files, listed.same) {
		return t, errMoved
	}
	if young {
		again, _, err := readFiles(ctx, after.files, began)
		if err != nil {
			return t, err
		}
		if revision(again) != revision(files) {
			return t, errMoved
		}
	}
	t.files = files
	return t, nil
}

// readFiles reads all that is listed; young reports whether any of it is not
// older than since.
func readFiles(ctx context.Context, list []listed, since time.Time) (files map[string]file, young bool, err error) {
	files = make(map[string]file, len(list))
	for _, l := range list {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		data, err := readFile(l)
		if err != nil {
			return nil, false, err
		}
		files[l.name] = file{data, l.info.ModTime()}
		young = young || l.info.ModTime().After(since)
	}
	return files, young, nil
}

// readFile reads a listed file, if it still is what was listed.
func readFile(l listed) ([]byte, error) {
	// Not to wait for a writer if a named pipe has taken the file's place.
	f, err := os.OpenFile(l.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.name, bare(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.name, bare(err))
	}
	if !l.same(listed{l.name, l.path, info}) {
		return nil, fmt.Errorf("%s %w", l.name, errMoved)
	}
	data, err := io.ReadAll(io.LimitReader(f, info.Size()+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.name, bare(err))
	}
	if int64(len(data)) != info.Size() {
		return nil, fmt.Errorf("%s %w", l.name, errMoved)
	}
	return data, nil
}

// A listed file is one that is to be read.
type listed struct {
	name string // slash-separated, relative to the topology directory
	path string
	info fs.FileInfo // of the file itself, not of a link to it
}

func (l listed) same(m listed) bool {
	return l.name == m.name && l.info.Size() == m.info.Size() && l.info.ModTime().Equal(m.info.ModTime()) && os.SameFile(l.info, m.info)
}

// bare takes the absolute path out of an error whose message names the file
// already.
func bare(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// under reports whether path is root or lies below it; both are clean.
func under(path, root string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && (rel == "." || filepath.IsLocal(rel))
}
