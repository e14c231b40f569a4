package command_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A gitState is what GET /status tells of git.
type gitState struct {
	Commit, Lost string
	Uncommitted  []struct{ Subject, Error string }
	Unpushed     int
	PushError    string `json:"push_error"`
}

func (d *daemon) git() gitState {
	d.t.Helper()
	var s struct{ Git gitState }
	d.get("/status", &s)
	return s.Git
}

// putTopics writes the topics of site-b's link to site-a.
func (d *daemon) putTopics(topics ...string) written {
	d.t.Helper()
	return d.send(200, "PUT", "/sites/site-b/cluster/links/site-a", d.topicsBody(topics...), "X-Request-Id", "job-7").written(d.t)
}

func (d *daemon) topicsBody(topics ...string) string {
	return linkBody(d.t, map[string]any{"server": "127.0.0.1:" + d.port("site-a"), "topics": topics, "username": "site-b", "password": "file://secrets/site-b-to-site-a"})
}

// startGit runs two-sites out of a repository.
func startGit(t *testing.T, flags ...string) (*daemon, work) {
	t.Helper()
	dir := copyExample(t, "two-sites")
	repo := commitAll(t, dir)
	return start(t, dir, t.TempDir(), append([]string{"--git-commit"}, flags...)...), repo
}

// listen subscribes to the daemon's events, and returns what waits for one.
func (d *daemon) listen() (next func(kind string) event) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*deadline)
	d.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+d.http+"/events", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	d.authorize(req)
	res, err := d.api().Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 {
		d.t.Fatalf("GET /events = %d", res.StatusCode)
	}
	lines := bufio.NewScanner(res.Body)
	return func(kind string) (e event) {
		d.t.Helper()
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			e = event{}
			reply{body: data}.decode(d.t, &e)
			if e.Type == kind {
				return e
			}
		}
		d.t.Fatalf("the events end without one of type %s: %v", kind, lines.Err())
		return e
	}
}

type event struct{ Type, Site, Peer, Revision, Reason, Message string }

func TestEachWriteIsACommit(t *testing.T) {
	d, repo := startGit(t)
	n := long(40, 1000)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // what pools have kept goes with the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	var at uint64
	var goroutines int
	for i := range n {
		d.putTopics("global/#", fmt.Sprint("added/", i))
		if i == n/2 {
			at, goroutines = heap(), runtime.NumGoroutine()
		}
	}
	until(t, "the heap to be hardly more than after half of the writes", func() bool { return heap() < at+8<<20 })
	until(t, "the goroutines to be no more than before", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	if got := repo.git("rev-list", "--count", "HEAD"); got != fmt.Sprint(n+1) {
		t.Errorf("%s commits after %d writes", got, n)
	}
	if got := repo.git("status", "--porcelain"); got != "" {
		t.Errorf("left over: %s", got)
	}
	if got := repo.git("log", "--format=%an %cn", "--name-only", fmt.Sprintf("-%d", n)); strings.Count(got, d.keyName()+" Olga Operator\n\nsite_b.cue") != n {
		t.Errorf("authors and files:\n%.500s", got)
	}
	var status struct{ Revision, Commit string }
	until(t, "the last commit to be seen", func() bool {
		d.get("/status", &status)
		return status.Commit == repo.git("rev-parse", "HEAD")
	})
	want := "site-b: update the link to site-a\n\nChanged: topics\n\nClink-Revision: " + status.Revision + "\nClink-Request-Id: job-7"
	if got := repo.git("log", "-1", "--format=%B"); strings.TrimSpace(got) != want {
		t.Errorf("the last message is\n%s\nwant\n%s", got, want)
	}
	// What changes nothing is no commit.
	d.putTopics("global/#", fmt.Sprint("added/", n-1))
	if got := repo.git("rev-list", "--count", "HEAD"); got != fmt.Sprint(n+1) {
		t.Errorf("%s commits after one more write of the same", got)
	}
}

// keyName is the name of the key that the daemon has made.
func (d *daemon) keyName() string {
	d.authorize(&http.Request{Header: http.Header{}})
	name, _, _ := strings.Cut(d.key, ":")
	return name
}

// What is staged, changed or checked out by somebody else stays his.
func TestCommitBesideOthersWork(t *testing.T) {
	t.Parallel()
	d, repo := startGit(t)
	d.edit("site_a.cue", "// Anybody on this", "// Everybody on this")
	repo.git("add", "site_a.cue")
	d.edit("site_a.cue", "trying things out", "trying out")
	d.putTopics("global/#", "staged/#")
	if got := repo.git("status", "--porcelain"); got != "MM site_a.cue" {
		t.Errorf("status = %q", got)
	}
	if got := repo.git("show", "--format=", "--name-only"); got != "site_b.cue" {
		t.Errorf("committed %s", got)
	}
	repo.git("commit", "-q", "-am", "mine")

	repo.git("checkout", "-q", "--detach")
	before := repo.git("rev-parse", "main")
	d.putTopics("global/#", "detached/#")
	if got := repo.git("show", "--format=%s", "--name-only"); got != "site-b: update the link to site-a\n\nsite_b.cue" {
		t.Errorf("on a detached HEAD: %s", got)
	}
	if after := repo.git("rev-parse", "main"); after != before {
		t.Errorf("main went from %s to %s while something else was checked out", before, after)
	}
	if s := d.git(); s.Commit != repo.git("rev-parse", "HEAD") || len(s.Uncommitted) != 0 {
		t.Errorf("status: %+v", s)
	}
}

// During a rebase the edit takes effect; it is committed when that is over.
func TestCommitDuringARebase(t *testing.T) {
	t.Parallel()
	d, repo := startGit(t)
	for i, text := range []string{"one", "two"} {
		if i == 1 {
			repo.git("checkout", "-q", "-b", "other", "HEAD~1")
		}
		if err := os.WriteFile(filepath.Join(d.dir, "notes.txt"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		repo.git("add", "notes.txt")
		repo.git("commit", "-q", "-m", text)
	}
	if out, err := repo.try("rebase", "main"); err == nil {
		t.Fatalf("no conflict: %s", out)
	}
	head := repo.git("rev-parse", "other")
	next := d.listen()
	if w := d.putTopics("global/#", "rebasing/#"); w.states() != "site-b applied" {
		t.Errorf("answered %s", w.states())
	}
	s := d.git()
	if len(s.Uncommitted) != 1 || s.Uncommitted[0].Subject != "site-b: update the link to site-a" || !strings.Contains(s.Uncommitted[0].Error, "rebase") {
		t.Errorf("status: %+v", s)
	}
	if got := repo.git("rev-parse", "other"); got != head {
		t.Error("something was committed")
	}
	// Git takes the edit away with the rebase: it is made again.
	if out, err := repo.try("rebase", "--abort"); err != nil {
		t.Fatalf("git rebase --abort: %v\n%s", err, out)
	}
	if e := next("committed"); !strings.Contains(e.Message, repo.git("rev-parse", "HEAD")) {
		t.Errorf("told %+v", e)
	}
	if e := next("reset"); e.Reason != "EditRestored" || e.Site != "site-b" {
		t.Errorf("told %+v", e)
	}
	if got := repo.git("show", "--format=%an %s", "HEAD"); !strings.HasPrefix(got, d.keyName()+" site-b: update the link to site-a") || !strings.Contains(got, "rebasing/#") {
		t.Errorf("committed %s", got)
	}
	until(t, "the status", func() bool { return len(d.git().Uncommitted) == 0 })
	until(t, "the edit to be in force again", func() bool { return slices.Contains(d.link("site-b", "site-a").Topics, "rebasing/#") })
	if got := repo.git("status", "--porcelain"); got != "" {
		t.Errorf("left over: %s", got)
	}
}

// writeScript writes a program that can be run at once. No other test starts one
// meanwhile: that would have the file open for writing until it runs, and the
// system runs no program that somebody may still write.
func writeScript(t *testing.T, path, text string) {
	t.Helper()
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
}

// A hook that refuses holds up the commit, not the edit.
func TestFailingHook(t *testing.T) {
	t.Parallel()
	d, repo := startGit(t)
	hook := filepath.Join(d.dir, ".git", "hooks", "pre-commit")
	writeScript(t, hook, "echo the hook says no >&2\nexit 1\n")
	next := d.listen()
	d.putTopics("global/#", "hooked/#")
	if e := next("uncommitted"); e.Reason != "CommitFailed" || !strings.Contains(e.Message, "the hook says no") {
		t.Errorf("told %+v", e)
	}
	if s := d.git(); len(s.Uncommitted) != 1 || !strings.Contains(s.Uncommitted[0].Error, "the hook says no") {
		t.Errorf("status: %+v", s)
	}
	if got := repo.git("status", "--porcelain"); got != " M site_b.cue" {
		t.Errorf("git status: %q", got)
	}
	if err := os.Remove(hook); err != nil {
		t.Fatal(err)
	}
	if e := next("committed"); !strings.Contains(e.Message, repo.git("rev-parse", "HEAD")) {
		t.Errorf("told %+v", e)
	}
	if s := d.git(); len(s.Uncommitted) != 0 || s.Commit != repo.git("rev-parse", "HEAD") {
		t.Errorf("status: %+v", s)
	}
}

// A hook that hangs holds up neither whoever asked nor those behind, and what was
// written meanwhile is committed when it is mended.
func TestHangingHook(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a commit for as long as a write may take")
	}
	d, repo := startGit(t)
	hook := filepath.Join(d.dir, ".git", "hooks", "pre-commit")
	writeScript(t, hook, fmt.Sprintf("while [ -e '%s' ]; do sleep 0.2; done\n", hook))
	server := map[string]string{"site-a": "127.0.0.1:" + d.port("site-a"), "site-b": "127.0.0.1:" + d.port("site-b")}
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			site, peer := "site-a", "site-b"
			if i%2 == 0 {
				site, peer = peer, site
			}
			body := linkBody(t, map[string]any{"name": peer, "server": server[peer], "topics": []string{fmt.Sprintf("t%d/#", i)},
				"username": site, "password": "file://secrets/" + site + "-to-" + peer})
			if r := d.try("PUT", "/sites/"+site+"/cluster/links", body); r.code != 200 {
				t.Errorf("PUT = %d %s", r.code, r.body)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("four writes took %v", took)
	}
	if s := d.git(); len(s.Uncommitted) == 0 {
		t.Errorf("status: %+v", s)
	}
	if err := os.Remove(hook); err != nil {
		t.Fatal(err)
	}
	until(t, "all of it to be committed", func() bool { return len(d.git().Uncommitted) == 0 })
	if got := repo.git("status", "--porcelain"); got != "" {
		t.Errorf("git status: %q", got)
	}
}

func TestGitCommitWithoutARepository(t *testing.T) {
	t.Parallel()
	dir := copyExample(t, "two-sites")
	d, _ := launch(t, dir, t.TempDir(), "--git-commit")
	until(t, "the end", func() bool { return strings.Contains(d.log.String(), "--git-commit") })
	if code := d.stop(); code != 3 {
		t.Errorf("exit %d, want 3\n%s", code, d.log)
	}
}

// A git-sync that knows nothing of our commits is told of when it sets the tree
// back.
func TestResetUnderTheDaemon(t *testing.T) {
	t.Parallel()
	d, repo := startGit(t)
	next := d.listen()
	d.putTopics("global/#", "kept/#")
	kept := d.git().Commit
	repo.git("reset", "-q", "--hard", "HEAD~1")
	e := next("reset")
	if e.Reason != "EditLost" || !strings.Contains(e.Message, kept[:12]) {
		t.Errorf("told %+v", e)
	}
	if s := d.git(); s.Lost != kept {
		t.Errorf("status: %+v, want %s lost", s, kept)
	}
	if !strings.Contains(d.log.String(), "set back") {
		t.Error("the log says nothing")
	}
	until(t, "the link to be as the tree says", func() bool { return slices.Equal(d.link("site-b", "site-a").Topics, []string{"global/#"}) })
	// The next edit is one that is there.
	d.putTopics("global/#", "again/#")
	if s := d.git(); s.Lost != "" || s.Commit != repo.git("rev-parse", "HEAD") {
		t.Errorf("status: %+v", s)
	}
}

// An edit that is on disk when the process dies is committed by the next one.
func TestKillBetweenWriteAndCommit(t *testing.T) {
	t.Parallel()
	bin, dir, data := build(t), copyExample(t, "two-sites"), t.TempDir()
	repo := commitAll(t, dir)
	reached, gate := filepath.Join(t.TempDir(), "reached"), filepath.Join(t.TempDir(), "gate")
	hook := filepath.Join(dir, ".git", "hooks", "pre-commit")
	writeScript(t, hook, fmt.Sprintf("touch %s\nwhile [ ! -e %s ]; do sleep 0.05; done\nexit 1\n", reached, gate))
	p := spawn(t, bin, dir, data, "site-b", "--git-commit")
	body := strings.Replace(p.send(200, "GET", "/cluster/links/site-a", "").body, "global/#", "crash/#", 1)
	answered := make(chan reply, 1)
	go func() { answered <- p.try("PUT", "/cluster/links/site-a", body) }()
	until(t, "the hook", func() bool { _, err := os.Stat(reached); return err == nil })
	p.kill()
	<-answered
	if err := os.Remove(hook); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "git to give up", func() bool {
		_, err := os.Stat(filepath.Join(dir, ".git", "index.lock"))
		return err != nil
	})
	again := spawn(t, bin, dir, data, "site-b", "--git-commit")
	until(t, "the commit", func() bool { return repo.git("status", "--porcelain") == "" })
	if got := repo.git("show", "--format=%s"); !strings.HasPrefix(got, "site-b: update the link to site-a") || !strings.Contains(got, "crash/#") {
		t.Errorf("committed\n%s", got)
	}
	until(t, "the status", func() bool { return len(again.git().Uncommitted) == 0 })
}
