package compiler_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"clink/compiler"
	"clink/topology"
)

// state is a topology in short: site[listeners](peer:server, -peer when disabled).
func state(t *topology.Topology) string {
	var b []string
	for _, name := range t.Names() {
		s := t.Sites[name]
		var listeners, links []string
		for _, l := range s.Listeners {
			listeners = append(listeners, onOff(l.Enable)+l.Name)
		}
		for _, l := range s.Links {
			links = append(links, fmt.Sprintf("%s%s:%s", onOff(l.Enable), l.Name, l.Server))
		}
		b = append(b, fmt.Sprintf("%s[%s](%s)", name, strings.Join(listeners, " "), strings.Join(links, " ")))
	}
	return strings.Join(b, " ")
}

func onOff(on bool) string {
	if on {
		return ""
	}
	return "-"
}

func heldOf(l []topology.Held) string {
	var b []string
	for _, h := range l {
		b = append(b, h.Site+">"+h.Peer+":"+h.Rule)
	}
	return strings.Join(b, " ")
}

// Three sites on 127.0.0.1; a links to b and c, both link back.
var healthy = map[string]string{
	"a.cue": `sites: a: {listeners: m: bind: "127.0.0.1:1", cluster: links: {b: {server: "127.0.0.1:2", topics: []}, c: {server: "127.0.0.1:3", topics: []}}}`,
	"b.cue": `sites: b: {listeners: m: bind: "127.0.0.1:2", cluster: links: a: {server: "127.0.0.1:1", topics: []}}`,
	"c.cue": `sites: c: {listeners: m: bind: "127.0.0.1:3", cluster: links: a: {server: "127.0.0.1:1", topics: []}}`,
}

const (
	healthyA = "a[m](b:127.0.0.1:2 c:127.0.0.1:3)"
	healthyB = "b[m](a:127.0.0.1:1)"
	healthyC = "c[m](a:127.0.0.1:1)"
)

func TestHold(t *testing.T) {
	const all = healthyA + " " + healthyB + " " + healthyC
	tests := []struct {
		name       string
		edit       map[string]string // "" removes the file
		want, held string
	}{
		{"nothing changed", nil, all, ""},
		{"a file does not parse", map[string]string{"a.cue": "sites: a: {"}, all, "a>:schema"},
		{"a new link elsewhere applies while a file is broken",
			map[string]string{"a.cue": "sites: a: {", "c.cue": healthy["c.cue"] + "\nsites: c: cluster: links: b: {server: \"127.0.0.1:2\", topics: []}"},
			healthyA + " " + healthyB + " c[m](a:127.0.0.1:1 b:127.0.0.1:2)", "a>:schema"},
		{"a site is deleted", map[string]string{"c.cue": "", "a.cue": strings.Replace(healthy["a.cue"], `, c: {server: "127.0.0.1:3", topics: []}`, "", 1)},
			"a[m](b:127.0.0.1:2) " + healthyB, ""},
		{"a site is deleted and others still link to it", map[string]string{"c.cue": ""}, healthyA + " " + healthyB, "a>c:unknown-site"},
		{"a misspelt field holds its link alone",
			map[string]string{"a.cue": `sites: a: {listeners: m: bind: "127.0.0.1:1", cluster: links: {b: {servr: "127.0.0.1:22", topics: []}, c: {server: "127.0.0.1:3", topics: ["x"], pool_size: 2}}}`},
			all, "a>b:schema"},
		{"a bad site stays, its disabled link is off and its deleted link gone",
			map[string]string{"a.cue": `sites: a: {colour: 1, listeners: m: bind: "127.0.0.1:1", cluster: links: b: {enable: false, server: "127.0.0.1:22", topics: []}}`},
			"a[m](-b:127.0.0.1:2) " + healthyB + " " + healthyC, "a>:schema"},
		{"links that cannot be read are not deleted", map[string]string{"a.cue": `sites: a: {listeners: m: bind: "127.0.0.1:1", cluster: links: []}`}, all, "a>:schema"},
		{"listeners that cannot be read are not deleted", map[string]string{"b.cue": strings.Replace(healthy["b.cue"], "listeners", "listners", 1)}, all, "b>:schema"},
		{"a link that cannot be read is not deleted", map[string]string{"b.cue": `sites: b: {listeners: m: bind: "127.0.0.1:2", cluster: links: a: 5}`}, all, "b>a:schema"},
		{"misspelt sites deletes nothing", map[string]string{"b.cue": strings.Replace(healthy["b.cue"], "sites", "sitess", 1)}, all, "b>:schema"},
		{"a wrong name in a reference keeps its site", map[string]string{"b.cue": strings.Replace(healthy["b.cue"], `"127.0.0.1:1"`, "_nope", 1)}, all, "b>:schema"},
		{"a gating finding keeps the link", map[string]string{"a.cue": strings.Replace(healthy["a.cue"], ":3", ":1", 1)}, all, "a>c:server-is-self"},
		{"a gating finding on a new link keeps it out",
			map[string]string{"b.cue": healthy["b.cue"] + "\nsites: b: cluster: links: nobody: {server: \"x\", topics: []}"}, all, "b>nobody:unknown-site"},
		{"a disabled link with a gating finding is disabled",
			map[string]string{"a.cue": strings.Replace(healthy["a.cue"], `c: {server: "127.0.0.1:3"`, `c: {enable: false, server: "127.0.0.1:1"`, 1)},
			"a[m](b:127.0.0.1:2 -c:127.0.0.1:3) " + healthyB + " " + healthyC, "a>c:server-is-self"},
		{"a rule that is off does not hold",
			map[string]string{"a.cue": strings.Replace(healthy["a.cue"], ":3", ":1", 1), "p.cue": `policy: severity: "server-is-self": "off"`},
			"a[m](b:127.0.0.1:2 c:127.0.0.1:1) " + healthyB + " " + healthyC, ""},
		{"a rule that only warns still holds",
			map[string]string{"a.cue": strings.Replace(healthy["a.cue"], ":3", ":1", 1), "p.cue": `policy: severity: "server-is-self": "info"`}, all, "a>c:server-is-self"},
		{"one-sided does not hold", map[string]string{"c.cue": `sites: c: listeners: m: bind: "127.0.0.1:3"`}, healthyA + " " + healthyB + " c[m]()", ""},
		{"a bad policy holds no site", map[string]string{"p.cue": `policy: severity: "self-link": "loud"`}, all, ""},
		{"a bad policy in a site's file holds no site", map[string]string{"a.cue": healthy["a.cue"] + "\npolicy: x: 1"}, all, ""},
		{"a new site with a fault stays out", map[string]string{"d.cue": `sites: d: {listeners: m: bind: 5}`}, all, "d>:schema"},
		{"everything is broken", map[string]string{"a.cue": "{", "b.cue": "{", "c.cue": "\xff"}, all, "a>:schema b>:schema c>:schema"},
		{"a name that changes is held", map[string]string{"c.cue": healthy["c.cue"] + "\nsites: c: cluster: name: \"cc\""}, all, "c>:name-mismatch"},
	}
	last, held := compiler.Hold(compile(t, files(healthy)), nil, nil, time.Unix(1, 0))
	if state(last) != all || len(held) != 0 {
		t.Fatalf("the healthy state is %s, held %v", state(last), held)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			texts := maps.Clone(healthy)
			for name, text := range tt.edit {
				if texts[name] = text; text == "" {
					delete(texts, name)
				}
			}
			got, held := compiler.Hold(compile(t, files(texts)), last, nil, time.Unix(2, 0))
			if s := state(got); s != tt.want {
				t.Errorf("applied %s\nwant    %s", s, tt.want)
			}
			if s := heldOf(held); s != tt.held {
				t.Errorf("held %s, want %s", s, tt.held)
			}
			if state(last) != all {
				t.Errorf("the last state was written to: %s", state(last))
			}
		})
	}
}

// A site in two files of which one breaks: what the other file says is gone is
// gone, what the broken one may say is kept.
func TestHoldSiteInTwoFiles(t *testing.T) {
	texts := maps.Clone(healthy)
	texts["a.cue"] = `sites: a: {listeners: m: bind: "127.0.0.1:1", cluster: links: b: {server: "127.0.0.1:2", topics: []}}`
	texts["a2.cue"] = `sites: a: cluster: links: c: {server: "127.0.0.1:3", topics: []}`
	last, _ := compiler.Hold(compile(t, files(texts)), nil, nil, time.Unix(1, 0))
	texts["a.cue"] = `sites: a: listeners: m: bind: "127.0.0.1:1"`
	texts["a2.cue"] += "}"
	got, held := compiler.Hold(compile(t, files(texts)), last, nil, time.Unix(2, 0))
	if s, want := state(got), "a[m](c:127.0.0.1:3) "+healthyB+" "+healthyC; s != want {
		t.Errorf("applied %s\nwant    %s", s, want)
	}
	if s := heldOf(held); s != "a>:schema" {
		t.Errorf("held %s", s)
	}
}

// A site of which only a part can be read was never good: it stays out.
func TestHoldPartOfANewSite(t *testing.T) {
	texts := map[string]string{
		"a.cue":  `sites: a: listeners: m: bind: "127.0.0.1:1"`,
		"a2.cue": `sites: a: cluster: links: {`,
	}
	got, held := compiler.Hold(compile(t, files(texts)), nil, nil, time.Unix(1, 0))
	if state(got) != "" || heldOf(held) != "a>:schema" {
		t.Errorf("applied %s, held %s", state(got), heldOf(held))
	}
}

// Links made from the sites there are do not vanish with a site that cannot be
// read.
func TestHoldGeneratedLinks(t *testing.T) {
	texts := map[string]string{
		"a.cue":   `sites: a: listeners: m: bind: "127.0.0.1:1"`,
		"b.cue":   `sites: b: listeners: m: bind: "127.0.0.1:2"`,
		"gen.cue": `for s, _ in sites for p, v in sites if p != s {sites: (s): cluster: links: (p): {server: v.listeners.m.bind, topics: []}}`,
	}
	last, _ := compiler.Hold(compile(t, files(texts)), nil, nil, time.Unix(1, 0))
	if state(last) != "a[m](b:127.0.0.1:2) b[m](a:127.0.0.1:1)" {
		t.Fatal(state(last))
	}
	texts["b.cue"] = `sites: b: {`
	got, held := compiler.Hold(compile(t, files(texts)), last, nil, time.Unix(2, 0))
	if state(got) != state(last) {
		t.Errorf("applied %s, want %s, held %s", state(got), state(last), heldOf(held))
	}
}

// A guard that cannot be evaluated makes no sites, and deletes none.
func TestHoldUndecidedGuards(t *testing.T) {
	good := map[string]string{
		"a.cue":   `sites: a: {labels: on: "yes", listeners: m: bind: "127.0.0.1:1"}`,
		"gen.cue": `if sites.a.labels.on == "yes" {sites: b: listeners: m: bind: "127.0.0.1:2"}`,
		"c.cue":   `sites: c: {listeners: m: bind: "127.0.0.1:3", cluster: links: {for p in _peers {(p): {server: "127.0.0.1:1", topics: []}}}}`,
		"p.cue":   `_peers: ["a"]`,
	}
	last, _ := compiler.Hold(compile(t, files(good)), nil, nil, time.Unix(1, 0))
	const all = "a[m]() b[m]() c[m](a:127.0.0.1:1)"
	if state(last) != all {
		t.Fatal(state(last))
	}
	for name, edit := range map[string]map[string]string{
		"the guard names nothing":           {"gen.cue": `if sites.a.labels.of == "yes" {sites: b: listeners: m: bind: "127.0.0.1:2"}`},
		"and another site has a fault":      {"gen.cue": `if sites.a.labels.of == "yes" {sites: b: listeners: m: bind: "127.0.0.1:2"}`, "d.cue": `sites: d: host: "x" & "y"`},
		"a guard inside sites":              {"gen.cue": `sites: {if sites.a.labels.of == "yes" {b: listeners: m: bind: "127.0.0.1:2"}}`},
		"links from a list that is no list": {"p.cue": `_peers: 5`},
		"links from nothing, and a fault":   {"c.cue": `sites: c: {host: 1 & 2, listeners: m: bind: "127.0.0.1:3", cluster: links: {for p in sites.a.none {(p): {server: "127.0.0.1:1", topics: []}}}}`},
		"a fault in another link": {"c.cue": `sites: c: {listeners: m: bind: "127.0.0.1:3", cluster: links: {for p in sites.a.none {(p): {server: "127.0.0.1:1", topics: []}}}}
sites: c: cluster: links: z: {server: 1 & 2, topics: []}`},
	} {
		t.Run(name, func(t *testing.T) {
			texts := maps.Clone(good)
			maps.Copy(texts, edit)
			r := compile(t, files(texts))
			if !hasRule(r.Findings, "schema") {
				t.Errorf("findings %v", r.Findings)
			}
			got, held := compiler.Hold(r, last, nil, time.Unix(2, 0))
			if state(got) != all {
				t.Errorf("applied %s, want %s, held %+v", state(got), all, held)
			}
		})
	}
}

// What was written out and is gone is deleted, whatever is wrong elsewhere.
func TestHoldDeletesBesideFaults(t *testing.T) {
	texts := map[string]string{
		"a.cue":   `sites: a: listeners: m: bind: "127.0.0.1:1"`,
		"b.cue":   `sites: b: listeners: m: bind: "127.0.0.1:2"`,
		"gen.cue": `for s in ["c"] {sites: (s): {}}`,
	}
	last, _ := compiler.Hold(compile(t, files(texts)), nil, nil, time.Unix(1, 0))
	delete(texts, "b.cue")
	texts["a.cue"] += "\nsites: a: host: 1 & 2"
	got, _ := compiler.Hold(compile(t, files(texts)), last, nil, time.Unix(2, 0))
	if state(got) != "a[m]() c[]()" {
		t.Errorf("applied %s", state(got))
	}
}

func TestHoldSaysWhySinceWhen(t *testing.T) {
	last, _ := compiler.Hold(compile(t, files(healthy)), nil, nil, time.Unix(1, 0))
	texts := maps.Clone(healthy)
	texts["a.cue"] = strings.Replace(healthy["a.cue"], ":3", ":1", 1)
	bad := compile(t, files(texts))
	_, first := compiler.Hold(bad, last, nil, time.Unix(2, 0))
	_, again := compiler.Hold(bad, last, first, time.Unix(3, 0))
	if len(again) != 1 || !again[0].Since.Equal(time.Unix(2, 0)) {
		t.Errorf("held %+v, want since the first time", again)
	}
	if want := "a.cue:2:116: server 127.0.0.1:1 is a itself, not c"; len(again) != 1 || again[0].Why != want {
		t.Errorf("held %+v, want why %q", again, want)
	}
	_, mended := compiler.Hold(compile(t, files(healthy)), last, again, time.Unix(4, 0))
	if len(mended) != 0 {
		t.Errorf("held %+v after it was mended", mended)
	}
}

// What is held keeps its grants and exports at both ends.
func TestHoldDerives(t *testing.T) {
	last, _ := compiler.Hold(compile(t, files(healthy)), nil, nil, time.Unix(1, 0))
	texts := maps.Clone(healthy)
	texts["a.cue"] = "sites: a: {"
	got, _ := compiler.Hold(compile(t, files(texts)), last, nil, time.Unix(2, 0))
	var peers []string
	for _, g := range got.Sites["b"].Grants {
		peers = append(peers, g.Peer)
	}
	if !slices.Equal(peers, []string{"a"}) {
		t.Errorf("b lets in %v, want a", peers)
	}
	if _, ok := got.Sites["b"].Exports["a"]; !ok {
		t.Errorf("b sends to %v, want a among them", got.Sites["b"].Exports)
	}
}
