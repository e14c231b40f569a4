package command_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A fleet is a ring of sites, a file each, written by people with different
// habits.
const fleetSize = 20

func plant(i int) string { return fmt.Sprintf("plant-%02d", (i+fleetSize-1)%fleetSize+1) }

func plantFile(i int) string { return strings.ReplaceAll(plant(i), "-", "_") + ".cue" }

func plantAddress(i int) string {
	return fmt.Sprintf("127.0.0.1:%d", 2000+(i+fleetSize-1)%fleetSize+1)
}

// nested is how the manual writes a site; the lines end in newline.
func nested(i int, newline, indent string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "// %s is in the north hall.\npackage topology\n\nsites: %q: {\n\tlabels: {hall: \"north\"} // policies select by it\n\n", plant(i), plant(i))
	fmt.Fprintf(&b, "\tlisteners: mqtt: bind: %q\n\taccess: anonymous: true\n\tcluster: {\n\t\tname: %q\n\t\tlinks: {\n", plantAddress(i), plant(i))
	for _, p := range neighbours(i) {
		fmt.Fprintf(&b, "\t\t\t// the neighbour %[1]s\n\t\t\t%[1]q: {\n\t\t\t\tserver: %[2]q // in the same hall\n\t\t\t\ttopics: [\n\t\t\t\t\t\"global/#\",\n\t\t\t\t\t\"line/+/status\", // alarms too\n\t\t\t\t]\n", plant(p), plantAddress(p))
		fmt.Fprintf(&b, "\t\t\t\tusername: %q\n\t\t\t\tpassword: \"file://secrets/%s-to-%s\"\n\t\t\t}\n", plant(i), plant(i), plant(p))
	}
	b.WriteString("\t\t}\n\t}\n}\n// the end\n")
	return strings.ReplaceAll(strings.ReplaceAll(b.String(), "\t", indent), "\n", newline)
}

// chained is without braces where it can be, and oddly spaced.
func chained(i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "package   topology\nsites:%q:listeners:  mqtt: bind:%q\n\n\nsites:  %[1]q: access: anonymous:  true\n", plant(i), plantAddress(i))
	for _, p := range neighbours(i) {
		fmt.Fprintf(&b, "sites: %[1]q: cluster: links: %[2]q: {   server:   %[3]q\n      topics:   [\"global/#\"  , \"line/+/status\"],  username: %[1]q\n   password:\"file://secrets/%[1]s-to-%[2]s\" }\n", plant(i), plant(p), plantAddress(p))
	}
	return b.String()
}

// dense is all in one line, which does not end.
func dense(i int) string {
	var links []string
	for _, p := range neighbours(i) {
		links = append(links, fmt.Sprintf("%[2]q: {server: %[3]q, topics: [\"global/#\"], username: %[1]q, password: \"file://secrets/%[1]s-to-%[2]s\"}", plant(i), plant(p), plantAddress(p)))
	}
	return fmt.Sprintf("package topology\n\nsites: %q: {listeners: mqtt: bind: %q, access: anonymous: true, cluster: links: {%s}}", plant(i), plantAddress(i), strings.Join(links, ", "))
}

// neighbours are the sites before and after, in order of name.
func neighbours(i int) []int {
	switch i {
	case 1:
		return []int{2, fleetSize}
	case fleetSize:
		return []int{1, fleetSize - 1}
	}
	return []int{i - 1, i + 1}
}

// fleet is the files of all sites. Nothing is wrong with them.
func fleet() map[string]string {
	files := map[string]string{}
	for i := 1; i <= fleetSize; i++ {
		switch i % 4 {
		case 0:
			files[plantFile(i)] = nested(i, "\r\n", "    ")
		case 1:
			files[plantFile(i)] = nested(i, "\n", "\t")
		case 2:
			files[plantFile(i)] = chained(i)
		case 3:
			files[plantFile(i)] = dense(i)
		}
	}
	return files
}

// An instead is one place of a file, and another text for it.
type instead struct{ file, old, new string }

func (x instead) in(t *testing.T, files map[string]string) {
	t.Helper()
	if n := strings.Count(files[x.file], x.old); n != 1 {
		t.Fatalf("%s has %d times %q", x.file, n, x.old)
	}
	files[x.file] = strings.Replace(files[x.file], x.old, x.new, 1)
}

// A fault is planted, found where its author would edit, and perhaps mended.
type fault struct {
	rule  string
	plant instead
	file  string // where it is found: at what comes first in the place
	place string
	mend  *instead
}

var halfToNine = crlf(`            // the neighbour plant-09
            "plant-09": {
                server: "127.0.0.1:2009" // in the same hall
                topics: [
                    "global/#",
                    "line/+/status", // alarms too
                ]
                username: "plant-08"
                password: "file://secrets/plant-08-to-plant-09"
            }
`)

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// faults are ten of different rules. The places are as their authors wrote
// them.
func faults() []fault {
	return []fault{
		{
			rule:  "one-sided",
			plant: instead{"plant_08.cue", halfToNine, ""},
			file:  "plant_09.cue", place: `"plant-08": {`,
			mend: &instead{
				"plant_08.cue", crlf("-to-plant-07\"\n            }\n"),
				crlf("-to-plant-07\"\n            }\n            \"plant-09\": {\n                server: \"127.0.0.1:2009\"\n                topics: []\n            }\n"),
			},
		},
		{
			rule:  "enable-mismatch",
			plant: instead{"plant_02.cue", `"plant-03": {   server`, `"plant-03": {   enable: false, server`},
			file:  "plant_03.cue", place: `"plant-02": {`,
			mend: &instead{"plant_03.cue", `"file://secrets/plant-03-to-plant-02"}`, `"file://secrets/plant-03-to-plant-02", enable: false}`},
		},
		{
			rule:  "server-unknown",
			plant: instead{"plant_05.cue", `"127.0.0.1:2006"`, `"127.0.0.1:2106"`},
			file:  "plant_05.cue", place: `"127.0.0.1:2106"`,
			mend: &instead{"plant_05.cue", `"127.0.0.1:2106"`, `"127.0.0.1:2006"`},
		},
		{
			rule:  "topic-redundant",
			plant: instead{"plant_12.cue", crlf("// alarms too\n                ]\n                username: \"plant-12\"\n                password: \"file://secrets/plant-12-to-plant-13\""), crlf("// alarms too\n                    \"line/1/status\",\n                ]\n                username: \"plant-12\"\n                password: \"file://secrets/plant-12-to-plant-13\"")},
			file:  "plant_12.cue", place: `"line/1/status"`,
			mend: &instead{"plant_12.cue", crlf("                    \"line/1/status\",\n"), ""},
		},
		{
			rule:  "name-mismatch",
			plant: instead{"plant_13.cue", "\tname: \"plant-13\"", "\tname: \"plant-31\""},
			file:  "plant_13.cue", place: `"plant-31"`,
			mend: &instead{"plant_13.cue", `"plant-31"`, `"plant-13"`},
		},
		{
			rule:  "server-is-self",
			plant: instead{"plant_15.cue", `"127.0.0.1:2016"`, `"127.0.0.1:2015"`},
			file:  "plant_15.cue", place: `"127.0.0.1:2015", topics`,
			mend: &instead{"plant_15.cue", `"127.0.0.1:2015", topics`, `"127.0.0.1:2016", topics`},
		},
		{
			rule:  "topic-invalid",
			plant: instead{"plant_17.cue", "\"line/+/status\", // alarms too\n\t\t\t\t]\n\t\t\t\tusername: \"plant-17\"\n\t\t\t\tpassword: \"file://secrets/plant-17-to-plant-18\"", "\"line/#/status\", // alarms too\n\t\t\t\t]\n\t\t\t\tusername: \"plant-17\"\n\t\t\t\tpassword: \"file://secrets/plant-17-to-plant-18\""},
			file:  "plant_17.cue", place: `"line/#/status"`,
		},
		{
			rule:  "unknown-site",
			plant: instead{"plant_19.cue", `"plant-18": {`, `"plant-l8": {`},
			file:  "plant_19.cue", place: `"plant-l8": {`,
		},
		{
			rule:  "schema",
			plant: instead{"plant_10.cue", `"plant-11": {   server:`, `"plant-11": {   servre:`},
			file:  "plant_10.cue", place: `servre`,
		},
		{
			rule:  "redacted-secret",
			plant: instead{"plant_20.cue", `"file://secrets/plant-20-to-plant-01"`, `"******"`},
			file:  "plant_20.cue", place: `"******"`,
		},
	}
}

// at is the rule and where in the file it is found.
func (f fault) at(t *testing.T, files map[string]string) string {
	t.Helper()
	text := files[f.file]
	if n := strings.Count(text, f.place); n != 1 {
		t.Fatalf("%s has %d times %q", f.file, n, f.place)
	}
	before := text[:strings.Index(text, f.place)]
	return fmt.Sprintf("%s %s:%d:%d", f.rule, f.file, strings.Count(before, "\n")+1, len(before)-strings.LastIndexByte(before, '\n'))
}

func (v vetted) places() []string {
	var l []string
	for _, f := range v.Findings {
		l = append(l, f.Rule+" "+f.Pos.String())
	}
	slices.Sort(l)
	return l
}

// A fleet of twenty sites with ten different faults: one run reports these ten
// and nothing else, each where its author would edit; --fix mends what is
// certain and touches no other byte; a second run reports the rest.
func TestTenFaultsInTwentySites(t *testing.T) {
	files := fleet()
	dir := t.TempDir()
	writeAll(t, dir, files)
	if v, _ := vetJSON(t, dir); len(v.Findings) > 0 {
		t.Fatalf("before any fault is planted: %v", v.Findings)
	}
	for _, f := range faults() {
		f.plant.in(t, files)
	}
	writeAll(t, dir, files)
	mended := maps.Clone(files)
	var all, rest []string
	for _, f := range faults() {
		all = append(all, f.at(t, files))
		if f.mend != nil {
			f.mend.in(t, mended)
		}
	}
	for _, f := range faults() {
		if f.mend == nil {
			rest = append(rest, f.at(t, mended))
		}
	}
	// The half that is added has no credential: that is for its author to choose.
	rest = append(rest, fault{rule: "peer-unauthenticated", file: "plant_08.cue", place: `"plant-09": {`}.at(t, mended))
	slices.Sort(all)
	slices.Sort(rest)
	first, _ := vetJSON(t, dir)
	equal(t, "the first run", first.places(), all)
	fixed, _ := vetJSON(t, "--fix", dir)
	equal(t, "--fix", fixed.places(), rest)
	for name, want := range mended {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, []byte(want)) {
			t.Errorf("%s is %q, want %q: %v", name, got, want, err)
		}
	}
	second, _ := vetJSON(t, dir)
	equal(t, "the second run", second.places(), rest)
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s reports\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func writeAll(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
