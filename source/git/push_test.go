package git

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// newClones makes a bare remote and two clones of it, ours and theirs.
func newClones(t *testing.T) (ours, theirs work) {
	t.Helper()
	ours = newWork(t)
	bare := filepath.Join(t.TempDir(), "bare.git")
	ours.git("clone", "-q", "--bare", ours.dir, bare)
	ours.git("remote", "add", "origin", bare)
	ours.git("fetch", "-q")
	ours.git("branch", "-q", "--set-upstream-to=origin/main")
	theirs = work{t, filepath.Join(t.TempDir(), "theirs")}
	ours.git("clone", "-q", bare, theirs.dir)
	return ours, theirs
}

// publish commits and pushes a file.
func (w work) publish(name, text string) {
	w.Helper()
	w.write(name, text)
	w.git("add", name)
	w.git("commit", "-q", "-m", "theirs: "+name)
	w.git("push", "-q")
}

func (w work) wantPushed(head string) {
	w.Helper()
	for _, ref := range []string{"HEAD", "refs/remotes/origin/main"} {
		if got := w.git("rev-parse", ref); head != "" && got != head {
			w.Errorf("%s is %s, want %s", ref, got, head)
		}
	}
	if remote, here := w.git("ls-remote", "origin", "refs/heads/main"), w.git("rev-parse", "HEAD"); !strings.HasPrefix(remote, here) {
		w.Errorf("the remote has %s, HEAD is %s", remote, here)
	}
}

// wantTidy checks that no rebase and no work tree is left.
func (w work) wantTidy() {
	w.Helper()
	if list := w.git("worktree", "list", "--porcelain"); strings.Count(list, "worktree ") != 1 {
		w.Errorf("work trees left:\n%s", list)
	}
	for _, name := range []string{"clink", "worktrees", "rebase-merge", "index.lock"} {
		if _, err := os.Lstat(w.path(".git/" + name)); err == nil {
			w.Errorf(".git/%s is left", name)
		}
	}
}

func (w work) unpushed(r *Repo) int {
	w.Helper()
	s, err := r.State(w.Context(), "origin", "main")
	if err != nil {
		w.Fatal(err)
	}
	return s.Unpushed
}

func TestPush(t *testing.T) {
	w, _ := newClones(t)
	r := w.open()
	w.write("site.cue", "a: 2\n")
	id := w.commit(r, "site.cue")
	if n := w.unpushed(r); n != 1 {
		t.Errorf("%d unpushed, want 1", n)
	}
	if err := r.Push(t.Context(), "origin", "main", nil); err != nil {
		t.Fatal(err)
	}
	w.wantPushed(id)
	if n := w.unpushed(r); n != 0 {
		t.Errorf("%d unpushed, want 0", n)
	}
	// Nothing to do: the remote is not even asked.
	w.git("remote", "set-url", "origin", "/nowhere")
	if err := r.Push(t.Context(), "origin", "main", nil); err != nil {
		t.Error(err)
	}
}

func TestPushNewBranchAndDetachedHead(t *testing.T) {
	w, _ := newClones(t)
	w.git("checkout", "-q", "--detach")
	r := w.open()
	w.write("site.cue", "a: 2\n")
	id := w.commit(r, "site.cue")
	if s, err := r.State(t.Context(), "origin", "clink/edits"); err != nil || s.Unpushed != 1 {
		t.Errorf("State = %+v, %v", s, err)
	}
	if err := r.Push(t.Context(), "origin", "clink/edits", nil); err != nil {
		t.Fatal(err)
	}
	if got := w.git("ls-remote", "origin", "refs/heads/clink/edits"); !strings.HasPrefix(got, id) {
		t.Errorf("the remote has %q, want %s", got, id)
	}
}

func TestPushRebases(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("fleet/theirs.cue", "t: 1\n")
	w.write("fleet/ours.cue", "o: 1\n")
	r := w.open("fleet")
	w.commit(r, "fleet/ours.cue")
	w.write("site.cue", "a: 2\n")
	old := w.commit(r, "site.cue")
	// What the user has in hand stays in hand, and hooks do not see it again.
	w.write("staged.cue", "1")
	w.git("add", "staged.cue")
	w.write("other.cue", "b: 2\n")
	w.write("stray.cue", "")
	for _, hook := range []string{"pre-commit", "pre-rebase", "post-checkout", "commit-msg"} {
		w.script(".git/hooks/"+hook, "echo $0 >>ran; exit 1\n")
	}
	var at string
	check := func(_ context.Context, dir string) error {
		at = dir
		got, err := filepath.Glob(filepath.Join(dir, "*"))
		for i := range got {
			got[i] = filepath.Base(got[i])
		}
		if want := []string{"ours.cue", "theirs.cue"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("check sees %q, %v; want %q", got, err, want)
		}
		return nil
	}
	if err := r.Push(t.Context(), "origin", "main", check); err != nil {
		t.Fatal(err)
	}
	if at == "" || strings.HasPrefix(at, filepath.Join(w.dir, "fleet")) {
		t.Errorf("check looked at %q", at)
	}
	w.wantPushed("")
	w.wantTidy()
	w.wantStatus(" M other.cue", "A  staged.cue", "?? stray.cue")
	if w.read("fleet/theirs.cue") != "t: 1\n" || w.read("site.cue") != "a: 2\n" || w.read("ran") != "" {
		t.Error("the files are not those of both, or hooks ran:", w.read("ran"))
	}
	if got := w.git("log", "-3", "--format=%an: %s"); got != "ops: links: change\nops: links: change\nOlga Operator: theirs: fleet/theirs.cue" {
		t.Errorf("history:\n%s", got)
	}
	if got := w.git("symbolic-ref", "HEAD"); got != "refs/heads/main" {
		t.Errorf("on %s", got)
	}
	// It has another id now, and is known by what it says.
	if ok, err := r.Contains(t.Context(), old); !ok || err != nil {
		t.Errorf("Contains(the commit before the rebase) = %v, %v", ok, err)
	}
}

// Others push between the fetch and the push, and a commit is made here.
func TestPushRaces(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("one.cue", "1")
	r := w.open()
	w.write("site.cue", "a: 2\n")
	w.commit(r, "site.cue")
	rounds := 0
	err := r.Push(t.Context(), "origin", "main", func(context.Context, string) error {
		switch rounds++; rounds {
		case 1:
			theirs.publish("two.cue", "2")
		case 2:
			w.write("other.cue", "b: 2\n")
			w.commit(r, "other.cue")
		}
		return nil
	})
	if err != nil || rounds != 3 {
		t.Errorf("%d rounds, %v", rounds, err)
	}
	w.wantPushed("")
	w.wantTidy()
	w.wantStatus()
	if w.read("one.cue")+w.read("two.cue")+w.read("other.cue")+w.read("site.cue") != "12b: 2\na: 2\n" {
		t.Error("something is lost")
	}
}

func TestPushGivesUpRacing(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("one.cue", "1")
	r := w.open()
	w.write("site.cue", "a: 2\n")
	w.commit(r, "site.cue")
	rounds := 0
	err := r.Push(t.Context(), "origin", "main", func(context.Context, string) error {
		rounds++
		theirs.publish("more.cue", strings.Repeat("x", rounds))
		return nil
	})
	w.wantError(err, errRejected)
	if rounds != pushTries-1 {
		t.Errorf("%d rounds", rounds)
	}
	w.wantTidy()
}

func TestPushConflict(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("site.cue", "a: theirs\n")
	r := w.open()
	w.write("site.cue", "a: ours\n")
	head := w.commit(r, "site.cue")
	w.write("other.cue", "b: 2\n")
	err := r.Push(t.Context(), "origin", "main", nil)
	w.wantError(err, ErrDiverged, "site.cue", "git pull --rebase origin main")
	w.wantTidy()
	w.wantStatus(" M other.cue")
	if w.git("rev-parse", "HEAD") != head || w.read("site.cue") != "a: ours\n" {
		t.Error("the commit or the file has changed")
	}
	// As the error says.
	w.try("-c", "rebase.autoStash=true", "pull", "--rebase", "origin", "main")
	w.write("site.cue", "a: both\n")
	w.git("add", "site.cue")
	w.git("rebase", "--continue")
	if err := r.Push(t.Context(), "origin", "main", nil); err != nil {
		t.Fatal(err)
	}
	w.wantPushed("")
}

func TestPushWithoutCommonHistory(t *testing.T) {
	w, theirs := newClones(t)
	theirs.git("checkout", "-q", "--orphan", "new")
	theirs.git("commit", "-q", "-m", "anew")
	theirs.git("push", "-q", "--force", "origin", "new:main")
	w.write("site.cue", "a: 2\n")
	r := w.open()
	w.commit(r, "site.cue")
	w.wantError(r.Push(t.Context(), "origin", "main", nil), ErrDiverged, "no commit in common")
}

func TestPushChecks(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("theirs.cue", "1")
	w.write("site.cue", "a: 2\n")
	r := w.open()
	head := w.commit(r, "site.cue")
	bad := errors.New("two sites have one name")
	remote := w.git("ls-remote", "origin")
	err := r.Push(t.Context(), "origin", "main", func(context.Context, string) error { return bad })
	w.wantError(err, bad, "on top of origin/main")
	if w.git("rev-parse", "HEAD") != head || w.git("ls-remote", "origin") != remote {
		t.Error("pushed or moved")
	}
	w.wantTidy()
}

func TestPushRefused(t *testing.T) {
	w, _ := newClones(t)
	r := w.open()
	bare := w.git("remote", "get-url", "origin")
	w.write("site.cue", "a: 2\n")
	w.commit(r, "site.cue")
	work{t, bare}.script("hooks/update", "echo main is protected >&2\nexit 1\n")
	w.wantError(r.Push(t.Context(), "origin", "main", nil), nil, "the remote refused", "main is protected")
	w.script(".git/hooks/pre-push", "echo not on a Friday >&2\nexit 1\n")
	w.wantError(r.Push(t.Context(), "origin", "main", nil), ErrHook, "pre-push", "not on a Friday")
	os.Remove(w.path(".git/hooks/pre-push"))
	w.git("remote", "set-url", "origin", filepath.Join(w.dir, "gone"))
	w.wantError(r.Push(t.Context(), "origin", "main", nil), nil, "push to origin/main", "gone")
	if n := w.unpushed(r); n != 1 {
		t.Errorf("%d unpushed", n)
	}
}

func TestPushRefusesNames(t *testing.T) {
	w, _ := newClones(t)
	r := w.open()
	for _, name := range [][2]string{{"", "main"}, {"-f", "main"}, {"nobody", "main"}, {"origin", ""}, {"origin", "a b"}, {"origin", "x..y"}, {"origin", "@{-1}"}, {"/tmp", "main"}} {
		if err := r.Push(t.Context(), name[0], name[1], nil); err == nil || strings.Contains(err.Error(), "fatal") {
			t.Errorf("%q: %v", name, err)
		}
	}
	w = emptyWork(t)
	w.git("remote", "add", "origin", "/nowhere")
	w.wantError(w.open().Push(t.Context(), "origin", "main", nil), nil, "no commit yet")
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// A merge that is unpushed stays one, and a change that others have pushed as
// well is not made twice.
func TestPushKeepsMergesAndDropsDoubles(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("same.cue", "1")
	w.write("same.cue", "1")
	w.git("add", "same.cue")
	w.git("commit", "-qm", "same")
	w.git("checkout", "-qb", "side", "HEAD~")
	w.write("side.cue", "1")
	w.git("add", "side.cue")
	w.git("commit", "-qm", "side")
	w.git("checkout", "-q", "main")
	w.git("merge", "-q", "--no-ff", "-m", "merge side", "side")
	r := w.open()
	w.write("site.cue", "a: 2\n")
	w.commit(r, "site.cue")
	if err := r.Push(t.Context(), "origin", "main", nil); err != nil {
		t.Fatal(err)
	}
	w.wantPushed("")
	w.wantStatus()
	w.wantTidy()
	if got := w.git("log", "--merges", "--format=%s"); got != "merge side" {
		t.Errorf("merges: %q", got)
	}
	if got := w.git("log", "--format=%s", "--", "same.cue"); got != "theirs: same.cue" {
		t.Errorf("same.cue was made by %q", got)
	}
}

func TestPushFromLinkedWorkTree(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("theirs.cue", "1")
	linked := work{t, filepath.Join(t.TempDir(), "linked")}
	w.git("worktree", "add", "-q", "-b", "edits", linked.dir)
	linked.write("köln/site.cue", "a: 2\n")
	r := linked.open("köln")
	linked.commit(r, "köln/site.cue")
	saw := false
	err := r.Push(t.Context(), "origin", "main", func(_ context.Context, dir string) error {
		saw = exists(filepath.Join(dir, "site.cue"))
		return nil
	})
	if err != nil || !saw {
		t.Fatalf("check saw the topology: %v; %v", saw, err)
	}
	linked.wantPushed("")
	linked.wantStatus()
	w.wantStatus()
	if !exists(linked.path("theirs.cue")) || exists(w.path(".git/clink")) {
		t.Error("the work tree did not follow, or one is left")
	}
}

// A check that takes too long ends the push, and nothing is left.
func TestPushEndsWithContext(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("theirs.cue", "1")
	r := w.open()
	w.write("site.cue", "a: 2\n")
	head := w.commit(r, "site.cue")
	ctx, cancel := context.WithCancel(t.Context())
	err := r.Push(ctx, "origin", "main", func(ctx context.Context, _ string) error {
		cancel()
		return ctx.Err()
	})
	w.wantError(err, context.Canceled)
	w.wantTidy()
	if w.git("rev-parse", "HEAD") != head {
		t.Error("HEAD has moved")
	}
}
