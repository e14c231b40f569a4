package httpapi_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"clink/emqx"
	"clink/flow"
	"clink/httpapi"
	"clink/topic"
	"clink/topology"
)

func TestFlows(t *testing.T) {
	both := func(name, peer string, topics ...topic.Filter) *topology.Site {
		return &topology.Site{
			Name: name, Target: topology.Target{Kind: topology.Embedded}, Exports: map[string][]topic.Filter{peer: {"#"}},
			Links: []topology.Link{{Name: peer, Enable: true, Topics: topics}},
		}
	}
	w := newWorld(t)
	fleet := compiled{w, &topology.Topology{Sites: map[string]*topology.Site{"a": both("a", "b", "x/#"), "b": both("b", "a")}}}
	srv := serveWith(t, w, httpapi.Options{Observer: fleet})
	for _, base := range []string{"", "/api/v5"} {
		res, body := request(t, "GET", srv.URL+base+"/flows", admin)
		if res.StatusCode != 200 || body != `{"flows":[{"from":"b","to":"a","topics":["x/#"]}],"revision":"r1"}` {
			t.Errorf("GET %s/flows = %d %s", base, res.StatusCode, body)
		}
		if res, _ := send(t, "GET", srv.URL+base+"/flows", admin, "", map[string]string{"If-None-Match": res.Header.Get("ETag")}); res.StatusCode != 304 {
			t.Errorf("again = %d", res.StatusCode)
		}
	}
}

// Before the source could be read, there is nothing to answer from.
func TestNothingIsWantedYet(t *testing.T) {
	w := newWorld(t)
	srv := serveWith(t, w, httpapi.Options{Observer: compiled{w, nil}, ACL: emqx.ACL, Graph: words})
	for _, path := range []string{"/flows", "/graph.svg", "/topology", "/sites/a/acl"} {
		if res, body := request(t, "GET", srv.URL+path, admin); res.StatusCode != 503 {
			t.Errorf("GET %s = %d %s", path, res.StatusCode, body)
		}
	}
}

func TestFleetNeedsAKey(t *testing.T) {
	w := newWorld(t)
	srv := serveWith(t, w, httpapi.Options{Observer: w, ACL: emqx.ACL, Graph: words})
	for _, path := range []string{"/flows", "/graph.svg", "/sites/site-a/acl", "/revisions/r1", "/cluster/links/clB/source"} {
		if res, _ := request(t, "GET", srv.URL+path, ""); res.StatusCode != 401 {
			t.Errorf("GET %s without a key = %d", path, res.StatusCode)
		}
		if res, _ := request(t, "GET", srv.URL+path, "slow:hashed"); res.StatusCode != 200 {
			t.Errorf("GET %s by a viewer = %d", path, res.StatusCode)
		}
		if res, _ := request(t, "POST", srv.URL+path, admin); res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s = %d %v", path, res.StatusCode, res.Header)
		}
	}
	srv = serve(t, w)
	for _, path := range []string{"/flows", "/graph.svg", "/sites/site-a/acl", "/revisions/r1", "/cluster/links/clB/source"} {
		if res, _ := request(t, "GET", srv.URL+path, admin); res.StatusCode != 501 {
			t.Errorf("GET %s of a process that cannot = %d", path, res.StatusCode)
		}
	}
}

func TestACLOfASite(t *testing.T) {
	w := newWorld(t)
	srv := serveWith(t, w, httpapi.Options{Observer: w, ACL: emqx.ACL})
	// clB is not run here.
	for _, path := range []string{"/sites/clB/acl", "/api/v5/sites/clB/acl"} {
		res, body := request(t, "GET", srv.URL+path, admin)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.Contains(body, `{deny, all, all, ["$LINK/#"]}.`) {
			t.Errorf("GET %s = %d %v %s", path, res.StatusCode, res.Header, body)
		}
		if res, _ := send(t, "GET", srv.URL+path, admin, "", map[string]string{"If-None-Match": res.Header.Get("ETag")}); res.StatusCode != 304 {
			t.Errorf("again = %d", res.StatusCode)
		}
	}
	if res, body := request(t, "GET", srv.URL+"/sites/nope/acl", admin); res.StatusCode != 404 || !strings.Contains(body, "clB, site-a") {
		t.Errorf("of no site = %d %s", res.StatusCode, body)
	}
}

// words is a picture that says what it was made of.
func words(_ *topology.Topology, states map[[2]string]string, lang string) []byte {
	return []byte("<svg>" + lang + " " + states[[2]string{"site-a", "clB"}] + "</svg>")
}

func TestGraph(t *testing.T) {
	w := newWorld(t)
	srv := serveWith(t, w, httpapi.Options{Observer: w, Graph: words})
	status := func(change func(*httpapi.Observed)) {
		o := httpapi.Observed{Site: "site-a", Status: w.template.Observed}
		o.Status.Replication.State = topology.ReplicationOnline
		change(&o)
		w.observed = []httpapi.Observed{o}
	}
	tests := map[string]func(*httpapi.Observed){
		"replicating": func(*httpapi.Observed) {},
		"flowing":     func(o *httpapi.Observed) { o.Status.Metrics.Rate = 0.5 },
		"connected":   func(o *httpapi.Observed) { o.Status.Replication.State = topology.ReplicationHandshaking },
		"rejected":    func(o *httpapi.Observed) { o.Status.Replication.State = topology.ReplicationRejected },
		"down":        func(o *httpapi.Observed) { o.Status.State = topology.Connecting },
		"disabled":    func(o *httpapi.Observed) { o.Status.Enable = false },
		"suspended":   func(o *httpapi.Observed) { o.Status.Enable, o.Suspended = false, true },
		"":            func(o *httpapi.Observed) { o.Site = "another" },
	}
	for want, change := range tests {
		status(change)
		if res, body := request(t, "GET", srv.URL+"/graph.svg?lang=zh", admin); res.StatusCode != 200 || body != "<svg>zh "+want+"</svg>" {
			t.Errorf("%q: %d %s", want, res.StatusCode, body)
		}
	}
	res, body := request(t, "GET", srv.URL+"/api/v5/graph.svg", admin)
	if res.Header.Get("Content-Type") != "image/svg+xml" || !strings.HasPrefix(body, "<svg>en ") || !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'unsafe-inline'") {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	if res, _ := request(t, "GET", srv.URL+"/graph.svg?lang=fr", admin); res.StatusCode != 400 {
		t.Errorf("in French: %d", res.StatusCode)
	}
	w.blind = errors.New("of no business of the reader's")
	if res, body := request(t, "GET", srv.URL+"/graph.svg", admin); res.StatusCode != 500 || strings.Contains(body, "business") {
		t.Errorf("blind: %d %s", res.StatusCode, body)
	}
}

func TestRevisionInDetail(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w)
	res, body := request(t, "GET", url+"/revisions/r2", admin)
	if res.StatusCode != 200 || !contained(body, `"revision":"r2"`, `"before":"r1"`, `"diff":"--- a/a.cue\n"`, `"rule":"one-sided"`, `"kept":true`, `"cut":false`, `"ms":null`) {
		t.Errorf("= %d %s", res.StatusCode, body)
	}
	res, body = request(t, "GET", url+"/api/v5/revisions/r1", admin)
	if res.StatusCode != 200 || !contained(body, `"revision":"r1"`, `"diff":""`, `"findings":[]`, `"kept":false`, `"ms":3`, `"op":"create"`) {
		t.Errorf("one whose details are gone = %d %s", res.StatusCode, body)
	}
	if res, body := request(t, "GET", url+"/revisions/r9", admin); res.StatusCode != 404 {
		t.Errorf("no such = %d %s", res.StatusCode, body)
	}
}

func TestSourceOfALink(t *testing.T) {
	url := writable(t, newWorld(t))
	const want = `{"file":"a.cue","line":7,"text":"\tclB: {\n\t}\n","more":[{"file":"b.cue","line":1,"text":"more\n"}]}`
	// A site that is not run here is in the source all the same.
	for _, path := range []string{"/cluster/links/clB/source", "/api/v5/cluster/links/link/clB/source", "/sites/clB/cluster/links/clB/source"} {
		if res, body := request(t, "GET", url+path, admin); res.StatusCode != 200 || body != want {
			t.Errorf("GET %s = %d %s", path, res.StatusCode, body)
		}
	}
	for _, path := range []string{"/cluster/links/nope/source", "/sites/nope/cluster/links/clB/source", "/cluster/links/%2e%2e/source"} {
		if res, body := request(t, "GET", url+path, admin); res.StatusCode != 404 {
			t.Errorf("GET %s = %d %s", path, res.StatusCode, body)
		}
	}
	s := &store{links: map[string][]httpapi.Link{"a": nil, "b": nil}}
	srv := serveWith(t, s, httpapi.Options{Observer: newWorld(t)})
	if res, body := request(t, "GET", srv.URL+"/cluster/links/clB/source", admin); res.StatusCode != 400 || !strings.Contains(body, "SITE_REQUIRED") {
		t.Errorf("of several sites = %d %s", res.StatusCode, body)
	}
}

func TestDryRunTellsFlows(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w)
	post := func() (*http.Response, string) {
		return send(t, "POST", url+"/cluster/links?dry_run=true", admin, newLink, nil)
	}
	if res, body := post(); res.StatusCode != 200 || !contained(body, `"flows":[]`) {
		t.Errorf("= %d %s", res.StatusCode, body)
	}
	w.written.Flows = []flow.Change{{From: "a", To: "b", Starts: []topic.Filter{"x/#"}, Stops: []topic.Filter{}}}
	if res, body := post(); res.StatusCode != 200 || !contained(body, `"flows":[{"from":"a","to":"b","starts":["x/#"],"stops":[]}]`) {
		t.Errorf("= %d %s", res.StatusCode, body)
	}
}

func TestStatusTellsWhoAsks(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w)
	for key, want := range map[string]string{admin: `"you":{"key":"admin","role":"administrator"}`, "slow:hashed": `"you":{"key":"slow","role":"viewer"}`} {
		if _, body := request(t, "GET", url+"/status", key); !contained(body, want, `"read_only":null`) {
			t.Errorf("%s: %s", key, body)
		}
	}
	no := false
	w.readOnly = &no
	if _, body := request(t, "GET", url+"/status", admin); !contained(body, `"read_only":false`) {
		t.Errorf("%s", body)
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	pages := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			rw.WriteHeader(http.StatusNotModified)
			return
		}
		kind := "text/html"
		if strings.HasPrefix(r.URL.Path, "/assets/") {
			kind = "text/javascript"
		}
		rw.Header().Set("Content-Type", kind)
		rw.Write([]byte("page " + r.URL.Path))
	})
	srv := serveWith(t, w, httpapi.Options{Observer: w, Pages: pages})
	for _, path := range []string{"/", "/index.html", "/assets/app.js", "/assets/abc/app.js"} {
		res, body := request(t, "GET", srv.URL+path, "")
		if res.StatusCode != 200 || body != "page "+path {
			t.Errorf("GET %s = %d %s", path, res.StatusCode, body)
		}
		h := res.Header
		if h.Get("Content-Security-Policy") != "" || h.Get("Cache-Control") != "" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s has the headers %v", path, h)
		}
		if res, _ := send(t, "GET", srv.URL+path, "", "", map[string]string{"If-None-Match": `"x"`}); res.StatusCode != 304 {
			t.Errorf("again = %d", res.StatusCode)
		}
		if res, _ := request(t, "POST", srv.URL+path, ""); res.StatusCode != 401 {
			t.Errorf("POST %s = %d", path, res.StatusCode)
		}
	}
	// What is no page is the API's, and asks for a key.
	for path, want := range map[string]int{"/nope": 404, "/assets": 404, "/sites": 200} {
		if res, _ := request(t, "GET", srv.URL+path, ""); res.StatusCode != 401 || res.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("GET %s without a key = %d %v", path, res.StatusCode, res.Header)
		}
		if res, body := request(t, "GET", srv.URL+path, admin); res.StatusCode != want {
			t.Errorf("GET %s = %d %s", path, res.StatusCode, body)
		}
	}
	// Nor do pages answer to a name that is made to point here.
	r := httptest.NewRequest("GET", "http://evil.example/", nil)
	rec := httptest.NewRecorder()
	if srv.Config.Handler.ServeHTTP(rec, r); rec.Code != http.StatusMisdirectedRequest {
		t.Errorf("by another name = %d", rec.Code)
	}
	if res, body := request(t, "GET", writable(t, w)+"/", admin); res.StatusCode != 404 {
		t.Errorf("without pages = %d %s", res.StatusCode, body)
	}
}
