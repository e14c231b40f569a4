package diagnostic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// jsonVersion is the version of the JSON form. It changes when a field is
// removed or means something else, not when one is added.
const jsonVersion = 1

type jsonReport struct {
	Version  int         `json:"version"`
	Revision string      `json:"revision"`
	Findings List        `json:"findings"`
	Summary  jsonSummary `json:"summary"`
}

type jsonSummary struct {
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Waived   int `json:"waived"`
	Sites    int `json:"sites"`
	Links    int `json:"links"`
}

// WriteJSON writes the report as one JSON document, with a newline at the end.
// Lists in it are never null.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // topic filters and names are to be found by grep
	enc.SetIndent("", "  ")
	err := enc.Encode(jsonReport{
		Version:  jsonVersion,
		Revision: r.Revision,
		Findings: r.Findings,
		Summary: jsonSummary{
			Errors:   r.Findings.Count(Error),
			Warnings: r.Findings.Count(Warning),
			Waived:   len(r.Waived),
			Sites:    r.Sites,
			Links:    r.Links,
		},
	})
	if err != nil {
		return fmt.Errorf("write findings as JSON: %w", err)
	}
	return nil
}

// MarshalJSON writes the list, an empty one as [].
func (l List) MarshalJSON() ([]byte, error) { return marshal(full([]Diagnostic(l))) }

// MarshalJSON writes the finding with its lists, empty ones as [].
func (d Diagnostic) MarshalJSON() ([]byte, error) {
	type plain Diagnostic
	d.Related, d.Sites = full(d.Related), full(d.Sites)
	return marshal(plain(d))
}

// MarshalJSON writes the fix with its list of edits, an empty one as [].
func (f Fix) MarshalJSON() ([]byte, error) {
	type plain Fix
	f.Edits = full(f.Edits)
	return marshal(plain(f))
}

// full is s, or an empty list that is not nil.
func full[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// marshal is json.Marshal without the escapes that only HTML needs.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
