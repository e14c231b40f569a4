package diagnostic

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// The parts of SARIF 2.1.0 that are written here; the names are the
// specification's.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool                `json:"tool"`
		ColumnKind string                   `json:"columnKind"`
		BaseIDs    map[string]sarifArtifact `json:"originalUriBaseIds"`
		Results    []sarifResult            `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string      `json:"id"`
		Short   sarifText   `json:"shortDescription"`
		Full    sarifText   `json:"fullDescription"`
		Help    sarifText   `json:"help"`
		Default sarifConfig `json:"defaultConfiguration"`
	}
	sarifConfig struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    *int              `json:"ruleIndex,omitempty"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Related      []sarifLocation   `json:"relatedLocations,omitempty"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Fixes        []sarifFix        `json:"fixes,omitempty"`
		// Either all results of a log have the list, or none does.
		Suppressions []sarifSuppression `json:"suppressions,omitzero"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
	sarifLocation struct {
		ID       *int          `json:"id,omitempty"`
		Physical sarifPhysical `json:"physicalLocation"`
		Message  *sarifText    `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI         string     `json:"uri,omitempty"`
		BaseID      string     `json:"uriBaseId,omitempty"`
		Description *sarifText `json:"description,omitempty"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
		EndLine     int `json:"endLine,omitempty"`
		EndColumn   int `json:"endColumn,omitempty"`
	}
	sarifFix struct {
		Description sarifText     `json:"description"`
		Changes     []sarifChange `json:"artifactChanges"`
	}
	sarifChange struct {
		Artifact     sarifArtifact      `json:"artifactLocation"`
		Replacements []sarifReplacement `json:"replacements"`
	}
	sarifReplacement struct {
		Deleted  sarifRegion `json:"deletedRegion"`
		Inserted sarifText   `json:"insertedContent"`
	}
)

const (
	sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	// sarifRoot is what relative addresses are relative to: the checkout.
	sarifRoot = "%SRCROOT%"
)

// WriteSARIF writes the report as a log of one run in SARIF 2.1.0. Addresses
// are relative to the root of the checkout (see [Report.Prefix]), columns are
// counted as SARIF does by default, in units of UTF-16.
//
// A result's partialFingerprints do not change when lines move. What is waived
// is a result with a suppression and the reason.
func (r Report) WriteSARIF(w io.Writer) error {
	s := sarifWriter{Report: r, all: slices.Concat(r.Findings, r.Waived), columns: columns{r.Sources, map[string][][]byte{}}, index: map[string]int{}, prints: map[string]int{}}
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "clinkc", Version: r.Version, Rules: s.rules()}},
		ColumnKind: "utf16CodeUnits",
		BaseIDs:    map[string]sarifArtifact{sarifRoot: {Description: &sarifText{"the root of the checkout"}}},
		Results:    []sarifResult{},
	}
	for _, d := range s.all {
		run.Results = append(run.Results, s.result(d))
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(sarifLog{sarifSchema, "2.1.0", []sarifRun{run}}); err != nil {
		return fmt.Errorf("write findings as SARIF: %w", err)
	}
	return nil
}

type sarifWriter struct {
	Report
	all     List // what is found, and then what is waived
	columns columns
	index   map[string]int // of rules
	prints  map[string]int // fingerprints, and how often each was given
}

func level(s Severity) string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	case Info:
		return "note"
	}
	return "none"
}

// rules returns the catalogue, as far as it is built, and the rules of the
// team's own that found something.
func (s *sarifWriter) rules() []sarifRule {
	list := []sarifRule{}
	for _, r := range Rules() {
		if r.Explanation == nil {
			continue
		}
		s.index[r.Name] = len(list)
		list = append(list, sarifRule{
			ID: r.Name, Short: sarifText{r.Summary}, Full: sarifText{r.Explanation.What},
			Help:    sarifText{r.Explanation.Why + "\n\nclinkc explain " + r.Name + " shows an example and how to mend it."},
			Default: sarifConfig{level(r.Severity)},
		})
	}
	for _, d := range s.all {
		if _, known := s.index[d.Rule]; known || d.Rule == "" {
			continue
		}
		s.index[d.Rule] = len(list)
		own := sarifText{"a rule of this topology's own"}
		list = append(list, sarifRule{ID: d.Rule, Short: own, Full: own, Help: own, Default: sarifConfig{level(d.Severity)}})
	}
	return list
}

func (s *sarifWriter) result(d Diagnostic) sarifResult {
	res := sarifResult{
		RuleID: d.Rule, Level: level(d.Severity), Message: sarifText{d.Message},
		Locations:    []sarifLocation{{Physical: s.physical(d.Pos)}},
		Fingerprints: map[string]string{"clink/v1": s.fingerprint(d)},
	}
	if len(s.Waived) > 0 {
		res.Suppressions = []sarifSuppression{}
	}
	if d.Waiver != "" {
		res.Suppressions = append(res.Suppressions, sarifSuppression{"inSource", d.Waiver})
	}
	if i, ok := s.index[d.Rule]; ok {
		res.RuleIndex = &i
	}
	if help := d.help(); help != "" {
		res.Message.Text += "\n" + help
	}
	for i, r := range d.Related {
		res.Related = append(res.Related, sarifLocation{ID: &i, Physical: s.physical(r.Pos), Message: &sarifText{r.Message}})
	}
	if d.Fix != nil && len(d.Fix.Edits) > 0 {
		res.Fixes = []sarifFix{s.fix(*d.Fix)}
	}
	return res
}

// fingerprint tells a result from all others of the log, and stays when lines
// move: of those that say the same in one file, the order counts.
func (s *sarifWriter) fingerprint(d Diagnostic) string {
	said := strings.Join(append([]string{d.Rule, d.Message, d.Pos.File}, d.Sites...), "\x00")
	s.prints[said]++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", said, s.prints[said]))
	return hex.EncodeToString(sum[:16])
}

func (s *sarifWriter) fix(f Fix) sarifFix {
	fix := sarifFix{Description: sarifText{f.Message}}
	at := map[string]int{}
	for _, e := range f.Edits {
		i, ok := at[e.Pos.File]
		if !ok {
			i = len(fix.Changes)
			at[e.Pos.File] = i
			fix.Changes = append(fix.Changes, sarifChange{Artifact: s.artifact(e.Pos.File)})
		}
		region := s.region(e.Pos)
		if region.EndColumn == 0 { // an insertion says where it ends
			region.EndLine, region.EndColumn = region.StartLine, max(region.StartColumn, 1)
			region.StartColumn = region.EndColumn
		}
		fix.Changes[i].Replacements = append(fix.Changes[i].Replacements, sarifReplacement{region, sarifText{e.Text}})
	}
	return fix
}

func (s *sarifWriter) physical(p Pos) sarifPhysical {
	return sarifPhysical{s.artifact(p.File), s.region(p)}
}

func (s *sarifWriter) artifact(file string) sarifArtifact {
	return sarifArtifact{URI: uri(s.place(file)), BaseID: sarifRoot}
}

// region is p as SARIF has it: a line is always given, and an end only where
// there is one.
func (s *sarifWriter) region(p Pos) sarifRegion {
	r := sarifRegion{StartLine: max(p.Line, 1)}
	if p.Line < 1 || p.Column < 1 {
		return r
	}
	r.StartColumn = s.columns.utf16(p.File, p.Line, p.Column)
	if p.isRange() && p.EndColumn > 0 {
		r.EndLine, r.EndColumn = p.EndLine, s.columns.utf16(p.File, p.EndLine, p.EndColumn)
	}
	return r
}

// place is a file as seen from the root of the checkout; the directory itself
// for none.
func (r Report) place(file string) string {
	if path.IsAbs(file) {
		return file
	}
	return path.Join(r.Prefix, file)
}

// at is a position as seen from the root of the checkout.
func (r Report) at(p Pos) string {
	if p.File != "" {
		p.File = r.place(p.File)
	}
	return p.String()
}

// uri is a slash-separated name as a relative reference.
func uri(name string) string {
	if name == "" {
		return "."
	}
	u := url.URL{Path: strings.ToValidUTF8(name, "\uFFFD")}
	if path.IsAbs(name) {
		u.Scheme = "file"
	}
	return u.String()
}

// A columns counts columns in other units than bytes.
type columns struct {
	sources map[string][]byte
	lines   map[string][][]byte
}

// utf16 is the column, from 1, in units of UTF-16 of the byte at column, from
// 1, of a line. Without the source it is the same.
func (c columns) utf16(file string, line, column int) int {
	lines, ok := c.lines[file]
	if !ok {
		lines = bytes.Split(c.sources[file], []byte("\n"))
		c.lines[file] = lines
	}
	if line < 1 || line > len(lines) || column < 1 || column-1 > len(lines[line-1]) {
		return max(column, 1)
	}
	n := 1
	for text := lines[line-1][:column-1]; len(text) > 0; {
		r, size := utf8.DecodeRune(text)
		if n++; r > 0xFFFF {
			n++
		}
		text = text[size:]
	}
	return n
}
