package atomicfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"clink/internal/atomicfile"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// alone checks that a file has this content, that its owner alone may read it,
// and that nothing lies beside it.
func alone(t *testing.T, path, content string) {
	t.Helper()
	got, err := os.ReadFile(path)
	must(t, err)
	info, err := os.Lstat(path)
	must(t, err)
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if string(got) != content || info.Mode() != 0o600 || len(entries) != 1 {
		t.Errorf("%q, mode %v, among %v", got, info.Mode(), entries)
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	must(t, atomicfile.Replace(path, []byte("one")))
	alone(t, path, "one")
	must(t, os.Chmod(path, 0o644))
	must(t, atomicfile.Replace(path, []byte("two")))
	alone(t, path, "two")
}

// A link in the place is replaced, and what it leads to let be.
func TestReplaceFollowsNoLink(t *testing.T) {
	path, victim := filepath.Join(t.TempDir(), "f"), filepath.Join(t.TempDir(), "victim")
	must(t, os.WriteFile(victim, []byte("mine"), 0o600))
	must(t, os.Symlink(victim, path))
	must(t, atomicfile.Replace(path, []byte("one")))
	alone(t, path, "one")
	alone(t, victim, "mine")
}

func TestCreateNeverReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	must(t, atomicfile.Create(path, []byte("one")))
	if err := atomicfile.Create(path, []byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create = %v", err)
	}
	alone(t, path, "one")
	dangling := filepath.Join(t.TempDir(), "f")
	must(t, os.Symlink(filepath.Join(t.TempDir(), "nobody"), dangling))
	if err := atomicfile.Create(dangling, []byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create in place of a link = %v", err)
	}
}

func TestWithoutItsDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "f")
	for _, err := range []error{atomicfile.Replace(path, nil), atomicfile.Create(path, nil), atomicfile.SyncDir(filepath.Dir(path))} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the error is %v", err)
		}
	}
}

// Whoever reads sees one content or the other, never a part.
func TestReadersSeeWholeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	contents := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 50_000)}
	must(t, atomicfile.Replace(path, contents[0]))
	done := make(chan error, 1)
	go func() {
		var err error
		for n := 0; n < 50 && err == nil; n++ {
			err = atomicfile.Replace(path, contents[n%2])
		}
		done <- err
	}()
	for {
		select {
		case err := <-done:
			must(t, err)
			alone(t, path, string(contents[1]))
			return
		default:
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
	}
}

// What a crash left is no hindrance, and does not stay.
func TestReplaceAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path+".tmp", []byte("ha"), 0o644))
	must(t, atomicfile.Replace(path, []byte("half")))
	alone(t, path, "half")
}
