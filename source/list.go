package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// A lister walks a topology directory.
type lister struct {
	real    string // the directory without symbolic links
	files   []listed
	dirs    []string // walked, or holding the file that a link leads to
	entries int
	bytes   int64
}

// list finds the CUE files under root, in order of name. With an error the
// lister still tells the directories that it came to.
func list(ctx context.Context, root string) (*lister, error) {
	real, err := filepath.EvalSymlinks(root)
	if err == nil {
		if info, statErr := os.Stat(real); statErr != nil {
			err = statErr
		} else if !info.IsDir() {
			return &lister{}, fmt.Errorf("read %s: %w: it is a file", root, ErrNoDir)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &lister{}, fmt.Errorf("read %s: %w", root, ErrNoDir)
	} else if err != nil {
		return &lister{}, fmt.Errorf("read %s: %w", root, bare(err))
	}
	l := &lister{real: real}
	if err := l.dir(ctx, root, ".", nil); err != nil {
		return l, err
	}
	if !slices.ContainsFunc(l.files, func(f listed) bool { return !strings.Contains(f.name, "/") }) {
		return l, fmt.Errorf("read %s: %w in it", root, ErrNoCUE)
	}
	slices.SortFunc(l.files, func(a, b listed) int { return strings.Compare(a.name, b.name) })
	return l, nil
}

// dir walks one directory; above holds those around it.
func (l *lister) dir(ctx context.Context, at, name string, above []fs.FileInfo) error {
	f, err := os.Open(at)
	if err != nil {
		return fmt.Errorf("read directory %s: %w", name, bare(err))
	}
	defer f.Close()
	self, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read directory %s: %w", name, bare(err))
	}
	if slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, self) }) {
		return fmt.Errorf("read directory %s: %w: it leads back to a directory around it", name, ErrLink)
	}
	if len(above) >= maxDepth {
		return fmt.Errorf("read directory %s: %w: directories are nested more than %d deep", name, ErrTooLarge, maxDepth)
	}
	l.dirs = append(l.dirs, at)
	above = append(slices.Clip(above), self)
	for {
		batch, err := f.ReadDir(1024)
		for _, e := range batch {
			if err := l.entry(ctx, at, path.Join(name, e.Name()), e, above); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read directory %s: %w", name, bare(err))
		}
	}
}

func (l *lister) entry(ctx context.Context, dir, name string, e fs.DirEntry, above []fs.FileInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.entries++; l.entries > maxEntries {
		return fmt.Errorf("read %s: %w: more than %d names in it", l.real, ErrTooLarge, maxEntries)
	}
	if strings.HasPrefix(e.Name(), ".") {
		return nil
	}
	at := filepath.Join(dir, e.Name())
	cue := strings.HasSuffix(e.Name(), ".cue")
	if e.Type()&fs.ModeSymlink != 0 {
		return l.link(ctx, at, name, cue, above)
	}
	if e.IsDir() {
		return l.dir(ctx, at, name, above)
	}
	if !cue {
		return nil
	}
	info, err := e.Info()
	if err != nil {
		return fmt.Errorf("read %s: %w", name, bare(err))
	}
	return l.file(at, name, info)
}

// link follows a symbolic link. Links to what is no CUE file may dangle, but
// for the folders that mean something: a topology without its team's rules would
// be one that keeps to them. One to a directory elsewhere is refused rather than
// passed over, for the same reason.
func (l *lister) link(ctx context.Context, at, name string, cue bool, above []fs.FileInfo) error {
	info, err := os.Stat(at)
	needed := cue || name == "rules" || name == "cue.mod"
	switch {
	case err != nil && !needed:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("read %s, a symbolic link: %w", name, bare(err))
	case err != nil:
		return fmt.Errorf("read %s: %w: %v", name, ErrLink, bare(err))
	case !info.IsDir() && !cue:
		return nil
	}
	real, err := filepath.EvalSymlinks(at)
	if err != nil {
		return fmt.Errorf("read %s, a symbolic link: %w", name, bare(err))
	}
	if !info.IsDir() {
		l.dirs = append(l.dirs, filepath.Dir(real))
		return l.file(at, name, info)
	}
	if !under(real, l.real) {
		return fmt.Errorf("read directory %s: %w: it leads to %s, outside the topology directory", name, ErrLink, real)
	}
	return l.dir(ctx, at, name, above)
}

func (l *lister) file(at, name string, info fs.FileInfo) error {
	l.bytes += info.Size()
	switch {
	case !utf8.ValidString(name):
		return fmt.Errorf("read %q: the file's name is not UTF-8", name)
	case !info.Mode().IsRegular():
		return fmt.Errorf("read %s: it is not a regular file", name)
	case len(l.files) == maxFiles:
		return fmt.Errorf("read %s: %w: more than %d CUE files", l.real, ErrTooLarge, maxFiles)
	case l.bytes > maxBytes:
		return fmt.Errorf("read %s: %w: its CUE files hold more than %d bytes", l.real, ErrTooLarge, maxBytes)
	}
	l.files = append(l.files, listed{name, at, info})
	return nil
}
