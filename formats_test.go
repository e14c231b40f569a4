package clink_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	clinkc "clink/cmd/clinkc/command"
)

// compileSchema reads a JSON Schema.
func compileSchema(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("file:///schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("file:///schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decode reads a JSON document that fits its schema.
func decode(t *testing.T, s *jsonschema.Schema, text string, into any) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil {
		err = errors.Join(s.Validate(doc), json.Unmarshal([]byte(text), into))
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// vetAs runs clinkc vet over a topology, and returns what it writes to standard
// output and its status.
func vetAs(t *testing.T, format, dir string) (string, int) {
	t.Helper()
	var out, errs bytes.Buffer
	c := clinkc.Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	code := c.Main([]string{"vet", "--format", format, dir})
	if code > 1 || format != "text" && errs.Len() > 0 {
		t.Fatalf("%s: status %d: %s", format, code, &errs)
	}
	return out.String(), code
}

// A findingsDoc is the part of the JSON form that the other forms are held to.
type findingsDoc struct {
	Findings []struct {
		Rule, Severity string
		Pos            struct{ File string }
		Related        []struct{ Pos struct{ File string } }
		Fix            *struct{}
	}
	Summary struct{ Errors, Waived int }
}

// A sarifDoc is the part of SARIF that the tests look at.
type sarifDoc struct {
	Runs []struct {
		Results []struct {
			RuleID, Level               string
			Locations, RelatedLocations []sarifPlace
			Fixes                       []struct{}
			PartialFingerprints         map[string]string
			Suppressions                []struct{ Kind, Justification string }
		}
	}
}

type sarifPlace struct {
	PhysicalLocation struct {
		ArtifactLocation struct{ URI, URIBaseID string }
	}
}

// Over the whole corpus every form is well-formed, by its schema where it has
// one, they tell the same findings, and the status is the same in all of them.
func TestFormatsOverTheCorpus(t *testing.T) {
	forJSON, forSARIF := compileSchema(t, "docs/findings.schema.json"), compileSchema(t, "diagnostic/testdata/sarif-schema-2.1.0.json")
	cases, err := filepath.Glob("testdata/topologies/*/*")
	if err != nil || len(cases) < 150 {
		t.Fatal(len(cases), err)
	}
	for i, dir := range cases {
		if testing.Short() && i%4 > 0 {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			_, status := vetAs(t, "text", dir)
			text, inJSON := vetAs(t, "json", dir)
			var found findingsDoc
			decode(t, forJSON, text, &found)
			text, inSARIF := vetAs(t, "sarif", dir)
			var log sarifDoc
			decode(t, forSARIF, text, &log)
			if inJSON != status || inSARIF != status || (status == 1) != (found.Summary.Errors > 0) {
				t.Errorf("status %d as text, %d as JSON, %d as SARIF, with %d errors", status, inJSON, inSARIF, found.Summary.Errors)
			}
			sameFindings(t, dir, found, log)
			checkJUnit(t, dir, status, found)
			checkGitHub(t, dir, status, found)
		})
	}
}

// sameFindings checks that SARIF tells the same as JSON: each finding, at its
// place, with the other places, and with its fix.
func sameFindings(t *testing.T, dir string, found findingsDoc, log sarifDoc) {
	t.Helper()
	if len(log.Runs) != 1 || len(log.Runs[0].Results) != len(found.Findings)+found.Summary.Waived {
		t.Fatalf("%d findings and %d that are waived, and in SARIF %+v", len(found.Findings), found.Summary.Waived, log.Runs)
	}
	for i, r := range log.Runs[0].Results {
		if waived := i >= len(found.Findings); waived != (len(r.Suppressions) == 1 && r.Suppressions[0].Kind == "inSource" && r.Suppressions[0].Justification != "") {
			t.Errorf("result %d of %d findings: %+v", i, len(found.Findings), r)
		}
	}
	level := map[string]string{"error": "error", "warning": "warning", "info": "note"}
	for i, f := range found.Findings {
		r := log.Runs[0].Results[i]
		if r.RuleID != f.Rule || r.Level != level[f.Severity] || len(r.PartialFingerprints) == 0 || (f.Fix != nil) != (len(r.Fixes) > 0) {
			t.Errorf("%s: finding %+v is the result %+v", dir, f, r)
		}
		places, files := append(r.Locations, r.RelatedLocations...), []string{f.Pos.File}
		for _, rel := range f.Related {
			files = append(files, rel.Pos.File)
		}
		for n, file := range files {
			at := ""
			if n < len(places) {
				at = places[n].PhysicalLocation.ArtifactLocation.URI
			}
			// The working directory is the root of the checkout here.
			if want := filepath.ToSlash(filepath.Join(dir, file)); at != want || len(places) != len(files) {
				t.Errorf("%s is at %q, want %q of %d places", f.Rule, at, want, len(files))
			}
		}
	}
}

// checkJUnit checks that what fails in JUnit are the errors.
func checkJUnit(t *testing.T, dir string, status int, found findingsDoc) {
	t.Helper()
	text, code := vetAs(t, "junit", dir)
	var report struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Failure *struct{} `xml:"failure"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal([]byte(text), &report); err != nil || code != status {
		t.Fatalf("JUnit: status %d, %v\n%s", code, err, text)
	}
	failed := 0
	for _, c := range report.Cases {
		if c.Failure != nil {
			failed++
		}
	}
	if failed != found.Summary.Errors || failed != report.Failures || len(report.Cases) != report.Tests || report.Tests == 0 {
		t.Errorf("JUnit: %d errors, and %d of %d cases fail\n%s", found.Summary.Errors, failed, report.Tests, text)
	}
}

// checkGitHub checks that there is a workflow command for each finding.
func checkGitHub(t *testing.T, dir string, status int, found findingsDoc) {
	t.Helper()
	text, code := vetAs(t, "github", dir)
	command := map[string]string{"error": "error", "warning": "warning", "info": "notice"}
	lines := slices.Collect(strings.Lines(text))
	if len(lines) != len(found.Findings) || code != status {
		t.Fatalf("%d findings, %d commands, status %d\n%s", len(found.Findings), len(lines), code, text)
	}
	for i, f := range found.Findings {
		if want := fmt.Sprintf("::%s file=%s/%s,", command[f.Severity], filepath.ToSlash(dir), f.Pos.File); !strings.HasPrefix(lines[i], want) {
			t.Errorf("%q does not begin with %q", lines[i], want)
		}
	}
}

// The forms over trees that are not in the corpus: what is clean, and the two
// ends of a link that has one half.
func TestFormatsShowBothEnds(t *testing.T) {
	forSARIF := compileSchema(t, "diagnostic/testdata/sarif-schema-2.1.0.json")
	trees := map[string]map[string]string{
		"clean":     {"a.cue": "package topology\n\nsites: a: listeners: mqtt: bind: \"127.0.0.1:1001\"\n"},
		"one-sided": {"a.cue": "package topology\n\nsites: a: cluster: links: b: {server: \"127.0.0.1:1002\", topics: [], username: \"a\", password: \"env://A\"}\n", "over there.cue": "package topology\n\nsites: b: listeners: mqtt: bind: \"127.0.0.1:1002\"\n"},
		"unparsed":  {"a.cue": "package topology\n\nsites: {\n"},
	}
	ends := map[string][]string{"clean": nil, "one-sided": {"a.cue", "over%20there.cue"}, "unparsed": {"a.cue"}}
	for _, name := range slices.Sorted(maps.Keys(trees)) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range trees[name] {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			t.Chdir(dir)
			text, code := vetAs(t, "sarif", ".")
			var log sarifDoc
			decode(t, forSARIF, text, &log)
			var got []string
			for _, r := range log.Runs[0].Results {
				for _, p := range append(r.Locations, r.RelatedLocations...) {
					got = append(got, p.PhysicalLocation.ArtifactLocation.URI)
				}
			}
			if !slices.Equal(got, ends[name]) || (code == 1) != (len(got) > 0) {
				t.Errorf("status %d, places %q, want %q", code, got, ends[name])
			}
		})
	}
}
