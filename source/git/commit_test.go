package git

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestCommitTakesOnlyItsFiles(t *testing.T) {
	w := newWork(t)
	w.write("staged.cue", "s: 1\n")
	w.write("other.cue", "b: 2\n")
	w.git("add", "staged.cue", "other.cue")
	w.write("other.cue", "b: 3\n")
	w.write("stray.cue", "x: 1\n")
	w.write("site.cue", "a: 2\n")
	w.commit(w.open(), "site.cue")
	w.wantTouched("M site.cue")
	w.wantStatus("MM other.cue", "A  staged.cue", "?? stray.cue")
	if got := w.git("show", ":other.cue"); got != "b: 2" {
		t.Errorf("other.cue is staged as %q", got)
	}
}

func TestCommitKinds(t *testing.T) {
	tests := []struct {
		name    string
		do      func(w work)
		files   []string
		touched []string
		status  []string
	}{
		{"new", func(w work) { w.write("new.cue", "n: 1\n"); w.write("stray.cue", "") }, []string{"new.cue"}, []string{"A new.cue"}, []string{"?? stray.cue"}},
		{"new in a new directory", func(w work) { w.write("d/e/new.cue", "n: 1\n"); w.write("d/stray.cue", "") }, []string{"d/e/new.cue"}, []string{"A d/e/new.cue"}, []string{"?? d/stray.cue"}},
		{"new and empty", func(w work) { w.write("new.cue", "") }, []string{"new.cue"}, []string{"A new.cue"}, nil},
		{"deleted", func(w work) { os.Remove(w.path("site.cue")) }, []string{"site.cue"}, []string{"D site.cue"}, nil},
		{"deleted and staged so", func(w work) { w.git("rm", "-q", "site.cue", "other.cue") }, []string{"site.cue"}, []string{"D site.cue"}, []string{"D  other.cue"}},
		{"taken out of the index, changed on disk", func(w work) { w.git("rm", "-q", "--cached", "site.cue"); w.write("site.cue", "a: 2\n") }, []string{"site.cue"}, []string{"M site.cue"}, nil},
		{"staged in part", func(w work) { w.write("site.cue", "a: 2\n"); w.git("add", "site.cue"); w.write("site.cue", "a: 3\n") }, []string{"site.cue"}, []string{"M site.cue"}, nil},
		{"new and staged by somebody", func(w work) { w.write("new.cue", "1"); w.git("add", "new.cue"); w.write("new.cue", "2") }, []string{"new.cue"}, []string{"A new.cue"}, nil},
		{"announced by somebody", func(w work) { w.write("new.cue", "1"); w.git("add", "-N", "new.cue") }, []string{"new.cue"}, []string{"A new.cue"}, nil},
		{"two, one of them clean, one named twice", func(w work) { w.write("site.cue", "a: 2\n") }, []string{"site.cue", "other.cue", "site.cue"}, []string{"M site.cue"}, nil},
		{"a new, a changed and a deleted one", func(w work) {
			w.write("new.cue", "")
			w.write("site.cue", "a: 2\n")
			os.Remove(w.path("other.cue"))
		}, []string{"new.cue", "site.cue", "other.cue"}, []string{"A new.cue", "D other.cue", "M site.cue"}, nil},
		{"odd names", func(w work) {
			w.write("-rf", "1")
			w.write(":(glob)*", "1")
			w.write("köln süd.cue", "1")
			w.write("*.cue", "1")
			w.write("site.cue", "a: 2\n")
		}, []string{"-rf", ":(glob)*", "köln süd.cue", "*.cue"}, []string{"A *.cue", "A -rf", "A :(glob)*", "A köln süd.cue"}, []string{" M site.cue"}},
		{"through symbolic links", func(w work) {
			w.write("real/site.cue", "1")
			os.Symlink("real", w.path("dir"))
			os.Symlink("real/site.cue", w.path("link.cue"))
		}, []string{"dir/site.cue", "link.cue"}, []string{"A real/site.cue"}, []string{"?? dir", "?? link.cue"}},
		{"deleted with its directory", func(w work) {
			w.write("d/e/x.cue", "1")
			w.git("add", ".")
			w.git("commit", "-qm", "more")
			os.RemoveAll(w.path("d"))
		}, []string{"d/e/x.cue"}, []string{"D d/e/x.cue"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWork(t)
			tt.do(w)
			w.commit(w.open(), tt.files...)
			w.wantTouched(tt.touched...)
			w.wantStatus(tt.status...)
		})
	}
}

func TestCommitOfNothing(t *testing.T) {
	w := newWork(t)
	head := w.git("rev-parse", "HEAD")
	w.write("other.cue", "b: 2\n")
	r := w.open()
	for _, names := range [][]string{{"site.cue"}, {"never-there.cue"}, nil} {
		if id := w.commit(r, names...); id != head {
			t.Errorf("%v: made commit %s", names, id)
		}
	}
	// The same content as HEAD's, but another one staged: not ours to say.
	w.write("site.cue", "a: 2\n")
	w.git("add", "site.cue")
	w.write("site.cue", "a: 1\n")
	w.commit(r, "site.cue")
	w.wantStatus(" M other.cue", "MM site.cue")
}

func TestFirstCommit(t *testing.T) {
	w := emptyWork(t)
	r := w.open("")
	if s, err := r.State(t.Context(), "", ""); err != nil || s != (State{Branch: "main"}) {
		t.Errorf("State = %+v, %v", s, err)
	}
	if ok, err := r.Contains(t.Context(), strings.Repeat("0", 40)); ok || err != nil {
		t.Errorf("Contains = %v, %v", ok, err)
	}
	w.write("site.cue", "a: 1\n")
	w.write("staged.cue", "")
	w.git("add", "staged.cue")
	if s, err := r.State(t.Context(), "", ""); err != nil || !s.DirtyIndex {
		t.Errorf("State = %+v, %v", s, err)
	}
	w.commit(r, "site.cue")
	w.wantTouched("A site.cue")
	w.wantStatus("A  staged.cue")
}

func TestCommitBelowTop(t *testing.T) {
	w := newWork(t)
	w.write("fleet/topology/site.cue", "1")
	w.write("fleet/stray", "")
	w.commit(w.open("fleet", "topology"), "fleet/topology/site.cue", "never.cue")
	w.wantTouched("A fleet/topology/site.cue")
}

func TestCommitOnDetachedHead(t *testing.T) {
	w := newWork(t)
	w.git("checkout", "-q", "--detach")
	r := w.open()
	w.write("site.cue", "a: 2\n")
	id := w.commit(r, "site.cue")
	s, err := r.State(t.Context(), "", "")
	if want := (State{Head: id, Detached: true}); err != nil || s != want {
		t.Errorf("State = %+v, %v; want %+v", s, err, want)
	}
}

func TestCommitInLinkedWorkTreeAndSubmodule(t *testing.T) {
	w := newWork(t)
	linked := work{t, filepath.Join(t.TempDir(), "linked")}
	w.git("worktree", "add", "-q", "-b", "side", linked.dir)
	linked.write("site.cue", "a: 2\n")
	linked.commit(linked.open(), "site.cue")
	w.wantStatus()

	outer := newWork(t)
	outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", w.dir, "sub")
	sub := work{t, outer.path("sub")}
	sub.write("site.cue", "a: 3\n")
	sub.commit(sub.open(), "site.cue")
	sub.wantTouched("M site.cue")
	sub.write("site.cue", "a: 4\n")
	_, err := outer.open().Commit(t.Context(), outer.change("sub/site.cue"))
	outer.wantError(err, nil, "submodule")
}

func TestCommitFiltersLineEnds(t *testing.T) {
	w := newWork(t)
	w.write(".gitattributes", "*.cue text eol=crlf\n")
	w.git("add", ".gitattributes")
	w.git("commit", "-qm", "line ends")
	head := w.git("rev-parse", "HEAD")
	w.write("site.cue", "a: 1\r\n")
	if id := w.commit(w.open(), "site.cue"); id != head {
		t.Error("committed a file that differs in line ends alone")
	}
}

func TestCommitRefusesPaths(t *testing.T) {
	w := newWork(t)
	w.write("dir/x.cue", "1")
	w.git("add", ".")
	w.git("commit", "-qm", "more")
	w.write("dir/x.cue", "2")
	outside := filepath.Join(t.TempDir(), "x.cue")
	r := w.open()
	for _, file := range []string{w.path("dir"), "site.cue", outside, w.dir, w.path("a\x00b"), w.path(".git/config"), w.path("sub/.GIT/hooks/pre-commit")} {
		_, err := r.Commit(t.Context(), Change{Subject: "s", Files: []string{file}})
		w.wantError(err, errInvalid)
	}
	_, err := r.Commit(t.Context(), Change{Subject: "s", Files: make([]string, maxFiles+1)})
	w.wantError(err, errInvalid, "1001 files")
	w.wantStatus(" M dir/x.cue")
}

func TestCommitOfIgnoredFile(t *testing.T) {
	w := newWork(t)
	w.write(".gitignore", "secrets/\n")
	w.write("secrets/key", "1")
	w.write("site.cue", "a: 2\n")
	_, err := w.open().Commit(t.Context(), w.change("site.cue", "secrets/key"))
	w.wantError(err, nil, "git ignores secrets/key", "git add --force")
	w.wantStatus(" M site.cue", "?? .gitignore")
}

func TestHookRuns(t *testing.T) {
	w := newWork(t)
	w.script(".git/hooks/pre-commit", "git diff --cached --name-only >seen\nenv >env\ntty >>env 2>&1 || :\n")
	w.script(".git/hooks/commit-msg", "echo 'Checked: yes' >>\"$1\"\n")
	w.write("site.cue", "a: 2\n")
	w.write("other.cue", "b: 2\n")
	w.git("add", "other.cue")
	t.Setenv("GIT_DIR", "/nowhere")
	t.Setenv("GIT_INDEX_FILE", "/nowhere")
	t.Setenv("GIT_LITERAL_PATHSPECS", "1")
	t.Setenv("GIT_AUTHOR_NAME", "Mallory")
	r := w.open()
	os.Unsetenv("GIT_DIR")
	os.Unsetenv("GIT_INDEX_FILE")
	c := w.change("site.cue")
	c.Trailers = [][2]string{{"Clink-Revision", "r2"}}
	if _, err := r.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := w.read("seen"); got != "site.cue\n" {
		t.Errorf("the hook saw %q", got)
	}
	if got := w.git("log", "-1", "--format=%an %(trailers:key=Checked,valueonly)"); !strings.HasPrefix(got, "ops yes") {
		t.Errorf("commit: %q", got)
	}
	env := "\n" + w.read("env")
	for _, want := range []string{"\nGIT_TERMINAL_PROMPT=0\n", "\nLC_ALL=C\n", "\nGIT_EDITOR=:\n", "not a tty"} {
		if !strings.Contains(env, want) {
			t.Errorf("the hook's environment lacks %q", want)
		}
	}
	if strings.Contains(env, "LITERAL_PATHSPECS") {
		t.Error("a hook's own patterns are taken literally")
	}
}

func TestHookFails(t *testing.T) {
	for _, hook := range []string{"pre-commit", "commit-msg"} {
		t.Run(hook, func(t *testing.T) {
			w := newWork(t)
			w.script(".git/hooks/"+hook, "printf '\\033[31mno \\007tabs\\033[0m in https://bob:hunter2@example.org/x?token=hunter2\\n' >&2\nhead -c 100000 /dev/zero | tr '\\0' x >&2\necho >&2\necho the end >&2\nexit 3\n")
			w.write("site.cue", "a: 2\n")
			w.write("new.cue", "n: 1\n")
			w.write("other.cue", "b: 2\n")
			w.git("add", "other.cue")
			before := w.git("ls-files", "--stage")
			r := w.open()
			head := w.git("rev-parse", "HEAD")
			_, err := r.Commit(t.Context(), w.change("site.cue", "new.cue"))
			w.wantError(err, ErrHook, "the end", "mend")
			if len(err.Error()) > 2*maxTold || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%d bytes of error: %.200q", len(err.Error()), err)
			}
			if got := w.git("ls-files", "--stage"); got != before {
				t.Errorf("index:\n%s\nwas:\n%s", got, before)
			}
			w.wantStatus("M  other.cue", " M site.cue", "?? new.cue")
			if w.git("rev-parse", "HEAD") != head || w.read("site.cue") != "a: 2\n" {
				t.Error("HEAD or the file has changed")
			}
			os.Remove(w.path(".git/hooks/" + hook))
			w.commit(r, "site.cue", "new.cue")
			w.wantTouched("A new.cue", "M site.cue")
		})
	}
}

func TestShownHidesCredentials(t *testing.T) {
	got := shown("\x1b[31mfatal: https://bob:hunter2@example.org/x?token=hunter2 \x07 ssh://u:p@h/x\r\n")
	if want := "fatal: https://******@example.org/x?******  ssh://******@h/x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSigning(t *testing.T) {
	w := newWork(t)
	w.git("config", "commit.gpgSign", "true")
	w.git("config", "gpg.program", w.path(".git/gpg"))
	w.script(".git/gpg", "echo no key here >&2\nexit 2\n")
	w.write("new.cue", "a: 2\n")
	r := w.open()
	_, err := r.Commit(t.Context(), w.change("new.cue"))
	w.wantError(err, nil, "gpg failed to sign")
	w.wantStatus("?? new.cue")
	w.script(".git/gpg", "cat >/dev/null\necho '[GNUPG:] SIG_CREATED ' >&2\nprintf -- '-----BEGIN PGP SIGNATURE-----\\n\\nx\\n-----END PGP SIGNATURE-----\\n'\n")
	w.commit(r, "new.cue")
	if got := w.git("cat-file", "commit", "HEAD"); !strings.Contains(got, "gpgsig") {
		t.Errorf("not signed:\n%s", got)
	}
}

func TestLockedIndex(t *testing.T) {
	w := newWork(t)
	w.write("site.cue", "a: 2\n")
	w.write("new.cue", "n: 1\n")
	r := w.open()
	lock := w.write(".git/index.lock", "")
	_, err := r.Commit(t.Context(), w.change("site.cue", "new.cue"))
	w.wantError(err, ErrBusy, "index.lock", "remove the lock")
	head := w.git("rev-parse", "HEAD")

	// The lock goes away while Commit waits: git's first refusal, seen through
	// the filter that each try runs, is when it is removed.
	w.git("config", "filter.watch.clean", "sh .git/seen")
	w.write(".git/info/attributes", "site.cue filter=watch\n")
	w.write(".git/seen", "cat\nn=$(cat .git/n 2>/dev/null)x\necho $n >.git/n\n[ $n = xx ] && rm -f .git/index.lock\nexit 0\n")
	if _, err := os.Stat(lock); err != nil {
		t.Fatal(err)
	}
	if id := w.commit(r, "site.cue", "new.cue"); id == head {
		t.Error("no commit")
	}
	w.wantTouched("A new.cue", "M site.cue")
}

func TestBusy(t *testing.T) {
	tests := []struct {
		what, state string
		do          func(w work)
	}{
		{"rebase", "rebase", func(w work) { w.try("rebase", "side") }},
		{"apply rebase", "rebase", func(w work) { w.try("rebase", "--apply", "side") }},
		{"merge", "merge", func(w work) { w.try("merge", "side") }},
		{"merge without conflict", "merge", func(w work) { w.git("merge", "--no-ff", "--no-commit", "far") }},
		{"cherry-pick", "cherry-pick", func(w work) { w.try("cherry-pick", "side") }},
		{"revert", "revert", func(w work) { w.try("revert", "--no-edit", "HEAD~1") }},
		{"bisect", "bisect", func(w work) { w.git("bisect", "start") }},
		{"am", "am", func(w work) {
			w.write(".git/p", w.git("format-patch", "--stdout", "-1", "side")+"\n")
			w.try("am", w.path(".git/p"))
		}},
		{"stash pop", conflict, func(w work) {
			w.write("site.cue", "a: stashed\n")
			w.git("stash", "-q")
			w.write("site.cue", "a: 4\n")
			w.git("commit", "-qam", "four")
			w.try("stash", "pop")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			w := newWork(t)
			w.git("branch", "far")
			w.git("checkout", "-q", "far")
			w.write("far.cue", "")
			w.git("add", ".")
			w.git("commit", "-qm", "far")
			w.git("checkout", "-qb", "side", "main")
			w.write("site.cue", "a: side\n")
			w.git("commit", "-qam", "side")
			w.git("checkout", "-q", "main")
			for _, text := range []string{"a: 2\n", "a: 3\n"} {
				w.write("site.cue", text)
				w.git("commit", "-qam", "main")
			}
			tt.do(w)
			head, before := w.git("rev-parse", "HEAD"), w.git("ls-files", "--stage")
			w.write("other.cue", "b: 2\n")
			w.write("new.cue", "")
			r := w.open()
			s, err := r.State(t.Context(), "", "")
			if err != nil || s.Busy != tt.state {
				t.Errorf("State = %+v, %v; want %q", s, err, tt.state)
			}
			_, err = r.Commit(t.Context(), w.change("other.cue", "new.cue"))
			w.wantError(err, ErrBusy, tt.state)
			if w.git("rev-parse", "HEAD") != head || w.git("ls-files", "--stage") != before || w.read("other.cue") != "b: 2\n" {
				t.Error("something has changed")
			}
		})
	}
}

func TestDirty(t *testing.T) {
	w := newWork(t)
	w.write("site.cue", "a: 2\n")
	w.write("new.cue", "")
	w.git("add", "site.cue")
	got, err := w.open().Dirty(t.Context(), []string{w.path("new.cue"), w.path("other.cue"), w.path("site.cue"), w.path("none.cue")})
	if want := []string{w.path("new.cue"), w.path("site.cue")}; err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("Dirty = %q, %v; want %q", got, err, want)
	}
}

func TestOneCommitAtATime(t *testing.T) {
	w := newWork(t)
	r := w.open()
	if err := r.turn.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := r.Commit(ctx, w.change("site.cue"))
	w.wantError(err, context.DeadlineExceeded, "wait")
	r.turn.leave()
}

// A message is taken as it is, and files as they are named, whatever a user
// has set for commits made by hand.
func TestCommitWithOddConfiguration(t *testing.T) {
	w := newWork(t)
	w.write(".git/template", "from the template\n")
	for _, kv := range [][2]string{
		{"commit.template", w.path(".git/template")}, {"commit.verbose", "true"}, {"commit.cleanup", "scissors"}, {"core.commentChar", "l"},
		{"core.editor", "false"}, {"i18n.commitEncoding", "ISO-8859-1"}, {"color.ui", "always"}, {"status.showUntrackedFiles", "no"}, {"core.pager", "false"},
		{"core.quotePath", "true"}, {"diff.external", "false"}, {"commit.status", "true"}, {"status.branch", "true"}, {"advice.statusHints", "false"},
	} {
		w.git("config", kv[0], kv[1])
	}
	w.write("küste.cue", "1")
	c := w.change("küste.cue")
	c.Subject, c.Body = "links: küste", "links: one\n# two"
	if _, err := w.open().Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := w.git("-c", "i18n.logOutputEncoding=UTF-8", "log", "-1", "--format=%B%e"); got != "links: küste\n\nlinks: one\n# two\n" {
		t.Errorf("message %q", got)
	}
	if _, err := w.open().State(t.Context(), "", ""); err != nil {
		t.Error(err)
	}
}

func TestFirstCommitWithFailingHook(t *testing.T) {
	w := emptyWork(t)
	w.script(".git/hooks/pre-commit", "exit 1\n")
	w.write("site.cue", "1")
	r := w.open()
	_, err := r.Commit(t.Context(), w.change("site.cue"))
	w.wantError(err, ErrHook, "exit status 1")
	w.wantStatus("?? site.cue")
}

// A hook that leaves a program behind does not hold the commit up.
func TestHookLeavesProgram(t *testing.T) {
	w := newWork(t)
	w.script(".git/hooks/post-commit", "sleep 300 &\necho $! >.git/pid\n")
	w.write("site.cue", "a: 2\n")
	began := time.Now()
	w.commit(w.open(), "site.cue")
	if d := time.Since(began); d > 2*time.Minute {
		t.Errorf("took %v", d)
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(w.read(".git/pid"))); err == nil {
		if p, err := os.FindProcess(pid); err == nil {
			p.Kill()
		}
	}
}
