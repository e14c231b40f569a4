package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"
)

func TestSnapshotReadsCUEFilesAlone(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.cue": "package topology\n", "empty.cue": "", "rules/r.cue": "package rules", "cue.mod/module.cue": "m",
		"cue.mod/pkg/x.dev/s/s.cue": "s", ".hidden.cue": "h", ".git/x.cue": "g", "secrets/a": "secret", "README.md": "r", "a.cue.orig": "o",
		"dir.cue/in.cue": "i",
	} {
		write(t, dir, name, text)
	}
	s := snapshot(t, open(t, dir, Options{}))
	want := []string{"a.cue", "cue.mod/module.cue", "cue.mod/pkg/x.dev/s/s.cue", "dir.cue/in.cue", "empty.cue", "rules/r.cue"}
	if got := s.Files(); !slices.Equal(got, want) {
		t.Errorf("Files = %q, want %q", got, want)
	}
	if err := fstest.TestFS(s, want...); err != nil {
		t.Error(err)
	}
	if len(s.Revision) != 16 {
		t.Errorf("Revision = %q", s.Revision)
	}
}

func TestSnapshotNeverChanges(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.cue", "old")
	s := snapshot(t, open(t, dir, Options{}))
	b, err := s.ReadFile("a.cue")
	must(t, err)
	copy(b, "XXX")
	write(t, dir, "a.cue", "new")
	if b, err = s.ReadFile("a.cue"); err != nil || string(b) != "old" {
		t.Errorf("ReadFile = %q, %v, want what was read first", b, err)
	}
}

func TestRevisionTellsTreesApart(t *testing.T) {
	gen := rapid.MapOfN(rapid.StringMatching(`[ab0-9 ]{1,3}`), rapid.StringMatching(`[ab0-9 ]{0,4}`), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		same := fmt.Sprint(a) == fmt.Sprint(b) && len(a) == len(b)
		for name, text := range a {
			other, ok := b[name]
			same = same && ok && other == text
		}
		if (revision(asFiles(a)) == revision(asFiles(b))) != same {
			t.Fatalf("revisions of %q and %q", a, b)
		}
	})
}

func asFiles(m map[string]string) map[string]file {
	out := map[string]file{}
	for name, text := range m {
		out[name] = file{data: []byte(text)}
	}
	return out
}

// configMap lays files out as Kubernetes mounts them, and swaps when called
// again.
func configMap(t *testing.T, dir, version string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		write(t, dir, version+"/"+name, text)
		top, _, _ := strings.Cut(name, "/")
		if err := os.Symlink(filepath.Join("..data", top), filepath.Join(dir, top)); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	old, _ := os.Readlink(filepath.Join(dir, "..data"))
	must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
	must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	if old != "" {
		must(t, os.RemoveAll(filepath.Join(dir, old)))
	}
}

func TestSnapshotFollowsLinks(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	write(t, outside, "shared.cue", "shared")
	configMap(t, dir, "..v1", map[string]string{"a.cue": "one", "rules/r.cue": "rules"})
	must(t, os.Symlink(filepath.Join(outside, "shared.cue"), filepath.Join(dir, "s.cue")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, ".#a.cue")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "result")))
	root := filepath.Join(t.TempDir(), "current")
	must(t, os.Symlink(dir, root))
	s := snapshot(t, open(t, root, Options{}))
	for name, want := range map[string]string{"a.cue": "one", "rules/r.cue": "rules", "s.cue": "shared"} {
		if got, err := s.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("ReadFile(%s) = %q, %v, want %q", name, got, err, want)
		}
	}
	if len(s.Files()) != 3 {
		t.Errorf("Files = %q", s.Files())
	}
}

func TestSnapshotRefuses(t *testing.T) {
	deep := strings.Repeat("d/", maxDepth)
	tests := []struct {
		name  string
		lay   func(t *testing.T, dir string)
		want  error
		words string
	}{
		{"missing", func(t *testing.T, dir string) { must(t, os.Remove(dir)) }, ErrNoDir, "no such directory"},
		{"a file", func(t *testing.T, dir string) { must(t, os.Remove(dir)); write(t, filepath.Dir(dir), "top", "x") }, ErrNoDir, "it is a file"},
		{"empty", func(*testing.T, string) {}, ErrNoCUE, "no CUE files"},
		{"none at the top", func(t *testing.T, dir string) { write(t, dir, "rules/a.cue", "") }, ErrNoCUE, "no CUE files"},
		{"loop", func(t *testing.T, dir string) { must(t, os.Symlink("..", filepath.Join(mkdir(t, dir, "x"), "up"))) }, ErrLink, "x/up"},
		{"link to itself", func(t *testing.T, dir string) { must(t, os.Symlink("a.cue", filepath.Join(dir, "a.cue"))) }, ErrLink, "a.cue"},
		{"link out", func(t *testing.T, dir string) { must(t, os.Symlink("/usr", filepath.Join(dir, "rules"))) }, ErrLink, "outside the topology directory"},
		{"dangling link to the rules", func(t *testing.T, dir string) { must(t, os.Symlink("nowhere", filepath.Join(dir, "rules"))) }, fs.ErrNotExist, "read rules, a symbolic link"},
		{"dangling link to the module", func(t *testing.T, dir string) { must(t, os.Symlink("nowhere", filepath.Join(dir, "cue.mod"))) }, fs.ErrNotExist, "read cue.mod, a symbolic link"},
		{"rules that link to themselves", func(t *testing.T, dir string) { must(t, os.Symlink("rules", filepath.Join(dir, "rules"))) }, ErrLink, "read rules"},
		{"dangling link", func(t *testing.T, dir string) { must(t, os.Symlink("nowhere", filepath.Join(dir, "a.cue"))) }, fs.ErrNotExist, "read a.cue, a symbolic link"},
		{"named pipe", func(t *testing.T, dir string) { must(t, syscall.Mkfifo(filepath.Join(dir, "a.cue"), 0o600)) }, nil, "a.cue: it is not a regular file"},
		{"name not UTF-8", func(t *testing.T, dir string) { write(t, dir, "a\xff.cue", "") }, nil, `"a\xff.cue": the file's name is not UTF-8`},
		{"too deep", func(t *testing.T, dir string) { write(t, dir, deep+"a.cue", "") }, ErrTooLarge, "nested more than 32"},
		{"too many bytes", func(t *testing.T, dir string) {
			for i := range 2 {
				must(t, os.Truncate(touch(t, dir, fmt.Sprintf("a%d.cue", i)), maxBytes/2+1))
			}
		}, ErrTooLarge, "hold more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "top")
			must(t, os.Mkdir(dir, 0o755))
			tt.lay(t, dir)
			s, err := open(t, dir, Options{}).Snapshot(t.Context())
			if s != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("Snapshot = %v, %v, want %v and %q", s, err, tt.want, tt.words)
			}
		})
	}
}

func mkdir(t *testing.T, dir, name string) string {
	t.Helper()
	at := filepath.Join(dir, name)
	must(t, os.MkdirAll(at, 0o755))
	return at
}

func touch(t *testing.T, dir, name string) string {
	t.Helper()
	write(t, dir, name, "")
	return filepath.Join(dir, name)
}

// TestSnapshotIsConsistent has a writer change two files together, one by one,
// while they are read: no snapshot may hold two that never stood together.
func TestSnapshotIsConsistent(t *testing.T) {
	dir := t.TempDir()
	put := func(n int) {
		for _, name := range []string{"a", "b"} {
			tmp := filepath.Join(dir, "."+name)
			if err := os.WriteFile(tmp, []byte(fmt.Sprint(n)), 0o644); err != nil {
				t.Error(err)
			}
			if err := os.Rename(tmp, filepath.Join(dir, name+".cue")); err != nil {
				t.Error(err)
			}
		}
	}
	put(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
				put(n)
			}
		}
	}()
	d := open(t, dir, Options{})
	for range 30 {
		s, err := d.Snapshot(t.Context())
		if errors.Is(err, ErrUnstable) {
			continue
		}
		must(t, err)
		var a, b int
		for name, n := range map[string]*int{"a.cue": &a, "b.cue": &b} {
			text, err := s.ReadFile(name)
			must(t, err)
			fmt.Sscan(string(text), n)
		}
		if a != b && a != b+1 {
			t.Fatalf("a snapshot holds a.cue of %d and b.cue of %d", a, b)
		}
	}
	close(stop)
	<-stopped
	snapshot(t, d)
}

func TestOpenRefusesNoName(t *testing.T) {
	if d, err := Open("", Options{}); err == nil {
		t.Errorf("Open = %v", d)
	}
}
