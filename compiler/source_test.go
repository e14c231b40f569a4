package compiler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"clink/compiler"
	"clink/diagnostic"
	"clink/internal/secret"
	"clink/schema"
)

func TestCompileRefusesToWork(t *testing.T) {
	raw := func(name, text string) fstest.MapFS { return fstest.MapFS{name: {Data: []byte(text)}} }
	for name, tt := range map[string]struct {
		files fs.FS
		want  string
	}{
		"no files":        {fstest.MapFS{}, "no CUE files"},
		"no CUE files":    {raw("README.md", "x"), "no CUE files"},
		"only a folder's": {raw("rules/r.cue", "package rules"), "no CUE files"},
		"generated only":  {raw(schema.Generated, "package topology"), "no CUE files"},
		"no directory":    {os.DirFS(filepath.Join(t.TempDir(), "none")), "read the topology directory"},
		"a large file":    {raw("a.cue", "package topology\n//"+strings.Repeat("x", 1<<20)), "read a.cue: larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := compiler.Compile(context.Background(), tt.files, compiler.Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v, want an error with %q", r, err, tt.want)
			}
		})
	}
}

func TestCompileGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := compiler.Compile(ctx, files(healthy), compiler.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	_, err := compiler.Compile(context.Background(), ring(100), compiler.Options{Timeout: time.Nanosecond})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with no time: %v", err)
	}
}

// An evaluation that does not end in time names the files.
func TestCompileNamesTheFilesItGaveUpOn(t *testing.T) {
	slow := one(`import "list"
_n: list.Range(0, ` + many + `, 1)
_x: [for a in _n for b in _n if a == -1 {b}]
sites: a: labels: n: "\(len(_x))"`)
	slow["t.cue"].Data = []byte("package topology\n\n" + strings.TrimPrefix(string(slow["t.cue"].Data), "package topology\n"))
	gaveUp(t, slow, "t.cue")
}

// What nests deeper than a parser should follow is a finding, and no crash.
func TestDeepSources(t *testing.T) {
	const n = 100_000
	for name, text := range map[string]string{
		"labels":          strings.Repeat("a: ", n) + "1",
		"labels on lines": strings.Repeat("a: // x\n", n) + "1",
		"braces":          strings.Repeat("{a:", n),
		"lists":           "a: " + strings.Repeat("[", n),
		"parentheses":     "a: " + strings.Repeat("(", n),
		"signs":           "a: " + strings.Repeat("-", n) + "1",
		"sums":            "a: " + strings.Repeat("1+", n) + "1",
		"selectors":       "a: b" + strings.Repeat(".a", n),
		"calls":           "a: b" + strings.Repeat("()", n),
		"unifications":    "a: " + strings.Repeat("_&", n) + "_",
		"interpolations":  "a: " + strings.Repeat(`"\(`, n),
		"attributes":      "a: 1 @x(" + strings.Repeat("(", n/10),
	} {
		t.Run(name, func(t *testing.T) {
			r := compile(t, files(map[string]string{"a.cue": "sites: a: {}", "deep.cue": text}))
			if len(r.Findings) == 0 || r.Findings[0].Rule != "schema" || r.Findings[0].Pos.File != "deep.cue" || r.Findings[0].Pos.Line == 0 {
				t.Errorf("findings %.300v", r.Findings)
			}
			if r.Topology.Sites["a"] == nil {
				t.Error("the site in the other file was not read")
			}
		})
	}
}

// The module file is clink's to read too, and no more to be trusted.
func TestModuleFileIsOnlyRead(t *testing.T) {
	for name, text := range map[string]string{
		"deep":     strings.Repeat("a: ", 300_000) + "1",
		"for ever": "import \"list\"\n_n: list.Range(0, 3000, 1)\nmodule: \"\\(len([for a in _n for b in _n for c in _n {1}]))\"",
	} {
		m := files(map[string]string{"a.cue": "import \"example.net/x\"\nsites: a: labels: x: x.x", "b.cue": "sites: b: {}"})
		m["cue.mod/module.cue"] = &fstest.MapFile{Data: []byte(text)}
		r, err := compiler.Compile(t.Context(), m, compiler.Options{Timeout: time.Minute})
		if err != nil || !hasRule(r.Findings, "schema") || r.Topology.Sites["b"] == nil {
			t.Errorf("%s: %v, %+v", name, err, r)
		}
	}
}

func TestImports(t *testing.T) {
	module := &fstest.MapFile{Data: []byte(`module: "example.net/fleet@v0"` + "\n" + `language: version: "v0.17.0"`)}
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, tt := range map[string]struct {
		files fstest.MapFS
		want  string // "" or a part of the one finding
	}{
		"of the module": {fstest.MapFS{"cue.mod/module.cue": module,
			"a.cue":          file("package topology\nimport \"example.net/fleet/lib\"\nsites: a: labels: x: lib.x"),
			"lib/lib.cue":    file("package lib\nimport \"example.net/fleet/lib/deep\"\nx: deep.x"),
			"lib/other.cue":  file("package other\nx: 5"),
			"lib/deep/d.cue": file("package deep\nx: \"yes\"")}, ""},
		"vendored": {fstest.MapFS{"cue.mod/module.cue": module,
			"a.cue":                               file("package topology\nimport \"x.example.net/lib\"\nsites: a: labels: x: lib.x"),
			"cue.mod/pkg/x.example.net/lib/l.cue": file("package lib\nx: \"yes\"")}, ""},
		"the schema, not vendored": {fstest.MapFS{
			"a.cue": file("package topology\nimport \"clink.dev/schema\"\nsites: schema.#Sites\nsites: a: labels: x: \"yes\"")}, ""},
		"a cycle": {fstest.MapFS{"cue.mod/module.cue": module,
			"a.cue":   file("package topology\nimport \"example.net/fleet/p\"\nsites: a: labels: x: p.x"),
			"p/p.cue": file("package p\nimport \"example.net/fleet/q\"\nx: q.x"),
			"q/q.cue": file("package q\nimport \"example.net/fleet/p\"\nx: p.x")}, "a.cue:2:8: import failed"},
		"broken": {fstest.MapFS{"cue.mod/module.cue": module,
			"a.cue":   file("package topology\nimport \"example.net/fleet/p\"\nsites: a: labels: x: p.x"),
			"p/p.cue": file("package p\nx: {")}, "does not parse"},
		"missing":         {fstest.MapFS{"a.cue": file("package topology\nimport \"example.net/none\"\nsites: a: labels: x: none.x")}, "no such package"},
		"unknown builtin": {fstest.MapFS{"a.cue": file("package topology\nimport \"stringz\"\nsites: a: labels: x: stringz.x")}, "stringz"},
	} {
		t.Run(name, func(t *testing.T) {
			r := compile(t, tt.files)
			if tt.want == "" {
				if len(r.Findings) != 0 || r.Topology.Sites["a"].Labels["x"] != "yes" {
					t.Errorf("findings %v, labels %v", r.Findings, r.Topology.Sites["a"])
				}
				return
			}
			if len(r.Findings) != 1 || !strings.Contains(fmt.Sprintf("%v: %s", r.Findings[0].Pos, r.Findings[0].Message), tt.want) {
				t.Errorf("findings %+v, want one with %q", r.Findings, tt.want)
			}
		})
	}
}

// Cross-site findings must not appear twice or vary from run to run.
func TestSameSourceSameFindings(t *testing.T) {
	want := wanted(compile(t, os.DirFS("../testdata/topologies/bad/mixed-one-run")).Findings)
	for range 10 {
		if got := wanted(compile(t, os.DirFS("../testdata/topologies/bad/mixed-one-run")).Findings); got != want {
			t.Fatalf("found:\n%s\nthen:\n%s", want, got)
		}
	}
}

// No finding repeats a credential that stands in the source.
func TestFindingsKeepSecrets(t *testing.T) {
	const secret = "hunter2-secret"
	for _, password := range []string{`"` + secret + `"`, `5 & "` + secret + `"`, `"` + secret + `" & "x"`, `["` + secret + `"]`, `{x: "` + secret + `"}`, `"` + secret + `" + 1`, `strings.ToUpper(["` + secret + `"])`} {
		r := compile(t, one("import \"strings\"\n_s: strings.ToLower(\"X\")\nsites: {a: cluster: links: b: {server: \"127.0.0.1:1\", topics: [], username: \"u\", password: "+password+", ssl: password: "+password+"}, b: listeners: m: bind: \"127.0.0.1:1\"}"))
		if len(r.Findings) == 0 {
			t.Errorf("%s: no finding", password)
		}
		for _, d := range r.Findings {
			if strings.Contains(strings.ToLower(fmt.Sprintf("%+v", d)), secret) {
				t.Errorf("%s: %+v", password, d)
			}
		}
	}
}

func TestExamplesVetClean(t *testing.T) {
	dirs, err := filepath.Glob("../examples/topologies/*")
	if err != nil || len(dirs) < 5 {
		t.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		r := compile(t, os.DirFS(dir))
		var errs []string
		for _, d := range r.Findings {
			if d.Severity == diagnostic.Error {
				errs = append(errs, d.Rule+" "+d.Pos.String())
			}
		}
		want := "[]"
		if filepath.Base(dir) == "vendor-example" {
			want = "[server-is-self eu_west.cue:19:14 server-is-self us_east.cue:25:14]"
		}
		if fmt.Sprint(errs) != want {
			t.Errorf("%s: errors %v, want %s", dir, errs, want)
		}
	}
}

// Every example that explain prints says what it claims, where certs/ca.pem,
// b.pem (of b.lan) and b.key are there, and file://secrets/a-to-b.
func TestExplanationsHoldTrue(t *testing.T) {
	certs := os.DirFS(corpus + "/bad/tls-cert-client-name")
	there, err := secret.Parse("file://secrets/a-to-b")
	if err != nil {
		t.Fatal(err)
	}
	opts := compiler.Options{
		Now:      vetted,
		ReadFile: func(name string) ([]byte, error) { return fs.ReadFile(certs, name) },
		Secret: func(r secret.Ref) error {
			if r != there {
				return errors.New("no such file")
			}
			return nil
		},
	}
	for _, r := range diagnostic.Rules() {
		if r.Explanation == nil {
			continue
		}
		for text, want := range map[string]bool{r.Explanation.Bad: true, r.Explanation.Mended: false} {
			m := fstest.MapFS{}
			for i, part := range strings.Split(text, ".cue\n") {
				m[fmt.Sprintf("f%d.cue", i)] = &fstest.MapFile{Data: []byte("package topology\n" + part + "\n")}
			}
			got, err := compiler.Compile(t.Context(), m, opts)
			if err != nil {
				t.Fatal(err)
			}
			if hasRule(got.Findings, r.Name) != want {
				t.Errorf("%s: found %v, want %v, in\n%s\n%s", r.Name, !want, want, text, wanted(got.Findings))
			}
		}
	}
}

func FuzzCompile(f *testing.F) {
	paths, err := filepath.Glob("../testdata/topologies/*/*/*.cue")
	if err != nil {
		f.Fatal(err)
	}
	for i, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		switch i % 8 { // of the corpus a part is enough: TestVet compiles all of it
		case 0:
			f.Add(text)
		case 4:
			f.Add(text[:len(text)/2])
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m := files(healthy)
		m["z.cue"] = &fstest.MapFile{Data: bytes.Clone(text)}
		r, err := compiler.Compile(context.Background(), m, compiler.Options{Timeout: time.Minute})
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "panicked") {
				t.Fatalf("%v", err)
			}
			return
		}
		if r.Topology == nil {
			t.Fatal("neither a topology nor an error")
		}
		compiler.Hold(r, r.Topology, nil, time.Time{})
		runtime.KeepAlive(r)
	})
}
