package git

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// TestMain gives git a configuration of its own, so that the tests see neither
// that of whoever runs them nor the repository they run in.
func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "clink-git-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "GIT_") || name == "EMAIL" {
			os.Unsetenv(name)
		}
	}
	config := filepath.Join(home, "gitconfig")
	err = errors.Join(
		os.WriteFile(config, []byte("[user]\n\tname = Olga Operator\n\temail = olga@example.org\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n"), 0o600),
		os.Setenv("GIT_CONFIG_GLOBAL", config), os.Setenv("GIT_CONFIG_NOSYSTEM", "1"), os.Setenv("HOME", home))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(home)
		os.Exit(code)
	}))
}

// A work is a work tree with somebody at its keyboard.
type work struct {
	*testing.T
	dir string
}

// newWork makes a repository with one commit of site.cue and other.cue.
func newWork(t *testing.T) work {
	t.Helper()
	w := emptyWork(t)
	w.write("site.cue", "a: 1\n")
	w.write("other.cue", "b: 1\n")
	w.git("add", ".")
	w.git("commit", "-q", "-m", "begin")
	return w
}

func emptyWork(t *testing.T) work {
	t.Helper()
	needGit(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := work{t, dir}
	w.git("init", "-q", "-b", "main")
	return w
}

func needGit(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git program: what clinkd does with one is not tested here")
	}
}

func (w work) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

func (w work) write(name, text string) string {
	w.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(text), 0o644); err != nil {
		w.Fatal(err)
	}
	return w.path(name)
}

func (w work) script(name, text string) {
	w.Helper()
	// What is started meanwhile would have the file open for writing until it
	// runs, and the system runs no program that somebody may still write.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	w.write(name, "#!/bin/sh\n"+text)
	if err := os.Chmod(w.path(name), 0o755); err != nil {
		w.Fatal(err)
	}
}

// read returns the content of a file, "" if there is none.
func (w work) read(name string) string {
	w.Helper()
	b, err := os.ReadFile(w.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.Fatal(err)
	}
	return string(b)
}

func (w work) git(args ...string) string {
	w.Helper()
	out, err := w.try(args...)
	if err != nil {
		w.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSuffix(out, "\n")
}

func (w work) try(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "GIT_EDITOR=true", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w work) open(below ...string) *Repo {
	w.Helper()
	r, err := Open(w.Context(), filepath.Join(append([]string{w.dir}, below...)...))
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w work) change(names ...string) Change {
	c := Change{Subject: "links: change", Author: "ops"}
	for _, name := range names {
		c.Files = append(c.Files, w.path(name))
	}
	return c
}

func (w work) commit(r *Repo, names ...string) string {
	w.Helper()
	id, err := r.Commit(w.Context(), w.change(names...))
	if err != nil {
		w.Fatal(err)
	}
	if head := w.git("rev-parse", "HEAD"); id != head {
		w.Errorf("Commit returned %q, HEAD is %s", id, head)
	}
	return id
}

// touched returns what HEAD changed: a letter and a name for each file.
func (w work) touched() []string {
	w.Helper()
	out := w.git("-c", "core.quotePath=false", "show", "--format=", "--name-status", "--no-renames", "HEAD")
	var list []string
	for line := range strings.Lines(out) {
		list = append(list, strings.Join(strings.Fields(line), " "))
	}
	return list
}

func (w work) wantTouched(want ...string) {
	w.Helper()
	if got := w.touched(); !slices.Equal(got, want) {
		w.Errorf("HEAD changed %q, want %q", got, want)
	}
}

// wantStatus compares with git status, "" for a clean tree.
func (w work) wantStatus(want ...string) {
	w.Helper()
	got := strings.Split(w.git("-c", "core.quotePath=false", "status", "--porcelain", "--untracked-files=all"), "\n")
	if got[0] == "" {
		got = nil
	}
	if !slices.Equal(got, want) {
		w.Errorf("git status:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (w work) wantError(err error, is error, words ...string) {
	w.Helper()
	if err == nil {
		w.Fatal("no error")
	}
	if is != nil && !errors.Is(err, is) {
		w.Errorf("%q is not %q", err, is)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			w.Errorf("%q does not hold %q", err, word)
		}
	}
}
