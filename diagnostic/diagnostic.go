// Package diagnostic is the form in which clink tells what is wrong with a
// topology: one finding with its rule, severity, message, position in the
// user's own source, the related positions and the mend; the catalogue of
// rules; and the formats in which findings are printed.
//
// It finds nothing itself and reads no files: whoever prints snippets hands
// the sources in.
package diagnostic

import (
	"cmp"
	"fmt"
	"slices"
)

// A Pos is a range in a source file. File is slash-separated and relative to
// the topology directory. Lines and columns count from 1, columns in bytes;
// the end is exclusive. The zero Pos is "no position"; a Pos with a File and
// Line 0 is the file as a whole.
type Pos struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"end_line"`
	EndColumn int    `json:"end_column"`
}

// IsZero reports whether p is no position at all.
func (p Pos) IsZero() bool { return p == Pos{} }

// String is file:line:column, or as much of it as is known.
func (p Pos) String() string {
	switch {
	case p.IsZero():
		return "-"
	case p.Line == 0:
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Compare orders positions as they stand in the source: by file, line, column.
func (p Pos) Compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}

// A Severity says how much a finding matters. Its text form is one of error,
// warning, info and off; a finding that is off is never reported.
type Severity int

// The severities, the gravest last.
const (
	Off Severity = iota
	Info
	Warning
	Error
)

var severityNames = [...]string{"off", "info", "warning", "error"}

// ParseSeverity returns the severity with the given text form.
func ParseSeverity(s string) (Severity, error) {
	if i := slices.Index(severityNames[:], s); i >= 0 {
		return Severity(i), nil
	}
	return Off, fmt.Errorf("severity %q is none of error, warning, info, off", s)
}

func (s Severity) String() string { return severityNames[s] }

// MarshalText returns the text form.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the text form.
func (s *Severity) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSeverity(string(b))
	return err
}

// A Diagnostic is one finding, at the place where its author would mend it.
type Diagnostic struct {
	Rule     string    `json:"rule"` // its id in the catalogue
	Severity Severity  `json:"severity"`
	Message  string    `json:"message"`
	Pos      Pos       `json:"pos"`
	Related  []Related `json:"related"` // the other side of the fault, and where its mend belongs
	Sites    []string  `json:"sites"`   // the sites concerned, the one at fault first
	Fix      *Fix      `json:"fix"`

	Label string  `json:"-"` // words beside the carets of the snippet, such as "this link"
	Help  string  `json:"-"` // what to do next, one line without the leading "help: "
	Holds []Scope `json:"-"` // what stays at its last good state if the rule gates
	Links []Scope `json:"-"` // the links that it is about, wherever Pos is

	// Shared: all of several sites or links that have what is at Pos from
	// there, a template or a comprehension, have this fault.
	Shared bool `json:"-"`

	// Key tells it from others of its rule where Message does not: a fault that
	// was there before an edit is the same after it, though worded anew.
	Key string `json:"-"`

	Waiver string `json:"-"` // the reason why the finding is accepted; "": it is not
}

// A Related is another place that a finding speaks of.
type Related struct {
	Message string `json:"message"`
	Pos     Pos    `json:"pos"`
}

// A Fix is a mend that a machine can make.
type Fix struct {
	Message string `json:"message"`
	Edits   []Edit `json:"edits"`
}

// An Edit replaces the text of a range; an empty range is an insertion.
type Edit struct {
	Pos  Pos    `json:"pos"`
	Text string `json:"text"`
}

// A Scope names one link (a site and the peer's name), or with an empty Peer
// a whole site.
type Scope struct {
	Site, Peer string
}

// A List is the findings of one compilation.
type List []Diagnostic

// Sort puts the list into source order and drops exact repetitions.
func (l List) Sort() List {
	slices.SortStableFunc(l, func(a, b Diagnostic) int {
		return cmp.Or(a.Pos.Compare(b.Pos), cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(l, func(a, b Diagnostic) bool {
		return a.Rule == b.Rule && a.Pos == b.Pos && a.Message == b.Message
	})
}

// Count returns how many findings have the severity.
func (l List) Count(s Severity) int {
	n := 0
	for _, d := range l {
		if d.Severity == s {
			n++
		}
	}
	return n
}

// AtLeast reports whether any finding is as grave as s or graver.
func (l List) AtLeast(s Severity) bool {
	return slices.ContainsFunc(l, func(d Diagnostic) bool { return d.Severity >= s })
}
