package compiler_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"clink/compiler"
	"clink/flow"
	"clink/topology"

	"pgregory.net/rapid"
)

// Sites a in the EU and b elsewhere, linked, and c with b alone; b asks a for
// status and c for all.
var policed = map[string]string{
	"a.cue": `sites: a: {labels: region: "eu", listeners: m: bind: "127.0.0.1:1", cluster: links: b: {server: "127.0.0.1:2", topics: []}}`,
	"b.cue": `sites: b: {listeners: m: bind: "127.0.0.1:2", cluster: links: {a: {server: "127.0.0.1:1", topics: ["status/#"]}, c: {server: "127.0.0.1:3", topics: ["#"]}}}`,
	"c.cue": `sites: c: {listeners: m: bind: "127.0.0.1:3", cluster: links: b: {server: "127.0.0.1:2", topics: []}}`,
	"p.cue": `policy: flows: {
	"pii stays": never: {topics: ["pii/#"], from: region: "eu", to: region: "!eu"}
	"b sees status": always: {topics: ["status/#"], from: site: "a", to: site: "b"}
}`,
}

func carried(t *topology.Topology) string {
	var l []string
	for _, f := range flow.Flows(t) {
		for _, topic := range f.Topics {
			l = append(l, f.From+">"+f.To+" "+string(topic))
		}
	}
	return strings.Join(l, "; ")
}

func TestHoldKeepsThePolicyOfFlows(t *testing.T) {
	asks := func(topics string) string { return strings.Replace(policed["b.cue"], `["status/#"]`, topics, 1) }
	const all = "a>b status/#; c>b #"
	edits := []struct {
		name          string
		edit          map[string]string // "" removes the file
		carried, held string
	}{
		{"nothing", nil, all, ""},
		{"a forbidden topic is not carried", map[string]string{"b.cue": asks(`["status/#", "pii/x"]`)}, all, "a>b:flow-policy b>a:flow-policy"},
		{"others change meanwhile", map[string]string{"b.cue": strings.Replace(asks(`["#"]`), `["#"]}}}`, `["t"]}}}`, 1)}, "a>b status/#; c>b t", "a>b:flow-policy b>a:flow-policy"},
		{"a demanded topic goes on", map[string]string{"b.cue": asks(`["status/+"]`)}, all, "a>b:flow-policy b>a:flow-policy"},
		{"what is deleted is gone", map[string]string{"a.cue": `sites: a: {labels: region: "eu", listeners: m: bind: "127.0.0.1:1"}`}, "c>b #", "b>a:flow-policy"},
		{"what is disabled is off", map[string]string{"a.cue": strings.Replace(policed["a.cue"], "topics", "enable: false, topics", 1)}, "c>b #", "a>b:flow-policy b>a:flow-policy"},
		{"a site that moves keeps its links", map[string]string{"c.cue": strings.Replace(policed["c.cue"], "{l", `{labels: region: "eu", l`, 1)}, all, "b>c:flow-policy c>b:flow-policy"},
		{"the policy cannot be read", map[string]string{"p.cue": "policy: {", "b.cue": asks(`["status/#", "pii/x"]`)}, all, "a>b:flow-policy b>a:flow-policy"},
		{"one policy does not fit", map[string]string{"p.cue": strings.Replace(policed["p.cue"], `["pii/#"]`, "5", 1), "b.cue": asks(`["#"]`)}, all, "a>b:flow-policy b>a:flow-policy"},
		{"the policy cannot be read, and a demanded topic goes", map[string]string{"p.cue": "policy: {", "b.cue": asks(`["t"]`)}, all, "a>b:flow-policy b>a:flow-policy"},
		{"the policy is deleted", map[string]string{"p.cue": "", "b.cue": asks(`["pii/x"]`)}, "a>b pii/x; c>b #", ""},
		{"it is off", map[string]string{"p.cue": policed["p.cue"] + "\n" + `policy: severity: "flow-policy": "off"`, "b.cue": asks(`["pii/x"]`)}, "a>b pii/x; c>b #", ""},
		{"it is information", map[string]string{"p.cue": policed["p.cue"] + "\n" + `policy: severity: "flow-policy": "info"`, "b.cue": asks(`["#"]`)}, all, "a>b:flow-policy b>a:flow-policy"},
		{"it is waived", map[string]string{"b.cue": asks(`["status/#", "pii/x"] @clink(ignore="flow-policy",reason="for a week")`)}, "a>b status/#; a>b pii/x; c>b #", ""},
	}
	last, held := compiler.Hold(compile(t, files(policed)), nil, nil, time.Unix(1, 0))
	if carried(last) != all || len(held) > 0 {
		t.Fatalf("carried %s, held %v", carried(last), held)
	}
	for _, tt := range edits {
		t.Run(tt.name, func(t *testing.T) {
			texts := maps.Clone(policed)
			for name, text := range tt.edit {
				if texts[name] = text; text == "" {
					delete(texts, name)
				}
			}
			got, held := compiler.Hold(compile(t, files(texts)), last, nil, time.Unix(2, 0))
			if c := carried(got); c != tt.carried {
				t.Errorf("carried %s, want %s", c, tt.carried)
			}
			if h := heldOf(held); h != tt.held {
				t.Errorf("held %s, want %s", h, tt.held)
			}
			for _, h := range held {
				if !strings.Contains(h.Why, "the policy ") {
					t.Errorf("held for %q", h.Why)
				}
			}
		})
	}
}

// What a link is held at and what the other half is now can be wrong together,
// though neither the source nor the last state was.
func TestHoldMixesNoForbiddenFlow(t *testing.T) {
	texts := maps.Clone(policed)
	delete(texts, "a.cue")
	texts["a.cue"] = `sites: a: {labels: region: "eu", listeners: m: bind: "127.0.0.1:1"}`
	texts["b.cue"] = strings.Replace(policed["b.cue"], `["status/#"]`, `["pii/#"]`, 1)
	texts["p.cue"] = `policy: flows: "pii stays": never: {topics: ["pii/#"], from: region: "eu", to: region: "!eu"}`
	last, _ := compiler.Hold(compile(t, files(texts)), nil, nil, time.Unix(1, 0))
	if carried(last) != "c>b #" {
		t.Fatal(carried(last))
	}
	texts["a.cue"] = policed["a.cue"]
	texts["b.cue"] = strings.Replace(policed["b.cue"], `a: {server: "127.0.0.1:1"`, `a: {server: "127.0.0.1:9"`, 1)
	got, held := compiler.Hold(compile(t, files(texts)), last, nil, time.Unix(2, 0))
	if carried(got) != "c>b #" || heldOf(held) != "a>b:flow-policy b>a:server-unknown" {
		t.Errorf("carried %s, held %v", carried(got), held)
	}
	// Kept over another round, in which nothing changes.
	got, held = compiler.Hold(compile(t, files(texts)), got, held, time.Unix(3, 0))
	if carried(got) != "c>b #" || heldOf(held) != "a>b:flow-policy b>a:server-unknown" {
		t.Errorf("then carried %s, held %v", carried(got), held)
	}
}

// A policy that cannot be read goes on over as many rounds as that takes.
func TestHoldKeepsAPolicyOfLast(t *testing.T) {
	last, _ := compiler.Hold(compile(t, files(policed)), nil, nil, time.Unix(1, 0))
	texts := maps.Clone(policed)
	texts["p.cue"] = "policy: {"
	last, held := compiler.Hold(compile(t, files(texts)), last, nil, time.Unix(2, 0))
	if len(held) > 0 {
		t.Errorf("held %v", held)
	}
	texts["b.cue"] = strings.Replace(policed["b.cue"], `["status/#"]`, `["pii/#", "status/#"]`, 1)
	last, held = compiler.Hold(compile(t, files(texts)), last, held, time.Unix(3, 0))
	if carried(last) != "a>b status/#; c>b #" || heldOf(held) != "a>b:flow-policy b>a:flow-policy" {
		t.Errorf("carried %s, held %v", carried(last), held)
	}
}

// drawPoliced draws the halves of a and b, right and wrong, and how readable
// the policy is that forbids pii/# from a to b.
func drawPoliced(t *rapid.T) fstest.MapFS {
	half := func(site, peer, label string) string {
		if rapid.IntRange(0, 4).Draw(t, label+" none") == 0 {
			return fmt.Sprintf("package topology\nsites: %s: listeners: m: bind: \"127.0.0.1:%d\"\n", site, site[0])
		}
		return fmt.Sprintf("package topology\nsites: %s: {listeners: m: bind: \"127.0.0.1:%d\", cluster: links: %s: {enable: %v, server: \"127.0.0.1:%d\", topics: [%s]}}%s\n",
			site, site[0], peer, rapid.IntRange(0, 4).Draw(t, label+" on") > 0, peer[0]+byte(rapid.SampledFrom([]int{0, 0, 9}).Draw(t, label+" port")),
			rapid.SampledFrom([]string{`"pii/x"`, `"#"`, `"t"`, "", `"t", "t"`}).Draw(t, label+" topics"), rapid.SampledFrom([]string{"", "", "", "}"}).Draw(t, label+" end"))
	}
	policy := "package topology\npolicy: flows: p: never: {topics: [\"pii/#\"], from: site: \"a\", to: site: \"b\"}\n"
	return fstest.MapFS{
		"a.cue": {Data: []byte(half("a", "b", "a"))}, "b.cue": {Data: []byte(half("b", "a", "b"))},
		"p.cue": {Data: []byte(policy + rapid.SampledFrom([]string{"", "", "}", "policy: flows: p: never: to: 5"}).Draw(t, "policy"))},
	}
}

// Whatever is edited and however it is broken, no forbidden flow starts; the
// policy was readable once.
func TestHoldStartsNoForbiddenFlow(t *testing.T) {
	broken := func(top *topology.Topology) bool {
		for range flow.Breaches(top) {
			return true
		}
		return false
	}
	rapid.Check(t, func(t *rapid.T) {
		r, err := compiler.Compile(context.Background(), files(map[string]string{"p.cue": `policy: flows: p: never: {topics: ["pii/#"], from: site: "a", to: site: "b"}
sites: {a: {}, b: {}}`}), compiler.Options{})
		if err != nil {
			t.Fatal(err)
		}
		last, held := compiler.Hold(r, nil, nil, time.Unix(1, 0))
		for i := range rapid.IntRange(1, 3).Draw(t, "edits") {
			if r, err = compiler.Compile(context.Background(), drawPoliced(t), compiler.Options{}); err != nil {
				t.Fatal(err)
			}
			if last, held = compiler.Hold(r, last, held, time.Unix(int64(i)+2, 0)); len(last.Policies) != 1 {
				t.Fatalf("policies %v", last.Policies)
			}
			if broken(last) {
				t.Fatalf("carried %s, held %v", carried(last), held)
			}
		}
	})
}
