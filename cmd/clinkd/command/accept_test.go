package command_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// thirdSite adds to two-sites a site that nobody links with yet, and returns
// its port.
func thirdSite(t *testing.T, dir string) string {
	t.Helper()
	port := freePort(t)
	text := "package topology\n\n// The third one.\nsites: \"site-c\": {\n\tlisteners: mqtt: bind: \"127.0.0.1:" + port + "\"\n\taccess: anonymous: true\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "site_c.cue"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return port
}

// What an operator does in an incident: a topic is added over REST, flows at
// once, and is one line of the file that a human wrote.
func TestPutAddsATopic(t *testing.T) {
	dir := copyExample(t, "two-sites")
	repo := commitAll(t, dir)
	d := start(t, dir, t.TempDir())
	d.online("site-a", "site-b")
	d.online("site-b", "site-a")
	pub, sub := connect(t, d.port("site-a"), "pub"), connect(t, d.port("site-b"), "sub")
	sub.subscribe("added/#", 1)
	const path = "/sites/site-b/api/v5/cluster/links"
	with := func(topic string) string {
		return linkBody(t, map[string]any{"name": "site-a", "server": "127.0.0.1:" + d.port("site-a"), "topics": []string{"global/#", topic},
			"username": "site-b", "password": "file://secrets/site-b-to-site-a"})
	}
	body := with("added/#")

	began := time.Now()
	res := d.send(200, "PUT", path, body)
	flows(t, pub, sub, "added/x")
	took := time.Since(began)
	if w := res.written(t); w.states() != "site-b applied" || w.rules() != "" {
		t.Errorf("told %s, %s", w.states(), w.rules())
	}
	if got := repo.git("diff", "--numstat"); got != "1\t1\tsite_b.cue" {
		t.Errorf("git diff --numstat = %s\n%s", got, repo.git("diff"))
	}
	if got := repo.git("diff", "-U0"); !strings.Contains(got, "\n-\t\ttopics: [\"global/#\"]\n+\t\ttopics: [\"global/#\", \"added/#\"]") {
		t.Errorf("git diff:\n%s", got)
	}

	before := d.sources()
	again := d.send(200, "PUT", path, body)
	if after := d.sources(); !maps.Equal(after, before) {
		t.Errorf("the same PUT again wrote\n%v\nbefore:\n%v", after, before)
	}
	if a, b := again.header.Get("ETag"), res.header.Get("ETag"); a != b {
		t.Errorf("the same PUT again gave revision %s, before %s", a, b)
	}
	inTime(t, "from PUT to flow", time.Second, func(n int) time.Duration {
		if n == 0 {
			return took
		}
		topic := fmt.Sprintf("more-%d/", n)
		sub.subscribe(topic+"#", 1)
		body, began := with(topic+"#"), time.Now()
		d.send(200, "PUT", path, body)
		flows(t, pub, sub, topic+"x")
		return time.Since(began)
	})
}

// Both halves of a link are deleted at once, and nothing else.
func TestDeleteOfAPair(t *testing.T) {
	t.Parallel()
	dir := copyExample(t, "two-sites")
	repo := commitAll(t, dir)
	d := start(t, dir, t.TempDir())
	d.online("site-a", "site-b")
	d.online("site-b", "site-a")
	pub, sub := connect(t, d.port("site-a"), "pub"), connect(t, d.port("site-b"), "sub")
	sub.subscribe("global/#", 1)
	flows(t, pub, sub, "global/x")
	d.send(204, "DELETE", "/sites/site-a/cluster/links/site-b?pair=true", "")
	for _, way := range [][2]string{{"site-a", "site-b"}, {"site-b", "site-a"}} {
		d.send(404, "GET", "/sites/"+way[0]+"/cluster/links/"+way[1], "")
	}
	if got := repo.git("diff", "--numstat"); got != "0\t13\tsite_a.cue\n0\t8\tsite_b.cue" {
		t.Errorf("git diff --numstat = %s\n%s", got, repo.git("diff"))
	}
	local := connect(t, d.port("site-b"), "local")
	pub.publish("global/after", "must not cross", 1)
	local.publish("global/marker", "local", 1)
	for p := range sub.got {
		if p.Topic == "global/after" {
			t.Fatal("a message crosses after the DELETE")
		}
		if p.Topic == "global/marker" {
			break
		}
	}
}

// A new link to a site that is known is written, one half of it or both.
func TestPutOfANewLink(t *testing.T) {
	t.Parallel()
	dir := copyExample(t, "two-sites")
	port := thirdSite(t, dir)
	repo := commitAll(t, dir)
	d := start(t, dir, t.TempDir())
	d.online("site-a", "site-b")
	d.online("site-b", "site-a")
	const path = "/sites/site-a/api/v5/cluster/links"
	body := linkBody(t, map[string]any{"name": "site-c", "server": "127.0.0.1:" + port, "topics": []string{"new/#"}})

	before := d.sources()
	refused := d.send(400, "PUT", path+"?strict=true", body)
	if !strings.Contains(refused.body, `"rule":"one-sided"`) || !strings.Contains(refused.body, `"code":"BAD_REQUEST"`) {
		t.Errorf("strict: %s", refused.body)
	}
	if after := d.sources(); !maps.Equal(after, before) {
		t.Errorf("strict wrote\n%v\nbefore:\n%v", after, before)
	}

	w := d.send(201, "PUT", path, body).written(t)
	if w.states() != "site-a applied" || !strings.HasPrefix(w.rules(), "one-sided at site_a.cue:") {
		t.Fatalf("told %s, %s", w.states(), w.rules())
	}
	if r := w.Findings[0].Related; len(r) != 1 || r[0].Pos.File != "site_c.cue" || r[0].Pos.Line == 0 {
		t.Errorf("the other position is %+v", r)
	}
	if got := repo.git("diff", "--numstat"); !strings.HasPrefix(got, "5\t0\tsite_a.cue") || strings.Contains(got, "\n") {
		t.Errorf("git diff --numstat = %s\n%s", got, repo.git("diff"))
	}
	until(t, "the peer's refusal", func() bool {
		r := d.link("site-a", "site-c").Replication
		return r.State == "rejected" && r.Reason == "unknown_cluster"
	})
	d.send(204, "DELETE", "/sites/site-a/cluster/links/site-c", "")
	if got := repo.git("diff"); got != "" {
		t.Errorf("after the DELETE:\n%s", got)
	}

	w = d.send(201, "PUT", path+"?pair=true", body).written(t)
	if w.states() != "site-a applied, site-c applied" || strings.Contains(w.rules(), "one-sided") {
		t.Errorf("told %s, %s", w.states(), w.rules())
	}
	d.online("site-a", "site-c")
	d.online("site-c", "site-a")
	pub, sub := connect(t, port, "pub"), connect(t, d.port("site-a"), "sub")
	sub.subscribe("new/#", 1)
	flows(t, pub, sub, "new/x")
	if got := repo.git("diff", "--name-only"); got != "site_a.cue\nsite_c.cue" {
		t.Errorf("written: %s", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "secrets", "site-c-to-site-a")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the generated password: %v, %v", info, err)
	}
	if d.link("site-a", "site-b").Status != "connected" {
		t.Error("the other link suffered")
	}
}
