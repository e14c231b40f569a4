package diagnostic_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"clink/diagnostic"
)

func schemaOf(t testing.TB, file string) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
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

func fits(s *jsonschema.Schema, text []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

// drawPos draws positions that make sense, and some that do not.
func drawPos(t *rapid.T) diagnostic.Pos {
	return diagnostic.Pos{
		File: rapid.SampledFrom([]string{"", "a.cue", "with space,and:colon%.cue", "/abs/ä.cue", "x\xff\n.cue"}).Draw(t, "file"),
		Line: rapid.IntRange(0, 5).Draw(t, "line"), Column: rapid.IntRange(0, 9).Draw(t, "column"),
		EndLine: rapid.IntRange(0, 6).Draw(t, "end line"), EndColumn: rapid.IntRange(0, 9).Draw(t, "end column"),
	}
}

func drawReport(t *rapid.T) diagnostic.Report {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\x00\x1b[31m", "::error::x\n::set-env", "]]>&<", "\xff\xfe", "a%0Ab"}))
	r := diagnostic.Report{
		Revision: text.Draw(t, "revision"), Sites: 2, Links: 1, Names: []string{"a", text.Draw(t, "site")}, Version: "v1",
		Prefix:  rapid.SampledFrom([]string{"", "deploy/x y"}).Draw(t, "prefix"),
		Sources: map[string][]byte{"a.cue": []byte("x\n" + text.Draw(t, "source") + "\nä𝄞 b\n")},
	}
	for range rapid.IntRange(0, 4).Draw(t, "findings") {
		d := diagnostic.Diagnostic{
			Rule:     rapid.OneOf(rapid.SampledFrom([]string{"one-sided", "schema"}), text).Draw(t, "rule"),
			Severity: rapid.SampledFrom([]diagnostic.Severity{diagnostic.Info, diagnostic.Warning, diagnostic.Error}).Draw(t, "severity"),
			Message:  text.Draw(t, "message"), Pos: drawPos(t), Help: text.Draw(t, "help"), Label: text.Draw(t, "label"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "related") {
			d.Related = append(d.Related, diagnostic.Related{Message: text.Draw(t, "related message"), Pos: drawPos(t)})
			d.Sites = append(d.Sites, text.Draw(t, "concerned"))
		}
		if rapid.Bool().Draw(t, "fix") {
			d.Fix = &diagnostic.Fix{Message: text.Draw(t, "fix message"), Edits: []diagnostic.Edit{{Pos: drawPos(t), Text: text.Draw(t, "fix text")}, {Pos: drawPos(t)}}}
		}
		if rapid.Bool().Draw(t, "waived") {
			d.Waiver = "because " + text.Draw(t, "reason")
			r.Waived = append(r.Waived, d)
			continue
		}
		r.Findings = append(r.Findings, d)
	}
	return r
}

// Whatever was found, each format is well-formed: SARIF by its official schema,
// JSON by the published one, JUnit as XML, workflow commands one a line.
func TestFormatsAreWellFormed(t *testing.T) {
	sarif, findings := schemaOf(t, "testdata/sarif-schema-2.1.0.json"), schemaOf(t, "../docs/findings.schema.json")
	rapid.Check(t, func(t *rapid.T) {
		r := drawReport(t)
		var b bytes.Buffer
		if err := errors.Join(r.WriteSARIF(&b), fits(sarif, b.Bytes())); err != nil {
			t.Fatalf("SARIF: %v\n%s", err, &b)
		}
		b.Reset()
		if err := errors.Join(r.WriteJSON(&b), fits(findings, b.Bytes())); err != nil {
			t.Fatalf("JSON: %v\n%s", err, &b)
		}
		b.Reset()
		if err := r.WriteJUnit(&b); err != nil {
			t.Fatal(err)
		}
		checkXML(t, b.String())
		b.Reset()
		if err := r.WriteGitHub(&b); err != nil {
			t.Fatal(err)
		}
		checkCommands(t, b.String(), len(r.Findings))
	})
}

func checkXML(t *rapid.T, text string) {
	dec := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("JUnit: %v\n%q", err, text)
		}
	}
}

func checkCommands(t *rapid.T, text string, want int) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if text == "" {
		lines = nil
	}
	if len(lines) != want || !utf8.ValidString(text) {
		t.Fatalf("%d lines for %d findings: %q", len(lines), want, text)
	}
	for _, l := range lines {
		name, rest, _ := strings.Cut(strings.TrimPrefix(l, "::"), " ")
		if name != "error" && name != "warning" && name != "notice" || strings.ContainsAny(l, "\r\x1b\x00") || !strings.Contains(rest, "::") {
			t.Fatalf("no workflow command: %q", l)
		}
	}
}

// What SARIF says of the two ends of a fault, of columns, and of fixes.
func TestSARIF(t *testing.T) {
	line := `links: "ä𝄞": {}`
	at := strings.Index(line, `"`) + 1
	pos := diagnostic.Pos{File: "a b.cue", Line: 1, Column: at, EndLine: 1, EndColumn: at + len(`"ä𝄞"`)}
	r := diagnostic.Report{
		Prefix: "deploy", Version: "v9", Sources: map[string][]byte{"a b.cue": []byte(line + "\n")},
		Findings: diagnostic.List{{
			Rule: "one-sided", Severity: diagnostic.Error, Message: "m", Pos: pos, Sites: []string{"a", "b"},
			Related: []diagnostic.Related{{Message: "its other half belongs here", Pos: diagnostic.Pos{File: "b.cue", Line: 3, Column: 2, EndLine: 3, EndColumn: 2}}},
			Fix:     &diagnostic.Fix{Message: "add it", Edits: []diagnostic.Edit{{Pos: diagnostic.Pos{File: "b.cue", Line: 3, Column: 2, EndLine: 3, EndColumn: 2}, Text: "x"}}},
		}},
	}
	var b bytes.Buffer
	if err := r.WriteSARIF(&b); err != nil {
		t.Fatal(err)
	}
	var log struct {
		Runs []struct {
			Results []struct {
				Locations, RelatedLocations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine, StartColumn, EndLine, EndColumn int }
					}
					Message struct{ Text string }
				}
				PartialFingerprints map[string]string
				Fixes               []struct {
					ArtifactChanges []struct {
						Replacements []struct {
							DeletedRegion   struct{ StartLine, StartColumn, EndLine, EndColumn int }
							InsertedContent struct{ Text string }
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	res := log.Runs[0].Results[0]
	here, there := res.Locations[0].PhysicalLocation, res.RelatedLocations[0]
	units := len(utf16.Encode([]rune(`"ä𝄞"`)))
	if here.ArtifactLocation.URI != "deploy/a%20b.cue" || here.Region.EndColumn-here.Region.StartColumn != units || here.Region.StartColumn != at {
		t.Errorf("location %+v, want %d units from %d", here, units, at)
	}
	if there.PhysicalLocation.ArtifactLocation.URI != "deploy/b.cue" || there.PhysicalLocation.Region.StartLine != 3 || there.Message.Text == "" {
		t.Errorf("related location %+v", there)
	}
	if e := res.Fixes[0].ArtifactChanges[0].Replacements[0]; e.InsertedContent.Text != "x" || e.DeletedRegion.StartColumn != 2 || e.DeletedRegion.EndColumn != 2 {
		t.Errorf("fix %+v", e)
	}
	moved := r
	moved.Findings = append(diagnostic.List{}, r.Findings...)
	moved.Findings[0].Pos.Line += 10
	var c bytes.Buffer
	if err := moved.WriteSARIF(&c); err != nil {
		t.Fatal(err)
	}
	if fp := res.PartialFingerprints["clink/v1"]; fp == "" || !strings.Contains(c.String(), fp) {
		t.Errorf("the fingerprint %q changed when the line moved", fp)
	}
}

// JUnit names files as SARIF does: as seen from the root of the checkout, where
// who shows the report looks for them.
func TestJUnitNamesFilesFromTheRoot(t *testing.T) {
	r := diagnostic.Report{Prefix: "deploy", Findings: diagnostic.List{
		{Rule: "one-sided", Severity: diagnostic.Error, Message: "m", Pos: diagnostic.Pos{File: "a.cue", Line: 1, Column: 2}},
		{Rule: "schema", Severity: diagnostic.Error, Message: "no position"},
	}}
	var b bytes.Buffer
	if err := r.WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Cases []struct {
			File string `xml:"file,attr"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Cases) != 2 || got.Cases[0].File != "deploy/a.cue" || got.Cases[1].File != "" {
		t.Errorf("files %+v", got.Cases)
	}
}

// Results that say the same in two places are two.
func TestSARIFTellsResultsApart(t *testing.T) {
	r := diagnostic.Report{Findings: diagnostic.List{
		{Rule: "schema", Message: "the file is not UTF-8", Pos: diagnostic.Pos{File: "a.cue", Line: 1, Column: 1}},
		{Rule: "schema", Message: "the file is not UTF-8", Pos: diagnostic.Pos{File: "b.cue", Line: 1, Column: 1}},
		{Rule: "topic-redundant", Message: "covered", Sites: []string{"a"}, Pos: diagnostic.Pos{File: "c.cue", Line: 1, Column: 1}},
		{Rule: "topic-redundant", Message: "covered", Sites: []string{"a"}, Pos: diagnostic.Pos{File: "c.cue", Line: 9, Column: 1}},
	}}
	var b bytes.Buffer
	if err := r.WriteSARIF(&b); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`"clink/v1": "([0-9a-f]+)"`).FindAllStringSubmatch(b.String(), -1) {
		seen[m[1]] = true
	}
	if len(seen) != len(r.Findings) {
		t.Errorf("%d fingerprints for %d results", len(seen), len(r.Findings))
	}
}

// No format repeats a credential that stands in the source beside a finding.
func TestFormatsKeepSecrets(t *testing.T) {
	src := `password: "hunter2"`
	r := diagnostic.Report{
		Sources:  map[string][]byte{"a.cue": []byte(src)},
		Findings: diagnostic.List{{Rule: "literal-secret", Severity: diagnostic.Warning, Message: "m", Pos: diagnostic.Pos{File: "a.cue", Line: 1, Column: 11, EndLine: 1, EndColumn: 20}}},
	}
	for name, write := range map[string]func(io.Writer) error{"sarif": r.WriteSARIF, "github": r.WriteGitHub, "junit": r.WriteJUnit, "json": r.WriteJSON} {
		var b bytes.Buffer
		if err := write(&b); err != nil || strings.Contains(b.String(), "hunter2") {
			t.Errorf("%s: %v %s", name, err, &b)
		}
	}
}
