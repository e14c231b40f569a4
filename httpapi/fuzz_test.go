package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"clink/httpapi"
	"clink/httpapi/apitest"
)

// What is taken is JSON as encoding/json reads it, and nothing panics.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{newLink, "[" + newLink + "]", `{"a":{"b":[1,null,"\ud83d\ude00"]}}`, `{"a":1,"a":2}`, `"\ud800\\u"`, `"\\\\ud800"`, "[[[[", `{"a":`, "\xff", "1e999"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := httpapi.ParseBody(b)
		if err != nil {
			return
		}
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q = %#v, encoding/json has %#v, %v", b, got, want, err)
		}
		if text := fmt.Sprint(want); strings.ContainsRune(text, '\ufffd') && !strings.ContainsRune(string(b), '\ufffd') && !strings.Contains(strings.ToLower(string(b)), `\ufffd`) {
			t.Errorf("%q lost a character", b)
		}
	})
}

// Whatever is asked, the answer is one that the document has.
func FuzzRouter(f *testing.F) {
	f.Add("GET", "/cluster/links/a%2Fb", "", "", newLink)
	f.Add("PUT", "/sites/site-a/api/v5/cluster/links/link/clA", "pair=true", `"r1"`, newLink)
	f.Add("POST", "/cluster/links/probe", "", "", newLink)
	f.Add("PUT", "/cluster/links", "prune=true&dry_run=true", "*", "[]")
	f.Add("PUT", "/cluster/links/clA/suspend", "", "", `{"reason":"x"}`)
	f.Add("POST", "/session", "", "", signIn)
	f.Add("DELETE", "/cluster/links/clA", "x;y", `W/"r1",`, "")
	f.Add("PATCH", "//cluster/../links", "", "", "")
	w := newWorld(f)
	h := httpapi.New(w, httpapi.Options{Keys: keys(f), Log: slog.New(slog.DiscardHandler), Writer: w, Operator: w, Observer: unstreamed{w}, Rate: 1 << 30})
	f.Fuzz(func(t *testing.T, method, path, query, tag, body string) {
		if strings.HasSuffix(path, "/events") || method == "CONNECT" {
			return // goes on until its reader has enough
		}
		u, err := url.ParseRequestURI("/" + strings.TrimPrefix(path, "/"))
		if err != nil {
			return
		}
		u.RawQuery = query
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		r.Method, r.URL, r.Host = method, u, "localhost"
		r.SetBasicAuth("admin", "s3cret")
		r.Header.Set("Content-Type", "application/json")
		if tag != "" {
			r.Header.Set("If-Match", tag)
		}
		w.links = []httpapi.Link{w.link(map[string]any{"name": "clA"})}
		rec := httptest.NewRecorder()
		apitest.New(t, nil).Handler(h).ServeHTTP(rec, r)
		if rec.Code == http.StatusInternalServerError {
			t.Errorf("%s %s with %q = %d %s", method, u, body, rec.Code, rec.Body)
		}
	})
}

// unstreamed has no events: they would go on for ever.
type unstreamed struct{ *world }

func BenchmarkGetLinks(b *testing.B) {
	w := newWorld(b)
	for i := range 1000 {
		w.links = append(w.links, w.link(map[string]any{"name": fmt.Sprintf("site-%04d", i), "server": "h:1", "topics": []any{"a/#", "b/+/c"}}))
	}
	h := httpapi.New(w, httpapi.Options{Keys: keys(b), Log: slog.New(slog.DiscardHandler), Rate: 1 << 30})
	srv := httptest.NewServer(h)
	defer srv.Close()
	for b.Loop() {
		req, err := http.NewRequest("GET", srv.URL+"/cluster/links", nil)
		if err != nil {
			b.Fatal(err)
		}
		req.SetBasicAuth("admin", "s3cret")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || n < 100_000 {
			b.Fatalf("%d, %d bytes, %v", res.StatusCode, n, err)
		}
	}
}
