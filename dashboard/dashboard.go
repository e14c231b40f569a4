// Package dashboard is the pages of clinkd: what a browser shows of the fleet
// and lets people do to it. The pages hold no data; their scripts ask the REST
// API for it, with the session that people sign in with.
//
// The sources under pages are served as they are: plain ES modules and CSS,
// without a build step, and nothing is loaded from another host.
package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed pages
var pages embed.FS

// policy lets the pages load their own parts and talk to their own origin,
// and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// A file is one file as it is sent.
type file struct {
	kind          string
	plain, packed []byte
	tag           string
}

type handler struct {
	index  file
	assets map[string]file // by name under assets
	build  string          // of all files: part of the assets' addresses
}

// Handler serves the pages: "/", "/index.html" and "/assets/…".
func Handler() http.Handler { return own() }

// own packs the files, which no call changes, once in a process.
var own = sync.OnceValue(func() *handler {
	h, err := load(pages)
	if err != nil {
		panic(err) // the files are part of the program
	}
	return h
})

func load(root fs.FS) (*handler, error) {
	h := &handler{assets: map[string]file{}}
	all := sha256.New()
	err := fs.WalkDir(root, "pages/assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(all, "%s %d\n%s", name, len(text), text)
		h.assets[strings.TrimPrefix(name, "pages/assets/")], err = pack(name, text)
		return err
	})
	if err != nil {
		return nil, err
	}
	index, err := fs.ReadFile(root, "pages/index.html")
	if err != nil {
		return nil, err
	}
	h.build = fmt.Sprintf("%x", all.Sum(nil))[:12]
	// The address of every asset changes with any of them, so that browsers
	// may keep them for ever and still never mix two builds.
	index = bytes.ReplaceAll(index, []byte("/assets/"), []byte("/assets/"+h.build+"/"))
	h.index, err = pack("index.html", index)
	return h, err
}

func pack(name string, text []byte) (file, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return file{}, err
	}
	if _, err := w.Write(text); err != nil {
		return file{}, err
	}
	if err := w.Close(); err != nil {
		return file{}, err
	}
	return file{kind(name), text, b.Bytes(), fmt.Sprintf("%x", sha256.Sum256(text))[:16]}, nil
}

// kind is the content type of a file, whatever the host's own table says.
func kind(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return mime.TypeByExtension(ext)
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "The pages are only read", http.StatusMethodNotAllowed)
		return
	}
	f, keep, ok := h.find(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	head := w.Header()
	head.Set("Content-Security-Policy", policy)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Cache-Control", "no-cache")
	if keep {
		head.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	f.send(w, r)
}

// find returns the file at a path, and whether it may be kept for ever.
func (h *handler) find(at string) (f file, keep, ok bool) {
	if at == "/" || at == "/index.html" {
		return h.index, false, true
	}
	name, ok := strings.CutPrefix(at, "/assets/")
	if !ok {
		return file{}, false, false
	}
	if inBuild, ok := strings.CutPrefix(name, h.build+"/"); ok {
		f, ok = h.assets[inBuild]
		return f, ok, ok
	}
	f, ok = h.assets[name]
	return f, false, ok
}

func (f file) send(w http.ResponseWriter, r *http.Request) {
	head, body := w.Header(), f.plain
	head.Set("Vary", "Accept-Encoding")
	// Weak: the packed and the plain form are one content.
	head.Set("ETag", `W/"`+f.tag+`"`)
	if strings.Contains(r.Header.Get("If-None-Match"), f.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	head.Set("Content-Type", f.kind)
	if takesGzip(r.Header.Get("Accept-Encoding")) {
		head.Set("Content-Encoding", "gzip")
		body = f.packed
	}
	head.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	w.Write(body) // whoever has gone misses nothing
}

// takesGzip reports whether a client takes gzip, which "gzip;q=0" denies.
func takesGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		coding, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if coding = strings.TrimSpace(coding); coding != "gzip" && coding != "*" {
			continue
		}
		weight, given := strings.CutPrefix(strings.TrimSpace(q), "q=")
		n, err := strconv.ParseFloat(weight, 64)
		return !given || err == nil && n > 0
	}
	return false
}
