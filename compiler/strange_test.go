package compiler_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"clink/compiler"
)

// halved is a link of a that b has no half of, with what stands behind it.
func halved(behind string) string {
	return "package topology\nsites: a: {listeners: m: bind: \"127.0.0.1:1883\", cluster: links: b: {server: \"127.0.0.1:2883\", username: \"a\", password: \"env://X\", topics: [\"t\"]}" +
		behind + "}\nsites: b: listeners: m: bind: \"127.0.0.1:2883\"\n"
}

// Strange waivers, severities and rules of a team: each is told where it stands,
// and what only follows from it is not.
func TestStrangePolicy(t *testing.T) {
	const (
		oneSided = "a.cue:2 one-sided a links to b, but b has no link back"
		waived   = ` @clink(ignore="one-sided",reason="x")`
	)
	rule := func(name string) string { return "package rules\nfindings: " + name }
	found := `: [{site: "a", message: "m"}]`
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"a key twice", map[string]string{"a.cue": halved(` @clink(ignore="one-sided",reason="x",until="2099-01-01",until="2020-01-01")`)},
			[]string{oneSided, `a.cue:2 schema @clink: until stands twice`}},
		{"a reason twice", map[string]string{"a.cue": halved(` @clink(ignore="one-sided",reason="x",reason="y")`)},
			[]string{oneSided, `a.cue:2 schema @clink: reason stands twice`}},
		{"in a let", map[string]string{"a.cue": "package topology\nlet w = {@clink(ignore=\"one-sided\",reason=\"x\")}\nsites: a: w\n"},
			[]string{"a.cue:2 waiver-expired the waiver of one-sided waives nothing here"}},
		{"a slip in a let", map[string]string{"a.cue": "package topology\nlet w = {labels: x: \"1\" @clink(ignore=\"one-sded\",reason=\"x\")}\nsites: a: w\n"},
			[]string{`a.cue:2 schema @clink: no rule is called "one-sded"; did you mean one-sided?`}},
		{"in the rules", map[string]string{"a.cue": halved(waived), "rules/r.cue": rule(`x: [{site: "b", message: "m"}] @clink(ignore="x",reason="y")`)},
			[]string{"a.cue:3 x m", "rules/r.cue:2 waiver-expired the waiver of x waives nothing here"}},

		{"a rule without a name", map[string]string{"a.cue": halved(waived), "rules/r.cue": rule(`""` + found)},
			[]string{`rules/r.cue:2 schema "" cannot be a rule's name`}},
		{"a rule that no waiver can name", map[string]string{"a.cue": halved(waived), "rules/r.cue": rule(`"x,y"` + found)},
			[]string{`rules/r.cue:2 schema "x,y" cannot be a rule's name`}},
		{"a rule that no line can hold", map[string]string{"a.cue": halved(waived), "rules/r.cue": rule(`"x]\n[y"` + found)},
			[]string{`rules/r.cue:2 schema "x]\n[y" cannot be a rule's name`}},
		{"a rule in another script", map[string]string{"a.cue": halved(` @clink(ignore="one-sided, 加密连接",reason="x")`), "rules/r.cue": rule(`"加密连接": [{site: "a", peer: "b", message: "m"}]`)}, nil},
		{"a rule that may not be", map[string]string{"a.cue": halved(waived) + "policy: severity: {y: \"info\", z: \"off\"}\n", "rules/r.cue": rule(`{if sites.a.host == "h" {y` + found + `}, z` + found + `}`)}, nil},
		{"a rule that may not be, beside a slip", map[string]string{"a.cue": halved(waived) + "policy: severity: {\"one-sidd\": \"info\"}\n", "rules/r.cue": rule(`{if sites.a.host == "h" {y` + found + `}}`)},
			[]string{"a.cue:4 schema no rule is called one-sidd; did you mean one-sided?"}},
		{"rules that do not parse", map[string]string{"a.cue": halved(waived) + "policy: severity: {x: \"info\"}\nsites: b: labels: l: \"1\" @clink(ignore=\"x,y\",reason=\"z\")\n", "rules/r.cue": rule(`x: [`), "rules/s.cue": rule("y" + found)},
			[]string{"rules/r.cue:2 schema the file does not parse"}},
		{"rules that fail", map[string]string{"a.cue": halved(waived + ` @clink(ignore="x",reason="y")`), "rules/r.cue": rule(`x: [for s, v in sites {site: s, message: v.hots}]`)},
			[]string{"rules/r.cue:2 schema rule x: undefined field: hots"}},
		{"a rule in a site's package", map[string]string{"a.cue": halved(waived), "rules/r.cue": "package topology\nfindings: x: []\n"},
			[]string{"rules/r.cue:1 schema the files in rules/ are package rules"}},

		{"a waiver beside a fault that silences", map[string]string{"a.cue": strings.Replace(halved(waived), `"127.0.0.1:2883", u`, `5, u`, 1) + "sites: b: cluster: links: a: {server: \"127.0.0.1:1883\", topics: 7, username: \"b\", password: \"env://X\"}\n"},
			[]string{"a.cue:2 schema server must be", "a.cue:4 schema topics must be"}},
		{"a waiver beside a file that is lost", map[string]string{"a.cue": strings.Split(halved(waived), "\nsites: b")[0], "b.cue": "package topology\nsites: b: {"},
			[]string{"b.cue:2 schema the file does not parse"}},
		{"a waiver far from a fault", map[string]string{"a.cue": halved(waived), "c.cue": "package topology\nsites: c: {colour: 1}\nsites: d: labels: x: \"1\" @clink(ignore=\"one-sided\",reason=\"x\")\n"},
			[]string{"c.cue:2 schema unknown field colour", "c.cue:3 waiver-expired the waiver of one-sided waives nothing here"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := fstest.MapFS{}
			for name, text := range tt.files {
				m[name] = &fstest.MapFile{Data: []byte(text)}
			}
			tells(t, m, tt.want)
		})
	}
}

// tells compiles the files, and compares what is found with what is wanted: the
// place, the rule and how the message begins.
func tells(t *testing.T, files fstest.MapFS, want []string) {
	t.Helper()
	r, err := compiler.Compile(t.Context(), files, compiler.Options{Now: vetted})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	ok := len(r.Findings) == len(want)
	for i, d := range r.Findings {
		line := fmt.Sprintf("%s:%d %s %s", d.Pos.File, d.Pos.Line, d.Rule, d.Message)
		got = append(got, line)
		ok = ok && i < len(want) && strings.HasPrefix(line, want[i])
	}
	if !ok {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What a template in a package of its own gives to links can be waived there,
// where the finding is told.
func TestWaiversInImportedPackages(t *testing.T) {
	template := func(waiver string) string {
		return "package tpl\n#Link: {server: \"127.0.0.1:9999\"" + waiver + ", username: \"u\", password: \"env://X\", topics: []}\n"
	}
	files := map[string]string{
		"cue.mod/module.cue": "module: \"ex.org/t\"\nlanguage: version: \"v0.9.0\"\n",
		"a.cue":              "package topology\nimport \"ex.org/t/tpl\"\nsites: a: {listeners: m: bind: \"127.0.0.1:1883\", cluster: links: b: tpl.#Link}\n",
		"b.cue":              "package topology\nsites: b: {listeners: m: bind: \"127.0.0.1:2883\", cluster: links: a: {server: \"127.0.0.1:1883\", username: \"b\", password: \"env://X\", topics: [\"t\"]}}\n",
	}
	for name, tt := range map[string]struct {
		waiver string
		want   []string
	}{
		"none":         {"", []string{"tpl/t.cue:2 server-unknown"}},
		"one":          {` @clink(ignore="server-unknown",reason="x")`, nil},
		"one too many": {` @clink(ignore="server-unknown,one-sided",reason="x")`, []string{"tpl/t.cue:2 waiver-expired the waiver of one-sided"}},
		"a slip":       {` @clink(ignore="server-unknow",reason="x")`, []string{"tpl/t.cue:2 server-unknown", "tpl/t.cue:2 schema @clink"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := fstest.MapFS{}
			for file, text := range maps.All(files) {
				m[file] = &fstest.MapFile{Data: []byte(text)}
			}
			m["tpl/t.cue"] = &fstest.MapFile{Data: []byte(template(tt.waiver))}
			tells(t, m, tt.want)
		})
	}
}

// A help of several lines is told in one.
func TestTeamHelpIsOneLine(t *testing.T) {
	r, err := compiler.Compile(t.Context(), fstest.MapFS{
		"a.cue":       {Data: []byte("package topology\nsites: a: {}\n")},
		"rules/r.cue": {Data: []byte("package rules\nfindings: x: [{site: \"a\", message: \"m\", help: \"\"\"\n\tdo this\n\tand that\n\t\"\"\"}]\n")},
	}, compiler.Options{})
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Help != "do this and that" {
		t.Errorf("%v, %v", r.Findings, err)
	}
}
