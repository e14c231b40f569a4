package command_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// apart runs the two sites of two-sites in a clinkd each.
func apart(t *testing.T) (a, b *daemon) {
	t.Helper()
	dir := copyExample(t, "two-sites")
	a = start(t, dir, t.TempDir(), "--site", "site-a")
	b = start(t, dir, t.TempDir(), "--site", "site-b")
	a.online("site-a", "site-b")
	b.online("site-b", "site-a")
	return a, b
}

func (d *daemon) traced(site, body string) (tr topology.Trace) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(d.send(200, "POST", "/sites/"+site+"/trace", body).body), &tr); err != nil {
		d.t.Fatal(err)
	}
	return tr
}

// A probe is followed over REST to a site of another clinkd.
func TestTraceBetweenProcesses(t *testing.T) {
	t.Parallel()
	a, b := apart(t)
	sub := connect(t, b.port("site-b"), "sub")
	sub.subscribe("global/+", 1)
	until(t, "the route", func() bool { return a.link("site-a", "site-b").Replication.PeerRoutes == 1 })
	tr := a.traced("site-a", `{"topic":"global/x"}`)
	if h := tr.Links[0]; tr.Site.Name != "site-a" || h.State != topology.TraceArrived || h.Site == nil || h.Site.Name != "site-b" || h.Site.Subscribers != 1 || h.Site.Delivered {
		t.Errorf("%+v", tr)
	}
	tr = b.traced("site-b", `{"topic":"global/x","qos":0}`)
	if h := tr.Links[0]; tr.Site.Subscribers != 1 || h.State != topology.TraceWithheld || h.Reason != "not-announced" {
		t.Errorf("%+v", tr)
	}
	for _, topic := range []string{"global/#", "$LINK/x", "$SYS/x"} {
		if r := a.send(400, "POST", "/sites/site-a/trace", fmt.Sprintf(`{"topic":%q}`, topic)); !strings.Contains(r.body, "BAD_REQUEST") {
			t.Errorf("%s: %s", topic, r.body)
		}
	}
	a.send(404, "POST", "/sites/site-b/trace", `{"topic":"x"}`) // which another process runs
}

// A link that is told to in the source asks its peer, another clinkd, for what
// that retains, and is not interrupted by it.
func TestRetainedIsEdited(t *testing.T) {
	t.Parallel()
	a, b := apart(t)
	pub := connect(t, a.port("site-a"), "pub")
	if _, err := pub.Publish(t.Context(), &paho.Publish{Topic: "global/kept", QoS: 1, Retain: true, Payload: []byte("kept")}); err != nil && !strings.Contains(err.Error(), "16") {
		t.Fatal(err)
	}
	sub := connect(t, b.port("site-b"), "sub")
	sub.subscribe("global/#", 1)
	b.edit("site_b.cue", `topics: ["global/#"]`, `topics: ["global/#"], retained: true`)
	metrics := ""
	until(t, "the copy", func() bool {
		_, metrics = b.text("/metrics")
		return strings.Contains(metrics, `clink_broker_retained{site="site-b"} 1`)
	})
	late := connect(t, b.port("site-b"), "late")
	late.subscribe("global/kept", 1)
	if m := <-late.got; m.Topic != "global/kept" || !m.Retain {
		t.Errorf("%+v", m)
	}
	if !strings.Contains(metrics, `clink_link_reconnects_total{peer="site-a",site="site-b"} 0`) {
		t.Errorf("connections were lost:\n%s", metrics)
	}
}
