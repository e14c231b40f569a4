package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clink/httpapi"
	"clink/httpapi/apitest"
)

// direct serves without a network, so that a test can own the clock.
func direct(t testing.TB, o httpapi.Options) func(method, path, key, body string, headers map[string]string) *httptest.ResponseRecorder {
	w := newWorld(t)
	o.Keys, o.Log, o.Writer = keys(t), slog.New(slog.DiscardHandler), w
	h := apitest.New(t, met).Handler(httpapi.New(w, o))
	return func(method, path, key, body string, headers map[string]string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Host = "localhost:18083"
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		if name, sec, ok := strings.Cut(key, ":"); ok {
			r.SetBasicAuth(name, sec)
		}
		for k, v := range headers {
			if r.Header.Set(k, v); k == "From" {
				r.RemoteAddr = v
			}
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
}

const signIn = `{"key":"admin","secret":"s3cret"}`

var samePage = map[string]string{"Origin": "http://localhost:18083", "Content-Type": "application/json"}

func with(headers map[string]string, more ...string) map[string]string {
	all := map[string]string{}
	for k, v := range headers {
		all[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// cookie signs in and returns the header that a browser would send.
func cookie(t *testing.T, rec *httptest.ResponseRecorder) string {
	t.Helper()
	c := rec.Result().Cookies()
	if rec.Code != 200 || len(c) != 1 {
		t.Fatalf("sign in = %d %s", rec.Code, rec.Body)
	}
	return c[0].Name + "=" + c[0].Value
}

func TestViewersDoNotWrite(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w)
	const viewer = "slow:hashed"
	for _, r := range [][2]string{
		{"POST", "/cluster/links"}, {"PUT", "/cluster/links"}, {"PUT", "/cluster/links/clA"}, {"DELETE", "/cluster/links/clA"}, {"PUT", "/cluster/links/clA/metrics/reset"},
		{"PUT", "/cluster/links/clA/suspend"}, {"PUT", "/cluster/links/clA/resume"}, {"POST", "/cluster/links/clA/probe"}, {"POST", "/api/v5/cluster/links/probe"}, {"POST", "/trace"},
	} {
		res, body := send(t, r[0], url+r[1], viewer, newLink, nil)
		if res.StatusCode != 403 || !contained(body, `"UNAUTHORIZED_ROLE"`, "viewer") {
			t.Errorf("%s %s = %d %s", r[0], r[1], res.StatusCode, body)
		}
		if res, _ := send(t, r[0], url+r[1], "", newLink, nil); res.StatusCode != 401 {
			t.Errorf("%s %s without a key = %d", r[0], r[1], res.StatusCode)
		}
	}
	if w.count() > 0 {
		t.Error("it was written")
	}
	if res, _ := request(t, "GET", url+"/cluster/links", viewer); res.StatusCode != 200 {
		t.Errorf("GET = %d", res.StatusCode)
	}
}

func TestSession(t *testing.T) {
	do := direct(t, httpapi.Options{})
	rec := do("POST", "/session", "", signIn, samePage)
	set := rec.Header().Get("Set-Cookie")
	if !contained(set, "clink_session_18083=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200") || strings.Contains(set, "Secure") {
		t.Errorf("Set-Cookie: %s", set)
	}
	if !contained(rec.Body.String(), `"key":"admin"`, `"role":"administrator"`) || strings.Contains(rec.Body.String(), "s3cret") {
		t.Errorf("sign in = %s", rec.Body)
	}
	proxied := do("POST", "/session", "", signIn, map[string]string{"Origin": "https://localhost:18083"})
	if set := proxied.Header().Get("Set-Cookie"); !strings.Contains(set, "; Secure") {
		t.Errorf("behind TLS, Set-Cookie: %s", set)
	}
	c := cookie(t, rec)
	page := with(samePage, "Cookie", c)
	if got := do("GET", "/cluster/links", "", "", map[string]string{"Cookie": c}); got.Code != 200 {
		t.Errorf("GET = %d %s", got.Code, got.Body)
	}
	if got := do("POST", "/cluster/links", "", newLink, page); got.Code != 201 {
		t.Errorf("POST = %d %s", got.Code, got.Body)
	}
	for name, forged := range map[string]string{"another value": c + "x", "none": "clink_session_18083=", "another daemon's": strings.Replace(c, "18083", "18084", 1)} {
		if got := do("GET", "/cluster/links", "", "", map[string]string{"Cookie": forged}); got.Code != 401 {
			t.Errorf("with %s: %d", name, got.Code)
		}
	}
	if got := do("DELETE", "/api/v5/session", "", "", page); got.Code != 204 || !contained(got.Header().Get("Set-Cookie"), "clink_session_18083=;", "Max-Age=0") {
		t.Errorf("sign out = %d %v", got.Code, got.Header())
	}
	got := do("GET", "/cluster/links", "", "", with(page, "Sec-Fetch-Dest", "empty"))
	if got.Code != 401 || !contained(got.Body.String(), "TOKEN_TIME_OUT") || strings.HasPrefix(got.Header().Get("WWW-Authenticate"), "Basic") {
		t.Errorf("after it = %d %v %s", got.Code, got.Header(), got.Body)
	}
	for _, body := range []string{`{}`, `{"key":"admin"}`, `{"token":7}`, `{"key":"admin","secret":"s3cret","token":"x"}`, `{"key":"admin","secret":"s3cret","more":1}`} {
		if got := do("POST", "/session", "", body, samePage); got.Code != 400 {
			t.Errorf("sign in with %s = %d %s", body, got.Code, got.Body)
		}
	}
	if got := do("POST", "/session?tokn=x", "", signIn, samePage); got.Code != 400 {
		t.Errorf("sign in with a query = %d", got.Code)
	}
	if got := do("POST", "/session", "", signIn, map[string]string{"Content-Type": "text/plain"}); got.Code != 415 {
		t.Errorf("sign in from a form = %d", got.Code)
	}
}

func TestSessionCookieUnderTLS(t *testing.T) {
	srv := httptest.NewTLSServer(httpapi.New(newWorld(t), httpapi.Options{Keys: keys(t), Log: slog.New(slog.DiscardHandler)}))
	defer srv.Close()
	res, err := srv.Client().Post(srv.URL+"/session", "application/json", strings.NewReader(signIn))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if set := res.Header.Get("Set-Cookie"); !strings.Contains(set, "; Secure") {
		t.Errorf("Set-Cookie: %s", set)
	}
}

func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		do := direct(t, httpapi.Options{})
		c := map[string]string{"Cookie": cookie(t, do("POST", "/session", "", signIn, samePage))}
		for used := time.Duration(0); used < 7*24*time.Hour; used += 11 * time.Hour {
			if got := do("GET", "/cluster/links", "", "", c); got.Code != 200 {
				t.Fatalf("in use, after %v: %d", used, got.Code)
			}
			time.Sleep(11 * time.Hour)
		}
		if got := do("GET", "/cluster/links", "", "", c); got.Code != 401 {
			t.Errorf("in use for more than a week: %d", got.Code)
		}
		c = map[string]string{"Cookie": cookie(t, do("POST", "/session", "", signIn, samePage))}
		time.Sleep(12 * time.Hour)
		if got := do("GET", "/cluster/links", "", "", c); got.Code != 401 {
			t.Errorf("not in use for 12 hours: %d", got.Code)
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		do := direct(t, httpapi.Options{Rate: 100_000})
		first := map[string]string{"Cookie": cookie(t, do("POST", "/session", "", signIn, samePage))}
		time.Sleep(time.Second)
		second := map[string]string{"Cookie": cookie(t, do("POST", "/session", "", signIn, samePage))}
		for range 999 {
			time.Sleep(time.Second)
			cookie(t, do("POST", "/session", "", signIn, samePage))
		}
		if got := do("GET", "/cluster/links", "", "", first); got.Code != 401 {
			t.Errorf("the oldest of 1001: %d", got.Code)
		}
		if got := do("GET", "/cluster/links", "", "", second); got.Code != 200 {
			t.Errorf("the one after it: %d", got.Code)
		}
	})
}

func TestOneTimeToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		do := direct(t, httpapi.Options{Token: "t0ken"})
		if got := do("POST", "/session", "", `{"token":"wrong"}`, samePage); got.Code != 401 || !contained(got.Body.String(), `"BAD_TOKEN"`) {
			t.Errorf("a wrong token = %d %s", got.Code, got.Body)
		}
		page := with(samePage, "Cookie", cookie(t, do("POST", "/session", "", `{"token":"t0ken"}`, samePage)))
		if got := do("POST", "/cluster/links", "", newLink, page); got.Code != 201 {
			t.Errorf("POST = %d %s", got.Code, got.Body)
		}
		if got := do("POST", "/session", "", `{"token":"t0ken"}`, samePage); got.Code != 401 || !contained(got.Body.String(), "has been used") {
			t.Errorf("the token again = %d %s", got.Code, got.Body)
		}
		do = direct(t, httpapi.Options{Token: "t0ken"})
		time.Sleep(10 * time.Minute)
		if got := do("POST", "/session", "", `{"token":"t0ken"}`, samePage); got.Code != 401 || !contained(got.Body.String(), "older than 10 minutes") {
			t.Errorf("the token after 10 minutes = %d %s", got.Code, got.Body)
		}
		if got := direct(t, httpapi.Options{})("POST", "/session", "", `{"token":""}`, samePage); got.Code != 401 {
			t.Errorf("an empty token where there is none = %d", got.Code)
		}
	})
}

// What a page of somebody else's makes a browser send is not done.
func TestForgedRequests(t *testing.T) {
	do := direct(t, httpapi.Options{})
	c := cookie(t, do("POST", "/session", "", signIn, samePage))
	tests := []struct {
		name    string
		headers map[string]string
		cookie  int // the status with a cookie
		key     int // with a key that the browser was told
	}{
		{"the dashboard's own", map[string]string{"Origin": "http://localhost:18083", "Sec-Fetch-Site": "same-origin"}, 201, 400},
		{"Sec-Fetch-Site alone", map[string]string{"Sec-Fetch-Site": "same-origin"}, 400, 400},
		{"a program's", map[string]string{}, 403, 400},
		{"another origin", map[string]string{"Origin": "http://evil.example"}, 403, 403},
		{"another port", map[string]string{"Origin": "http://localhost:8080"}, 403, 403},
		{"no origin", map[string]string{"Origin": "null"}, 403, 403},
		{"another site", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403, 403},
		{"same site", map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:18083"}, 403, 403},
		{"a form", map[string]string{"Origin": "http://localhost:18083", "Content-Type": "text/plain"}, 415, 415},
	}
	for _, tt := range tests {
		if got := do("POST", "/cluster/links", "", newLink, with(tt.headers, "Cookie", c)); got.Code != tt.cookie {
			t.Errorf("%s, with a cookie: %d %s, want %d", tt.name, got.Code, got.Body, tt.cookie)
		}
		if got := do("POST", "/cluster/links", admin, newLink, tt.headers); got.Code != tt.key {
			t.Errorf("%s, with a key: %d %s, want %d", tt.name, got.Code, got.Body, tt.key)
		}
	}
	if got := do("PUT", "/cluster/links/clA/metrics/reset", "", "", map[string]string{"Cookie": c, "Origin": "http://localhost:18083"}); got.Code != 415 {
		t.Errorf("a write without a body and without a type: %d", got.Code)
	}
	if got := do("POST", "/session", "", signIn, map[string]string{"Origin": "http://evil.example"}); got.Code != 403 {
		t.Errorf("signing in from elsewhere: %d", got.Code)
	}
}

func TestHosts(t *testing.T) {
	w := newWorld(t)
	srv := serveWith(t, w, httpapi.Options{Hosts: []string{"clink.example.net"}})
	for host, status := range map[string]int{
		"": 200, "localhost": 200, "LOCALHOST:1": 200, "x.localhost:18083": 200, "localhost.": 200, "127.0.0.1:9": 200, "127.9.9.9": 200, "[::1]:18083": 200, "::1": 200,
		"clink.example.net": 200, "Clink.Example.Net:443": 200,
		"evil.example": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "10.1.2.3:18083": 421, "0.0.0.0": 421, "x.clink.example.net": 421,
	} {
		headers := map[string]string{}
		if host != "" {
			headers["Host"] = host
		}
		for _, key := range []string{admin, ""} {
			res, body := send(t, "GET", srv.URL+"/cluster/links", key, "", headers)
			if want := status; res.StatusCode != want && !(key == "" && want == 200 && res.StatusCode == 401) {
				t.Errorf("Host: %s, key %q = %d %s, want %d", host, key, res.StatusCode, body, status)
			}
			if status == 421 && !contained(body, `"HOST_NOT_ALLOWED"`, "localhost") {
				t.Errorf("Host: %s = %s", host, body)
			}
		}
	}
	if res, _ := send(t, "GET", srv.URL+"/livez", "", "", map[string]string{"Host": "10.1.2.3"}); res.StatusCode != 200 {
		t.Errorf("livez by another name = %d", res.StatusCode)
	}
}

func TestGuessingIsDamped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		do := direct(t, httpapi.Options{})
		from := func(addr string) map[string]string { return map[string]string{"From": addr} }
		owner, guesser := from("192.0.2.1:5"), from("192.0.2.2:5")
		if got := do("GET", "/cluster/links", admin, "", owner); got.Code != 200 {
			t.Fatalf("the owner: %d", got.Code)
		}
		tries := 0
		for ; tries < 1000; tries++ {
			got := do("GET", "/cluster/links", "admin:nope", "", guesser)
			if got.Code == 429 {
				if got.Header().Get("Retry-After") == "" || !contained(got.Body.String(), "Too many wrong secrets") {
					t.Errorf("damped = %v %s", got.Header(), got.Body)
				}
				break
			}
		}
		if tries < 5 || tries > 50 {
			t.Errorf("damped after %d tries", tries)
		}
		if got := do("GET", "/cluster/links", admin, "", guesser); got.Code != 429 {
			t.Errorf("the right secret, from the guesser: %d", got.Code)
		}
		if got := do("GET", "/cluster/links", admin, "", from("198.51.100.1:5")); got.Code != 200 {
			t.Errorf("the owner, from an address that never proved the key: %d", got.Code)
		}
		if got := do("GET", "/cluster/links", admin, "", owner); got.Code != 200 {
			t.Errorf("the owner, meanwhile: %d", got.Code)
		}
		time.Sleep(10 * time.Second)
		if got := do("GET", "/cluster/links", admin, "", guesser); got.Code != 200 {
			t.Errorf("the right secret, after a while: %d %s", got.Code, got.Body)
		}
		// Many names from one address; an IPv6 client has all of its /64.
		status := 0
		for i := range 100 {
			status = do("GET", "/cluster/links", fmt.Sprintf("key%d:x", i), "", from(fmt.Sprintf("[2001:db8::%x]:5", i))).Code
		}
		if status != 429 {
			t.Errorf("many names: %d", status)
		}
	})
}

func TestTokenGuessingIsDamped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		do := direct(t, httpapi.Options{Token: "t0ken"})
		for range 50 {
			do("POST", "/session", "", `{"token":"wrong"}`, samePage)
		}
		if got := do("POST", "/session", "", `{"token":"t0ken"}`, samePage); got.Code != 429 {
			t.Errorf("= %d %s", got.Code, got.Body)
		}
	})
}

func TestRateOfOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		do := direct(t, httpapi.Options{})
		n := 0
		for ; do("GET", "/cluster/links", admin, "", nil).Code == 200; n++ {
		}
		if n != 1000 {
			t.Errorf("%d requests at once", n)
		}
		got := do("GET", "/cluster/links", admin, "", nil)
		if got.Code != 429 || got.Header().Get("Retry-After") != "1" {
			t.Errorf("= %d %v", got.Code, got.Header())
		}
		if got := do("GET", "/cluster/links", "slow:hashed", "", nil); got.Code != 200 {
			t.Errorf("another key: %d", got.Code)
		}
		time.Sleep(time.Second)
		for n = 0; do("GET", "/cluster/links", admin, "", nil).Code == 200; n++ {
		}
		if n != 500 {
			t.Errorf("%d requests a second later", n)
		}
	})
}

func TestWhatEveryAnswerCarries(t *testing.T) {
	do := direct(t, httpapi.Options{})
	for _, r := range [][2]string{{"/livez", ""}, {"/cluster/links", admin}, {"/cluster/links", ""}, {"/nope", admin}} {
		h := do("GET", r[0], r[1], "", map[string]string{"X-Request-Id": "two words"}).Header()
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer"} {
			if !strings.HasPrefix(h.Get(name), want) {
				t.Errorf("GET %s: %s: %q", r[0], name, h.Get(name))
			}
		}
		if id := h.Get("X-Request-Id"); len(id) < 20 || strings.Contains(id, " ") {
			t.Errorf("GET %s: X-Request-Id: %q", r[0], id)
		}
	}
}

func TestAccessLog(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t)
	srv := serveWith(t, w, httpapi.Options{Writer: w, Operator: w, Log: slog.New(slog.NewTextHandler(&log, nil))})
	send(t, "POST", srv.URL+"/cluster/links?pair=true", admin, strings.Replace(newLink, `"topics"`, `"password":"`+hidden+`","topics"`, 1), map[string]string{"X-Request-Id": "job-1"})
	send(t, "POST", srv.URL+"/session", "", signIn, nil)
	request(t, "GET", srv.URL+"/cluster/links", admin)
	srv.Close()
	if !contained(log.String(), "method=POST path=/cluster/links key=admin status=201", "request=job-1", "path=/session key=admin status=200") || strings.Contains(log.String(), "GET") {
		t.Errorf("logged:\n%s", log.String())
	}
	for _, secret := range []string{hidden, "s3cret", "pair"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%s is in the log:\n%s", secret, log.String())
		}
	}
}

// A panic is answered and logged, and is not the end of the process.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t)
	srv := serveWith(t, w, httpapi.Options{Writer: panicking{w}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	res, body := send(t, "POST", srv.URL+"/cluster/links", admin, newLink, map[string]string{"X-Request-Id": "job-1"})
	srv.Close()
	if res.StatusCode != http.StatusInternalServerError || !strings.Contains(body, "under request job-1") || !contained(log.String(), "level=ERROR", "request=job-1", "status=500") {
		t.Errorf("= %d %s\n%s", res.StatusCode, body, log.String())
	}
}

// Keys that are taken away or changed end what was opened with them.
func TestKeysAreReloaded(t *testing.T) {
	k, err := httpapi.ParseKeys([]byte("old:one\nkept:two:viewer\nraised:three:viewer\n"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	h := httpapi.New(w, httpapi.Options{Keys: k, Log: slog.New(slog.DiscardHandler), Writer: w, Token: "t0ken"})
	do := func(method, path, body string, with func(*http.Request)) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Host = "localhost:18083"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		with(r)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
	cookies := map[string]*http.Cookie{}
	for name, body := range map[string]string{"old": `{"key":"old","secret":"one"}`, "kept": `{"key":"kept","secret":"two"}`, "raised": `{"key":"raised","secret":"three"}`, "once": `{"token":"t0ken"}`} {
		rec := do("POST", "/session", body, func(*http.Request) {})
		if rec.Code != 200 {
			t.Fatalf("sign in as %s: %d %s", name, rec.Code, rec.Body)
		}
		cookies[name] = rec.Result().Cookies()[0]
	}
	status := func(name string) int {
		return do("GET", "/sites", "", func(r *http.Request) { r.AddCookie(cookies[name]) }).Code
	}
	if err := k.Reload([]byte("nonsense")); err == nil || status("old") != 200 {
		t.Errorf("Reload of nonsense = %v, and then %d", err, status("old"))
	}
	if err := k.Reload([]byte("kept:two:viewer\nraised:three\nnew:four\n")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"old": 401, "kept": 200, "raised": 401, "once": 200} {
		if got := status(name); got != want {
			t.Errorf("the session of %s: %d, want %d", name, got, want)
		}
	}
	for _, tt := range []struct {
		name, secret string
		want         int
	}{{"old", "one", 401}, {"new", "four", 200}} {
		if got := do("GET", "/sites", "", func(r *http.Request) { r.SetBasicAuth(tt.name, tt.secret) }).Code; got != tt.want {
			t.Errorf("the key %s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// Every path of the API but three wants a key, and every one that changes
// anything an administrator's. The paths are the document's.
func TestRolesOnEveryRoute(t *testing.T) {
	var doc struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct {
			PathItems map[string]map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(httpapi.Document(), &doc); err != nil {
		t.Fatal(err)
	}
	do := direct(t, httpapi.Options{})
	open := []string{"GET /livez", "GET /readyz", "POST /session"}
	n := 0
	for path, item := range doc.Paths {
		var ref string
		if json.Unmarshal(item["$ref"], &ref); ref != "" {
			item = doc.Components.PathItems[strings.TrimPrefix(ref, "#/components/pathItems/")]
		}
		path = strings.NewReplacer("{name}", "cl-b", "{site}", "site-a").Replace(path)
		for method := range item {
			method = strings.ToUpper(method)
			if !slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "PATCH"}, method) || slices.Contains(open, method+" "+path) || path == "/events" {
				continue
			}
			n++
			body := map[bool]string{true: "{}"}[strings.HasPrefix(method, "P")]
			if got := do(method, path, "", body, nil); got.Code != 401 {
				t.Errorf("%s %s without a key: %d %s", method, path, got.Code, got.Body)
			}
			if got := do(method, path, "slow:hashed", body, nil); (got.Code == 403) == (method == "GET" || path == "/session") {
				t.Errorf("%s %s as a viewer: %d %s", method, path, got.Code, got.Body)
			}
		}
	}
	if n < 25 {
		t.Errorf("%d routes were tried", n)
	}
}

// What a link's answer is tagged with is never newer than the answer: a write
// with it would be made by somebody who has not seen what it replaces.
func TestTagsAreNoNewerThanTheirLinks(t *testing.T) {
	w := newWorld(t)
	w.links = append(w.links, w.link(map[string]any{"name": "cl-b", "server": "h:1", "topics": []any{}}))
	s := &moving{world: w}
	h := httpapi.New(s, httpapi.Options{Keys: keys(t), Log: slog.New(slog.DiscardHandler), Writer: w})
	for _, path := range []string{"/cluster/links", "/cluster/links/cl-b"} {
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "localhost"
		r.SetBasicAuth("admin", "s3cret")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if want := fmt.Sprintf(`"r%d"`, s.read); rec.Code != 200 || rec.Header().Get("ETag") != want {
			t.Errorf("%s: %d, ETag %s, want %s", path, rec.Code, rec.Header().Get("ETag"), want)
		}
	}
}

// A moving store is at another revision each time that its links were read, and
// has loaded one that is not in force yet.
type moving struct {
	*world
	at, read int
}

func (m *moving) Links(ctx context.Context, site string) ([]httpapi.Link, error) {
	m.read, m.at = m.at, m.at+1
	return m.world.Links(ctx, site)
}

func (m *moving) State() httpapi.State {
	return httpapi.State{Revision: "loaded", InForce: map[string]string{"site-a": fmt.Sprintf("r%d", m.at)}}
}
