package writeback_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"clink/source/writeback"
)

const linkToB = `{"name":"b","server":"127.0.0.1:1884","username":"a","password":"file://secrets/a-to-b","topics":["global/#"]}`

func TestAnAddedTopicIsOneLine(t *testing.T) {
	w := newWorld(t)
	added := fields(t, strings.Replace(linkToB, `"global/#"`, `"global/#","more/+"`, 1))
	out := w.edit(writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{added}})
	want := strings.Replace(tree["a.cue"], `topics: ["global/#"]`, `topics: ["global/#", "more/+"]`, 1)
	if got := w.read("a.cue"); got != want {
		t.Errorf("a.cue is now\n%s", got)
	}
	if !slices.Equal(out.Files, []string{"a.cue"}) || len(out.Created) > 0 || out.Snapshot.Revision == "" {
		t.Errorf("outcome: files %v, created %v", out.Files, out.Created)
	}
	before := w.files()
	again := w.edit(writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{added}})
	if len(again.Files) > 0 || again.Snapshot.Revision != out.Snapshot.Revision {
		t.Errorf("again: files %v", again.Files)
	}
	w.same(before)
}

func TestCreateTellsWhatDoesNotGate(t *testing.T) {
	w := newWorld(t)
	r := writeback.Request{Op: writeback.Create, Site: "a", Strict: true, Links: []map[string]any{fields(t, `{"name":"c","server":"127.0.0.1:1885","username":"a","password":"clear","topics":["x"]}`)}}
	refusal := w.refused(writeback.Invalid, r)
	if len(refusal.Findings) != 1 || refusal.Findings[0].Rule != "one-sided" || refusal.Findings[0].Pos.File != "a.cue" || refusal.Findings[0].Related[0].Pos.File != "c.cue" {
		t.Errorf("findings %+v", refusal.Findings)
	}
	r.Strict = false
	out := w.edit(r)
	if rules := w.rules(nil, out); !slices.Equal(rules, []string{"one-sided"}) {
		t.Errorf("findings %v", rules)
	}
	if !slices.Equal(out.Created, []writeback.Half{{Site: "a", Peer: "c"}}) {
		t.Errorf("created %v", out.Created)
	}
	if got := w.read("secrets/a-to-c"); got != "clear" {
		t.Errorf("the credential is %q", got)
	}
	if info, err := os.Stat(filepath.Join(w.dir, "secrets/a-to-c")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got := w.read("a.cue"); !strings.Contains(got, `password: "file://secrets/a-to-c"`) || strings.Contains(got, "clear") {
		t.Errorf("a.cue is now\n%s", got)
	}
}

// A pair may be told what the other half is to want, whether that is there or
// not; everything else of it stays.
func TestPairWithTopicsOfTheOtherHalf(t *testing.T) {
	w := newWorld(t)
	w.edit(writeback.Request{Op: writeback.Create, Site: "a", Pair: true, Theirs: []any{"back/#", "x/+"},
		Links: []map[string]any{fields(t, `{"name":"c","server":"127.0.0.1:1885","username":"a","password":"clear","topics":["x"]}`)}})
	if c := w.read("c.cue"); !strings.Contains(c, `topics: ["back/#", "x/+"]`) {
		t.Errorf("c.cue lacks the topics:\n%s", c)
	}
	before := w.read("b.cue")
	l := fields(t, `{"name":"b","server":"127.0.0.1:1884","username":"a","password":"file://secrets/a-to-b","topics":["global/#"]}`)
	w.edit(writeback.Request{Op: writeback.Update, Site: "a", Pair: true, Theirs: []any{"back/#"}, Links: []map[string]any{l}})
	if got, want := w.read("b.cue"), strings.Replace(before, "topics: []", `topics: ["back/#"]`, 1); got != want {
		t.Errorf("b.cue is\n%s\nwant\n%s", got, want)
	}
	out := w.edit(writeback.Request{Op: writeback.Update, Site: "a", Pair: true, Links: []map[string]any{l}})
	if len(out.Files) > 0 {
		t.Errorf("without topics of the other half, %v changed", out.Files)
	}
	w.edit(writeback.Request{Op: writeback.Update, Site: "a", Pair: true, Theirs: []any{}, Links: []map[string]any{l}})
	if got := w.read("b.cue"); got != before {
		t.Errorf("b.cue is\n%s\nwant\n%s", got, before)
	}
}

func TestPairWritesAndDeletesBothHalves(t *testing.T) {
	w := newWorld(t)
	original := w.files()
	out := w.edit(writeback.Request{Op: writeback.Put, Site: "a", Pair: true, Links: []map[string]any{fields(t, `{"name":"c","server":"127.0.0.1:1885","username":"a","password":"clear","topics":["x"]}`)}})
	if len(out.Findings) > 0 {
		t.Errorf("findings %v", out.Findings)
	}
	if !slices.Equal(out.Halves, []writeback.Half{{Site: "a", Peer: "c"}, {Site: "c", Peer: "a"}}) || !slices.Equal(out.Halves, out.Created) {
		t.Errorf("halves %v, created %v", out.Halves, out.Created)
	}
	c := w.read("c.cue")
	for _, line := range []string{`server:   "127.0.0.1:1883"`, `username: "c"`, `password: "file://secrets/c-to-a"`, `topics: []`} {
		if !strings.Contains(c, line) {
			t.Errorf("c.cue lacks %s:\n%s", line, c)
		}
	}
	if made := w.read("secrets/c-to-a"); len(made) < 40 {
		t.Errorf("the generated password is %q", made)
	}
	// Disabling one disables the other, and enabling.
	for _, enable := range []bool{false, true} {
		l := fields(t, `{"name":"c","server":"127.0.0.1:1885","username":"a","password":"******","topics":["x"]}`)
		l["enable"] = enable
		out = w.edit(writeback.Request{Op: writeback.Update, Site: "a", Pair: true, Links: []map[string]any{l}})
		theirs, _ := out.After.Topology.Sites["c"].Link("a")
		if theirs.Enable != enable || len(out.Findings) > 0 {
			t.Errorf("enable %v: the other half %v, findings %v", enable, theirs.Enable, out.Findings)
		}
	}
	w.edit(writeback.Request{Op: writeback.Delete, Site: "a", Pair: true, Links: []map[string]any{{"name": "c"}}})
	now := w.files()
	for _, name := range []string{"a.cue", "b.cue", "c.cue"} {
		if now[name] != original[name] {
			t.Errorf("%s is left as\n%s", name, now[name])
		}
	}
}

func TestCredentials(t *testing.T) {
	w := newWorld(t)
	update := func(password string) writeback.Request {
		l := fields(t, linkToB)
		l["password"] = password
		return writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{l}}
	}
	before := w.files()
	for _, same := range []string{"******", "file://secrets/a-to-b", "password of a"} {
		if out := w.edit(update(same)); len(out.Files)+len(out.Secrets) > 0 {
			t.Errorf("password %q: changed %v, %v", same, out.Files, out.Secrets)
		}
	}
	w.same(before)
	out := w.edit(update("another"))
	if got := w.read("a.cue"); !strings.Contains(got, `"file://secrets/a-to-b-2"`) || w.read("secrets/a-to-b-2") != "another" || w.read("secrets/a-to-b") != tree["secrets/a-to-b"] {
		t.Errorf("secrets %v, a.cue\n%s", out.Secrets, got)
	}
	// Where there is none to keep, nothing is kept: not for a new link, whatever
	// the request is called, and not for a field that is not in the source.
	l := fields(t, `{"name":"c","server":"127.0.0.1:1885","password":"******","topics":[]}`)
	for _, op := range []string{writeback.Create, writeback.Put} {
		w.refused(writeback.Invalid, writeback.Request{Op: op, Site: "a", Links: []map[string]any{l}})
	}
	for _, field := range []string{`"ssl":{"password":"******"}`, `"inbound":{"password":"******"}`, `"password_hash":"******"`} {
		l := fields(t, strings.Replace(linkToB, `"topics"`, field+`,"topics"`, 1))
		w.refused(writeback.Invalid, writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{l}})
	}
	list := []map[string]any{fields(t, linkToB), l}
	w.refused(writeback.Invalid, writeback.Request{Op: writeback.Replace, Site: "a", Links: list})
}

func TestPEMTextBecomesFiles(t *testing.T) {
	w := newWorld(t)
	pem := "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	l := fields(t, linkToB)
	l["ssl"] = map[string]any{"enable": false, "cacertfile": pem}
	r := writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{l}}
	w.edit(r)
	if got := w.read("a.cue"); !strings.Contains(got, `cacertfile: "secrets/a-to-b-cacert.pem"`) || w.read("secrets/a-to-b-cacert.pem") != pem {
		t.Errorf("a.cue is now\n%s", got)
	}
	before := w.files()
	w.edit(r)
	w.same(before)
}

func TestRefusalsWriteNothing(t *testing.T) {
	w := newWorld(t)
	unknown := fields(t, strings.NewReplacer("1884", "9999", "file://secrets/a-to-b", "clear").Replace(linkToB))
	refusal := w.refused(writeback.Invalid, writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{unknown}})
	if len(refusal.Findings) == 0 || refusal.Findings[0].Rule != "server-unknown" || len(refusal.Findings[0].Related) == 0 {
		t.Errorf("findings %+v", refusal.Findings)
	}
	for kind, r := range map[string]writeback.Request{
		writeback.Exists:     {Op: writeback.Create, Site: "a", Links: []map[string]any{fields(t, linkToB)}},
		writeback.NotFound:   {Op: writeback.Delete, Site: "a", Links: []map[string]any{{"name": "c"}}},
		writeback.Stale:      {Op: writeback.Delete, Site: "a", IfMatch: "0000000000000000", Links: []map[string]any{{"name": "b"}}},
		writeback.WouldPrune: {Op: writeback.Replace, Site: "a", Links: []map[string]any{}},
		writeback.Invalid:    {Op: writeback.Put, Site: "a", Links: []map[string]any{fields(t, `{"name":"b","server":"127.0.0.1:1884","topics":["a","a"],"pool_size":0}`)}},
	} {
		if r := w.refused(kind, r); r.Message == "" || strings.Contains(r.Message, "clear") {
			t.Errorf("%s says %q", kind, r.Message)
		}
	}
}

func TestWhatWasWrongBeforeStandsInNobodysWay(t *testing.T) {
	w := newWorld(t)
	must(t, os.WriteFile(filepath.Join(w.dir, "b.cue"), []byte(strings.Replace(tree["b.cue"], "1883", "9999", 1)), 0o644))
	l := fields(t, strings.Replace(linkToB, `"global/#"`, `"global/#","more/+"`, 1))
	w.edit(writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{l}})
}

func TestDryRunWritesNothing(t *testing.T) {
	w := newWorld(t)
	before := w.files()
	out := w.edit(writeback.Request{Op: writeback.Create, Site: "a", Pair: true, DryRun: true, Links: []map[string]any{fields(t, `{"name":"c","server":"127.0.0.1:1885","username":"a","password":"clear","topics":["x"]}`)}})
	w.same(before)
	if !slices.Equal(out.Files, []string{"a.cue", "c.cue"}) || !strings.Contains(out.Diff, "--- a/c.cue") || len(out.Findings) > 0 {
		t.Errorf("files %v, findings %v, difference\n%s", out.Files, out.Findings, out.Diff)
	}
}

func TestReplaceListPrunes(t *testing.T) {
	w := newWorld(t)
	out := w.edit(writeback.Request{Op: writeback.Replace, Site: "a", Prune: true, Links: []map[string]any{fields(t, `{"name":"c","server":"127.0.0.1:1885","username":"a","password":"p","topics":["x"]}`)}})
	if got := out.After.Topology.Sites["a"].Links; len(got) != 1 || got[0].Name != "c" {
		t.Errorf("links %v", got)
	}
	if got := w.read("a.cue"); strings.Contains(got, "second plant") {
		t.Errorf("the comment of the link that is gone stays:\n%s", got)
	}
}

// Whatever texts a request brings, they are texts in the source.
func TestNothingIsEvaluated(t *testing.T) {
	for _, text := range []string{`\(1)`, `"`, `"}`, "a\nb", `"""`, `#"x"#`, "\x01", "} , x: 1 , y: {", "é漢\u2028"} {
		w := newWorld(t)
		l := fields(t, linkToB)
		l["username"], l["clientid"] = text, text
		out, err := w.Edit(t.Context(), writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{l}})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if given, _ := out.After.Given("a", "b"); given["username"] != text {
			t.Errorf("%q became %q", text, given["username"])
		}
	}
	w := newWorld(t)
	l := fields(t, linkToB)
	l["username"] = "\x00" // which no packet can carry
	w.refused(writeback.Invalid, writeback.Request{Op: writeback.Update, Site: "a", Links: []map[string]any{l}})
}

// Writers over REST, a writer of another process, and somebody who saves other
// files: no edit is lost.
func TestManyWriters(t *testing.T) {
	w := newWorld(t)
	writers, each := 4, 20
	if testing.Short() {
		each = 4
	}
	for i := range writers {
		name := fmt.Sprintf("w%d", i)
		must(t, os.WriteFile(filepath.Join(w.dir, name+".cue"), fmt.Appendf(nil, "package topology\n\nsites: %q: {\n\tlisteners: mqtt: bind: \"127.0.0.1:200%d\"\n\tcluster: links: \"a\": {server: \"127.0.0.1:1883\", topics: []}\n}\n", name, i), 0o644))
	}
	other := openWorld(t, w.dir, nil)
	stop := make(chan struct{})
	var saving, writing sync.WaitGroup
	var edits atomic.Int64
	saving.Go(func() {
		// A human saves less often than an edit takes, however slow the machine
		// is: one is made between two saves, at least.
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		seen := int64(-1)
		for n := 0; ; {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if edits.Load() == seen {
				continue
			}
			seen, n = edits.Load(), n+1
			if err := os.WriteFile(filepath.Join(w.dir, "c.cue"), fmt.Appendf(nil, "%s// %d\n", tree["c.cue"], n), 0o644); err != nil {
				t.Error(err)
				return
			}
		}
	})
	stale := 0
	var mu sync.Mutex
	for i := range writers {
		writing.Go(func() {
			editor := []*world{w, other}[i%2]
			for n := 1; n <= each; {
				l := map[string]any{"name": "a", "server": "127.0.0.1:1883", "topics": []any{}}
				for k := range n {
					l["topics"] = append(l["topics"].([]any), fmt.Sprintf("t/%d", k))
				}
				_, err := editor.Edit(t.Context(), writeback.Request{Op: writeback.Update, Site: fmt.Sprintf("w%d", i), Links: []map[string]any{l}})
				switch r, _ := err.(*writeback.Refusal); {
				case err == nil:
					n++
					edits.Add(1)
				case r != nil && r.Kind == writeback.Stale:
					mu.Lock()
					stale++
					mu.Unlock()
				default:
					t.Errorf("writer %d: %v", i, err)
					return
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	saving.Wait()
	for i := range writers {
		if got := strings.Count(w.read(fmt.Sprintf("w%d.cue", i)), "t/"); got != each {
			t.Errorf("writer %d has %d topics, want %d", i, got, each)
		}
	}
	t.Logf("%d times stale", stale)
}

// What a killed process left half made is removed, not what is being made.
func TestHalfMadeSecretsAreSwept(t *testing.T) {
	dir := t.TempDir()
	long := time.Now().Add(-time.Hour)
	for name, at := range map[string]time.Time{".clink-new-1": long, ".clink-new-2": time.Now(), "a-to-b": long} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("s"), 0o600))
		must(t, os.Chtimes(filepath.Join(dir, name), at, at))
	}
	writeback.New(&writeback.Editor{Secrets: dir})
	var left []string
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range entries {
		left = append(left, f.Name())
	}
	if !slices.Equal(left, []string{".clink-new-2", "a-to-b"}) {
		t.Errorf("left: %v", left)
	}
}
