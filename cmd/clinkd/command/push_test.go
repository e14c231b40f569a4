package command_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// startPushing runs two-sites out of a repository with a remote, and returns
// a clone in which somebody else works.
func startPushing(t *testing.T) (d *daemon, repo, other work) {
	t.Helper()
	dir := copyExample(t, "two-sites")
	repo = commitAll(t, dir)
	bare := filepath.Join(t.TempDir(), "bare.git")
	repo.git("clone", "-q", "--bare", ".", bare)
	repo.git("remote", "add", "origin", bare)
	repo.git("fetch", "-q", "origin")
	other = work{t, t.TempDir()}
	other.git("clone", "-q", bare, ".")
	return start(t, dir, t.TempDir(), "--git-commit", "--git-push", "origin/main"), repo, other
}

// pushed waits until the remote has what HEAD is here.
func (d *daemon) pushed(repo work) {
	d.t.Helper()
	until(d.t, "the push", func() bool {
		out, err := repo.try("ls-remote", "origin", "refs/heads/main")
		return err == nil && strings.HasPrefix(out, repo.git("rev-parse", "HEAD")) && d.git().Unpushed == 0
	})
}

func TestPush(t *testing.T) {
	t.Parallel()
	d, repo, other := startPushing(t)
	d.putTopics("global/#", "one/#")
	d.pushed(repo)

	// Somebody else pushes before us: we go on top of his work, and our work
	// tree follows.
	other.git("pull", "-q")
	path := filepath.Join(other.dir, "site_a.cue")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), `topics: ["global/#"]`, `topics: ["global/#", "theirs/#"]`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	other.git("commit", "-q", "-am", "theirs")
	other.git("push", "-q")
	d.putTopics("global/#", "two/#")
	d.pushed(repo)
	if got := repo.git("log", "-2", "--format=%s"); got != "site-b: update the link to site-a\ntheirs" {
		t.Errorf("the log is\n%s", got)
	}
	until(t, "their edit to be in force here", func() bool {
		l := d.link("site-a", "site-b").Topics
		return len(l) == 2 && l[1] == "theirs/#"
	})
	if l := d.link("site-b", "site-a").Topics; len(l) != 2 || l[1] != "two/#" {
		t.Errorf("our edit: %v", l)
	}
	if got := repo.git("status", "--porcelain"); got != "" {
		t.Errorf("left over: %s", got)
	}
	if s := d.git(); s.Lost != "" || s.PushError != "" || s.Commit != repo.git("rev-parse", "HEAD") {
		t.Errorf("status: %+v, HEAD is %s", s, repo.git("rev-parse", "HEAD"))
	}
}

// Two changes that are each right and wrong together are not pushed.
func TestPushChecksWhatTheRebaseMakes(t *testing.T) {
	t.Parallel()
	d, repo, other := startPushing(t)
	next := d.listen()
	path := filepath.Join(other.dir, "site_b.cue")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), "package topology\n", "package topology\n\nsites: \"site-b\": cluster: links: \"site-a\": topics: [\"global/#\"]\n", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	other.git("commit", "-q", "-am", "theirs")
	other.git("push", "-q")
	head := repo.git("rev-parse", "HEAD")
	d.putTopics("global/#", "ours/#")
	if e := next("unpushed"); e.Reason != "PushFailed" || !strings.Contains(e.Message, "not right") {
		t.Errorf("told %+v", e)
	}
	if s := d.git(); s.Unpushed != 1 || !strings.Contains(s.PushError, "not right") {
		t.Errorf("status: %+v", s)
	}
	if got := repo.git("rev-parse", "HEAD~1"); got != head {
		t.Errorf("HEAD~1 is %s, was %s", got, head)
	}
	if l := d.link("site-b", "site-a").Topics; len(l) != 2 {
		t.Errorf("the edit is not in force: %v", l)
	}
}

// While a remote cannot be reached, status says what is unpushed, and answers
// say of a half whose site runs elsewhere that its host cannot see it yet.
func TestUnpushedIsTold(t *testing.T) {
	t.Parallel()
	dir := copyExample(t, "two-sites")
	repo := commitAll(t, dir)
	bare := filepath.Join(t.TempDir(), "bare.git")
	repo.git("clone", "-q", "--bare", ".", bare)
	repo.git("remote", "add", "origin", bare)
	repo.git("fetch", "-q", "origin")
	d := start(t, dir, t.TempDir(), "--site", "site-a", "--git-commit", "--git-push", "origin/main")
	if err := os.Rename(bare, bare+".away"); err != nil {
		t.Fatal(err)
	}
	next := d.listen()
	body := func(enable string) string {
		link := d.send(200, "GET", "/cluster/links/site-b", "").body
		return strings.Replace(link, `"enable":`, `"enable":`+enable+`,"was":`, 1)
	}
	write := func(enable string) written {
		t.Helper()
		b := strings.NewReplacer(`,"was":true`, "", `,"was":false`, "").Replace(body(enable))
		return d.send(200, "PUT", "/cluster/links/site-b?pair=true", b).written(t)
	}
	if w := write("false"); w.states() != "site-a applied, site-b unpushed" {
		t.Errorf("answered %s", w.states())
	}
	if e := next("unpushed"); e.Reason != "PushFailed" {
		t.Errorf("told %+v", e)
	}
	if s := d.git(); s.Unpushed != 1 || s.PushError == "" {
		t.Errorf("status: %+v", s)
	}
	if err := os.Rename(bare+".away", bare); err != nil {
		t.Fatal(err)
	}
	if w := write("true"); w.states() != "site-a applied, site-b unpushed" && w.states() != "site-a applied, site-b written" {
		t.Errorf("answered %s", w.states())
	}
	d.pushed(repo)
	if w := write("true"); w.states() != "site-a applied" {
		t.Errorf("answered %s", w.states())
	}
	if got := repo.git("rev-list", "--count", "origin/main"); got != "3" {
		t.Errorf("%s commits are pushed", got)
	}
}
