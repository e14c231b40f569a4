package git

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// running runs a value until the test ends.
func running(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestCommitterRetries(t *testing.T) {
	w := newWork(t)
	var log bytes.Buffer
	failed, done := make(chan error, 100), make(chan Change, 1)
	c := &Committer{
		Repo: w.open(), first: time.Millisecond, last: 4 * time.Millisecond,
		Log:  slog.New(slog.NewTextHandler(&log, nil)),
		Done: func(c Change, _ string) { done <- c },
		Fail: func(_ Change, err error) {
			select {
			case failed <- err:
			default:
			}
		},
	}
	w.git("bisect", "start")
	w.write("site.cue", "a: 2\n")
	_, err := c.Commit(t.Context(), w.change("site.cue"))
	w.wantError(err, ErrBusy)
	running(t, c.Run)
	for range 3 {
		w.wantError(<-failed, ErrBusy, "bisect")
	}
	s := c.Status()
	if len(s) != 1 || s[0].Tries < 3 || !errors.Is(s[0].Err, ErrBusy) || s[0].Subject != "links: change" || !slices.Equal(s[0].Files, []string{w.path("site.cue")}) || s[0].Next.IsZero() || s[0].Since.IsZero() {
		t.Errorf("Status = %+v", s)
	}
	w.git("bisect", "reset")
	if got := <-done; got.Subject != "links: change" {
		t.Errorf("done: %+v", got)
	}
	w.wantTouched("M site.cue")
	if s := c.Status(); len(s) != 0 {
		t.Errorf("Status = %+v", s)
	}
	if n := strings.Count(log.String(), "commit failed"); n != 1 {
		t.Errorf("the same failure is logged %d times:\n%s", n, &log)
	}
}

// A hook that refuses one change does not keep others waiting.
func TestCommitterGoesOn(t *testing.T) {
	w := newWork(t)
	w.script(".git/hooks/pre-commit", "! git diff --cached --name-only | grep -q site\n")
	c := &Committer{Repo: w.open()}
	w.write("site.cue", "a: 2\n")
	_, err := c.Commit(t.Context(), w.change("site.cue"))
	w.wantError(err, ErrHook)
	w.write("other.cue", "b: 2\n")
	if _, err := c.Commit(t.Context(), w.change("other.cue")); err != nil {
		t.Fatal(err)
	}
	w.wantTouched("M other.cue")
	if s := c.Status(); len(s) != 1 || s[0].Files[0] != w.path("site.cue") {
		t.Errorf("Status = %+v", s)
	}
}

func TestCommitterMergesWhatOverlaps(t *testing.T) {
	w := newWork(t)
	w.git("bisect", "start")
	c := &Committer{Repo: w.open()}
	edit := func(subject, author, request string, names ...string) {
		t.Helper()
		change := Change{Subject: subject, Author: author, Trailers: [][2]string{{"Clink-Request-Id", request}}}
		for _, name := range names {
			change.Files = append(change.Files, w.write(name, request))
		}
		_, err := c.Commit(t.Context(), change)
		w.wantError(err, ErrBusy)
	}
	edit("links: one", "ann", "1", "site.cue")
	edit("links: two", "ben", "2", "other.cue")
	edit("links: three", "ann", "3", "new.cue")
	edit("links: four", "cy", "4", "site.cue", "other.cue")
	if n := len(c.Status()); n != 2 {
		t.Fatalf("%d pending, want 2", n)
	}
	w.git("bisect", "reset")
	done := make(chan Change, 2)
	c.Done = func(c Change, _ string) { done <- c }
	running(t, c.Run)
	c.Wake()
	<-done
	<-done
	got := w.git("log", "-2", "--format=%an: %B")
	want := `cy: links: four

links: one
links: two

Clink-Request-Id: 1
Clink-Request-Id: 2
Clink-Request-Id: 4
Co-authored-by: ann <ann@clink>
Co-authored-by: ben <ben@clink>

ann: links: three

Clink-Request-Id: 3
`
	if sorted(got) != sorted(want) || w.git("status", "--porcelain") != "" {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func sorted(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestCommitterIsBounded(t *testing.T) {
	w := newWork(t)
	c := &Committer{Repo: w.open()}
	for i := range maxPending + 50 {
		name := w.path(strconv.Itoa(i) + ".cue")
		if err := c.Add(Change{Subject: "s", Files: []string{name}}); err != nil {
			t.Fatal(err)
		}
	}
	s := c.Status()
	if n := len(s); n != maxPending || len(s[n-1].Files) != 51 {
		t.Errorf("%d pending, the last has %d files", n, len(s[n-1].Files))
	}
}

func TestCommitterRefusesWhatCannotBe(t *testing.T) {
	w := newWork(t)
	c := &Committer{Repo: w.open()}
	for _, change := range []Change{{Files: []string{w.path("site.cue")}}, {Subject: "s", Files: []string{"/etc/passwd"}}} {
		_, err := c.Commit(t.Context(), change)
		w.wantError(err, errInvalid)
		w.wantError(c.Add(change), errInvalid)
	}
	if s := c.Status(); len(s) != 0 {
		t.Errorf("Status = %+v", s)
	}
}

// Many writers at once: whatever is written is committed in the end.
func TestCommitterConcurrently(t *testing.T) {
	w := newWork(t)
	c := &Committer{Repo: w.open(), first: time.Millisecond, last: time.Millisecond}
	running(t, c.Run)
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			for n := range 5 {
				names := []string{w.write(strconv.Itoa(i%3)+".cue", strconv.Itoa(10*i+n))}
				change := Change{Subject: "s", Author: strconv.Itoa(i), Files: names}
				if n%2 == 0 {
					if id, err := c.Commit(t.Context(), change); err != nil || id == "" {
						t.Errorf("Commit = %q, %v", id, err)
					}
				} else if err := c.Add(change); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	for i := range 3 {
		c.Commit(t.Context(), w.change(strconv.Itoa(i)+".cue"))
	}
	w.wantStatus()
}

func TestCommitterKeepsWhatHasNoTime(t *testing.T) {
	w := newWork(t)
	c := &Committer{Repo: w.open()}
	c.init()
	if err := c.work.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.write("site.cue", "a: 2\n")
	_, err := c.Commit(ctx, w.change("site.cue"))
	w.wantError(err, context.Canceled)
	c.work.leave()
	done := make(chan Change, 1)
	c.Done = func(c Change, _ string) { done <- c }
	running(t, c.Run)
	<-done
	w.wantTouched("M site.cue")
}

func TestPusher(t *testing.T) {
	w, theirs := newClones(t)
	r := w.open()
	w.write("site.cue", "a: 2\n")
	w.commit(r, "site.cue") // by an earlier process
	bare := w.git("remote", "get-url", "origin")
	w.git("remote", "set-url", "origin", "/nowhere")
	tried := make(chan PushStatus, 1)
	var log bytes.Buffer
	p := &Pusher{
		Repo: r, Remote: "origin", Branch: "main", first: time.Millisecond, last: 4 * time.Millisecond,
		Done: func(s PushStatus) { tried <- s },
		Log:  slog.New(slog.NewTextHandler(&log, nil)),
	}
	running(t, p.Run)
	for n := range 3 {
		s := <-tried
		if s.Unpushed != 1 || s.Tries != n+1 || s.Err == nil || s.Since.IsZero() || s.Next.IsZero() {
			t.Errorf("status %d: %+v", n, s)
		}
	}
	theirs.publish("theirs.cue", "1")
	w.git("remote", "set-url", "origin", bare)
	s := <-tried
	for s.Err != nil {
		s = <-tried
	}
	if s.Unpushed != 0 || s.Pushed != w.git("rev-parse", "HEAD") || s.Tries != 0 || !s.Since.IsZero() || !s.Next.IsZero() {
		t.Errorf("status: %+v", s)
	}
	w.wantPushed("")
	if n := strings.Count(log.String(), "push failed"); n != 1 {
		t.Errorf("the same failure is logged %d times:\n%s", n, &log)
	}
	w.write("site.cue", "a: 3\n")
	w.commit(r, "site.cue")
	p.Wake()
	if s := <-tried; s.Err != nil || s.Unpushed != 0 {
		t.Errorf("status: %+v", s)
	}
	w.wantPushed("")
}

func TestPusherSaysThatConflictsStay(t *testing.T) {
	w, theirs := newClones(t)
	theirs.publish("site.cue", "a: theirs\n")
	r := w.open()
	w.write("site.cue", "a: 2\n")
	w.commit(r, "site.cue")
	tried := make(chan PushStatus, 1)
	p := &Pusher{Repo: r, Remote: "origin", Branch: "main", Done: func(s PushStatus) { tried <- s }}
	running(t, p.Run)
	s := <-tried
	w.wantError(s.Err, ErrDiverged, "site.cue")
	next := s.Next
	p.Wake() // a remote that refuses is not asked at each commit
	if s := p.Status(); s.Next.Before(time.Now()) || s.Next.After(next) || s.Unpushed != 1 {
		t.Errorf("status: %+v", s)
	}
	if _, err := os.Stat(w.path(".git/rebase-merge")); err == nil {
		t.Error("a rebase is left")
	}
}

func TestRetrier(t *testing.T) {
	b := retrier{first: time.Second, last: time.Minute}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		before := time.Now()
		b.failed()
		// The time is taken in between.
		if wait, late := b.next.Sub(before), time.Since(before); wait < want*time.Second || wait > want*time.Second+late {
			t.Errorf("waits %v, want %ds", wait, want)
		}
	}
	for range 100 {
		b.failed()
	}
	before := time.Now()
	b.failed()
	if wait, late := b.next.Sub(before), time.Since(before); wait < time.Minute || wait > time.Minute+late {
		t.Errorf("waits %v", wait)
	}
}

// A change that another one joins while it waits is committed with that one.
func TestCommitterFollowsWhatJoined(t *testing.T) {
	w := newWork(t)
	c := &Committer{Repo: w.open()}
	c.init()
	w.write("site.cue", "a: 2\n")
	p := c.keep(w.change("site.cue"))
	w.write("other.cue", "b: 2\n")
	if err := c.Add(w.change("site.cue", "other.cue")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds it done
		id, err := c.try(t.Context(), p)
		if err != nil || id != w.git("rev-parse", "HEAD") {
			t.Errorf("try = %q, %v", id, err)
		}
		w.wantTouched("M other.cue", "M site.cue")
		if s := c.Status(); len(s) != 0 {
			t.Errorf("Status = %+v", s)
		}
	}
}

// Somebody commits by hand all the while: neither takes what is the other's,
// and nothing is lost.
func TestCommitterBesideAPerson(t *testing.T) {
	w := newWork(t)
	c := &Committer{Repo: w.open(), first: time.Millisecond, last: 4 * time.Millisecond}
	running(t, c.Run)
	const rounds = 8
	var person sync.WaitGroup
	person.Go(func() {
		for n := range rounds {
			w.write("other.cue", strconv.Itoa(n))
			for _, args := range [][]string{{"add", "other.cue"}, {"commit", "-qm", "by hand"}} {
				for out, err := w.try(args...); err != nil; out, err = w.try(args...) {
					if !strings.Contains(out, "lock") {
						t.Errorf("git %v: %s", args, out)
						return
					}
				}
			}
		}
	})
	for n := range rounds {
		w.write("site.cue", strconv.Itoa(n))
		if _, err := c.Commit(t.Context(), w.change("site.cue")); err != nil && !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
	}
	person.Wait()
	if _, err := c.Commit(t.Context(), w.change("site.cue")); err != nil {
		t.Error(err)
	}
	w.wantStatus()
	for author, file := range map[string]string{"ops": "site.cue", "Olga": "other.cue"} {
		got := strings.Fields(w.git("log", "--author="+author, "--format=", "--name-only", "HEAD", "--not", w.git("rev-list", "--max-parents=0", "HEAD")))
		if len(got) == 0 || slices.ContainsFunc(got, func(name string) bool { return name != file }) {
			t.Errorf("%s committed %q", author, got)
		}
	}
}

// Somebody asks for the status of a pusher that is only beginning to run.
func TestPusherTellsItsStatusFromTheStart(t *testing.T) {
	w, _ := newClones(t)
	p := &Pusher{Repo: w.open(), Remote: "origin", Branch: "main"}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for range 100 {
		p.Status()
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
