package git

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func stamp(t *testing.T, name string, age time.Duration) {
	t.Helper()
	at := time.Now().Add(-age)
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	needGit(t)
	plain := t.TempDir()
	bare := work{t, t.TempDir()}
	bare.git("init", "-q", "--bare")
	w := newWork(t)
	tests := []struct {
		name, dir string
		want      error
		words     string
	}{
		{"no repository", plain, ErrNoRepo, "git init"},
		{"bare", bare.dir, ErrNoRepo, "bare"},
		{"git's own directory", w.path(".git"), ErrNoRepo, "git's own"},
		{"no directory", filepath.Join(plain, "none"), fs.ErrNotExist, "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(t.Context(), tt.dir)
			w.wantError(err, tt.want, tt.words)
		})
	}
	other := newWork(t)
	if err := os.Chown(other.dir, 12345, -1); err != nil {
		t.Log("only root can give a repository to another user; not tested")
		return
	}
	_, err := Open(t.Context(), other.dir)
	w.wantError(err, ErrNoRepo, "another user", "safe.directory")
}

func TestOpenNeedsGit(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	w := work{T: t}
	_, err := Open(t.Context(), t.TempDir())
	w.wantError(err, ErrNoGit, "install git")
	fake := work{t, bin}
	for version, want := range map[string]string{"git version 2.17.1": "2.29", "something else": "calls itself"} {
		fake.script("git", "echo "+version+"\n")
		_, err = Open(t.Context(), t.TempDir())
		w.wantError(err, ErrNoGit, want)
	}
}

func TestOpenEndsWithContext(t *testing.T) {
	w := newWork(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Open(ctx, w.dir)
	w.wantError(err, context.Canceled)
}

func TestTop(t *testing.T) {
	w := newWork(t)
	w.write("fleet/a.cue", "")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(w.path("fleet"), link); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), link)
	if err != nil || r.Top() != w.dir {
		t.Errorf("Open = %+v, %v; want %s", r, err, w.dir)
	}
}

func TestState(t *testing.T) {
	w := newWork(t)
	r := w.open()
	head := w.git("rev-parse", "HEAD")
	want := State{Head: head, Branch: "main"}
	for _, prepare := range []func(){
		func() {},
		func() { w.write("site.cue", "a: 2\n") },
		func() { w.git("add", "site.cue"); want.DirtyIndex = true },
		func() { w.git("checkout", "-q", "-b", "links/new"); want.Branch = "links/new" },
		func() { w.git("checkout", "-q", "--detach"); want.Branch, want.Detached = "", true },
	} {
		prepare()
		if got, err := r.State(t.Context(), "", ""); err != nil || got != want {
			t.Errorf("State = %+v, %v; want %+v", got, err, want)
		}
	}
	_, err := r.State(t.Context(), "origin", "main")
	w.wantError(err, nil, "no remote", "git remote add")
}

// Reading must not write: a refresh of the index would get in the way of
// whoever works there.
func TestStateLeavesIndexAlone(t *testing.T) {
	w := newWork(t)
	stamp(t, w.path("site.cue"), time.Hour)
	before := w.read(".git/index")
	r := w.open()
	if _, err := r.State(t.Context(), "", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Dirty(t.Context(), []string{w.path("site.cue")}); err != nil {
		t.Fatal(err)
	}
	if w.read(".git/index") != before {
		t.Error("the index has changed")
	}
}

func TestContains(t *testing.T) {
	w := newWork(t)
	r := w.open()
	first := w.git("rev-parse", "HEAD")
	w.write("site.cue", "a: 2\n")
	second := w.commit(r, "site.cue")
	check := func(commit string, want bool) {
		t.Helper()
		if got, err := r.Contains(t.Context(), commit); err != nil || got != want {
			t.Errorf("Contains(%s) = %v, %v; want %v", commit, got, err, want)
		}
	}
	check(first, true)
	check(second, true)
	w.git("reset", "-q", "--hard", first) // as git-sync does
	check(first, true)
	check(second, false)
	check(strings.Repeat("0123", 10), false)
	check(w.git("rev-parse", "HEAD^{tree}"), false)
	for _, bad := range []string{"", "HEAD", "--all", first[:10]} {
		if _, err := r.Contains(t.Context(), bad); err == nil {
			t.Errorf("Contains(%q): no error", bad)
		}
	}
}

func TestOutputIsBounded(t *testing.T) {
	w := newWork(t)
	w.write("big", strings.Repeat("x", maxOut+1))
	w.git("add", "big")
	_, err := w.open().git(t.Context(), "show", ":big")
	w.wantError(err, nil, "bytes of output")
}

func TestTimeout(t *testing.T) {
	w := newWork(t)
	_, err := w.open().run(t.Context(), call{args: []string{"-c", "alias.wait=!sleep 60", "wait"}, timeout: time.Millisecond})
	w.wantError(err, nil, "git wait", "not done after 1ms")
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("it is not the caller whose time is over")
	}
}

func TestEnvironment(t *testing.T) {
	own := []string{"PATH=/bin", "GIT_DIR=x", "GIT_WORK_TREE=x", "GIT_TRACE=1", "GIT_CONFIG_PARAMETERS=x", "GIT_SSH_COMMAND=ssh -i k", "GIT_CONFIG_KEY_0=safe.directory", "LC_ALL=de_DE", "SSH_ASKPASS=gui", "GIT_COMMITTER_NAME=Bot", "GIT_AUTHOR_DATE=0"}
	got := strings.Join(environment(own), "\n")
	want := "PATH=/bin\nGIT_SSH_COMMAND=ssh -i k\nGIT_CONFIG_KEY_0=safe.directory\nGIT_COMMITTER_NAME=Bot\nLC_ALL=C\n"
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant at first\n%s", got, want)
	}
	got = strings.Join(environment([]string{"SSH_ASKPASS=token", "SSH_ASKPASS_REQUIRE=force"}), "\n")
	if !strings.HasPrefix(got, "SSH_ASKPASS=token\nSSH_ASKPASS_REQUIRE=force\n") {
		t.Errorf("an askpass that needs nobody is lost:\n%s", got)
	}
}

// What was there at first can go away while the daemon runs.
func TestRepositoryGoesAway(t *testing.T) {
	w := newWork(t)
	r := w.open()
	program := r.program
	r.program = w.path("no-git")
	_, err := r.State(t.Context(), "", "")
	w.wantError(err, ErrNoGit)
	r.program = program
	head := w.git("rev-parse", "HEAD")
	for _, name := range []string{w.path(".git"), w.dir} {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
		_, err = r.State(t.Context(), "", "")
		w.wantError(err, ErrNoRepo)
		_, err = r.Contains(t.Context(), head)
		w.wantError(err, ErrNoRepo)
		_, err = r.Dirty(t.Context(), []string{w.path("site.cue")})
		w.wantError(err, ErrNoRepo)
	}
}
