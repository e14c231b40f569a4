package apitest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"clink/httpapi/apitest"
)

// A witness is told of failures instead of the test.
type witness struct {
	testing.TB
	failed bool
}

func (w *witness) Helper()               {}
func (w *witness) Errorf(string, ...any) { w.failed = true }

func TestCheckerFails(t *testing.T) {
	checker := apitest.New(t, nil)
	const accepted, list = `{"revision":"r1","findings":[],"halves":[]}`, `[{"name":"a","server":"h","topics":[]}]`
	tests := []struct {
		name, method, target, body string
		status                     int
		header, answer             string
		fails                      bool
	}{
		{"as it is", "PUT", "/api/v5/cluster/links?prune=true", list, 202, "", accepted, false},
		{"for a site", "PUT", "/sites/x/cluster/links", list, 202, "", accepted, false},
		{"a field more", "PUT", "/cluster/links", list, 202, "", `{"revision":"r1","findings":[],"halves":[],"more":1}`, true},
		{"a field less", "PUT", "/cluster/links", list, 202, "", `{"revision":"r1","findings":[]}`, true},
		{"null for a list", "PUT", "/cluster/links", list, 202, "", `{"revision":"r1","findings":null,"halves":[]}`, true},
		{"no JSON", "PUT", "/cluster/links", list, 202, "", "{", true},
		{"a body taken that is none", "PUT", "/cluster/links", `[{"name":"a"}]`, 202, "", accepted, true},
		{"a body refused that is none", "PUT", "/cluster/links", `[{"name":"a"}]`, 400, "", `{"code":"BAD_REQUEST","message":"x"}`, false},
		{"an unknown code", "PUT", "/cluster/links", list, 400, "", `{"code":"NOPE","message":"x"}`, true},
		{"a flag taken", "PUT", "/cluster/links?purge=true", list, 202, "", accepted, true},
		{"a flag's value taken", "PUT", "/cluster/links?prune=1", list, 202, "", accepted, true},
		{"another type", "PUT", "/cluster/links", list, 202, "text/plain", accepted, true},
		{"another status", "PUT", "/cluster/links", list, 418, "", accepted, true},
		{"another base", "PUT", "/api/v4/cluster/links", list, 202, "", accepted, true},
		{"another method", "PATCH", "/cluster/links", list, 202, "", accepted, true},
		{"no such path, refused", "GET", "/nope", "", 404, "", `{"code":"NOT_FOUND","message":"x"}`, false},
		{"a body where there is none", "DELETE", "/cluster/links/a", "", 204, "", accepted, true},
		{"none where there is none", "DELETE", "/cluster/links/a", "", 204, "", "", false},
		{"a body for nothing", "DELETE", "/cluster/links/a", "{}", 204, "", "", true},
		{"no Retry-After", "GET", "/cluster/links", "", 429, "", `{"code":"TOO_MANY_REQUESTS","message":"x"}`, true},
		{"a link called metrics", "DELETE", "/cluster/links/link/metrics", "", 204, "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for kind, do := range map[string]func(*apitest.Checker, http.HandlerFunc, *http.Request){"handler": throughHandler, "transport": throughTransport} {
				w := &witness{TB: t}
				r := httptest.NewRequest(tt.method, tt.target, strings.NewReader(tt.body))
				r.Header.Set("Content-Type", "application/json")
				do(checker.For(w), func(rw http.ResponseWriter, r *http.Request) {
					if b, err := io.ReadAll(r.Body); err != nil || string(b) != tt.body {
						t.Errorf("the body came through as %q, %v", b, err)
					}
					rw.Header().Set("X-Request-Id", "x")
					if rw.Header().Set("Content-Type", tt.header); tt.header == "" {
						rw.Header().Set("Content-Type", "application/json")
					}
					rw.WriteHeader(tt.status)
					io.WriteString(rw, tt.answer)
				}, r)
				if w.failed != tt.fails {
					t.Errorf("through a %s: failed %v, want %v", kind, w.failed, tt.fails)
				}
			}
		})
	}
}

func throughHandler(c *apitest.Checker, h http.HandlerFunc, r *http.Request) {
	c.Handler(h).ServeHTTP(httptest.NewRecorder(), r)
}

func throughTransport(c *apitest.Checker, h http.HandlerFunc, r *http.Request) {
	c.Transport(roundTripper(h)).RoundTrip(r)
}

type roundTripper http.HandlerFunc

func (h roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	h(rec, r)
	return rec.Result(), nil
}
