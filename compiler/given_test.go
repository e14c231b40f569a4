package compiler_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"clink/compiler"
)

// What the source gives of a link is told as it is, in whatever way it gives it,
// also when it was taken over from an earlier result.
func TestGiven(t *testing.T) {
	for name, text := range map[string]string{
		"literals":  `sites: a: cluster: links: b: {server: "x:1", topics: ["t"], password: "hunter2", max_inflight: 9007199254740993, ssl: enable: true}`,
		"otherwise": `_n: 9007199254740993` + "\n" + `sites: a: cluster: links: {for p in ["b"] {(p): {server: "\("x"):1", topics: [for t in ["t"] {t}], password: *"hunter2" | string, max_inflight: _n, ssl: {enable: !false}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			fsys := one(text)
			r := compile(t, fsys)
			again, err := compiler.Compile(t.Context(), fsys, compiler.Options{Previous: r})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []*compiler.Result{r, again} {
				got, ok := r.Given("a", "b")
				b, err := json.Marshal(got)
				const want = `{"max_inflight":9007199254740993,"password":"hunter2","server":"x:1","ssl":{"enable":true},"topics":["t"]}`
				if err != nil || !ok || string(b) != want {
					t.Errorf("%s, %v, %v", b, ok, err)
				}
				if _, ok := r.Given("a", "c"); ok {
					t.Error("a link that is not there gives something")
				}
				if _, ok := r.Given("z", "c"); ok {
					t.Error("a site that is not there gives something")
				}
			}
			if !r.SameGiven(again, "a", "b") || r.SameGiven(compile(t, one(strings.Replace(text, "hunter2", "hunter3", 1))), "a", "b") {
				t.Error("SameGiven does not tell credentials apart")
			}
		})
	}
}

// The defaults are those that the topology has.
func TestDefaults(t *testing.T) {
	r := compile(t, one(`sites: a: cluster: links: b: {server: "x:1", topics: [], ssl: enable: true}`))
	for _, verified := range []bool{false, true} {
		def, err := r.Defaults("a", map[string]any{"ssl": map[string]any{"enable": verified}})
		if err != nil {
			t.Fatal(err)
		}
		ssl, _ := def["ssl"].(map[string]any)
		if want := map[bool]string{true: "verify_peer", false: "verify_none"}[verified]; ssl["verify"] != want {
			t.Errorf("ssl.verify is %v where ssl.enable is %v", ssl["verify"], verified)
		}
		l, _ := r.Topology.Sites["a"].Link("b")
		if def["clientid"] != l.ClientID || fmt.Sprint(def["pool_size"]) != fmt.Sprint(l.PoolSize) || def["retry_interval"] != l.RetryInterval.Text {
			t.Errorf("%v, and the link has %+v", def, l)
		}
	}
}

func TestParse(t *testing.T) {
	if f, err := compiler.Parse("a.cue", []byte("package topology // words\n")); err != nil || f.PackageName() != "topology" {
		t.Error(f, err)
	}
	for text, want := range map[string]string{
		"a: {":                           "a.cue:1:5: the file does not parse",
		"a: \xff":                        "a.cue:1:4: the file is not UTF-8",
		strings.Repeat("a: ", 100_000):   "more than",
		strings.Repeat("//x\n", 1<<20):   "larger than",
		"a: " + strings.Repeat("[", 1e5): "a.cue",
	} {
		if f, err := compiler.Parse("a.cue", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, %v", text, f, err)
		}
	}
}
