package writeback_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clink/compiler"
	"clink/source/writeback"
)

// save is what an editor does.
func (w *world) save(name, old, new string) {
	w.t.Helper()
	text := w.read(name)
	if !strings.Contains(text, old) {
		w.t.Fatalf("%s has no %q", name, old)
	}
	must(w.t, os.WriteFile(filepath.Join(w.dir, name), []byte(strings.Replace(text, old, new, 1)), 0o644))
}

// The lines around a change are somebody else's, and may hold what nobody who
// asks over an API is to see.
func TestDifferenceMasksCredentials(t *testing.T) {
	const ref = `password: "file://secrets/a-to-b"`
	const topics = "topics: [\"global/#\"]\n"
	tests := []struct{ name, old, new string }{
		{"literal", ref, `password: "Hush-1"`},
		{"quoted label", ref, `"password": "Hush-1"`},
		{"short", ref, `password: "Hu"`},
		{"interpolation", ref, `password: "Hush-\("a")"`},
		{"sum", ref, `password: "Hu" + "sh-1"`},
		{"number", ref, `password: 74873`},
		{"lines", ref, "password: \"\"\"\n\t\t\t\tHush-1\n\t\t\t\t\"\"\""},
		{"raw", ref, `password: #"Hush-1"#`},
		{"bytes", ref, `password: 'Hush-1'`},
		{"misspelt", ref, `pasword: "Hush-1"`},
		{"elsewhere", topics, topics + "\t\t\tssl: password: \"Hush-1\"\n"},
		{"let", topics, topics + "\t\t\tpassword_hash: pw\n\t\t\tlet pw = \"Hush-1\"\n"},
		{"comment", ref, ref + " // was password: Hush-1"},
		{"comment of a literal", ref, "password: \"Hush-1\" // Hush-1 is to be changed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.save("a.cue", tt.old, tt.new)
			l := fields(t, strings.Replace(linkToB, "global/#", "more/#", 1))
			out, err := w.Edit(t.Context(), writeback.Request{Op: writeback.Update, Site: "a", DryRun: true, Override: true, Links: []map[string]any{l}})
			must(t, err)
			for _, part := range []string{"Hu", "sh-1", "74873"} {
				if strings.Contains(out.Diff, part) {
					t.Errorf("the difference shows %q:\n%s", part, out.Diff)
				}
			}
			if !strings.Contains(out.Diff, "******") || !strings.Contains(out.Diff, `+			topics: ["more/#"]`) {
				t.Errorf("the difference is\n%s", out.Diff)
			}
		})
	}
}

// What is no credential is shown.
func TestDifferenceShowsTheRest(t *testing.T) {
	w := newWorld(t)
	w.save("a.cue", "\t\t\ttopics:", "\t\t\tclientid: \"x\" // the secret of success\n\t\t\ttopics:")
	l := fields(t, strings.Replace(linkToB, `"topics":["global/#"]`, `"clientid":"x","topics":["more/#"]`, 1))
	out := w.edit(writeback.Request{Op: writeback.Update, Site: "a", DryRun: true, Links: []map[string]any{l}})
	want := `--- a/a.cue
+++ b/a.cue
@@ -11,7 +11,7 @@
 			username: "a"
 			password: "file://secrets/a-to-b"
 			clientid: "x" // the secret of success
-			topics: ["global/#"]
+			topics: ["more/#"]
 		}
 	}
 }
`
	if out.Diff != want {
		t.Errorf("the difference is\n%s", out.Diff)
	}
}

// A change waits for its turn as long as its asker does, and not in a line
// without end.
func TestWaitingIsBounded(t *testing.T) {
	w := newWorld(t)
	before := w.files()
	r := writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{fields(t, strings.Replace(linkToB, "global/#", "more/#", 1))}}
	w.Lock()
	ctx, leave := context.WithCancel(t.Context())
	results := make(chan error)
	for range 1000 {
		go func() {
			_, err := w.Edit(ctx, r)
			results <- err
		}()
	}
	unavailable := func() string {
		var refusal *writeback.Refusal
		if err := <-results; !errors.As(err, &refusal) || refusal.Kind != "unavailable" {
			t.Fatalf("Edit = %v", err)
		}
		return refusal.Message
	}
	for range 872 { // the others wait
		if got := unavailable(); !strings.Contains(got, "wait already") {
			t.Fatalf("refused with %q", got)
		}
	}
	leave()
	for range 128 {
		if got := unavailable(); !strings.Contains(got, "took too long") {
			t.Fatalf("refused with %q", got)
		}
	}
	w.same(before)
	w.Unlock()
	w.edit(r)
}

// A change that has its turn is made, whether or not its asker stays.
func TestAChangeInHandIsMade(t *testing.T) {
	w := newWorld(t)
	ctx, leave := context.WithCancel(t.Context())
	options := w.Options
	w.Options = func(planned map[string][]byte) compiler.Options {
		leave()
		return options(planned)
	}
	told := false
	w.Done = func(ctx context.Context, _ writeback.Request, _ writeback.Outcome) { told = ctx.Err() == nil }
	_, err := w.Edit(ctx, writeback.Request{Op: writeback.Delete, Site: "a", Links: []map[string]any{{"name": "b"}}})
	if err != nil || !told || strings.Contains(w.read("a.cue"), "links") {
		t.Errorf("Edit = %v, told %v, a.cue\n%s", err, told, w.read("a.cue"))
	}
}

// The file of a credential is never one that is read as a part of the topology,
// whatever the names of sites.
func TestCredentialsAreNoSource(t *testing.T) {
	w := newWorld(t)
	must(t, os.WriteFile(filepath.Join(w.dir, "d.cue"), []byte("package topology\n\nsites: \"d.cue\": listeners: mqtt: bind: \"127.0.0.1:1886\"\n"), 0o644))
	out := w.edit(writeback.Request{Op: writeback.Put, Site: "a", Links: []map[string]any{fields(t, `{"name":"d.cue","server":"127.0.0.1:1886","username":"a","password":"clear","topics":["x"]}`)}})
	if len(out.Secrets) != 1 || strings.HasSuffix(out.Secrets[0], ".cue") {
		t.Errorf("the credential is in %v", out.Secrets)
	}
	snap, err := w.d.Snapshot(t.Context())
	must(t, err)
	if len(snap.Files()) != 4 {
		t.Errorf("the source is now %v", snap.Files())
	}
}

// Names that differ in case alone have files of their own on any file system.
func TestCredentialsOfAlikeNames(t *testing.T) {
	w := newWorld(t)
	must(t, os.WriteFile(filepath.Join(w.dir, "d.cue"), []byte("package topology\n\nsites: \"C\": listeners: mqtt: bind: \"127.0.0.1:1886\"\n"), 0o644))
	list := []map[string]any{fields(t, linkToB),
		fields(t, `{"name":"c","server":"127.0.0.1:1885","username":"a","password":"one","topics":["x"]}`),
		fields(t, `{"name":"C","server":"127.0.0.1:1886","username":"a","password":"two","topics":["x"]}`)}
	out := w.edit(writeback.Request{Op: writeback.Replace, Site: "a", Links: list})
	var names []string
	for _, s := range out.Secrets {
		names = append(names, filepath.Base(s))
	}
	if want := []string{"a-to-C-2", "a-to-c"}; !slices.Equal(names, want) {
		t.Errorf("the credentials are in %v, want %v", names, want)
	}
}

// Somebody who can put a link into the directory of secrets does not get a
// credential written elsewhere, nor anything overwritten.
func TestCredentialsFollowNoLink(t *testing.T) {
	w := newWorld(t)
	victim := filepath.Join(t.TempDir(), "victim")
	for _, name := range []string{"a-to-c", "a-to-c-2"} {
		must(t, os.Symlink(victim, filepath.Join(w.dir, "secrets", name)))
		if name == "a-to-c" {
			must(t, os.WriteFile(victim, []byte("mine"), 0o644))
		}
	}
	out := w.edit(writeback.Request{Op: writeback.Create, Site: "a", Links: []map[string]any{fields(t, `{"name":"c","server":"127.0.0.1:1885","username":"a","password":"clear","topics":["x"]}`)}})
	if text, err := os.ReadFile(victim); err != nil || string(text) != "mine" || filepath.Base(out.Secrets[0]) != "a-to-c-3" {
		t.Errorf("%q, %v; secrets %v", text, err, out.Secrets)
	}
}

// A body can bring a finding for each of its words; the refusal tells a few.
func TestARefusalIsBounded(t *testing.T) {
	w := newWorld(t)
	var topics []any
	for i := range 2000 {
		topics = append(topics, fmt.Sprintf("t/%d/#/x", i))
	}
	l := fields(t, linkToB)
	l["topics"] = topics
	refusal := w.refused(writeback.Invalid, writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{l}})
	if n := len(refusal.Findings); n != 100 || len(refusal.Message) > 2000 || !strings.HasSuffix(refusal.Message, "and 1995 more") {
		t.Errorf("%d findings, %d bytes: …%s", n, len(refusal.Message), refusal.Message[max(0, len(refusal.Message)-80):])
	}
}

// Findings of other files than the source come and go by themselves, and are
// not what a strict write is refused for.
func TestStrictMindsItsOwnFindings(t *testing.T) {
	w := newWorld(t)
	more := func(topic string) writeback.Request {
		return writeback.Request{Op: writeback.Update, Site: "a", Strict: true, Links: []map[string]any{fields(t, strings.Replace(linkToB, "global/#", topic, 1))}}
	}
	w.edit(more("one/#"))
	must(t, os.Remove(filepath.Join(w.dir, "secrets", "b-to-a")))
	w.edit(more("two/#"))
}

// A file that would become too large is refused, not a fault.
func TestTooLargeIsRefused(t *testing.T) {
	w := newWorld(t)
	l := fields(t, linkToB)
	l["topics"] = []any{strings.Repeat("x", 60_000)}
	w.save("a.cue", "// The first plant.", "// The first plant."+strings.Repeat("x", 1<<20-20_000))
	w.refused(writeback.Conflict, writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{l}})
}

// A fault that gates is new where it comes to, also if it goes away elsewhere.
func TestAFaultThatMovesIsNew(t *testing.T) {
	w := newWorld(t)
	w.save("a.cue", `topics: ["global/#"]`, `topics: ["global/#"], pool_size: -1`)
	w.add("d.cue", "package topology\n\nsites: \"d\": listeners: mqtt: bind: \"127.0.0.1:1886\"\n")
	d := fields(t, `{"name":"d","server":"127.0.0.1:1886","username":"a","password":"file://secrets/a-to-b","topics":["x"],"pool_size":-1}`)
	r := w.refused(writeback.Invalid, writeback.Request{Op: writeback.Replace, Site: "a", Links: []map[string]any{fields(t, linkToB), d}})
	if len(r.Findings) != 1 || r.Findings[0].Rule != "schema" {
		t.Errorf("findings %v", r.Findings)
	}
}

// What one write does to other sites' links counts as well.
func TestAWriteMayNotBreakOthers(t *testing.T) {
	w := newWorld(t)
	w.add("c.cue", `package topology

sites: "c": {
	listeners: mqtt: bind: "127.0.0.1:1885"
	cluster: links: "b": {server: "127.0.0.1:1884", clientid: "one", username: "c", password: "file://secrets/a-to-b", topics: []}
}
`)
	l := fields(t, strings.Replace(linkToB, `"topics"`, `"clientid":"one","topics"`, 1))
	r := w.refused(writeback.Invalid, writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{l}})
	if len(r.Findings) != 1 || r.Findings[0].Rule != "clientid-collision" || len(r.Findings[0].Related) == 0 {
		t.Errorf("findings %v", r.Findings)
	}
}
