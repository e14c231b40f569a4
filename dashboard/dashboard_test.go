package dashboard

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func get(t *testing.T, at string, header ...string) *http.Response {
	t.Helper()
	return ask(t, Handler(), http.MethodGet, at, header...)
}

func ask(t *testing.T, h http.Handler, method, at string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, at, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var ownParts = regexp.MustCompile(`(?:href|src)="(/[^"]+)"`)

// Whatever the page begins with is there, may be kept for ever, and is the
// same packed and plain.
func TestPageAndItsParts(t *testing.T) {
	index := get(t, "/")
	text := body(t, index)
	if index.StatusCode != 200 || index.Header.Get("Cache-Control") != "no-cache" || index.Header.Get("Content-Security-Policy") != policy {
		t.Fatalf("/ = %d %v", index.StatusCode, index.Header)
	}
	if same := body(t, get(t, "/index.html")); !bytes.Equal(same, text) {
		t.Error("/index.html is not /")
	}
	parts := ownParts.FindAllSubmatch(text, -1)
	if len(parts) < 4 {
		t.Fatalf("the page has the parts %q", parts)
	}
	for _, p := range parts {
		at := string(p[1])
		plain, packed := get(t, at), get(t, at, "Accept-Encoding", "br, gzip")
		if plain.StatusCode != 200 || !strings.Contains(plain.Header.Get("Cache-Control"), "immutable") || plain.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s = %d %v", at, plain.StatusCode, plain.Header)
		}
		r, err := gzip.NewReader(packed.Body)
		if err != nil || packed.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s packed: %v %v", at, err, packed.Header)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body(t, plain)) {
			t.Errorf("%s is another thing packed: %v", at, err)
		}
	}
}

// The page names all of its modules, so that a browser need not read each to
// find the next.
func TestPageNamesItsModules(t *testing.T) {
	text := string(body(t, get(t, "/index.html")))
	h, err := load(pages)
	if err != nil {
		t.Fatal(err)
	}
	for name := range h.assets {
		if path.Ext(name) == ".js" && strings.Count(text, "/"+name+`"`) != 1 {
			t.Errorf("%s is not named once in index.html", name)
		}
	}
}

func TestWhatIsAnswered(t *testing.T) {
	tag := get(t, "/").Header.Get("ETag")
	h, err := load(pages)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, method, path string
		header             []string
		status             int
		want               string // of the answer's Cache-Control, or Allow
	}{
		{"unchanged", "GET", "/", []string{"If-None-Match", tag}, 304, "no-cache"},
		{"changed", "GET", "/", []string{"If-None-Match", `W/"0"`}, 200, "no-cache"},
		{"head", "HEAD", "/", nil, 200, "no-cache"},
		{"without the build", "GET", "/assets/app.js", nil, 200, "no-cache"},
		{"another build", "GET", "/assets/000000000000/app.js", nil, 404, ""},
		{"this build", "GET", "/assets/" + h.build + "/app.js", nil, 200, "public, max-age=31536000, immutable"},
		{"no such part", "GET", "/assets/none.js", nil, 404, ""},
		{"no way out", "GET", "/assets/../index.html", nil, 404, ""},
		{"another page", "GET", "/status", nil, 404, ""},
		{"a write", "POST", "/", nil, 405, "GET, HEAD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := ask(t, h, tt.method, "/", tt.header...)
			if tt.path != "/" {
				r := httptest.NewRequest(tt.method, "/", nil)
				r.URL.Path = tt.path // as it comes, not cleaned
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				res = w.Result()
			}
			got := res.Header.Get("Cache-Control") + res.Header.Get("Allow")
			if res.StatusCode != tt.status || got != tt.want {
				t.Errorf("= %d %q, want %d %q", res.StatusCode, got, tt.status, tt.want)
			}
			if (tt.method == "HEAD" || tt.status == 304) && len(body(t, res)) > 0 {
				t.Error("has a body")
			}
		})
	}
}

func TestTakesGzip(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "br, gzip;q=0.5": true, "gzip;q=0": false, "deflate": false, "*": true, "gzip; q=x": false, "gzipped": false,
	} {
		if got := takesGzip(accept); got != want {
			t.Errorf("takesGzip(%q) = %v", accept, got)
		}
	}
}

// One byte more anywhere, and no browser takes an old part for a new one.
func TestBuildChangesWithAnyPart(t *testing.T) {
	build := func(app string) string {
		h, err := load(fstest.MapFS{"pages/index.html": {Data: []byte("/assets/a.js")}, "pages/assets/a.js": {Data: []byte(app)}})
		if err != nil {
			t.Fatal(err)
		}
		if string(h.index.plain) != "/assets/"+h.build+"/a.js" {
			t.Errorf("the page is %s", h.index.plain)
		}
		return h.build
	}
	if build("1") == build("2") {
		t.Error("the same address for two contents")
	}
}

// maxWeight is what all parts may weigh together, packed.
const maxWeight = 100 << 10

func TestWeight(t *testing.T) {
	h, err := load(pages)
	if err != nil {
		t.Fatal(err)
	}
	weight := len(h.index.packed)
	for _, f := range h.assets {
		weight += len(f.packed)
	}
	if weight > maxWeight {
		t.Errorf("the pages weigh %d bytes packed, more than %d", weight, maxWeight)
	}
}

// sources returns the text of each part.
func sources(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(pages, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(pages, name)
		all[path.Base(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// forbidden is what could turn text into markup or script, or load something
// from elsewhere.
var forbidden = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|createContextualFragment|srcdoc|setHTMLUnsafe|\bstyle=|javascript:|'style'|import\(|\bon\w+="|https?://`)

// allowed are addresses that name something and load nothing.
var allowed = regexp.MustCompile(`http://www\.w3\.org/2000/svg`)

func TestNothingTurnsTextIntoMarkup(t *testing.T) {
	for name, text := range sources(t) {
		for i, line := range strings.Split(text, "\n") {
			if found := forbidden.FindString(allowed.ReplaceAllString(line, "")); found != "" {
				t.Errorf("%s:%d has %s: %s", name, i+1, found, strings.TrimSpace(line))
			}
		}
	}
	for _, bad := range []string{`n.innerHTML = x`, `<p style="a">`, `n.setAttribute('style', x)`, `<img src="http://x">`, `<a onclick="x">`, `eval(x)`} {
		if !forbidden.MatchString(bad) {
			t.Errorf("does not find %s", bad)
		}
	}
}

// The parts must stay readable: nobody builds them from something else.
func TestSourcesAreReadable(t *testing.T) {
	for name, text := range sources(t) {
		lines := strings.Split(text, "\n")
		if len(lines) > 500 {
			t.Errorf("%s has %d lines", name, len(lines))
		}
		if path.Ext(name) == ".js" && !strings.HasPrefix(text, "// ") {
			t.Errorf("%s does not say what it is for", name)
		}
		for i, line := range lines {
			if len(line) > 320 {
				t.Errorf("%s:%d has %d bytes", name, i+1, len(line))
			}
		}
	}
}
