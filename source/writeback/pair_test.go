package writeback_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clink/source/writeback"
)

// add adds a file to the source.
func (w *world) add(name, text string) {
	w.t.Helper()
	must(w.t, os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644))
}

const linkToC = `{"name":"c","server":"127.0.0.1:1885","username":"a","password":"clear","topics":["x"]}`

// Who asks for both halves gets both or none.
func TestPairIsRefusedWhereTheOtherHalfCannotBe(t *testing.T) {
	tests := []struct{ name, file, text, link, told string }{
		{"its file does not parse", "c.cue", "package topology\n\nsites: \"c\": {", linkToC, ""},
		{"its site does not fit the schema", "c.cue", "package topology\n\nsites: \"c\": 1\n", linkToC, ""},
		{"no CA for TLS", "c.cue", "package topology\n\nsites: \"c\": listeners: s: {bind: \"127.0.0.1:1885\", type: \"ssl\", ssl: {certfile: \"c.pem\", keyfile: \"c.key\"}}\n",
			`{"name":"c","server":"127.0.0.1:1885","username":"a","password":"clear","topics":["x"],"ssl":{"enable":true}}`, "suits it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.add(tt.file, tt.text)
			r := writeback.Request{Op: writeback.Put, Site: "a", Pair: true, Links: []map[string]any{fields(t, tt.link)}}
			before := w.files()
			out, err := w.Edit(t.Context(), r)
			if r, ok := err.(*writeback.Refusal); !ok || !strings.Contains(r.Message, tt.told) {
				t.Errorf("Edit = %v, files %v", err, out.Files)
			}
			w.same(before)
		})
	}
}

// A link is deleted with its other half, or not at all.
func TestPairDeletesBothOrNone(t *testing.T) {
	tests := []struct{ name, text, kind string }{
		{"a generator makes it", "package topology\n\nfor x in [\"a\"] {sites: \"b\": cluster: links: (x): {server: \"127.0.0.1:1883\", username: \"b\", password: \"file://secrets/b-to-a\", topics: []}}\nsites: \"b\": listeners: mqtt: bind: \"127.0.0.1:1884\"\n", writeback.Conflict},
		{"its file does not parse", "package topology\n\nsites: {", writeback.Conflict},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.add("b.cue", tt.text)
			w.refused(tt.kind, writeback.Request{Op: writeback.Delete, Site: "a", Pair: true, Links: []map[string]any{{"name": "b"}}})
			w.refused(tt.kind, writeback.Request{Op: writeback.Replace, Site: "a", Pair: true, Prune: true})
			w.edit(writeback.Request{Op: writeback.Delete, Site: "a", Links: []map[string]any{{"name": "b"}}})
		})
	}
}

func TestPairDeletesALinkToNobody(t *testing.T) {
	for _, peer := range []string{"a", "nobody"} {
		w := newWorld(t)
		w.save("a.cue", `"b": {`, `"`+peer+`": {`)
		w.edit(writeback.Request{Op: writeback.Delete, Site: "a", Pair: true, Links: []map[string]any{{"name": peer}}})
		if got := w.read("a.cue"); strings.Contains(got, "links") {
			t.Errorf("the link to %s is left:\n%s", peer, got)
		}
	}
}

// What an external cluster wants from us is not for us to make up: a half
// without topics would let nothing out to it.
func TestPairLeavesExternalPeersAlone(t *testing.T) {
	w := newWorld(t)
	w.add("c.cue", "package topology\n\nsites: \"c\": {\n\ttarget: external: true\n\tlisteners: mqtt: bind: \"127.0.0.1:1885\"\n}\n")
	out := w.edit(writeback.Request{Op: writeback.Create, Site: "a", Pair: true, Links: []map[string]any{fields(t, linkToC)}})
	if len(out.Files) != 1 || len(out.Created) != 1 {
		t.Errorf("files %v, created %v", out.Files, out.Created)
	}
}

// The other half follows in being enabled; whatever stands in its way refuses
// the whole.
func TestPairFollowsEnable(t *testing.T) {
	w := newWorld(t)
	off := fields(t, strings.Replace(linkToB, `"topics"`, `"enable":false,"topics"`, 1))
	w.edit(writeback.Request{Op: writeback.Update, Site: "a", Pair: true, Links: []map[string]any{off}})
	if !strings.Contains(w.read("b.cue"), "enable:") || strings.Contains(w.read("b.cue"), "enable:   true") {
		t.Errorf("b.cue\n%s", w.read("b.cue"))
	}
	w.edit(writeback.Request{Op: writeback.Replace, Site: "a", Pair: true, Links: []map[string]any{fields(t, linkToB)}})
	out := w.edit(writeback.Request{Op: writeback.Update, Site: "a", Pair: true, Links: []map[string]any{fields(t, linkToB)}})
	if len(out.Files) > 0 {
		t.Errorf("again: %v", out.Files)
	}
	l, _ := out.After.Topology.Sites["b"].Link("a")
	if !l.Enable {
		t.Errorf("b.cue\n%s", w.read("b.cue"))
	}
	w.add("on.cue", "package topology\n\n_on: true\n")
	w.add("b.cue", strings.Replace(tree["b.cue"], "topics: []", "topics: []\n\t\tenable: _on", 1))
	refusal := w.refused(writeback.Conflict, writeback.Request{Op: writeback.Update, Site: "a", Pair: true, Links: []map[string]any{off}})
	if got := fmt.Sprint(refusal.Pos, refusal.Related); got != "b.cue:10:11 [{what _on is on.cue:3:6}]" {
		t.Errorf("refused at %s", got)
	}
}

// What is set in two places is refused with both.
func TestTwoPlaces(t *testing.T) {
	w := newWorld(t)
	w.add("more.cue", "package topology\n\nsites: \"a\": cluster: links: \"b\": username: \"a\"\n")
	other := fields(t, strings.Replace(linkToB, `"username":"a"`, `"username":"z"`, 1))
	refusal := w.refused(writeback.Conflict, writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{other}})
	if got := fmt.Sprint(refusal.Pos, refusal.Related); got != "a.cue:11:14 [{it is set here too more.cue:3:44}]" {
		t.Errorf("refused at %s: %v", got, refusal)
	}
}
