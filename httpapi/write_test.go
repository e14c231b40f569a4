package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"clink/diagnostic"
	"clink/httpapi"
	"clink/topology"
)

// The script of the captured answers, without its link to itself.
func TestScriptOfAnEMQXUser(t *testing.T) {
	w := newWorld(t)
	base := writable(t, w) + "/api/v5/cluster/links"
	steps := []struct {
		title, method, path, body string
		status                    int
	}{
		{"POST new", "POST", "", newLink, 201},
		{"POST dup", "POST", "", newLink, 400},
		{"POST redundant", "POST", "", `{"name":"clX","server":"h:1","topics":["x/#","x/y"]}`, 400},
		{"POST bad: no server", "POST", "", `{"name":"clX","topics":["x/#"]}`, 400},
		{"GET one", "GET", "/link/clA", "", 200},
		{"GET 404", "GET", "/link/nope", "", 404},
		{"metrics one", "GET", "/link/clA/metrics", "", 200},
		{"PUT disable", "PUT", "/link/clA", `{"enable":false,"server":"127.0.0.1:21883","clientid":"r2","topics":["x/#"]}`, 200},
		{"", "PUT", "/link/clA/metrics/reset", "", 204},
		{"", "DELETE", "/link/clA", "", 204},
		{"DELETE again", "DELETE", "/link/clA", "", 404},
	}
	for _, s := range steps {
		res, body := send(t, s.method, base+s.path, admin, s.body, nil)
		if res.StatusCode != s.status {
			t.Fatalf("%s %s = %d %s, want %d", s.method, s.path, res.StatusCode, body, s.status)
		}
		switch {
		case s.title == "" && body != "":
			t.Errorf("%s %s answers %s, EMQX nothing", s.method, s.path, body)
		case s.status >= 400 && body != captured(t, s.title):
			t.Errorf("%s: got %s, EMQX %s", s.title, body, captured(t, s.title))
		case s.title == "metrics one":
			sameKeys(t, "", decode[any](t, body), decode[any](t, captured(t, s.title)))
		case s.title != "" && s.status < 400:
			want := decode[map[string]any](t, captured(t, s.title))
			for _, f := range []string{"status", "node_status", "pool_size"} { // of the world, not of the API
				delete(want, f)
			}
			contains(t, "", decode[any](t, body), want)
		}
	}
	if got := []string{"site-a/clA"}; !slices.Equal(w.resets, got) {
		t.Errorf("reset the metrics of %v", w.resets)
	}
}

func TestWhatIsHandedToTheWriter(t *testing.T) {
	tests := []struct {
		name, method, path, body string
		want                     httpapi.Write
	}{
		{"create", "POST", "/cluster/links?pair=true&strict=true", newLink, httpapi.Write{Op: "create", Pair: true, Strict: true}},
		{"create with the other half's topics", "POST", "/cluster/links?pair=true", `{"peer_topics":["back/#"],` + newLink[1:], httpapi.Write{Op: "create", Pair: true, Theirs: []any{"back/#"}}},
		{"update with none", "PUT", "/cluster/links/clA?pair=true", `{"peer_topics":[],` + newLink[1:], httpapi.Write{Op: "update", Pair: true, Theirs: []any{}}},
		{"put", "PUT", "/api/v5/cluster/links?override=true", newLink, httpapi.Write{Op: "put", Override: true}},
		{"replace", "PUT", "/sites/site-a/cluster/links?prune=true&pair=false", "[" + newLink + "]", httpapi.Write{Op: "replace", Prune: true}},
		{"update", "PUT", "/sites/site-a/api/v5/cluster/links/link/clA", newLink, httpapi.Write{Op: "update"}},
		{"update in the other family", "PUT", "/cluster/links/clA", newLink, httpapi.Write{Op: "update"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			url := writable(t, w)
			if tt.method == "PUT" {
				send(t, "POST", url+"/cluster/links", admin, newLink, nil)
			} else {
				w.links = nil
			}
			res, body := send(t, tt.method, url+tt.path, admin, tt.body, map[string]string{"X-Request-Id": "job-7.a_B"})
			if res.StatusCode/100 != 2 || res.Header.Get("X-Request-Id") != "job-7.a_B" || res.Header.Get("ETag") == "" {
				t.Fatalf("= %d %v %s", res.StatusCode, res.Header, body)
			}
			got := w.last(t)
			if n := got.Links[0]["pool_size"]; n != json.Number("1") {
				t.Errorf("pool_size is %T %v", n, n)
			}
			if got.Links[0]["name"] != "clA" || got.By != "admin" || got.RequestID != "job-7.a_B" || got.Site != "site-a" {
				t.Errorf("wrote %+v", got)
			}
			got.Links, got.By, got.RequestID, got.Site = nil, "", "", ""
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("wrote %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestOtherHalfsTopicsAreRefused(t *testing.T) {
	for _, tt := range []struct{ method, path, topics, want string }{
		{"POST", "/cluster/links", `["x"]`, "written with pair=true only"},
		{"POST", "/cluster/links?pair=true", `"x"`, "must be a list of topic filters"},
		{"PUT", "/cluster/links?pair=true", `["x",1]`, "must be a list of topic filters"},
		{"PUT", "/cluster/links/clA?pair=true", `null`, "must be a list of topic filters"},
		{"POST", "/cluster/links/probe", `["x"]`, "a link has no such field"},
	} {
		w := newWorld(t)
		url := writable(t, w)
		res, body := send(t, tt.method, url+tt.path, admin, `{"peer_topics":`+tt.topics+","+newLink[1:], nil)
		if res.StatusCode != 400 || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s with %s: %d %s, want %q", tt.method, tt.path, tt.topics, res.StatusCode, body, tt.want)
		}
	}
}

// What a GET or a write answers can be sent back.
func TestAnswersCanBeSentBack(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w) + "/cluster/links"
	w.written = httpapi.Written{Findings: oneSided, Halves: []httpapi.Half{{Site: "site-a", Peer: "clA", State: "applied"}}}
	_, written := send(t, "POST", url, admin, newLink, nil)
	_, got := request(t, "GET", url+"/clA", admin)
	for _, body := range []string{written, got} {
		res, answer := send(t, "PUT", url+"/clA", admin, body, nil)
		if res.StatusCode != 200 {
			t.Fatalf("sent back %s: %d %s", body, res.StatusCode, answer)
		}
		for _, f := range []string{"status", "node_status", "replication", "source", "inbound", "findings", "halves"} {
			if v, ok := w.last(t).Links[0][f]; ok {
				t.Errorf("%s was handed on as %v", f, v)
			}
		}
	}
	_, list := request(t, "GET", url, admin)
	if res, answer := send(t, "PUT", url, admin, list, nil); res.StatusCode != 200 || !contained(answer, `[{"name":"clA"`, `"findings":[{"rule":"one-sided"`, `"halves":[{"site":"site-a","state":"applied"}]}]`) {
		t.Errorf("the list sent back: %d %s", res.StatusCode, answer)
	}
	withInbound := strings.TrimSuffix(newLink, "}") + `,"inbound":{"state":"online","username":"u"}}`
	send(t, "PUT", url+"/clA", admin, withInbound, nil)
	if in := fmt.Sprint(w.last(t).Links[0]["inbound"]); in != "map[username:u]" {
		t.Errorf("inbound was handed on as %s", in)
	}
}

// Each link of a list that is written has what is to be told of it.
func TestWrittenListTellsEachLink(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w) + "/cluster/links"
	finding := func(rule string, line int, sites ...string) diagnostic.Diagnostic {
		return diagnostic.Diagnostic{Rule: rule, Severity: diagnostic.Warning, Message: "m", Pos: diagnostic.Pos{File: "other.cue", Line: line}, Sites: sites}
	}
	held := finding("topic-redundant", 1, "site-a")
	held.Holds = []diagnostic.Scope{{Site: "site-a", Peer: "clB"}}
	w.written = httpapi.Written{
		Findings: diagnostic.List{finding("names-b", 1, "clB", "site-a"), finding("gone", 1, "site-a", "clZ"), held, finding("nowhere", 1, "site-a")},
		Halves:   []httpapi.Half{{Site: "site-a", Peer: "clA", State: "applied"}, {Site: "site-a", Peer: "clB", State: "applied"}, {Site: "site-a", Peer: "clZ", State: "applied"}, {Site: "clB", Peer: "site-a", State: "written"}},
	}
	res, body := send(t, "PUT", url+"?prune=true", admin, "["+newLink+","+strings.Replace(newLink, "clA", "clB", 1)+"]", nil)
	if res.StatusCode != 200 {
		t.Fatalf("= %d %s", res.StatusCode, body)
	}
	var got []string
	for _, l := range decode[[]struct {
		Name     string
		Findings []struct{ Rule string }
		Halves   []httpapi.Half
	}](t, body) {
		got = append(got, fmt.Sprint(l.Name, l.Findings, l.Halves))
	}
	want := []string{"clA[{nowhere}] [{site-a  applied}]", "clB[{names-b} {topic-redundant}] [{site-a  applied} {clB  written}]"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// A list of exports that is empty lets nothing out, and none lets all out.
func TestEmptyExportsAreShown(t *testing.T) {
	w := newWorld(t)
	closed, open := w.template, w.template
	closed.Name, closed.HasExport = "closed", true
	open.Name = "open"
	w.links = []httpapi.Link{closed, open}
	url := writable(t, w) + "/cluster/links"
	_, body := request(t, "GET", url+"/closed", admin)
	if !strings.Contains(body, `"export":[]`) {
		t.Errorf("closed = %s", body)
	}
	send(t, "PUT", url+"/closed", admin, body, nil)
	if got, ok := w.last(t).Links[0]["export"].([]any); !ok || len(got) != 0 {
		t.Errorf("sent back, it was handed on as %v", w.last(t).Links[0])
	}
	if _, body := request(t, "GET", url+"/open", admin); strings.Contains(body, `"export"`) {
		t.Errorf("open = %s", body)
	}
}

func TestAnswersToWrites(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w) + "/cluster/links"
	w.written = httpapi.Written{Findings: oneSided, Halves: []httpapi.Half{{Site: "site-a", State: "applied"}, {Site: "clA", State: "written"}}}
	res, body := send(t, "PUT", url, admin, newLink, nil)
	if res.StatusCode != 201 || res.Header.Get("ETag") != `"r2"` || !contained(body, `"findings":[{"rule":"one-sided"`, `{"site":"clA","state":"written"}`, `"name":"clA"`) {
		t.Errorf("PUT of a new link = %d %v %s", res.StatusCode, res.Header, body)
	}
	if res, body := send(t, "PUT", url, admin, newLink, nil); res.StatusCode != 200 {
		t.Errorf("PUT of it again = %d %s", res.StatusCode, body)
	}
	w.later = true
	if res, body := send(t, "PUT", url, admin, newLink, nil); res.StatusCode != 202 || !contained(body, `"revision":"r4"`, `"halves":[{`) {
		t.Errorf("not in force = %d %s", res.StatusCode, body)
	}
	if res, body := send(t, "DELETE", url+"/clA", admin, "", nil); res.StatusCode != 202 {
		t.Errorf("DELETE, not in force = %d %s", res.StatusCode, body)
	}
	w.written = httpapi.Written{Diff: "--- a/x\n", Plan: []topology.PlanStep{{Site: "site-a", Op: "create", Peer: "clA"}}}
	want := `{"diff":"--- a/x\n","findings":[],"flows":[],"plan":[{"site":"site-a","op":"create","peer":"clA","fields":[]}]}`
	for _, method := range []string{"POST", "PUT"} {
		if res, body := send(t, method, url+"?dry_run=true", admin, newLink, nil); res.StatusCode != 200 || body != want {
			t.Errorf("%s as a dry run = %d %s", method, res.StatusCode, body)
		}
	}
	for method, body := range map[string]string{"PUT": newLink, "DELETE": ""} {
		if res, body := send(t, method, url+"/clA?dry_run=true", admin, body, nil); res.StatusCode != 200 || body != want {
			t.Errorf("%s of one as a dry run = %d %s", method, res.StatusCode, body)
		}
	}
}

func TestRefusedWrites(t *testing.T) {
	at := diagnostic.Pos{File: "a.cue", Line: 3, Column: 4, EndLine: 3, EndColumn: 9}
	tests := []struct {
		err    error
		status int
		want   []string
	}{
		{&httpapi.Refusal{Kind: httpapi.NotFound}, 404, []string{`"NOT_FOUND"`, "Cluster link not found"}},
		{&httpapi.Refusal{Kind: httpapi.Exists}, 400, []string{`"ALREADY_EXISTS"`, "Cluster link already exists"}},
		{&httpapi.Refusal{Kind: httpapi.Conflict, Message: "server is an expression", Pos: at, Related: []diagnostic.Related{{Message: "what _s is", Pos: at}}}, 409,
			[]string{`"CONFLICT"`, "server is an expression", `"pos":{"file":"a.cue","line":3`, `"related":[{"message":"what _s is","pos":{"file":"a.cue","line":3`}},
		{&httpapi.Refusal{Kind: httpapi.WouldPrune}, 409, []string{`"WOULD_PRUNE"`, "prune=true"}},
		{&httpapi.Refusal{Kind: httpapi.ReadOnly}, 409, []string{`"READ_ONLY"`}},
		{&httpapi.Refusal{Kind: httpapi.Invalid, Findings: oneSided}, 400, []string{`"BAD_REQUEST"`, `"findings":[{"rule":"one-sided"`}},
		{&httpapi.Refusal{Kind: httpapi.NoSpace}, 507, []string{`"INSUFFICIENT_STORAGE"`, "nothing was changed"}},
		{&httpapi.Refusal{Kind: httpapi.Unavailable}, 503, []string{`"SERVICE_UNAVAILABLE"`}},
		{fmt.Errorf("inner words %s", hidden), 500, []string{`"INTERNAL_ERROR"`, "request job-1"}},
	}
	for _, tt := range tests {
		w := newWorld(t)
		w.refuse = tt.err
		res, body := send(t, "PUT", writable(t, w)+"/cluster/links", admin, newLink, map[string]string{"X-Request-Id": "job-1"})
		if res.StatusCode != tt.status || !contained(body, tt.want...) || strings.Contains(body, hidden) {
			t.Errorf("%v: %d %s, want %d %v", tt.err, res.StatusCode, body, tt.status, tt.want)
		}
	}
}

func TestIfMatch(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w) + "/cluster/links"
	send(t, "POST", url, admin, newLink, nil) // r2
	tests := []struct {
		tag, handed string
		status      int
		want        string
	}{
		{`"r2"`, "r2", 200, ""},
		{`W/"r3"`, "r3", 200, ""},
		{`"old", W/"r4" , "older"`, "r4", 200, ""},
		{`*`, "", 200, ""},
		{`"r1"`, "r1", 412, `"current":{"name":"clA"`},
		{`"r1", "r0"`, "r0", 412, `"current":{"name":"clA"`},
		{`r6`, "-", 400, "double quotes"},
		{`"r6`, "-", 400, "double quotes"},
		{`*, "r6"`, "-", 400, "either"},
		{`"a"b"`, "-", 400, "double quotes"},
	}
	for _, tt := range tests {
		before := w.count()
		res, body := send(t, "PUT", url+"/clA", admin, newLink, map[string]string{"If-Match": tt.tag})
		if res.StatusCode != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("If-Match: %s = %d %s", tt.tag, res.StatusCode, body)
		}
		if tt.handed == "-" && w.count() != before {
			t.Errorf("If-Match: %s was written", tt.tag)
		} else if tt.handed != "-" && w.last(t).IfMatch != tt.handed {
			t.Errorf("If-Match: %s was handed on as %q, want %q", tt.tag, w.last(t).IfMatch, tt.handed)
		}
		if tag := res.Header.Get("ETag"); tt.status == 412 && tag != `"`+w.rev()+`"` {
			t.Errorf("412 has the ETag %s, want %s", tag, w.rev())
		}
	}
	old := map[string]string{"If-Match": `"r1"`}
	if res, body := send(t, "PUT", url, admin, "[]", old); res.StatusCode != 412 || !strings.Contains(body, `"current":[{"name":"clA"`) {
		t.Errorf("the list = %d %s", res.StatusCode, body)
	}
	if res, body := send(t, "PUT", url, admin, strings.Replace(newLink, "clA", "new", 1), old); res.StatusCode != 412 || !strings.Contains(body, `"current":null`) {
		t.Errorf("a link that is not there = %d %s", res.StatusCode, body)
	}
	if res, body := send(t, "PUT", url, admin, newLink, map[string]string{"If-None-Match": "*"}); res.StatusCode != 400 || !strings.Contains(body, "POST creates") {
		t.Errorf("If-None-Match = %d %s", res.StatusCode, body)
	}
}

func TestConditionalGet(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w) + "/topology"
	for tag, status := range map[string]int{`"r1"`: 304, `W/"r1"`: 304, `"r0", "r1"`: 304, `*`: 304, `"r0"`: 200, `r1`: 200, "": 200} {
		res, body := send(t, "GET", url, admin, "", map[string]string{"If-None-Match": tag})
		if res.StatusCode != status || status == 304 && body != "" || res.Header.Get("ETag") != `"r1"` {
			t.Errorf("If-None-Match: %s = %d %v", tag, res.StatusCode, res.Header)
		}
	}
	// The state of a link changes without a revision.
	if res, _ := send(t, "GET", strings.Replace(url, "/topology", "/cluster/links", 1), admin, "", map[string]string{"If-None-Match": `"r1"`}); res.StatusCode != 200 {
		t.Errorf("links = %d", res.StatusCode)
	}
}

func TestWithoutItsParts(t *testing.T) {
	s := &store{links: map[string][]httpapi.Link{"site-a": {clB(t)}}}
	url := serve(t, s).URL
	for _, r := range [][3]string{
		{"POST", "/cluster/links", newLink}, {"PUT", "/cluster/links", newLink}, {"PUT", "/cluster/links/clB", newLink}, {"DELETE", "/cluster/links/clB", ""},
		{"PUT", "/cluster/links/clB/metrics/reset", ""}, {"PUT", "/cluster/links/clB/suspend", `{"reason":"x"}`}, {"PUT", "/cluster/links/clB/resume", ""},
		{"POST", "/cluster/links/clB/probe", ""}, {"POST", "/cluster/links/probe", newLink}, {"POST", "/trace", `{"topic":"t"}`}, {"GET", "/topology", ""}, {"GET", "/revisions", ""}, {"GET", "/events", ""},
	} {
		if res, body := send(t, r[0], url+r[1], admin, r[2], nil); res.StatusCode != http.StatusNotImplemented || !strings.Contains(body, `"NOT_IMPLEMENTED"`) {
			t.Errorf("%s %s = %d %s", r[0], r[1], res.StatusCode, body)
		}
	}
}

func TestWrongMethodAndPath(t *testing.T) {
	url := writable(t, newWorld(t))
	res, body := request(t, "PATCH", url+"/cluster/links", admin)
	if res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD, POST, PUT" || !strings.Contains(body, "GET, HEAD, POST, PUT only") {
		t.Errorf("PATCH = %d %v %s", res.StatusCode, res.Header, body)
	}
	for _, path := range []string{"//cluster/links", "/cluster/links/", "/cluster/../cluster/links", "/api/v5/livez", "/cluster/links/a/b", "/api/v5"} {
		if res, body := request(t, "GET", url+path, admin); res.StatusCode != 404 {
			t.Errorf("GET %s = %d %s", path, res.StatusCode, body)
		}
	}
	for _, name := range []string{"..", "%2e%2e", ".", "a%2Fb", "a%00b", "link", "%zz", "%2F"} {
		res, body := send(t, "PUT", url+"/cluster/links/"+strings.ReplaceAll(name, "%zz", "%25zz"), admin, newLink, nil)
		if res.StatusCode != 404 {
			t.Errorf("PUT of %s = %d %s", name, res.StatusCode, body)
		}
	}
	if res, _ := request(t, "HEAD", url+"/cluster/links", admin); res.StatusCode != 200 {
		t.Errorf("HEAD = %d", res.StatusCode)
	}
}
