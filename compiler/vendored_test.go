package compiler_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clink/schema"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/load"
)

// What clinkc schema writes makes plain cue refuse what clink refuses.
func TestPlainCUEKnowsTheSchema(t *testing.T) {
	vendored, err := schema.Vendored()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ edit, want string }{
		"good":      {"", ""},
		"external":  {"sites: x: {target: external: true, cluster: links: a: username: \"x\"}", ""},
		"misspelt":  {"sites: a: cluster: links: b: servr: \"x\"", "servr"},
		"missing":   {"sites: a: cluster: links: d: topics: []\nsites: d: target: external: true", "server"},
		"a value":   {"sites: a: cluster: links: b: pool_size: 0", "pool_size"},
		"a pattern": {"sites: [_]: cluster: links: [_]: pool_size: *4 | int", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			texts := map[string][]byte{"cue.mod/module.cue": []byte("module: \"example.net/t@v0\"\nlanguage: version: \"v0.17.0\"\n")}
			maps.Copy(texts, vendored)
			for name, text := range healthy {
				texts[name] = []byte("package topology\n" + text + "\n")
			}
			texts["a.cue"] = append(texts["a.cue"], tt.edit+"\n"...)
			for file, text := range texts {
				path := filepath.Join(dir, filepath.FromSlash(file))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			inst := load.Instances([]string{"."}, &load.Config{Dir: dir})[0]
			err := cuecontext.New().BuildInstance(inst).Validate(cue.Concrete(true))
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(errors.Details(err, nil), tt.want)):
				t.Errorf("%v, want an error with %q", err, tt.want)
			}
			// clink itself reads the same directory, without the generated file.
			r := compile(t, os.DirFS(dir))
			if bad := hasRule(r.Findings, "schema"); bad != (tt.want != "") {
				t.Errorf("clink finds %v", r.Findings)
			}
		})
	}
}

func TestOwnSourcesAreFormatted(t *testing.T) {
	paths, err := filepath.Glob("../schema/*.cue")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob("../examples/topologies/*/*.cue")
	if err != nil || len(paths) == 0 || len(examples) == 0 {
		t.Fatal(paths, examples, err)
	}
	for _, p := range append(paths, examples...) {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if formatted, err := format.Source(text); err != nil || string(formatted) != string(text) {
			t.Errorf("%s is not formatted, %v", p, err)
		}
	}
}
