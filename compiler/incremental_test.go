package compiler

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"clink/diagnostic"

	"pgregory.net/rapid"
)

var siteNames = []string{"a", "b", "c", "d-1"}

// A drawer writes random files of a topology, most of them good.
type drawer struct{ t *rapid.T }

func (d drawer) oneOf(l ...string) string { return rapid.SampledFrom(l).Draw(d.t, "") }

func (d drawer) site() string { return rapid.SampledFrom(siteNames).Draw(d.t, "site") }

func (d drawer) often(l ...string) string {
	if rapid.IntRange(0, 3).Draw(d.t, "rare") > 0 {
		return l[0]
	}
	return d.oneOf(l...)
}

func (d drawer) link(own string) string {
	peer := d.site()
	if peer == own {
		peer = d.often("b", "nowhere", own)
	}
	return fmt.Sprintf("%q: {%s, %s, username: \"u\", password: \"file://secrets/x\"%s}", peer,
		d.often(fmt.Sprintf("server: %q", peer+".example.net:1883"), `server: "`+own+`.example.net"`, `servr: "x"`, `server: 7`, `server: "c.example.net:1883,d:1"`),
		d.often(`topics: ["x/#"]`, `topics: ["x/#", "x/1"]`, `topics: ["a/#/b"]`, `topics: "x"`, `topics: [1, "y"]`, "enable: false"),
		d.often("", ", pool_size: 0", ", pool_size: 3", ", enable: false", ", ssl: enable: true", `, retry_interval: "5x"`, `, password: "file://secrets/x"`,
			` @clink(ignore="server-unknown,one-sided,unknown-site",reason="known",until="2026-10-01")`, `, pool_size: 3 @clink(ignore="few",reason="known")`,
			`, pool_size: 0x10`, `, topics: ["x/#"]`, `, "clientid": "same-"`, `, resource_opts: {inflight_window: 1_000}`, ", pool_size: -1", ", pool_size: int | *4"))
}

func (d drawer) body(own string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{\n\tlisteners: m: {bind: \"0.0.0.0:1883\", advertise: [%q]}\n\tcluster: links: {\n", own+".example.net:1883")
	for range rapid.IntRange(0, 3).Draw(d.t, "links") {
		b.WriteString("\t\t" + d.link(own) + "\n")
	}
	fmt.Fprintf(&b, "\t}\n%s}", d.often("", "\tcluster: name: \"other\"\n", "\ttarget: external: true\n", "\tlabels: x: _|_\n", "\tlet n = \"eu\"\n\tlabels: region: n\n",
		"\tfrob: 1\n", "\t@clink(ignore=\"one-sided\",reason=\"known\")\n", "\t@clink(ignore=\"frobs\",reason=\"x\")\n", "\tlabels: r: labels.s\n\tlabels: s: \"1\"\n", "\t_own: 1\n", "\tcluster: links: {for p in [\"a\", \"b\"] {(p): pool_size: 2}}\n", "\tlabels: z: missing\n", "\tlabels: {x: string}\n"))
	return b.String()
}

// file is the text of one file, in one of many styles.
func (d drawer) file() string {
	site, other := d.site(), d.site()
	top := d.often("", "// A comment\n\n", "@ignore()\n")
	text := fmt.Sprintf("sites: %q: %s\n", site, d.body(site))
	if rapid.Bool().Draw(d.t, "odd") {
		text = d.oddFile(site, other, text)
	}
	if strings.HasPrefix(text, "package") {
		return text
	}
	return top + "package topology\n\n" + text
}

func (d drawer) oddFile(site, other, text string) string {
	return d.oneOf(
		fmt.Sprintf("sites: {\n%q: %s\n%q: %s\n}\n", site, d.body(site), other, d.body(other)),
		text+text,
		text+"sites: "+`"`+site+`": labels: x: "y"`+"\n",
		"_names: [\"a\", \"b\", \"c\"]\nfor s in _names {sites: (s): cluster: links: {for p in _names if p != s {(p): {server: p + \".example.net\", topics: []}}}}\n",
		"sites: {for s in [\"a\", \"q\"] {(s): labels: made: \"1\"}}\n",
		"sites: [_]: cluster: links: [_]: pool_size: *4 | int\n",
		"sites: [_]: cluster: links: [_]: pool_size: 4\n",
		"_helper: {pool_size: 5}\n",
		fmt.Sprintf("sites: %q: cluster: links: %q: _helper\n", site, other),
		fmt.Sprintf("sites: %q: labels: r: sites.%q.labels.r\n", site, other),
		fmt.Sprintf("sites: %q: labels: r: \"1\"\n", site),
		fmt.Sprintf("sites: %q: cluster: links: %q: server: \"z:1\"\n", site, other),
		fmt.Sprintf("sites: %q: cluster: links: %q: server: sites.%q.listeners.m.advertise[0]\n", site, other, other),
		"policy: severity: \"one-sided\": \""+d.oneOf("off", "warning", "bad")+"\"\n",
		fmt.Sprintf("policy: flows: p: never: {topics: [\"x/#\"], from: {}, to: site: %q}\n", site), "policy: flows: p: always: {topics: [\"x/+\"], from: r: \"!2\"}\n",
		"policy: flows: {for k in [\"q\", \"r\"] {(k): always: {topics: [\"x/1\", k], to: {(k): \"1\", site: [\"a\", \"z\"]}}}}\n", "policy: flows: p: never: {topics: 5, to: site: [\"c\", 5]}\n",
		"policy: severity: \"one-sidd\": \"off\"\n", "policy: severity: few: \"warning\"\n", "policy: severity: \"server-unknown\": \"info\"\n",
		"@clink(ignore=\"one-sided\",reason=\"all\")\n"+text,
		"site: {}\n", "sits: a: {}\n", "sites: 5\n", "sites: a: 5\n", "sites: {}\n", "labels: missing\n",
		"sites: a: {{{\n", "sites: a: \"\n", "package other\n"+text,
		fmt.Sprintf("import \"strings\"\n\nsites: %q: labels: up: strings.ToUpper(\"x\")\n", site),
		fmt.Sprintf("import \"strings\"\n\nsites: %q: labels: up: \"x\"\n", site),
		fmt.Sprintf("import \"team.example/t/lib\"\n\nsites: %q: labels: up: lib.up\n", site),
		fmt.Sprintf("missing: \"m\"\nsites: %q: labels: a: missing\n", site),
		"sites: a: sites.a\n", "sites: a: cluster: links: b: sites.b\n", fmt.Sprintf("S=sites: %q: labels: x: S.b.labels.r\n", site),
		fmt.Sprintf("let m = {server: \"c.example.net\"}\nsites: %q: cluster: links: %q: m\n", site, other),
		"if sites.a != _|_ {sites: b: labels: seen: \"1\"}\n", "{sites: b: labels: r: \"2\"}\n", "sites: {...}\n", "sites?: {}\n", "sites: b?: labels: r: \"1\"\n", "sites: #x: 1\n", "#S: int\n",
		fmt.Sprintf("sites: %q: labels: r: \"#{\"\nsites: %q: labels: x: '''\n\tx\n\t'''\n", site, site),
	)
}

func compileWith(t failer, files fstest.MapFS, opts Options, together bool) *Result {
	src, err := readSource(context.Background(), files)
	if err != nil {
		t.Fatal(err)
	}
	c := &compilation{src: src, lost: map[string]string{}, watch: &stopwatch{}, together: together}
	r, err := c.compile(opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type failer interface {
	Fatal(...any)
	Fatalf(string, ...any)
}

// seen is all that a result means to others, Hold among them.
func seen(r *Result) map[string]any {
	return map[string]any{
		"topology": r.Topology, "findings": r.Findings, "sources": r.Sources, "lost": r.lost, "partial": r.partial,
		"tainted": r.tainted, "bad": r.bad, "masked": r.masked,
	}
}

func same(t failer, what string, files fstest.MapFS, got, want *Result) {
	g, w := seen(got), seen(want)
	for _, part := range slices.Sorted(maps.Keys(w)) {
		if reflect.DeepEqual(g[part], w[part]) {
			continue
		}
		var texts strings.Builder
		for _, name := range slices.Sorted(maps.Keys(files)) {
			fmt.Fprintf(&texts, "-- %s --\n%s", name, files[name].Data)
		}
		t.Fatalf("%s differ in %s:\ngot  %+v\nwant %+v\n%s\ngot %s\nwant %s", what, part, g[part], w[part], texts.String(), told(got.Findings), told(want.Findings))
	}
}

func told(l diagnostic.List) string {
	var b strings.Builder
	for _, d := range l {
		fmt.Fprintf(&b, "%s %s: %s %v %v\n", d.Pos, d.Rule, d.Message, d.Related, d.Holds)
	}
	return b.String()
}

// What is taken over from an earlier result is what would come of it anew,
// after any edits: findings, positions, values, and what Hold needs.
func TestIncrementalEqualsFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{t}
		files := fstest.MapFS{
			"cue.mod/module.cue": {Data: []byte("module: \"team.example/t\"\nlanguage: version: \"v0.17.0\"\n")},
			"lib/lib.cue":        {Data: []byte("package lib\n\nup: \"1\"\n")},
		}
		names := []string{"a.cue", "b.cue", "c.cue", "m.cue", "z.cue"}
		for i, name := range names[:3] {
			files[name] = &fstest.MapFile{Data: fmt.Appendf(nil, "package topology\n\nsites: %q: %s\n", siteNames[i], d.body(siteNames[i]))}
		}
		var previous *Result
		was := map[string][]byte{}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			now := time.Date(2026, time.Month(rapid.IntRange(9, 11).Draw(t, "month")), 1, 0, 0, 0, 0, time.UTC)
			got := compileWith(t, files, Options{Previous: previous, Now: now}, false)
			same(t, "incremental and full", files, got, compileWith(t, files, Options{Now: now}, false))
			previous = got
			d.edit(files, names, was)
		}
	})
}

// edit changes one file: makes, deletes, renames, mends, breaks or shifts it.
func (d drawer) edit(files fstest.MapFS, names []string, was map[string][]byte) {
	name := rapid.SampledFrom(names).Draw(d.t, "file")
	f := files[name]
	switch kind := rapid.IntRange(0, 10).Draw(d.t, "edit"); {
	case f == nil || kind < 4:
		files[name] = &fstest.MapFile{Data: []byte(d.file())}
	case kind == 4 && len(files) > 3:
		delete(files, name)
	case kind == 5 && was[name] != nil:
		files[name] = &fstest.MapFile{Data: was[name]}
	case kind == 6:
		files[name] = &fstest.MapFile{Data: append([]byte("// shifted\n"), f.Data...)}
	case kind == 7:
		files[name] = &fstest.MapFile{Data: append(slices.Clone(f.Data), "}"...)}
	case kind == 8:
		other := rapid.SampledFrom(names).Draw(d.t, "to")
		delete(files, name)
		files[other] = f
	case kind == 9:
		files["rules/own.cue"] = &fstest.MapFile{Data: []byte("package rules\n\n" + d.oneOf(
			"findings: few: [for s, v in sites for p, l in v.links if l.pool_size < 4 {site: s, peer: p, message: \"few\", field: \"pool_size\"}]\n",
			"findings: frobs: [for s, v in sites if v.labels.region == _|_ {site: s, message: \"no region\", severity: \"warning\"}]\n",
			"findings: few: [{site: \"nowhere\", message: \"x\"}]\n", "findings: few: missing\n", "findings: {{{\n"))}
	default:
		files["lib/lib.cue"] = &fstest.MapFile{Data: fmt.Appendf(nil, "package lib\n\nup: %q\n", d.oneOf("1", "2", ""))}
	}
	if f != nil {
		was[name] = f.Data
	}
}

// A file that stands alone means the same as among the others.
func TestAloneMeansTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{t}
		files := fstest.MapFS{}
		for i := range rapid.IntRange(1, 4).Draw(t, "files") {
			text := d.file()
			// An explicit _|_ costs its whole file, unless CUE happens to tell of
			// another fault first: alone it always does.
			text = strings.ReplaceAll(text, "_|_", `"bottom"`)
			// CUE tells once of references with one name that are not found in
			// several files, and not always of the same.
			text = strings.ReplaceAll(text, "missing", fmt.Sprint("missing", i))
			files[fmt.Sprintf("f%d.cue", i)] = &fstest.MapFile{Data: []byte(text)}
		}
		same(t, "alone and together", files, compileWith(t, files, Options{}, false), compileWith(t, files, Options{}, true))
	})
}

// A chain of results keeps no more than the last.
func TestPreviousKeepsNoHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("many compilations")
	}
	files := fstest.MapFS{}
	for i := range 50 {
		text := fmt.Sprintf("package topology\n\nsites: s%d: {\n\tlisteners: m: {bind: \":1883\", advertise: [\"h%d:1883\"]}\n\tcluster: links: {\n", i, i)
		for _, p := range []int{(i + 49) % 50, (i + 1) % 50} {
			text += fmt.Sprintf("\t\ts%d: {server: \"h%d:1883\", topics: [\"t/#\"], username: \"u%d\", password: \"file://secrets/s%d\"}\n", p, p, i, i)
		}
		files[fmt.Sprintf("s%d.cue", i)] = &fstest.MapFile{Data: []byte(text + "\t}\n}\n")}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	good := files["s7.cue"].Data
	var previous *Result
	var before uint64
	for i := range 520 {
		if i == 20 {
			before = heap()
		}
		files["s7.cue"] = &fstest.MapFile{Data: fmt.Appendf(slices.Clone(good), "// %d\n", i)}
		r, err := Compile(context.Background(), files, Options{Previous: previous})
		if err != nil || len(r.Findings) != 0 {
			t.Fatal(err, r)
		}
		previous = r
	}
	const most = 5 << 20
	if after := heap(); after > before+most {
		t.Errorf("500 compilations grew the heap from %d to %d bytes, by more than %d", before, after, most)
	}
	runtime.KeepAlive(previous)
}

// An evaluation that takes memory out of all proportion is given up.
func TestMemoryIsBounded(t *testing.T) {
	stop, ended := make(chan struct{}), make(chan struct{})
	watch := &stopwatch{}
	watch.doing("a.cue")
	runtime.GC() // what other tests left would be taken for what was there before
	err := bounded(t.Context(), watch, 32<<20, func() error {
		defer close(ended)
		held := make([]byte, 128<<20)
		<-stop
		runtime.KeepAlive(held)
		return nil
	})
	close(stop)
	<-ended
	if err == nil || err.Error() != "evaluating a.cue given up: it took more than 32 MiB of memory; look there for a comprehension or a reference that never ends" {
		t.Error(err)
	}
}
