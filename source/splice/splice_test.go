package splice_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"clink/compiler"
	"clink/schema"
	"clink/source/splice"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/literal"
	"pgregory.net/rapid"
)

// No text that is written becomes anything but the same text again.
func TestStringsAreWrittenAsTheyAre(t *testing.T) {
	const text = `package topology

_secret: "not to be read"
sites: a: cluster: links: b: {server: "x:1", topics: ["t"]}
sites: b: cluster: links: a: {
	server: "x:1"
	topics: [
		"t", // what
	]
}
`
	fsys := sources(map[string]string{"a.cue": text})
	before := compile(t, fsys, nil)
	nasty := rapid.SampledFrom([]string{
		`\(_secret)`, `\#(_secret)`, `"""`, `#"`, `"#`, `"`, `\`, "\n", "\r\n", "\x00", "\u2028", "\ufeff", "\U0010ffff",
		"}", "{, ", ", }", "//", "]", `'`, `\u0041`, "\t", "*", "\x7f", `"}, c: {server: "evil:1`,
	})
	rapid.Check(t, func(rt *rapid.T) {
		texts := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOfN(rapid.OneOf(nasty, rapid.StringN(0, 3, -1)), 1, 6), func(l []string) string { return strings.Join(l, "") }))
		s, topic, peer := texts.Draw(rt, "username"), texts.Draw(rt, "topic"), texts.Draw(rt, "peer")
		field := rapid.OneOf(rapid.SampledFrom([]string{"username", "_x", "#d", "for", "a b", `"`, "__y", "0"}), texts).Draw(rt, "field")
		site := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "site")
		half := map[string]any{"server": "x:1", "topics": []any{"t", topic}, "ssl": map[string]any{"cacertfile": s}}
		if !otherName(field) {
			half[field] = s
		}
		delete(half, "name")
		for _, e := range []splice.LinkEdit{
			{Site: site, Peer: map[string]string{"a": "b", "b": "a"}[site], Want: half}, {Site: site, Peer: peer, Want: half},
		} {
			changed, err := splice.Apply(fsys, []splice.LinkEdit{e}, before)
			if err != nil {
				rt.Fatalf("%v: %v", e, err)
			}
			if len(changed) == 0 {
				continue
			}
			if otherName(e.Peer) {
				// CUE brings names into a normal form: the link would have another.
				var c *splice.ConflictError
				if _, err := splice.Prove(t.Context(), with(fsys, changed), []splice.LinkEdit{e}, before, compiler.Options{}); !errors.As(err, &c) {
					rt.Fatalf("%v: %v in\n%s", e, err, changed["a.cue"])
				}
				continue
			}
			v := cuecontext.New().CompileBytes(changed["a.cue"])
			links := v.LookupPath(cue.MakePath(cue.Str("sites"), cue.Str(site), cue.Str("cluster"), cue.Str("links")))
			b, err := links.MarshalJSON()
			if err != nil {
				rt.Fatalf("%v: %v in\n%s", e, err, changed["a.cue"])
			}
			all := want(t, string(b))
			if got := all[e.Peer]; !reflect.DeepEqual(got, any(half)) {
				rt.Fatalf("%v: got %q in\n%s", e, got, changed["a.cue"])
			}
			if n := len(all); n > 2 || n == 2 && (peer == "a" && site == "b" || peer == "b" && site == "a") {
				rt.Fatalf("%v: there are %d links in\n%s", e, n, changed["a.cue"])
			}
		}
	})
}

// otherName reports whether a name is not one in CUE's normal form.
func otherName(name string) bool {
	v := cuecontext.New().CompileString("{" + literal.String.Quote(name) + ": 1}")
	return !v.LookupPath(cue.MakePath(cue.Str(name))).Exists()
}

// What no CUE text can say is refused, and nothing is written.
func TestApplyRefusesWhatCannotBeWritten(t *testing.T) {
	fsys := sources(map[string]string{"a.cue": "package topology\n\nsites: a: cluster: links: b: {server: \"x:1\", topics: []}\n"})
	now := compile(t, fsys, nil)
	for what, half := range map[string]map[string]any{
		"text":  {"server": "\xff"},
		"name":  {"server": map[string]any{"\xff": true}},
		"value": {"server": 1.5},
		"topic": {"server": "x:1", "topics": []any{"\xff"}},
	} {
		for _, peer := range []string{"b", "c"} {
			if changed, err := splice.Apply(fsys, []splice.LinkEdit{{Site: "a", Peer: peer, Want: half}}, now); err == nil {
				t.Errorf("%s: %q", what, changed)
			}
		}
	}
	twice := splice.LinkEdit{Site: "a", Peer: "b"}
	if _, err := splice.Apply(fsys, []splice.LinkEdit{twice, twice}, now); err == nil {
		t.Error("one half could be edited twice")
	}
	other := sources(map[string]string{"a.cue": "package topology\n\nsites: a: cluster: links: b: {server: \"y:1\", topics: []}\n"})
	if _, err := splice.Apply(other, []splice.LinkEdit{twice}, now); err == nil {
		t.Error("a source could be edited that was not compiled")
	}
}

// No refusal repeats a credential, neither the one that stands in the source nor
// the one that was to be written.
func TestRefusalsKeepSecrets(t *testing.T) {
	for _, password := range []string{
		`_pw`, `"\(_pw)"`, `*"hunter2" | string`, `"hunter2" & string`, `strings.ToLower("hunter2")`, `[if true {"hunter2"}][0]`, `("hunter2" | *"hunter2")`, `{"hunter2"}`,
		`"hunter2"` + "\n\tpassword: \"hunter2\"",
	} {
		text := "package topology\n\nimport \"strings\"\n\n_pw: strings.ToLower(\"hunter2\")\nsites: a: cluster: links: b: {\n\tserver: \"x:1\"\n\ttopics: []\n\tpassword: " + password + "\n}\n"
		fsys := sources(map[string]string{"a.cue": text, "p.cue": "package topology\n\nsites: [_]: cluster: links: [_]: password: \"hunter2\"\n"})
		for _, override := range []bool{false, true} {
			e := splice.LinkEdit{Site: "a", Peer: "b", Want: want(t, `{"server":"x:1","topics":[],"password":"hunter3"}`), Override: override}
			_, err := edit(t, fsys, e)
			if err == nil {
				t.Errorf("%s: the pattern gives another password, and nothing is said", password)
			} else if said := fmt.Sprintf("%v %+v %v", err, err, e); strings.Contains(said, "hunter") {
				t.Errorf("%s: %s", password, said)
			}
		}
	}
}

// Both halves of a pair, and many links of one site, are edited at once.
func TestApplyMany(t *testing.T) {
	fsys := sources(map[string]string{"a.cue": "package topology\n\nsites: a: {}\n", "b.cue": "package topology\n\nsites: b: cluster: links: {}\n"})
	half := want(t, `{"server":"x:1","topics":[]}`)
	edits := []splice.LinkEdit{{Site: "a", Peer: "b", Want: half}, {Site: "b", Peer: "a", Want: half}, {Site: "b", Peer: "c", Want: half}, {Site: "b", Peer: "b", Want: half}}
	changed, err := edit(t, fsys, edits...)
	if err != nil || len(changed) != 2 {
		t.Fatal(changed, err)
	}
	if s := string(changed["b.cue"]); strings.Index(s, `"a"`) > strings.Index(s, `"b"`) || strings.Index(s, `"b"`) > strings.Index(s, `"c"`) {
		t.Errorf("the links are in no order:\n%s", s)
	}
	next := with(fsys, changed)
	gone := []splice.LinkEdit{{Site: "b", Peer: "a"}, {Site: "b", Peer: "b"}, {Site: "b", Peer: "c"}, {Site: "a", Peer: "b"}}
	changed, err = edit(t, next, gone...)
	if err != nil || string(changed["a.cue"]) != string(fsys["a.cue"].Data) || strings.Contains(string(changed["b.cue"]), "server") {
		t.Fatalf("%q, %v", changed, err)
	}
}

// An edit that has another effect than it is to have is found, whoever made it.
func TestProve(t *testing.T) {
	const before = "package topology\n\nsites: a: cluster: links: {b: {server: \"x:1\", topics: []}, c: {server: \"x:1\", topics: []}}\nsites: z: listeners: m: bind: \"127.0.0.1:1\"\n"
	half := want(t, `{"server":"y:1","topics":[]}`)
	put, del := splice.LinkEdit{Site: "a", Peer: "b", Want: half}, splice.LinkEdit{Site: "a", Peer: "b"}
	link := `b: {server: "x:1", topics: []}`
	for name, tt := range map[string]struct {
		edit splice.LinkEdit
		old  string
		new  string
		want string // of the error; "" for none
	}{
		"as intended":        {put, link, `b: {server: "y:1", topics: []}`, ""},
		"deleted":            {del, link + ", ", "", ""},
		"nothing":            {put, "", "", "server of the link of a to b: it would not have the value that is wanted"},
		"a field more":       {put, link, `b: {server: "y:1", topics: [], enable: false}`, "enable of the link of a to b: it would still be there"},
		"a topic more":       {put, link, `b: {server: "y:1", topics: ["t"]}`, "topics of the link of a to b: it would not have"},
		"not deleted":        {del, link, `b: {server: "y:1", topics: []}`, "it is made here too, and would"},
		"gone":               {put, link + ", ", "", "it would not be there"},
		"another link":       {put, link + `, c: {server: "x:1"`, `b: {server: "y:1", topics: []}, c: {server: "z:1"`, "the link of a to c: it would change too"},
		"one link more":      {put, link, `b: {server: "y:1", topics: []}, d: {server: "x:1", topics: []}`, "the link of a to d: it would change too"},
		"another site":       {put, "127.0.0.1:1", "127.0.0.1:2", "something else of the site would change"},
		"a site less":        {put, "sites: z: listeners: m: bind: \"127.0.0.1:1\"\n", "", "the site would be gone"},
		"a site more":        {put, "sites: z", "sites: y: {}\nsites: z", "the site would come into being"},
		"broken":             {put, "sites: z", "sites: z: {", "after the edit, the file does not parse"},
		"severity":           {put, "sites: z", "policy: severity: \"one-sided\": \"off\"\nsites: z", "policy.severity"},
		"a policy of flows":  {put, "sites: z", "policy: flows: p: never: {topics: [\"#\"], to: site: \"z\"}\nsites: z", "policy.flows"},
		"a value of no kind": {splice.LinkEdit{Site: "a", Peer: "b", Want: want(t, `{"server":"x:1","topics":[],"pool_size":"x"}`)}, link, `b: {server: "x:1", topics: [], pool_size: "x"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := sources(map[string]string{"a.cue": before})
			text := strings.Replace(before, tt.old, tt.new, 1)
			if name != "nothing" && name != "gone" && tt.edit.Want != nil && !strings.Contains(text, "y:1") && !strings.Contains(text, "pool_size") {
				text = strings.Replace(text, link, `b: {server: "y:1", topics: []}`, 1)
			}
			after, err := splice.Prove(t.Context(), with(fsys, map[string][]byte{"a.cue": []byte(text)}), []splice.LinkEdit{tt.edit}, compile(t, fsys, nil), compiler.Options{})
			if after == nil {
				t.Fatal("no result", err)
			}
			if tt.want == "" && err == nil {
				return
			}
			var c *splice.ConflictError
			if tt.want == "" || !errors.As(err, &c) || !strings.Contains(err.Error(), tt.want) || c.Pos.Line == 0 && name != "severity" {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// The order in which fields are written names every field of the schema.
func TestOrderKnowsTheSchema(t *testing.T) {
	text, err := schema.FS.ReadFile("schema.cue")
	if err != nil {
		t.Fatal(err)
	}
	link := cuecontext.New().CompileBytes(text).LookupPath(cue.ParsePath("#Link"))
	half := map[string]any{}
	it, err := link.Fields(cue.Optional(true))
	if err != nil {
		t.Fatal(err)
	}
	var schemaOrder []string
	for it.Next() {
		name := it.Selector().Unquoted()
		schemaOrder = append(schemaOrder, name)
		half[name] = true
	}
	if len(half) < 15 {
		t.Fatal(schemaOrder)
	}
	half["zzz"] = true // sorts behind all that is known
	fsys := sources(map[string]string{"a.cue": "package topology\n\nsites: a: {}\n"})
	changed, err := splice.Apply(fsys, []splice.LinkEdit{{Site: "a", Peer: "b", Want: half}}, compile(t, fsys, nil))
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for line := range strings.Lines(string(changed["a.cue"])) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && strings.HasPrefix(line, "\t\t") {
			written = append(written, name)
		}
	}
	expected := []string{"server", "clientid", "username", "password", "topics"}
	for _, name := range schemaOrder {
		if !strings.Contains(" server clientid username password topics ", " "+name+" ") {
			expected = append(expected, name)
		}
	}
	if expected = append(expected, "zzz"); !reflect.DeepEqual(written, expected) {
		t.Errorf("written\n%v\nwant\n%v", written, expected)
	}
}

// A difference turns the old text into the new one in the hands of patch.
func TestDiff(t *testing.T) {
	if splice.Diff("a.cue", []byte("x"), []byte("x")) != "" {
		t.Error("equal texts differ")
	}
	got := splice.Diff("a.cue", []byte("1\n2\n3\n4\n5\n6\n7\n8\n9\nend"), []byte("1\n2\n3\n4\nfive\n6\n7\n8\n9\nend\n"))
	const wanted = `--- a/a.cue
+++ b/a.cue
@@ -2,9 +2,9 @@
 2
 3
 4
-5
+five
 6
 7
 8
 9
-end
\ No newline at end of file
+end
`
	if got != wanted {
		t.Errorf("got:\n%s", got)
	}
	patch, err := exec.LookPath("git")
	if err != nil {
		t.Skip("no git to apply differences with")
	}
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		if n++; n > 25 {
			return // each starts a process
		}
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a\n", "b\n", "c\n", "\n", "d"}), 1, 30)
		before, after := strings.Join(lines.Draw(rt, "before"), ""), strings.Join(lines.Draw(rt, "after"), "")
		if before == after {
			return
		}
		name := filepath.Join(dir, "a.cue")
		if err := os.WriteFile(name, []byte(before), 0o600); err != nil {
			rt.Fatal(err)
		}
		cmd := exec.Command(patch, "apply", "--unidiff-zero", "--whitespace=nowarn", "-")
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(splice.Diff("a.cue", []byte(before), []byte(after)))
		if out, err := cmd.CombinedOutput(); err != nil {
			rt.Fatalf("%q to %q: %v: %s\n%s", before, after, err, out, splice.Diff("a.cue", []byte(before), []byte(after)))
		}
		if is, err := os.ReadFile(name); err != nil || string(is) != after {
			rt.Fatalf("%q to %q gave %q, %v", before, after, is, err)
		}
	})
}

// Whatever the files say, an edit ends in a text, a refusal or an error.
func FuzzApply(f *testing.F) {
	for _, s := range styles {
		f.Add([]byte(s.files["a.cue"]), "a", "b", "x", false)
	}
	paths, err := filepath.Glob("../../testdata/topologies/*/*/*.cue")
	if err != nil {
		f.Fatal(err)
	}
	for i, p := range paths {
		if i%8 > 0 { // of the corpus a part is enough: it makes for as many edits
			continue
		}
		text, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "a", "b", "\\(x)", true)
	}
	f.Fuzz(func(t *testing.T, text []byte, site, peer, value string, override bool) {
		fsys := fstest.MapFS{"a.cue": {Data: text}, "b.cue": {Data: []byte("package topology\n\nsites: a: {}\n")}}
		now, err := compiler.Compile(t.Context(), fsys, compiler.Options{Timeout: time.Minute})
		if err != nil {
			return
		}
		for _, half := range []map[string]any{nil, {}, {"server": value, "topics": []any{value}, "ssl": map[string]any{"verify": value}}} {
			e := []splice.LinkEdit{{Site: site, Peer: peer, Want: half, Override: override}}
			changed, err := splice.Apply(fsys, e, now)
			if err != nil && strings.Contains(err.Error(), "defect") {
				t.Fatal(err)
			}
			if err != nil {
				continue
			}
			_, _ = splice.Prove(t.Context(), with(fsys, changed), e, now, compiler.Options{})
			for name, b := range changed {
				if _, err := compiler.Parse(name, b); err != nil {
					t.Fatalf("%v in\n%s", err, b)
				}
			}
		}
	})
}

// hundred is a site with 100 links in a file, and their other halves.
func hundred(clean bool) fstest.MapFS {
	var hub strings.Builder
	hub.WriteString("package topology\n\nsites: hub: {\n\tlisteners: m: bind: \"127.0.0.1:1\"\n\tcluster: links: {\n")
	files := map[string]string{}
	for i := range 100 {
		fmt.Fprintf(&hub, "\t\t// To site %d.\n\t\t\"s%03d\": {\n\t\t\tserver:   \"s%03d.example.net:8883\"\n\t\t\tusername: \"hub\"\n\t\t\ttopics: [\"global/#\", \"fwd/%d/#\"]\n\t\t\tssl: {enable: true, cacertfile: \"ca.pem\"}\n\t\t}\n", i, i, i, i)
		files[fmt.Sprintf("s%03d.cue", i)] = fmt.Sprintf("package topology\n\nsites: s%03d: cluster: links: hub: {server: \"127.0.0.1:1\", topics: []}\n", i)
	}
	hub.WriteString("\t}\n}\n")
	if !clean {
		hub.WriteString("\n\n// End.\n")
	}
	files["hub.cue"] = hub.String()
	return sources(files)
}

func BenchmarkApply(b *testing.B) {
	for _, clean := range []bool{true, false} {
		b.Run(fmt.Sprintf("clean=%v", clean), func(b *testing.B) {
			fsys := hundred(clean)
			now := compile(b, fsys, nil)
			half, _ := now.Given("hub", "s050")
			half["topics"] = append(half["topics"].([]any), "new/#")
			e := []splice.LinkEdit{{Site: "hub", Peer: "s050", Want: half}}
			for b.Loop() {
				changed, err := splice.Apply(fsys, e, now)
				if err != nil || len(changed) != 1 {
					b.Fatal(changed, err)
				}
			}
		})
	}
}

func BenchmarkProve(b *testing.B) {
	fsys := hundred(true)
	now := compile(b, fsys, nil)
	half, _ := now.Given("hub", "s050")
	half["topics"] = append(half["topics"].([]any), "new/#")
	e := []splice.LinkEdit{{Site: "hub", Peer: "s050", Want: half}}
	changed, err := splice.Apply(fsys, e, now)
	if err != nil {
		b.Fatal(err)
	}
	next := with(fsys, changed)
	for b.Loop() {
		if _, err := splice.Prove(b.Context(), next, e, now, compiler.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
