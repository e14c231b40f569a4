package clink_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	clinkc "clink/cmd/clinkc/command"
)

// rulesPages tell of policy, each in its language, with the same files and the
// same outputs.
var rulesPages = []string{"docs/rules.md", "docs/rules.zh.md"}

var fence = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// The files that the pages on rules show, written one after the other, make
// clinkc say what the pages show next.
func TestDocsOnRules(t *testing.T) {
	for _, page := range rulesPages {
		t.Run(page, func(t *testing.T) {
			dir := t.TempDir()
			outputs, last := 0, ""
			for _, block := range fence.FindAllStringSubmatch(contents(t, page), -1) {
				switch kind, text := block[1], block[2]; kind {
				case "cue":
					writeBlock(t, filepath.Join(dir, "topology"), text)
					last = ""
				case "text":
					command, want, _ := strings.Cut(text, "\n")
					got := say(t, dir, strings.Fields(strings.TrimPrefix(command, "$ clinkc ")))
					if got != want {
						t.Errorf("%s says\n%s\nand the page\n%s", command, got, want)
					}
					if got == last {
						t.Errorf("the same output twice in a row shows nothing:\n%s", got)
					}
					outputs, last = outputs+1, got
				default:
					t.Errorf("a block of %s is tried by nobody", kind)
				}
			}
			if outputs < 4 {
				t.Errorf("only %d outputs", outputs)
			}
		})
	}
}

// writeBlock writes a block to the file that its first line names.
func writeBlock(t *testing.T, dir, text string) {
	t.Helper()
	first, _, _ := strings.Cut(text, "\n")
	name, ok := strings.CutPrefix(first, "// ")
	if !ok || !filepath.IsLocal(name) {
		t.Fatalf("a block does not begin with the name of its file: %q", first)
	}
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// say is all that clinkc prints.
func say(t *testing.T, dir string, args []string) string {
	t.Helper()
	var out bytes.Buffer
	c := clinkc.Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
	c.Main(append([]string{"-C", dir}, args...))
	return out.String()
}

// fieldsRule tells the names of all fields that a team's rules see.
const fieldsRule = `// rules/fields.cue
package rules

import "strings"

findings: fields: [
	for s, v in sites {site: s, message: "sites[s]: " + strings.Join([for k, _ in v {k}], " ")},
	for s, v in sites {site: s, message: "target: " + strings.Join([for k, _ in v.target {k}], " ")},
	for s, v in sites {site: s, message: "access: " + strings.Join([for k, _ in v.access {k}], " ")},
	for s, v in sites {site: s, message: "intent: " + strings.Join([for k, _ in v.intent {k}], " ")},
	for s, v in sites for p, l in v.links {site: s, message: "links[p]: " + strings.Join([for k, _ in l {k}], " ")},
	for s, v in sites for p, l in v.links {site: s, message: "ssl: " + strings.Join([for k, _ in l.ssl {k}], " ")},
	for s, v in sites for p, l in v.links {site: s, message: "resource_opts: " + strings.Join([for k, _ in l.resource_opts {k}], " ")},
	for s, v in sites for n, l in v.listeners {site: s, message: "listeners[n]: " + strings.Join([for k, _ in l {k}], " ")},
	for s, v in sites for n, l in v.listeners {site: s, message: "ssl: " + strings.Join([for k, _ in l.ssl {k}], " ")},
]
`

var fieldsRow = regexp.MustCompile("(?m)^\\| `(\\S+)` \\| (.*) \\|$")

// The fields that the pages list are those that there are: no less, and no
// more.
func TestDocsListTheFactsFields(t *testing.T) {
	dir := t.TempDir()
	first := fence.FindAllStringSubmatch(contents(t, rulesPages[0]), 2)
	for _, text := range []string{first[0][2], first[1][2], fieldsRule} {
		writeBlock(t, filepath.Join(dir, "topology"), text)
	}
	var report struct {
		Findings []struct{ Rule, Message string }
	}
	out := say(t, dir, []string{"vet", "--format", "json", "topology"})
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	there := map[string][]string{}
	for _, f := range report.Findings {
		if f.Rule != "fields" {
			continue
		}
		of, names, _ := strings.Cut(f.Message, ": ")
		l := strings.Fields(names)
		slices.Sort(l)
		if was, again := there[of]; again && !slices.Equal(was, l) {
			t.Errorf("%s has the fields %v, and elsewhere %v", of, l, was)
		}
		there[of] = l
	}
	if len(there) != 8 {
		t.Fatalf("the rule tells of %d kinds of structs: %s", len(there), out)
	}
	for _, page := range rulesPages {
		listed := map[string][]string{}
		for _, row := range fieldsRow.FindAllStringSubmatch(contents(t, page), -1) {
			if there[row[1]] != nil {
				listed[row[1]] = namesIn(row[2])
			}
		}
		for of, want := range there {
			if !slices.Equal(listed[of], want) {
				t.Errorf("%s: %s has the fields\n%v\nand the page lists\n%v", page, of, want, listed[of])
			}
		}
	}
}

var inTicks = regexp.MustCompile("`([^`]+)`")

// namesIn are the names in a cell, but for what stands in brackets after one.
func namesIn(cell string) []string {
	cell = regexp.MustCompile(` \([^)]*\)`).ReplaceAllString(cell, "")
	var l []string
	for _, m := range inTicks.FindAllStringSubmatch(cell, -1) {
		l = append(l, m[1])
	}
	slices.Sort(l)
	return l
}

// brokerPages show what is written into a topology for a node: in whole files,
// or as a part of a site.
var brokerPages = []string{
	"docs/broker.md", "docs/broker.zh.md", "docs/conformance.md", "docs/conformance.zh.md", "docs/clinkd.md", "docs/clinkd.zh.md",
}

// What the pages say to write fits the schema.
func TestDocsOnNodesFitTheSchema(t *testing.T) {
	for _, page := range brokerPages {
		t.Run(page, func(t *testing.T) {
			blocks := 0
			for _, block := range fence.FindAllStringSubmatch(contents(t, page), -1) {
				if block[1] != "cue" {
					continue
				}
				blocks++
				text := block[2]
				if !strings.HasPrefix(text, "sites:") {
					text = "sites: \"site-a\": {\n" + text + "}\n"
				}
				text += "sites: \"site-a\": cluster: links: \"site-b\": {server: \"127.0.0.1:1884\", topics: []}\n"
				dir := t.TempDir()
				writeBlock(t, filepath.Join(dir, "topology"), "// page.cue\npackage topology\n"+text)
				if got := say(t, dir, []string{"vet", "topology"}); strings.Contains(got, "[schema]") || strings.Contains(got, "[topic-") {
					t.Errorf("block %d:\n%s", blocks, got)
				}
			}
			if blocks == 0 {
				t.Error("no block")
			}
		})
	}
}
