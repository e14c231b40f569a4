package httpapi_test

import (
	"context"
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
	"clink/topology"
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
	f.Add("DELETE", "/cluster/links/clA", "", "", "not looked at")
	f.Add("PUT", "/cluster/links/clA/metrics/reset", "", "", "{}")
	f.Add("PUT", "/cluster/links/clA/resume", "", "", "{}")
	f.Add("GET", "/cluster/links/clA", "", "", "{}")
	f.Add("DELETE", "/session", "", "", "{}")
	f.Add("DELETE", "/session", "all=true", "", "")
	f.Add("PATCH", "//cluster/../links", "", "", "")
	w, checker := newWorld(f), apitest.New(f, nil)
	h := httpapi.New(w, httpapi.Options{Keys: keys(f), Log: slog.New(slog.DiscardHandler), Writer: picky{w, checker}, Operator: picky{w, checker}, Rate: 1 << 30})
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
		checker.For(t).Handler(h).ServeHTTP(rec, r)
		if rec.Code == http.StatusInternalServerError {
			t.Errorf("%s %s with %q = %d %s", method, u, body, rec.Code, rec.Body)
		}
	})
}

// picky refuses links that are not as the document says, as the compiler does
// where the form of a body is let through and its meaning is none.
type picky struct {
	*world
	*apitest.Checker
}

func (p picky) check(links ...map[string]any) error {
	for _, l := range links {
		b, err := json.Marshal(l)
		if err == nil && len(l) > 1 {
			err = p.Fits("LinkBody", b)
		}
		if err != nil {
			return &httpapi.Refusal{Kind: httpapi.Invalid, Message: err.Error()}
		}
	}
	return nil
}

func (p picky) Write(ctx context.Context, w httpapi.Write) (httpapi.Written, error) {
	if err := p.check(w.Links...); err != nil {
		return httpapi.Written{}, err
	}
	if len(w.Links) == 0 {
		return httpapi.Written{InForce: true}, nil
	}
	return p.world.Write(ctx, w)
}

func (p picky) Probe(ctx context.Context, site string, link map[string]any) (topology.Probe, error) {
	if err := p.check(link); err != nil {
		return topology.Probe{}, err
	}
	return p.world.Probe(ctx, site, link)
}

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
