package command_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A suspension is what the tests read of one.
type suspension struct {
	Site, Peer, Reason, By string
	Since, Until           time.Time
}

// suspended is the suspension that a GET of a link shows; the zero one is none.
func (d *daemon) suspended(site, peer string) suspension {
	d.t.Helper()
	var l struct{ Suspension suspension }
	d.get("/sites/"+site+"/cluster/links/"+peer, &l)
	return l.Suspension
}

// suspendedFor suspends a link for a time, and checks what is told of that. It
// returns false if the time was over before all had been looked at.
func (d *daemon) suspendedFor(span time.Duration, next func(string) event) bool {
	d.t.Helper()
	ends := time.Now().Add(span).UTC()
	r := d.try("PUT", "/sites/site-a/cluster/links/site-b/suspend", fmt.Sprintf(`{"reason":"a short one","until":%q}`, ends.Format(time.RFC3339Nano)))
	switch late := time.Now().After(ends); {
	case r.code == 400 && late && span < deadline:
		return false
	case r.err != nil || r.code != 200:
		d.t.Fatalf("suspending = %d %s %v", r.code, r.body, r.err)
	}
	if e := next("suspended"); e.Site != "site-a" || e.Peer != "site-b" || e.Reason != "a short one" || !strings.Contains(e.Message, d.keyName()) {
		d.t.Errorf("told %+v", e)
	}
	shown, replication := d.suspended("site-a", "site-b"), d.link("site-a", "site-b").Replication
	late := time.Now().After(ends) && span < deadline
	if !late && (shown.Reason != "a short one" || shown.By != d.keyName() || !shown.Until.Equal(ends)) {
		d.t.Errorf("shown %+v", shown)
	}
	if !late && (replication.State != "down" || replication.Reason != "disabled") {
		d.t.Errorf("replication is %+v", replication)
	}
	if e := next("resumed"); e.Reason != "expired" {
		d.t.Errorf("told %+v", e)
	}
	if now := time.Now(); now.Before(ends) {
		d.t.Errorf("resumed %v early", ends.Sub(now))
	}
	return !late
}

func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	dir, data := copyExample(t, "two-sites"), t.TempDir()
	d := start(t, dir, data)
	d.online("site-a", "site-b")
	d.online("site-b", "site-a")
	before := d.sources()
	const path = "/sites/site-a/cluster/links/site-b"
	d.send(400, "PUT", path+"/suspend", `{}`)
	d.send(400, "PUT", path+"/suspend", `{"reason":"x","until":"2001-01-01T00:00:00Z"}`)
	d.send(404, "PUT", "/sites/site-a/cluster/links/nope/suspend", `{"reason":"x"}`)
	next := d.listen()

	// One that ends by itself, after a time in which it can be looked at.
	for span := 2 * time.Second; !d.suspendedFor(span, next); span *= 2 {
	}
	d.online("site-a", "site-b")

	// One that a restart does not end.
	d.send(200, "PUT", path+"/suspend", `{"reason":"maintenance"}`)
	if code := d.stop(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	d = start(t, dir, data)
	if s := d.suspended("site-a", "site-b"); s.Reason != "maintenance" || s.By != d.keyName() {
		t.Errorf("after the restart: %+v", s)
	}
	var status struct{ Suspensions []suspension }
	d.get("/status", &status)
	if len(status.Suspensions) != 1 || status.Suspensions[0].Peer != "site-b" {
		t.Errorf("status: %+v", status)
	}
	// A write does not end it, and is not the suspension's end in the source.
	link := d.send(200, "GET", path, "").body
	d.send(200, "PUT", path, strings.Replace(link, `"global/#"`, `"global/#","more/#"`, 1))
	if s := d.suspended("site-a", "site-b"); s.Reason != "maintenance" {
		t.Errorf("after a write: %+v", s)
	}
	d.send(204, "PUT", path+"/resume", "")
	d.send(204, "PUT", path+"/resume", "")
	d.online("site-a", "site-b")
	after := d.sources()
	if b := after["site_a.cue"]; !strings.Contains(b, "more/#") || strings.Contains(b, "enable") {
		t.Errorf("site_a.cue is\n%s", b)
	}
	delete(before, "site_a.cue")
	delete(after, "site_a.cue")
	if fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("other files were written")
	}
}

// What happens is told as it happens, and afterwards.
func TestEventsOfAWrite(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	d.online("site-a", "site-b")
	d.online("site-b", "site-a")
	next := d.listen()
	const path = "/sites/site-a/cluster/links/site-b"
	link := d.send(200, "GET", path, "").body
	tag := d.send(200, "PUT", path, strings.Replace(link, `"enable":true`, `"enable":false`, 1)).header.Get("ETag")
	revision := strings.Trim(tag, `"`)
	e := next("revision")
	for e.Revision != revision {
		e = next("revision")
	}
	if e.Reason != d.keyName() {
		t.Errorf("told %+v", e)
	}
	if e := next("applied"); e.Site != "site-a" || e.Peer != "site-b" || e.Revision != revision || e.Reason != "update" {
		t.Errorf("told %+v", e)
	}
	seen := map[string]bool{}
	for !seen["site-a down"] || !seen["site-b rejected"] {
		e := next("link")
		seen[e.Site+" "+e.Reason] = true
	}
	var revisions []struct {
		Revision, Author, Result string
		Plan                     []struct {
			Site, Op, Peer string
			Fields         []string
		}
	}
	until(t, "the revision to be applied", func() bool {
		d.get("/revisions", &revisions)
		return revisions[0].Result == "applied"
	})
	r := revisions[0]
	if r.Revision != revision || r.Author != d.keyName() || len(r.Plan) != 1 || r.Plan[0].Site != "site-a" || r.Plan[0].Op != "update" || !slices.Equal(r.Plan[0].Fields, []string{"enable"}) {
		t.Errorf("the history says %+v", r)
	}
	d.send(200, "PUT", path, link)
	for seen := map[string]bool{}; !seen["site-a online"] || !seen["site-b online"] || !seen["site-a inbound-online"]; {
		e := next("link")
		seen[e.Site+" "+e.Reason] = true
	}
}

// The process says in kstatus's words where it stands.
func TestConditionsOverREST(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	d.send(200, "GET", "/readyz", "")
	conditions := func() string {
		var s struct {
			Conditions []struct{ Type, Status, Reason string }
		}
		d.get("/status", &s)
		var l []string
		for _, c := range s.Conditions {
			l = append(l, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
		}
		return strings.Join(l, ", ")
	}
	until(t, "the first conditions", func() bool {
		return conditions() == "Ready=True Applied, Reconciling=False Applied, Stalled=False Applied"
	})
	d.edit("site_b.cue", "package topology", "package topology {")
	until(t, "a broken file to be told", func() bool { return strings.HasPrefix(conditions(), "Ready=False") })
	t.Logf("with a broken file: %s", conditions())
	d.send(200, "GET", "/readyz", "") // what was good still runs
	d.edit("site_b.cue", "package topology {", "package topology")
	until(t, "the end of that", func() bool { return strings.HasPrefix(conditions(), "Ready=True Applied, Reconciling=False") })
}

// A browser signs in with a key, and its cookie writes from our own pages only.
func TestSessionWrites(t *testing.T) {
	t.Parallel()
	dir, keys := copyExample(t, "two-sites"), filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("olga:right:administrator\nvera:right:viewer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "api-key"), []byte("olga:right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, dir, data, "--api-keys", keys)
	const path = "/sites/site-b/cluster/links/site-a"
	body := d.topicsBody("global/#", "cookie/#")
	own := "http://" + d.http
	d.send(401, "POST", "/session", `{"key":"olga","secret":"wrong"}`, "Authorization", "", "Origin", own)
	d.send(403, "POST", "/session", `{"key":"olga","secret":"right"}`, "Authorization", "", "Origin", "http://evil.example")
	cookie := func(key string) string {
		t.Helper()
		r := d.send(200, "POST", "/session", fmt.Sprintf(`{"key":%q,"secret":"right"}`, key), "Authorization", "", "Origin", own)
		c, err := http.ParseSetCookie(r.header.Get("Set-Cookie"))
		if err != nil || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
			t.Fatalf("cookie %v, %v", c, err)
		}
		return c.Name + "=" + c.Value
	}
	olga, vera := cookie("olga"), cookie("vera")
	before := d.sources()
	d.send(401, "PUT", path, body, "Authorization", "", "Origin", own)
	d.send(403, "PUT", path, body, "Authorization", "", "Cookie", olga, "Origin", "http://evil.example")
	if r := d.send(403, "PUT", path, body, "Authorization", "", "Cookie", vera, "Origin", own); !strings.Contains(r.body, "UNAUTHORIZED_ROLE") {
		t.Errorf("a viewer: %s", r.body)
	}
	d.send(400, "PUT", path, `{}`, "Authorization", "", "Cookie", olga, "Origin", own)
	d.untouched(before, "a refused write")
	d.send(200, "PUT", path, body, "Authorization", "", "Cookie", olga, "Origin", own)
	var revisions []struct{ Author string }
	d.get("/revisions", &revisions)
	if revisions[0].Author != "olga" {
		t.Errorf("the author is %q", revisions[0].Author)
	}
	d.send(200, "GET", path, "", "Authorization", "", "Cookie", vera)
	d.send(204, "DELETE", "/session", "", "Authorization", "", "Cookie", olga, "Origin", own)
	d.send(401, "PUT", path, body, "Authorization", "", "Cookie", olga, "Origin", own)
	// The address that signs in once is told, where the key is, and nowhere else.
	if !strings.Contains(d.out.String(), "/#token=") || strings.Contains(d.log.String(), "#token=") {
		t.Errorf("said %s", d.out)
	}
}
