package writeback_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clink/compiler"
	"clink/internal/pki"
	"clink/internal/secret"
	"clink/internal/testgc"
	"clink/source"
	"clink/source/writeback"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	testgc.Set()
	goleak.VerifyTestMain(m)
}

// Three sites, of which a and b are linked; comments and order are a human's.
var tree = map[string]string{
	"a.cue": `package topology

// The first plant.
sites: "a": {
	listeners: mqtt: bind: "127.0.0.1:1883"
	access: anonymous: true
	cluster: links: {
		// To the second plant.
		"b": {
			server:   "127.0.0.1:1884" // its only listener
			username: "a"
			password: "file://secrets/a-to-b"
			topics: ["global/#"]
		}
	}
}
`,
	"b.cue": `package topology

sites: "b": {
	listeners: mqtt: bind: "127.0.0.1:1884"
	cluster: links: "a": {
		server:   "127.0.0.1:1883"
		username: "b"
		password: "file://secrets/b-to-a"
		topics: []
	}
}
`,
	"c.cue": `package topology

sites: "c": listeners: mqtt: bind: "127.0.0.1:1885"
`,
	"secrets/a-to-b": "password of a\n",
	"secrets/b-to-a": "password of b\n",
}

type world struct {
	t   *testing.T
	dir string
	*writeback.Editor
	d *source.Dir
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	for name, text := range tree {
		at := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(at), 0o755))
		must(t, os.WriteFile(at, []byte(text), 0o644))
	}
	return openWorld(t, dir, nil)
}

func openWorld(t *testing.T, dir string, step func(string)) *world {
	t.Helper()
	d, err := source.Open(dir, source.Options{Step: step})
	must(t, err)
	w := &world{t: t, dir: dir, d: d}
	w.Editor = writeback.New(&writeback.Editor{Dir: d, Secrets: filepath.Join(dir, "secrets"), Step: step, Options: func(planned map[string][]byte) compiler.Options {
		return compiler.Options{
			Now: time.Now(),
			ReadFile: func(name string) ([]byte, error) {
				if text, ok := planned[filepath.Join(dir, name)]; ok {
					return text, nil
				}
				return pki.ReadFile(dir, name)
			},
			Secret: func(r secret.Ref) error {
				if _, ok := planned[r.File(dir)]; ok {
					return nil
				}
				_, err := r.Resolve(dir)
				return err
			},
		}
	}})
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fields are the fields of a link, from JSON.
func fields(t *testing.T, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var m map[string]any
	must(t, d.Decode(&m))
	return m
}

func (w *world) edit(r writeback.Request) writeback.Outcome {
	w.t.Helper()
	out, err := w.Edit(w.t.Context(), r)
	must(w.t, err)
	return out
}

// refused checks that a request is refused so, and that no byte is changed.
func (w *world) refused(kind string, r writeback.Request) *writeback.Refusal {
	w.t.Helper()
	before := w.files()
	_, err := w.Edit(w.t.Context(), r)
	var refusal *writeback.Refusal
	if !errors.As(err, &refusal) || refusal.Kind != kind {
		w.t.Fatalf("Edit = %v, want it refused as %s", err, kind)
	}
	w.same(before)
	return refusal
}

// files are all files, by name.
func (w *world) files() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	must(w.t, filepath.WalkDir(w.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(w.dir, path)
		all[filepath.ToSlash(name)] = string(text)
		return err
	}))
	return all
}

func (w *world) same(before map[string]string) {
	w.t.Helper()
	now := w.files()
	for name := range now {
		if _, ok := before[name]; !ok {
			w.t.Errorf("%s is new", name)
		}
	}
	for name, text := range before {
		if now[name] != text {
			w.t.Errorf("%s was changed to\n%s", name, now[name])
		}
	}
}

// read is the text of one file.
func (w *world) read(name string) string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, filepath.FromSlash(name)))
	must(w.t, err)
	return string(text)
}

func (w *world) rules(l []string, out writeback.Outcome) []string {
	for _, d := range out.Findings {
		l = append(l, d.Rule)
	}
	return l
}
