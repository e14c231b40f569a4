package diagnostic

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The parts of a JUnit report that CI systems read.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Line    int           `xml:"line,attr,omitempty"`
		Failure *junitFailure `xml:"failure"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitFailure struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit XML: a suite for the topology, a case
// for each finding, and one that passes for each site without any. A finding
// below [Report.FailOn] is a case that passes and says what was found. Files are
// named as seen from the root of the checkout (see [Report.Prefix]).
func (r Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{Name: "clinkc vet"}
	troubled := map[string]bool{}
	for _, d := range r.Findings {
		c := r.junitCase(d)
		if c.Failure != nil {
			suite.Failures++
		}
		suite.Cases = append(suite.Cases, c)
		for _, s := range d.Sites {
			troubled[s] = true
		}
	}
	for _, s := range slices.Sorted(slices.Values(r.Names)) {
		if !troubled[s] {
			suite.Cases = append(suite.Cases, junitCase{Class: s, Name: "no findings"})
		}
	}
	suite.Tests = len(suite.Cases)
	text, err := xml.MarshalIndent(junitSuites{Tests: suite.Tests, Failures: suite.Failures, Suites: []junitSuite{suite}}, "", "  ")
	if err == nil {
		_, err = io.WriteString(w, xml.Header+string(text)+"\n")
	}
	if err != nil {
		return fmt.Errorf("write findings as JUnit: %w", err)
	}
	return nil
}

func (r Report) junitCase(d Diagnostic) junitCase {
	c := junitCase{Class: "topology", Name: d.Rule + " at " + r.at(d.Pos), Line: d.Pos.Line}
	if d.Pos.File != "" {
		c.File = r.place(d.Pos.File)
	}
	if len(d.Sites) > 0 {
		c.Class = d.Sites[0]
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s[%s]: %s\n%s", d.Severity, d.Rule, visible(d.Message), visible(r.at(d.Pos)))
	if d.Label != "" {
		fmt.Fprintf(&text, ": %s", visible(d.Label))
	}
	for _, rel := range d.Related {
		fmt.Fprintf(&text, "\n%s: %s", visible(r.at(rel.Pos)), visible(rel.Message))
	}
	if help := d.help(); help != "" {
		fmt.Fprintf(&text, "\nhelp: %s", visible(help))
	}
	failOn := r.FailOn
	if failOn == Off {
		failOn = Error
	}
	if d.Severity >= failOn {
		c.Failure = &junitFailure{Type: d.Rule, Message: visible(d.Message), Text: text.String()}
	} else {
		c.Out = text.String()
	}
	return c
}
