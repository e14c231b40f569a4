package command_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
)

// The list as a whole: what is left out is deleted on demand only, and the
// answer is the list.
func TestPutOfTheList(t *testing.T) {
	t.Parallel()
	dir := copyExample(t, "two-sites")
	port := thirdSite(t, dir)
	repo := commitAll(t, dir)
	d := start(t, dir, t.TempDir())
	d.online("site-a", "site-b")
	d.online("site-b", "site-a")
	const path = "/sites/site-a/api/v5/cluster/links"
	new := `{"name":"site-c","server":"127.0.0.1:` + port + `","topics":["new/#"]}`

	before := d.sources()
	r := d.send(409, "PUT", path, "["+new+"]")
	if !strings.Contains(r.body, `"code":"WOULD_PRUNE"`) || !strings.Contains(r.body, "the list leaves out site-b") {
		t.Errorf("without prune: %s", r.body)
	}
	if r := d.send(409, "PUT", path, "[]"); !strings.Contains(r.body, "site-b") {
		t.Errorf("the empty list: %s", r.body)
	}
	if after := d.sources(); !maps.Equal(after, before) {
		t.Error("a refused list wrote")
	}

	// The list as it was got, and one more.
	var got []json.RawMessage
	d.send(200, "GET", path, "").decode(t, &got)
	var list []written
	d.send(200, "PUT", path, "["+string(got[0])+","+new+"]").decode(t, &list)
	if len(list) != 2 || list[0].Name != "site-b" || list[1].Name != "site-c" {
		t.Fatalf("answered %+v", list)
	}
	if a, c := list[0], list[1]; a.rules() != "" || a.states() != "site-a applied" || !strings.HasPrefix(c.rules(), "one-sided at site_a.cue:") || c.states() != "site-a applied" {
		t.Errorf("told %s, %s and %s, %s", a.rules(), a.states(), c.rules(), c.states())
	}
	if n := repo.git("diff", "--numstat"); n != "5\t0\tsite_a.cue" {
		t.Errorf("git diff --numstat = %s", n)
	}

	// And without the first one, whose other half goes too.
	d.send(200, "PUT", path+"?prune=true&pair=true", "["+new+"]").decode(t, &list)
	if len(list) != 1 || list[0].Name != "site-c" || list[0].states() != "site-a applied, site-c applied" {
		t.Errorf("answered %+v", list)
	}
	d.send(404, "GET", "/sites/site-b/cluster/links/site-a", "")
	d.send(200, "PUT", path+"?prune=true&pair=true", "[]").decode(t, &list)
	if len(list) != 0 {
		t.Errorf("answered %+v", list)
	}
	for _, site := range []string{"a", "b", "c"} {
		b, err := os.ReadFile(dir + "/site_" + site + ".cue")
		if err != nil || strings.Contains(string(b), "links") {
			t.Errorf("site %s: %v\n%s", site, err, b)
		}
	}
}

// A PUT of one link reconnects no other, and not even its own where only its
// topics change.
func TestPutOfOneLinkTouchesNoOther(t *testing.T) {
	t.Parallel()
	d := startExample(t, "hub-and-spoke")
	since := map[string]string{}
	look := func(into map[string]string) {
		for n := range 8 {
			s := fmt.Sprint("spoke-", n+1)
			d.online("hub", s)
			d.online(s, "hub")
			into["hub to "+s], into[s+" to hub"] = d.link("hub", s).Replication.Since.String(), d.link(s, "hub").Replication.Since.String()
		}
	}
	look(since)
	reconnects := func() (lines string) {
		_, text := d.text("/metrics")
		for l := range strings.Lines(text) {
			if strings.HasPrefix(l, "clink_link_reconnects_total") || strings.HasPrefix(l, "clink_broker_clients") {
				lines += l
			}
		}
		return lines
	}
	before := reconnects()
	var link map[string]any
	d.send(200, "GET", "/sites/spoke-1/cluster/links/hub", "").decode(t, &link)
	for n := range 10 {
		link["topics"] = []any{fmt.Sprintf("added/%d/#", n)}
		d.send(200, "PUT", "/sites/spoke-1/cluster/links/hub", linkBody(t, link))
	}
	after := map[string]string{}
	look(after)
	if !maps.Equal(after, since) {
		t.Errorf("links are online since\n%v\nbefore the PUTs:\n%v", after, since)
	}
	if a := reconnects(); a != before {
		t.Errorf("reconnects and clients:\n%s\nbefore:\n%s", a, before)
	}
	if n := strings.Count(d.log.String(), "link change applied"); n != 16+10 {
		t.Errorf("%d changes were applied, want 26", n)
	}
}
