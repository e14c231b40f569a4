package command_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

func TestMessagesCrossBothWays(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	d.online("site-a", "site-b")
	d.online("site-b", "site-a")
	for _, way := range [][2]string{{"site-a", "site-b"}, {"site-b", "site-a"}} {
		t.Run(way[0]+" to "+way[1], func(t *testing.T) {
			pub, sub := connect(t, d.port(way[0]), "pub"), connect(t, d.port(way[1]), "sub")
			sub.subscribe("global/#", 2)
			sub.subscribe("local/#", 2)
			flows(t, pub, sub, "global/x")
			// What is outside topics stays, even where somebody waits for it.
			pub.publish("local/x", "must not cross", 1)
			for qos := range byte(3) {
				pub.publish(fmt.Sprint("global/q", qos), "payload", qos)
				for p := range sub.got {
					if p.Topic == "global/x" {
						continue // a late probe
					}
					if p.Topic != fmt.Sprint("global/q", qos) || p.QoS != qos || string(p.Payload) != "payload" {
						t.Fatalf("got %s at QoS %d, want global/q%d", p.Topic, p.QoS, qos)
					}
					break
				}
			}
		})
	}
}

func TestPropertiesCross(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	pub, sub := connect(t, d.port("site-a"), "pub"), connect(t, d.port("site-b"), "sub")
	sub.subscribe("$share/g/global/+/p", 1)
	flows(t, pub, sub, "global/warm/p")
	expiry := uint32(60)
	props := &paho.PublishProperties{ContentType: "text/plain", ResponseTopic: "answer/here", CorrelationData: []byte{1, 0, 2}, MessageExpiry: &expiry,
		User: paho.UserProperties{{Key: "k", Value: "v"}, {Key: "k", Value: "w"}}}
	if _, err := pub.Publish(t.Context(), &paho.Publish{Topic: "global/all/p", QoS: 1, Payload: []byte("x"), Properties: props}); err != nil {
		t.Fatal(err)
	}
	for p := range sub.got {
		if p.Topic != "global/all/p" {
			continue
		}
		g := p.Properties
		if g.ContentType != "text/plain" || g.ResponseTopic != "answer/here" || string(g.CorrelationData) != "\x01\x00\x02" ||
			fmt.Sprint(g.User) != fmt.Sprint(props.User) || g.MessageExpiry == nil || *g.MessageExpiry > 60 || *g.MessageExpiry < 50 {
			t.Errorf("properties = %+v", g)
		}
		return
	}
}

func TestUnsubscribingStopsTheFlow(t *testing.T) {
	d := startExample(t, "two-sites")
	pub, sub := connect(t, d.port("site-a"), "pub"), connect(t, d.port("site-b"), "sub")
	inTime(t, "the end of the route", time.Second, func(n int) time.Duration {
		sub.subscribe("global/#", 1)
		flows(t, pub, sub, fmt.Sprint("global/", n))
		if _, err := sub.Unsubscribe(t.Context(), &paho.Unsubscribe{Topics: []string{"global/#"}}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		until(t, "the route to go", func() bool { return d.link("site-a", "site-b").Replication.PeerRoutes == 0 })
		return time.Since(began)
	})
}

func TestOrdinaryClientsHaveNoPartInLinks(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	port := d.port("site-a")
	c := connect(t, port, "mallory")
	for _, filter := range []string{"$LINK/#", "$LINK/cluster/msg/+", "$share/g/$LINK/#"} {
		if _, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}}); err == nil {
			t.Errorf("subscribe %s is granted", filter)
		}
	}
	res, err := c.Publish(t.Context(), &paho.Publish{Topic: "$LINK/cluster/msg/site-b", QoS: 1, Payload: []byte("forged")})
	if err == nil || res == nil || res.ReasonCode != 0x87 {
		t.Errorf("publish to $LINK = %+v, %v, want reason 0x87", res, err)
	}
	// Nobody gets in under a link's client id without the link's credential.
	if _, err := dial(t, port, "site-b:routesync:00000000", nil); err == nil {
		t.Error("a link's client id is let in without its credential")
	}
}

func TestEditOfOneLinkTouchesNoOther(t *testing.T) {
	d := startExample(t, "hub-and-spoke")
	spokes := []string{}
	for n := range 8 {
		spokes = append(spokes, fmt.Sprint("spoke-", n+1))
	}
	since := map[string]time.Time{}
	for _, s := range spokes {
		d.online("hub", s)
		d.online(s, "hub")
		since[s] = d.link("hub", s).Replication.Since
	}
	reconnects := func() string {
		_, text := d.text("/metrics")
		var lines []string
		for l := range strings.Lines(text) {
			if strings.HasPrefix(l, "clink_link_reconnects_total") && !strings.Contains(l, `"spoke-1"`) {
				lines = append(lines, l)
			}
		}
		return strings.Join(lines, "")
	}
	before := reconnects()
	password, err := os.ReadFile(filepath.Join(d.dir, "secrets", "operator"))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := dial(t, d.port("hub"), "pub", func(c *paho.Connect) {
		c.Username, c.UsernameFlag, c.Password, c.PasswordFlag = "operator", true, bytes.TrimSpace(password), true
	})
	if err != nil {
		t.Fatal(err)
	}
	sub := connect(t, d.port("spoke-1"), "sub")
	inTime(t, "from save to flow", 2*time.Second, func(n int) time.Duration {
		topic := fmt.Sprintf("added-%d/", n)
		sub.subscribe(topic+"#", 1)
		const topics = `"spoke-1": cluster: links: hub: topics: [`
		d.edit("spokes.cue", topics, fmt.Sprintf("%s%q, ", topics, topic+"#"))
		return flows(t, pub, sub, topic+"x")
	})
	if after := reconnects(); after != before {
		t.Errorf("other links reconnected:\n%s\nbefore:\n%s", after, before)
	}
	for _, s := range spokes[1:] {
		if got := d.link("hub", s).Replication.Since; !got.Equal(since[s]) {
			t.Errorf("the link to %s has been online since %v only", s, got)
		}
	}
}

func TestBrokenFileHoldsAndMendApplies(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	pub, sub := connect(t, d.port("site-a"), "pub"), connect(t, d.port("site-b"), "sub")
	sub.subscribe("global/#", 1)
	sub.subscribe("added/#", 1)
	flows(t, pub, sub, "global/x")
	whole, err := os.ReadFile(filepath.Join(d.dir, "site_b.cue"))
	if err != nil {
		t.Fatal(err)
	}
	d.edit("site_b.cue", string(whole), string(whole[:len(whole)/2]))
	until(t, "the fault to be told", func() bool {
		_, m := d.text("/metrics")
		return strings.Contains(m, `clinkd_held_back{peer="",rule="schema",site="site-b"} 1`)
	})
	if !strings.Contains(d.log.String(), "site_b.cue") {
		t.Error("the log does not name the broken file")
	}
	var status struct {
		Held []struct{ Site, Rule, Why string }
	}
	if d.get("/status", &status); len(status.Held) == 0 || status.Held[0].Site != "site-b" || status.Held[0].Rule != "schema" {
		t.Errorf("held = %+v", status.Held)
	}
	flows(t, pub, sub, "global/still")
	d.edit("site_b.cue", string(whole[:len(whole)/2]), strings.Replace(string(whole), `topics: [`, `topics: ["added/#", `, 1))
	flows(t, pub, sub, "added/x")
	if _, m := d.text("/metrics"); strings.Contains(m, "clinkd_held_back{") {
		t.Errorf("still held back:\n%s", m)
	}
}

func TestStartOnBrokenSourceUsesTheLastGoodState(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"sites that are named": {"--site", "site-a", "--site", "site-b"}, "all sites": nil} {
		t.Run(name, func(t *testing.T) { startOnBrokenSource(t, flags...) })
	}
}

func startOnBrokenSource(t *testing.T, flags ...string) {
	d := startExample(t, "two-sites")
	d.online("site-a", "site-b")
	if code := d.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	d.edit("site_b.cue", "package topology", "package topology\n}{")
	again, _ := launch(t, d.dir, d.data, append(flags, "--http", "127.0.0.1:"+freePort(t))...)
	until(t, "the REST API", func() bool { return strings.Contains(again.out.String(), "REST API") })
	again.http = restAddr(t, again)
	if code, body := again.text("/readyz"); code != 503 || !strings.Contains(body, "source") {
		t.Errorf("readyz = %d %s", code, body)
	}
	again.online("site-a", "site-b")
	again.online("site-b", "site-a")
	again.edit("site_b.cue", "package topology\n}{", "package topology")
	until(t, "the mended source", func() bool { code, _ := again.text("/readyz"); return code == 200 })
}

// A topology in one file that does not parse names no site at all.
func TestStartOnASourceThatNamesNothing(t *testing.T) {
	d := startExample(t, "two-sites")
	d.online("site-a", "site-b")
	d.stop()
	for _, file := range []string{"site_a.cue", "site_b.cue"} {
		d.edit(file, "package topology", "package topology\n}{")
	}
	again, _ := launch(t, d.dir, d.data, "--http", "127.0.0.1:"+freePort(t))
	until(t, "the REST API", func() bool { return strings.Contains(again.out.String(), "REST API") })
	again.http = restAddr(t, again)
	again.online("site-a", "site-b")
}

// restAddr finds the address of the REST API in what clinkd says first.
func restAddr(t *testing.T, d *daemon) string {
	t.Helper()
	_, rest, ok := strings.Cut(d.out.String(), "://")
	addr, _, ok2 := strings.Cut(rest, ",")
	if !ok || !ok2 {
		t.Fatalf("no address in %q", d.out)
	}
	return addr
}

func TestTwoDaemonsOnOneSite(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	second, _ := launch(t, d.dir, d.data)
	until(t, "the second daemon to give up", func() bool { return strings.Contains(second.log.String(), "already run by another clinkd") })
	if code := second.stop(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	d.online("site-a", "site-b")
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	dir := copyExample(t, "two-sites")
	b, err := os.ReadFile(filepath.Join(dir, "site_a.cue"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(string(b), `bind: "127.0.0.1:`)
	port, _, _ = strings.Cut(port, `"`)
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d, ready := launch(t, dir, t.TempDir())
	until(t, "the taken port to be told", func() bool { return strings.Contains(d.log.String(), "address already in use") })
	ln.Close()
	select {
	case d.http = <-ready:
	case <-time.After(deadline):
		t.Fatal("clinkd does not come up when the port is free again")
	}
	d.online("site-a", "site-b")

	taken, _ := launch(t, dir, t.TempDir(), "--http", d.http)
	until(t, "the taken HTTP port to be told", func() bool { return strings.Contains(taken.log.String(), "address already in use") })
	if code := taken.stop(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
}

func TestMissingSecretNamesItselfAndHeals(t *testing.T) {
	t.Parallel()
	dir := copyExample(t, "two-sites")
	secrets, err := filepath.Glob(filepath.Join(dir, "secrets", "*"))
	if err != nil || len(secrets) == 0 {
		t.Fatalf("secrets of two-sites: %v, %v", secrets, err)
	}
	kept, err := os.ReadFile(secrets[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(secrets[0]); err != nil {
		t.Fatal(err)
	}
	d := start(t, dir, t.TempDir())
	until(t, "the missing secret to be told", func() bool {
		for _, way := range [][2]string{{"site-a", "site-b"}, {"site-b", "site-a"}} {
			if r := d.link(way[0], way[1]).Replication; strings.Contains(r.Reason, filepath.Base(secrets[0])) {
				return true
			}
		}
		return false
	})
	if err := os.WriteFile(secrets[0], kept, 0o600); err != nil {
		t.Fatal(err)
	}
	d.online("site-a", "site-b")
	d.online("site-b", "site-a")
	if all := d.out.String() + d.log.String(); strings.Contains(all, strings.TrimSpace(string(kept))) {
		t.Error("the secret shows")
	}
}

func TestEveryExampleRuns(t *testing.T) {
	t.Parallel()
	dirs, err := os.ReadDir(examples)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range dirs {
		if !e.IsDir() || e.Name() == "vendor-example" {
			continue // clinkc refuses that one; see the next test
		}
		t.Run(e.Name(), func(t *testing.T) {
			dir := copyExample(t, e.Name())
			meetOnLoopback(t, dir)
			d := start(t, dir, t.TempDir())
			var sites []struct{ Name string }
			d.get("/sites", &sites)
			for _, s := range sites {
				var links []link
				d.get("/sites/"+s.Name+"/cluster/links", &links)
				if len(links) == 0 {
					t.Errorf("site %s runs no link", s.Name)
				}
				for _, l := range links {
					d.online(s.Name, l.Name)
				}
			}
		})
	}
}

var (
	vendorBind   = regexp.MustCompile(`bind: "(127\.0\.0\.1:\d+)"\s+advertise: \["(emqx\.[^"]+)"\]`)
	vendorServer = regexp.MustCompile(`server:\s+"(emqx\.[^":]+)[^"]*"`)
)

// meetOnLoopback puts the loopback addresses of the sites' listeners in the
// stead of the names that only the vendor's own DNS could know; the
// certificates are still checked against those names.
func meetOnLoopback(t *testing.T, dir string) {
	t.Helper()
	addr := map[string]string{}
	rewrite(t, dir, func(text string) string {
		for _, m := range vendorBind.FindAllStringSubmatch(text, -1) {
			host, _, _ := strings.Cut(m[2], ":")
			addr[host] = m[1]
		}
		return vendorBind.ReplaceAllString(text, `bind: "$1"`)
	})
	rewrite(t, dir, func(text string) string {
		return vendorServer.ReplaceAllStringFunc(text, func(server string) string {
			host := vendorServer.FindStringSubmatch(server)[1]
			return fmt.Sprintf("server: %q\n\t\t\tssl: server_name_indication: %q", addr[host], host)
		})
	})
}

// The vendor's own example: nothing of it runs, and clinkd says why.
func TestVendorExampleIsHeldBack(t *testing.T) {
	t.Parallel()
	d, _ := launch(t, copyExample(t, "vendor-example"), t.TempDir(), "--site", "emqx-us-east", "--site", "emqx-eu-west")
	until(t, "the REST API", func() bool { return strings.Contains(d.out.String(), "REST API") })
	d.http = restAddr(t, d)
	var status struct {
		Held []struct{ Site, Peer, Rule string }
	}
	until(t, "both links to be held back", func() bool {
		d.get("/status", &status)
		return len(status.Held) == 2
	})
	for i, site := range []string{"emqx-eu-west", "emqx-us-east"} {
		if h := status.Held[i]; h.Site != site || h.Rule != "server-is-self" {
			t.Errorf("held = %+v", status.Held)
		}
		if _, body := d.text("/sites/" + site + "/cluster/links"); body != "[]\n" {
			t.Errorf("%s runs %s", site, body)
		}
	}
	until(t, "the missing certificate to be told", func() bool { return strings.Contains(d.log.String(), "/certs/emqx-us-east.pem") })
	if strings.Contains(d.log.String()+d.out.String(), "clink-password-no-one-knows") {
		t.Error("the literal password shows")
	}
}
