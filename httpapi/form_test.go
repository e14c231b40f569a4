package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"clink/httpapi"
	"clink/topology"
)

func TestBodiesThatAreRefused(t *testing.T) {
	link := func(more string) string { return `{"name":"clA","server":"h:1","topics":[],` + more + `}` }
	tests := []struct {
		name, body string
		status     int
		want       []string
	}{
		{"no JSON", `{"name":`, 400, []string{`"code":"BAD_REQUEST"`, "Invalid json message received: line 1, column 8"}},
		{"a later line", "{\n  \"name\": x}", 400, []string{"line 2, column 11"}},
		{"garbage behind", newLink + "x", 400, []string{"Invalid json message received", "after top-level value"}},
		{"a second value", newLink + newLink, 400, []string{"after top-level value"}},
		{"not UTF-8", "{\"name\":\"\xff\"}", 400, []string{"not UTF-8"}},
		{"half a surrogate pair", link(`"username":"\ud800"`), 400, []string{"surrogate"}},
		{"the wrong half", link(`"username":"\\\udc00\ud800"`), 400, []string{"surrogate"}},
		{"a key twice", link(`"enable":true,"enable":false`), 400, []string{`the key \"enable\" stands twice`}},
		{"a key twice, further in", link(`"ssl":{"enable":true,"enable":false}`), 400, []string{`the body.ssl: the key \"enable\" stands twice`}},
		{"nested deeply", strings.Repeat("[", 20) + strings.Repeat("]", 20), 400, []string{"nested more than 16 deep"}},
		{"nested very deeply", strings.Repeat("[", 500_000), 400, []string{"Invalid json"}},
		{"a long key over many values", `{"` + strings.Repeat("k", 400_000) + `":[` + strings.Repeat("1,", 300_000) + `null,{"a":1,"a":2}]}`, 400, []string{"kkk…[300001]: the key"}},
		{"a text", `"x"`, 400, []string{"must be a JSON object"}},
		{"a null", "null", 400, []string{"must be a JSON object"}},
		{"an unknown field", link(`"pool_sise":1`), 400, []string{"root.pool_sise: a link has no such field; did you mean pool_size?"}},
		{"an unknown field, unlike any", link(`"zzzzzzz":1`), 400, []string{`root.zzzzzzz: a link has no such field"`}},
		{"a null field", link(`"username":null`), 400, []string{"root.username is null: leave the field out"}},
		{"a null further in", link(`"ssl":{"versions":["tlsv1.3",null]}`), 400, []string{"root.ssl.versions[1] is null"}},
		{"no topics", `{"name":"clA","server":"h:1"}`, 400, []string{`{\"reason\":\"required_field\",\"path\":\"root.topics\",\"kind\":\"validation_error\"}`}},
		{"no name", `{"server":"h:1","topics":[]}`, 400, []string{`{\"reason\":\"required_field\",\"path\":\"root.name\",\"kind\":\"validation_error\"}`}},
		{"too large", link(`"username":"` + strings.Repeat("x", 1<<20) + `"`), 413, []string{"REQUEST_TOO_LARGE"}},
		{"far too large", strings.Repeat(" ", 10<<20), 413, []string{"REQUEST_TOO_LARGE"}},
		{"asterisks", link(`"password":"******"`), 400, []string{"root.password is ******", "file://"}},
		{"asterisks for a key", link(`"ssl":{"password":"******"}`), 400, []string{"root.ssl.password is ******"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			res, body := send(t, "POST", writable(t, w)+"/cluster/links", admin, tt.body, nil)
			if res.StatusCode != tt.status || !contained(body, tt.want...) {
				t.Errorf("= %d %s, want %d %q", res.StatusCode, body, tt.status, tt.want)
			}
			if w.count() > 0 {
				t.Error("it was written")
			}
		})
	}
}

func TestBodiesThatAreTaken(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w) + "/cluster/links"
	body := `{"name":"clA","server":"h:1","topics":["a/\"\\(x)\n#{}é😀\ud83d\ude00"],"password":"pw","username":"\\ud800","max_inflight":9007199254740991}`
	if res, answer := send(t, "POST", url, admin, body, map[string]string{"Content-Type": "application/json; charset=UTF-8"}); res.StatusCode != 201 {
		t.Fatalf("= %d %s", res.StatusCode, answer)
	}
	got := w.last(t).Links[0]
	if topic := got["topics"].([]any)[0]; topic != "a/\"\\(x)\n#{}é😀😀" || got["username"] != `\ud800` || got["max_inflight"] != json.Number("9007199254740991") {
		t.Errorf("handed on as %v", got)
	}
	// Asterisks are "keep" where there may be something to keep.
	if res, answer := send(t, "PUT", url, admin, `{"name":"clA","server":"h:1","topics":[],"password":"******"}`, nil); res.StatusCode != 200 || w.last(t).Links[0]["password"] != "******" {
		t.Errorf("PUT with asterisks = %d %s", res.StatusCode, answer)
	}
}

func TestContentTypes(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w) + "/cluster/links"
	for _, h := range []map[string]string{
		{"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": "application/jsonx"}, {"Content-Type": "application/json; charset=latin1"},
		{"Content-Type": "application/json;;"}, {"Content-Type": ""}, {"Content-Encoding": "gzip"},
	} {
		res, body := send(t, "POST", url, admin, newLink, h)
		if res.StatusCode != 415 || body != `{"code":"UNSUPPORTED_MEDIA_TYPE","message":"content-type:application/json Required"}` {
			t.Errorf("%v = %d %s", h, res.StatusCode, body)
		}
	}
	if w.count() > 0 {
		t.Error("it was written")
	}
}

func TestNamesOfNewLinks(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w) + "/cluster/links"
	for name, want := range map[string]string{
		``: "Name cannot be empty string", strings.Repeat("x", 255): "Name length must be less than 255", `link`: "cannot be called link",
		`a/b`: "Invalid name format. ", `..`: "Invalid name format. ", `a\u0000b`: "Invalid name format. ", `-a`: "Invalid name format. ", `eu.west`: "Invalid name format. ",
		`a\nb`: "Invalid name format. ", `a\n`: "Invalid name format. ", `ä`: "Invalid name format. ", `a b`: "Invalid name format. ", `\"+x`: "Invalid name format. ", `$LINK`: "Invalid name format. ",
	} {
		for _, method := range []string{"POST", "PUT"} {
			res, body := send(t, method, url, admin, `{"name":"`+name+`","server":"h:1","topics":[]}`, nil)
			var e struct{ Code, Message string }
			var inner struct{ Kind, Reason string }
			if json.Unmarshal([]byte(body), &e) != nil || json.Unmarshal([]byte(e.Message), &inner) != nil || res.StatusCode != 400 ||
				e.Code != "BAD_REQUEST" || inner.Kind != "validation_error" || !strings.Contains(inner.Reason, want) {
				t.Errorf("%s of %.20q = %d %s", method, name, res.StatusCode, body)
			}
		}
	}
	if _, body := send(t, "POST", url, admin, `{"name":7,"server":"h:1","topics":[]}`, nil); !strings.Contains(body, "must be a string") {
		t.Errorf("a number = %s", body)
	}
	if w.count() > 0 {
		t.Error("a name was let through")
	}
	// A name that somebody wrote into the source can be changed from here.
	dotted := w.template
	dotted.Name = "eu.west"
	w.links = []httpapi.Link{dotted}
	for _, body := range []string{`{"name":"eu.west","server":"h:1","topics":[]}`, `[{"name":"eu.west","server":"h:1","topics":[]}]`} {
		if res, answer := send(t, "PUT", url, admin, body, nil); res.StatusCode != 200 {
			t.Errorf("PUT %s = %d %s", body, res.StatusCode, answer)
		}
	}
	if res, answer := send(t, "PUT", url+"/eu.west", admin, newLink, nil); res.StatusCode != 200 || w.last(t).Links[0]["name"] != "eu.west" {
		t.Errorf("PUT /eu.west = %d %s", res.StatusCode, answer)
	}
}

func TestLists(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w) + "/cluster/links"
	for body, want := range map[string]string{
		`[` + newLink + `,` + newLink + `]`:                    `{\"reason\":{\"reason\":\"duplicated_cluster_links\",\"duplicates\":[\"clA\"]},\"path\":\"root\",\"kind\":\"validation_error\"}`,
		`[` + newLink + `,{"name":"b","topics":[]}]`:           `\"path\":\"root.2.server\"`,
		`[` + newLink + `,7]`:                                  `root.2 must be a JSON object`,
		`[{"name":"b","server":"h","topics":["#","#"]}]`:       `{\"value\":[\"#\",\"#\"],\"reason\":{\"topics\":[\"#\"],\"reason\":\"redundant_topics\"},\"path\":\"root.1.topics\",\"kind\":\"validation_error\"}`,
		`[{"name":"b","server":"h","topics":[],"passwort":7}]`: `root.1.passwort: a link has no such field; did you mean password?`,
	} {
		if res, answer := send(t, "PUT", url, admin, body, nil); res.StatusCode != 400 || !strings.Contains(answer, want) {
			t.Errorf("%s = %d %s", body, res.StatusCode, answer)
		}
	}
	if res, answer := send(t, "POST", url, admin, "["+newLink+"]", nil); res.StatusCode != 400 || !strings.Contains(answer, "one link") {
		t.Errorf("POST of a list = %d %s", res.StatusCode, answer)
	}
	if res, answer := send(t, "PUT", url, admin, "7", nil); res.StatusCode != 400 || !strings.Contains(answer, "an array of all links") {
		t.Errorf("PUT of a number = %d %s", res.StatusCode, answer)
	}
	if w.count() > 0 {
		t.Error("it was written")
	}
}

func TestFlags(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w) + "/cluster/links"
	for query, want := range map[string]string{
		"dryrun=true": "Unknown flag dryrun; did you mean dry_run?", "prune=true": "Unknown flag prune; there are dry_run, override, pair, strict", "pair=yes": "pair=true or pair=false", "pair": "pair=true or pair=false",
		"pair=true&pair=false": "given once", "%zz": "not well formed", "a;b": "not well formed",
	} {
		if res, body := send(t, "POST", url+"?"+query, admin, newLink, nil); res.StatusCode != 400 || !strings.Contains(body, want) {
			t.Errorf("?%s = %d %s", query, res.StatusCode, body)
		}
	}
	if res, body := send(t, "PUT", url+"/clA/metrics/reset?pair=true", admin, "", nil); res.StatusCode != 400 || !strings.Contains(body, "takes no query") {
		t.Errorf("reset with a flag = %d %s", res.StatusCode, body)
	}
	if w.count() > 0 {
		t.Error("it was written")
	}
}

func TestSuspendAndResume(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w)
	send(t, "POST", url+"/cluster/links", admin, newLink, nil)
	for _, path := range []string{"/cluster/links/clA", "/api/v5/cluster/links/link/clA"} {
		res, body := send(t, "PUT", url+path+"/suspend", admin, `{"reason":"peer is down","until":"2999-01-02T03:04:05+01:00"}`, nil)
		if res.StatusCode != 200 || !contained(body, `"site":"site-a","peer":"clA","reason":"peer is down","by":"admin"`, `"until":"2999-01-02T02:04:05Z"`) {
			t.Errorf("suspend = %d %s", res.StatusCode, body)
		}
		if _, body := request(t, "GET", url+path, admin); !strings.Contains(body, `"suspension":{"site":"site-a"`) {
			t.Errorf("suspended link = %s", body)
		}
		if _, body := request(t, "GET", url+"/status", admin); !contained(body, `"suspensions":[{"site":"site-a"`, `"conditions":[{"type":"Ready"`) {
			t.Errorf("status = %s", body)
		}
		if res, body := send(t, "PUT", url+path+"/resume", admin, "", nil); res.StatusCode != 204 || body != "" {
			t.Errorf("resume = %d %s", res.StatusCode, body)
		}
	}
	for body, want := range map[string]string{
		`{}`: "needs a reason", `{"reason":""}`: "needs a reason", `{"reason":7}`: "needs a reason", `{"reason":"` + strings.Repeat("x", 1001) + `"}`: "needs a reason",
		`{"reason":"x","until":"tomorrow"}`: "must be a time to come", `{"reason":"x","until":"2001-01-01T00:00:00Z"}`: "must be a time to come", `{"reason":"x","untill":"y"}`: "did you mean until?", `[]`: "must be a JSON object",
	} {
		if res, answer := send(t, "PUT", url+"/cluster/links/clA/suspend", admin, body, nil); res.StatusCode != 400 || !strings.Contains(answer, want) {
			t.Errorf("suspend with %.60s = %d %s", body, res.StatusCode, answer)
		}
	}
	if res, body := send(t, "PUT", url+"/cluster/links/clA/resume", admin, "", nil); res.StatusCode != 404 || !strings.Contains(body, "not suspended") {
		t.Errorf("resume again = %d %s", res.StatusCode, body)
	}
	for _, what := range []string{"suspend", "resume", "metrics/reset"} {
		if res, body := send(t, "PUT", url+"/cluster/links/nope/"+what, admin, `{"reason":"x"}`, nil); res.StatusCode != 404 || !strings.Contains(body, "Cluster link not found") {
			t.Errorf("%s of a missing link = %d %s", what, res.StatusCode, body)
		}
	}
	if res, _ := send(t, "PUT", url+"/cluster/links/clA/metrics/reset", admin, "", nil); res.StatusCode != 204 {
		t.Errorf("reset = %d", res.StatusCode)
	}
}

func TestProbe(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w) + "/cluster/links"
	send(t, "POST", url, admin, newLink, nil)
	want := `{"ok":false,"steps":[{"name":"dns","ok":false,"ms":0.5,"detail":"no such host"}]}`
	for _, path := range []string{"/clA/probe", "/link/clA/probe"} {
		res, body := send(t, "POST", url+path, admin, "", nil)
		if res.StatusCode != 200 || body != want || len(w.probed) != 1 || w.probed["name"] != "clA" {
			t.Errorf("probe = %d %s of %v", res.StatusCode, body, w.probed)
		}
	}
	if res, body := send(t, "POST", url+"/probe", admin, strings.Replace(newLink, "clA", "new", 1), nil); res.StatusCode != 200 || body != want || w.probed["server"] != "127.0.0.1:21883" {
		t.Errorf("probe of a body = %d %s of %v", res.StatusCode, body, w.probed)
	}
	for _, r := range [][3]string{{"/nope/probe", "", "not found"}, {"/clA/probe", "{}", "takes no body"}, {"/probe", `{"name":"x","topics":[]}`, "root.server"}, {"/probe?pair=true", newLink, "takes no query"}} {
		if res, body := send(t, "POST", url+r[0], admin, r[1], nil); res.StatusCode/100 != 4 || !strings.Contains(body, r[2]) {
			t.Errorf("%s = %d %s", r[0], res.StatusCode, body)
		}
	}
}

func TestTheWholePicture(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w)
	for _, base := range []string{"", "/api/v5"} {
		_, body := request(t, "GET", url+base+"/topology", admin)
		if strings.Contains(body, hidden) || !contained(body, `"revision":"r1"`, `"password":"******"`, `"exports":{"clB":[]}`, `"links":[]`) {
			t.Errorf("topology = %s", body)
		}
		_, body = request(t, "GET", url+base+"/revisions", admin)
		if !contained(body, `"revision":"r2","commit":"","author":"admin"`, `"plan":[],"result":"pending","ms":null`, `"fields":[]`, `"ms":3`) {
			t.Errorf("revisions = %s", body)
		}
	}
	empty := serveWith(t, w, httpapi.Options{Observer: unread{w}})
	if res, body := request(t, "GET", empty.URL+"/topology", admin); res.StatusCode != 503 || !strings.Contains(body, "GET /status") {
		t.Errorf("before the first revision = %d %s", res.StatusCode, body)
	}
}

// unread observes a process that could not read its source yet.
type unread struct{ *world }

func (unread) Topology() (*topology.Topology, string) { return nil, "" }
