package command_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"clink/cmd/clinkd/command"
	"clink/flow"
	"clink/httpapi/apitest"
)

var dashboardLine = regexp.MustCompile(`(?m)^  dashboard: http://(\S+)/#token=(\S+)$`)

// signIn signs in with a token as the page does.
func (d *daemon) signIn(token string) (int, string, []*http.Cookie) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), "POST", "http://"+d.http+"/session", strings.NewReader(`{"token":"`+token+`"}`))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", "http://"+d.http)
	res, err := d.api().Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, b.String(), res.Cookies()
}

func TestTokenSignsInOnce(t *testing.T) {
	t.Parallel()
	d := start(t, copyExample(t, "two-sites"), t.TempDir(), "--log-level", "debug")
	m := dashboardLine.FindStringSubmatch(d.out.String())
	if m == nil || m[1] != d.http || len(m[2]) < 22 { // 128 bits
		t.Fatalf("clinkd says\n%s", d.out)
	}
	code, body, cookies := d.signIn(m[2])
	if code != 200 || len(cookies) != 1 || !strings.Contains(body, `"role":"administrator"`) {
		t.Fatalf("signing in = %d %s", code, body)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+d.http+"/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(cookies[0])
	res, err := d.api().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		You struct{ Key, Role string }
	}
	err = json.NewDecoder(res.Body).Decode(&status)
	if res.Body.Close(); err != nil || res.StatusCode != 200 || status.You.Role != "administrator" {
		t.Errorf("GET /status = %d %+v, %v", res.StatusCode, status, err)
	}
	if code, body, _ := d.signIn(m[2]); code != 401 || !strings.Contains(body, "has been used") {
		t.Errorf("the second use = %d %s", code, body)
	}
	if strings.Contains(d.log.String(), m[2]) || strings.Count(d.out.String(), m[2]) != 1 {
		t.Error("the token is told more than once")
	}
}

// An edit is told as what it changed, without the credentials in the source.
func TestRevisionTellsWhatItChanged(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	type detail struct {
		Revision, Before, Diff string
		Cut, Kept              bool
		Findings               []struct {
			Rule string
			Pos  struct{ File string }
		}
	}
	latest := func() (one detail) {
		var list []struct{ Revision string }
		d.get("/revisions", &list)
		d.get("/revisions/"+list[0].Revision, &one)
		return one
	}
	first := latest()
	if !first.Kept || first.Before != "" || first.Diff != "" || len(first.Findings) > 0 {
		t.Errorf("the first revision: %+v", first)
	}
	d.edit("site_b.cue", `password: "file://secrets/site-b-to-site-a"`, "password: \"\"\"\n\t\t\thunter2\n\t\t\t\"\"\"\n\t\t// password: \"hunter3\"")
	until(t, "the edit", func() bool { return latest().Revision != first.Revision })
	second := latest()
	if strings.Contains(second.Diff, "hunter") || second.Before != first.Revision || second.Cut {
		t.Errorf("the second revision: %+v", second)
	}
	for _, line := range []string{"--- a/site_b.cue\n", "\n-\t\tpassword: \"file://secrets/site-b-to-site-a\"\n", "\n+\t\t\t******\n", "\n+\t\t// password: \"******\"\n"} {
		if !strings.Contains(second.Diff, line) {
			t.Errorf("the difference has no line %q:\n%s", line, second.Diff)
		}
	}
	if !slices.ContainsFunc(second.Findings, func(f struct {
		Rule string
		Pos  struct{ File string }
	}) bool {
		return f.Rule == "literal-secret" && f.Pos.File == "site_b.cue"
	}) {
		t.Errorf("the findings are %+v", second.Findings)
	}
	if _, text := d.text("/sites/site-b/cluster/links/site-a/source"); strings.Contains(text, "hunter") || !strings.Contains(text, "******") {
		t.Errorf("the source of the link is\n%s", text)
	}
	// What is looked at again is no new revision.
	if again := latest(); again.Diff != second.Diff {
		t.Errorf("asked again: %+v", again)
	}
	if code, body := d.text("/revisions/0123456789abcdef"); code != 404 {
		t.Errorf("no such revision = %d %s", code, body)
	}
}

// After a restart the list is still there, the differences are not.
func TestRevisionsOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	dir, data := copyExample(t, "two-sites"), t.TempDir()
	d := start(t, dir, data)
	var before, after []struct{ Revision string }
	d.get("/revisions", &before)
	d.edit("site_b.cue", `["global/#"]`, `["global/#", "more/#"]`)
	until(t, "the edit", func() bool { d.get("/revisions", &after); return len(after) > len(before) })
	d.stop()
	d = start(t, dir, data)
	var one struct {
		Kept     bool
		Diff     string
		Findings []any
	}
	d.get("/revisions/"+before[0].Revision, &one)
	if one.Kept || one.Diff != "" || one.Findings == nil {
		t.Errorf("got %+v", one)
	}
}

func TestSourceOfLinks(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	type block struct {
		File string
		Line int
		Text string
	}
	var one struct {
		block
		File string
		Line int
		Text string
		More []block
	}
	d.edit("site_a.cue", "cluster: links: \"site-b\": {", "cluster: links: \"site-b\": retry_interval: \"20s\"\n\tcluster: links: \"site-b\": {")
	until(t, "the edit", func() bool {
		d.get("/sites/site-a/cluster/links/site-b/source", &one)
		return len(one.More) == 1
	})
	text, err := os.ReadFile(filepath.Join(d.dir, "site_a.cue"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []block{{one.File, one.Line, one.Text}, one.More[0]} {
		lines := strings.SplitAfter(string(text), "\n")[b.Line-1:]
		if b.File != "site_a.cue" || !strings.HasPrefix(strings.Join(lines, ""), b.Text) || !strings.HasPrefix(b.Text, "\tcluster: links: \"site-b\": ") {
			t.Errorf("got %+v", b)
		}
	}
	if !strings.HasSuffix(one.More[0].Text, "site-a-to-site-b\"\n\t}\n") {
		t.Errorf("got %q", one.More[0].Text)
	}
	// One that a comprehension makes is shown by what makes it.
	d.edit("site_a.cue", "\tcluster: links: \"site-b\": retry_interval: \"20s\"\n", "")
	d.edit("site_a.cue", "cluster: links: \"site-b\": {", "cluster: links: {for p in [\"site-b\"] {(p): {")
	d.edit("site_a.cue", "site-a-to-site-b\"\n\t}", "site-a-to-site-b\"\n\t}}}")
	until(t, "the edit", func() bool {
		code, body := d.text("/sites/site-a/cluster/links/site-b/source")
		return code == 200 && strings.Contains(body, `"text":"\tcluster: links: {for p in `) && strings.Contains(body, `"more":[]`)
	})
	if code, body := d.text("/sites/site-a/cluster/links/nobody/source"); code != 404 {
		t.Errorf("of no link = %d %s", code, body)
	}
}

func TestPictureFlowsAndACL(t *testing.T) {
	t.Parallel()
	d := start(t, copyExample(t, "two-sites"), t.TempDir(), "--site", "site-a")
	var all struct{ Flows []flow.Flow }
	d.get("/flows", &all)
	if len(all.Flows) != 2 || all.Flows[0].From != "site-a" || all.Flows[1].To != "site-a" {
		t.Errorf("flows %+v", all)
	}
	// site-b is not run here.
	if code, text := d.text("/sites/site-b/acl"); code != 200 || !strings.Contains(text, `["$LINK/cluster/route/site-a", "$LINK/cluster/msg/site-a"]`) {
		t.Errorf("ACL = %d %s", code, text)
	}
	for _, lang := range []string{"", "?lang=zh"} {
		code, text := d.text("/graph.svg" + lang)
		if code != 200 || !strings.Contains(text, `data-site="site-b"`) || !strings.Contains(text, `data-a="site-a"`) {
			t.Errorf("the picture = %d %.300s", code, text)
		}
	}
	var status struct {
		ReadOnly *bool `json:"read_only"`
	}
	if d.get("/status", &status); status.ReadOnly == nil || *status.ReadOnly {
		t.Errorf("read only: %v", status.ReadOnly)
	}
}

// A dry run tells what it would let through, and writes nothing.
func TestDryRunTellsFlowsThatChange(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	_, text := d.text("/sites/site-b/cluster/links/site-a")
	var l map[string]any
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		t.Fatal(err)
	}
	l["topics"] = []string{"alarm/#"}
	body, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+d.http+"/sites/site-b/cluster/links/site-a?dry_run=true", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	name, sec, _ := strings.Cut(d.key, ":")
	req.SetBasicAuth(name, sec)
	req.Header.Set("Content-Type", "application/json")
	res, err := d.api().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Diff  string
		Flows json.RawMessage
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if want := `[{"from":"site-a","to":"site-b","starts":["alarm/#"],"stops":["global/#"]}]`; string(answer.Flows) != want || !strings.Contains(answer.Diff, `+		topics: ["alarm/#"]`) {
		t.Errorf("flows %s, want %s; difference\n%s", answer.Flows, want, answer.Diff)
	}
}

// Figures come as long as one reads them, at both ends of what flows.
func TestRatesOfLinks(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	d.online("site-a", "site-b")
	d.online("site-b", "site-a")
	sub, pub := connect(t, d.port("site-b"), "sub"), connect(t, d.port("site-a"), "pub")
	sub.subscribe("global/#", 1)
	flows(t, pub, sub, "global/x")
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+d.http+"/events?rates=100ms", nil)
	if err != nil {
		t.Fatal(err)
	}
	name, sec, _ := strings.Cut(d.key, ":")
	req.SetBasicAuth(name, sec)
	res, err := d.api().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in, out := false, false
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	rates := false
	for !(in && out) && lines.Scan() {
		line := lines.Text()
		if line == "event: rates" {
			rates = true
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok || !rates {
			continue
		}
		rates = false
		if err := apitest.New(t, nil).Fits("Rates", []byte(data)); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		var now struct {
			Links []struct {
				Site    string
				RateIn  float64 `json:"rate_in"`
				RateOut float64 `json:"rate_out"`
			}
		}
		if err := json.Unmarshal([]byte(data), &now); err != nil || len(now.Links) != 2 {
			t.Fatalf("%s: %v", data, err)
		}
		for _, l := range now.Links {
			in, out = in || l.Site == "site-b" && l.RateIn > 0, out || l.Site == "site-a" && l.RateOut > 0
		}
		pub.publish("global/x", "more", 1)
	}
	if !in || !out {
		t.Errorf("a rate in was seen: %v, out: %v; %v", in, out, lines.Err())
	}
}

// Where it listens everywhere, the dashboard is where a browser can open it.
func TestDashboardAddress(t *testing.T) {
	t.Parallel()
	var out safeBuffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan struct{})
	c := command.Command{Stdout: &out, Stderr: &safeBuffer{}, Getenv: func(string) string { return "" }, Ready: func(string) { close(ready) }}
	code := make(chan int, 1)
	go func() {
		code <- c.Run(ctx, []string{"run", "--http", ":0", "--data-dir", t.TempDir(), copyExample(t, "two-sites")})
	}()
	<-ready
	if !regexp.MustCompile(`dashboard: http://localhost:\d+/#token=`).MatchString(out.String()) {
		t.Errorf("clinkd says\n%s", &out)
	}
	cancel()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
}
