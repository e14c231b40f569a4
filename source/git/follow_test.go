package git

import (
	"os"
	"strings"
	"testing"
)

func TestPushWithChangesInTheWay(t *testing.T) {
	tests := []struct {
		name  string
		block func(w work)
		clear func(w work)
	}{
		{"uncommitted", func(w work) { w.write("theirs.cue", "mine\n") }, func(w work) { w.git("checkout", "theirs.cue") }},
		{"staged", func(w work) { w.write("theirs.cue", "mine\n"); w.git("add", "theirs.cue") }, func(w work) { w.git("checkout", "HEAD", "theirs.cue") }},
		{"untracked", func(w work) { w.write("fresh.cue", "mine\n") }, func(w work) { os.Remove(w.path("fresh.cue")) }},
		{"ignored", func(w work) { w.write(".git/info/exclude", "fresh.cue\n"); w.write("fresh.cue", "mine\n") }, func(w work) { os.Remove(w.path("fresh.cue")) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, theirs := newClones(t)
			theirs.publish("theirs.cue", "1\n")
			w.git("pull", "-q")
			theirs.publish("theirs.cue", "2\n")
			theirs.publish("fresh.cue", "2\n")
			r := w.open()
			w.write("site.cue", "a: 2\n")
			head := w.commit(r, "site.cue")
			tt.block(w)
			before := w.git("status", "--porcelain")
			for range 2 { // the second finds that everything is pushed
				err := r.Push(t.Context(), "origin", "main", nil)
				w.wantError(err, ErrInTheWay, "pushed", "stash")
				if w.git("rev-parse", "HEAD") != head || w.git("status", "--porcelain") != before {
					t.Error("HEAD or the work tree has changed")
				}
				w.wantTidy()
			}
			tt.clear(w)
			if err := r.Push(t.Context(), "origin", "main", nil); err != nil {
				t.Fatal(err)
			}
			w.wantPushed("")
			w.wantStatus()
			if w.read("fresh.cue")+w.read("site.cue") != "2\na: 2\n" {
				t.Error("something is lost")
			}
		})
	}
}

// A kill between the files and the branch leaves files that are ahead.
func TestPushAfterCrash(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("theirs.cue", "1")
	r := w.open()
	w.write("site.cue", "a: 2\n")
	old := w.commit(r, "site.cue")
	if err := r.Push(t.Context(), "origin", "main", nil); err != nil {
		t.Fatal(err)
	}
	w.git("update-ref", "HEAD", old)
	left := w.write(".git/clink/push-1/x", "")
	long := w.path(".git/clink/push-1")
	stamp(t, long, leftoverAge*2)
	if err := r.Push(t.Context(), "origin", "main", nil); err != nil {
		t.Fatal(err)
	}
	w.wantPushed("")
	w.wantStatus()
	if _, err := os.Stat(left); err == nil {
		t.Error("what the crash left is still there")
	}
	w.wantTidy()
}

// HEAD moves while the files are: they go back.
func TestPushAgainstCommitInTheLastMoment(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("theirs.cue", "1")
	theirs.write(".gitattributes", "late.cue filter=late\n")
	theirs.publish("late.cue", "1")
	theirs.git("add", ".gitattributes")
	theirs.git("commit", "-qm", "attributes")
	theirs.git("push", "-q")
	r := w.open()
	w.write("site.cue", "a: 2\n")
	w.commit(r, "site.cue")
	// The filter runs when late.cue is written, here, not in the tree aside.
	w.git("config", "filter.late.smudge", "sh "+w.path(".git/late"))
	w.write(".git/late", "cat\n[ \"$PWD\" = '"+w.dir+"' ] && [ ! -e .git/once ] && touch .git/once && git update-ref HEAD $(git commit-tree -p HEAD -m late HEAD^{tree})\nexit 0\n")
	if err := r.Push(t.Context(), "origin", "main", nil); err != nil {
		t.Fatal(err)
	}
	w.wantPushed("")
	w.wantStatus()
	w.wantTidy()
	if got := w.git("log", "--format=%s"); !strings.Contains(got, "links: change") || w.read(".git/once") != "" || !exists(w.path(".git/once")) {
		t.Errorf("history:\n%s", got)
	}
}

func TestPushWhileBusy(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("theirs.cue", "1")
	r := w.open()
	w.write("site.cue", "a: 2\n")
	head := w.commit(r, "site.cue")
	w.git("bisect", "start")
	w.wantError(r.Push(t.Context(), "origin", "main", nil), ErrBusy, "bisect", "pushed")
	if w.git("rev-parse", "HEAD") != head {
		t.Error("HEAD has moved")
	}
	w.git("bisect", "reset")
	if err := r.Push(t.Context(), "origin", "main", nil); err != nil {
		t.Fatal(err)
	}
	w.wantPushed("")
}

func TestPushHoldsFiles(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("theirs.cue", "1")
	r := w.open()
	w.write("site.cue", "a: 2\n")
	w.commit(r, "site.cue")
	l := &lock{t: t, w: w}
	r.Files = l
	if err := r.Push(t.Context(), "origin", "main", nil); err != nil {
		t.Fatal(err)
	}
	if l.taken != 1 || l.held {
		t.Errorf("taken %d times, held: %v", l.taken, l.held)
	}
}

// A lock notes what was there when it was taken and left.
type lock struct {
	t     *testing.T
	w     work
	taken int
	held  bool
}

func (l *lock) Lock() {
	l.taken++
	l.held = true
	if exists(l.w.path("theirs.cue")) {
		l.t.Error("the file was there before the lock")
	}
}

func (l *lock) Unlock() {
	l.held = false
	if !exists(l.w.path("theirs.cue")) {
		l.t.Error("the lock was left before the file was there")
	}
}

// A commit that a rebase has made another of is still there; one that was set
// back behind is not.
func TestContainsWhatWasRebased(t *testing.T) {
	w := newWork(t)
	r, err := Open(t.Context(), w.dir)
	if err != nil {
		t.Fatal(err)
	}
	w.write("site.cue", "a: 2\n")
	w.git("commit", "-q", "-am", "ours\n\nClink-Revision: 1")
	ours := w.git("rev-parse", "HEAD")
	w.git("checkout", "-q", "-b", "theirs", "HEAD~1")
	w.write("other.cue", "b: 2\n")
	w.git("commit", "-q", "-am", "theirs")
	for _, want := range []bool{false, true} {
		if in, err := r.Contains(t.Context(), ours); in != want || err != nil {
			t.Errorf("contained: %v, %v, want %v", in, err, want)
		}
		if !want {
			w.git("cherry-pick", ours)
		}
	}
}
