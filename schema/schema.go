// Package schema holds what makes a topology valid, as CUE text: the shape of
// the source (schema.cue), the defaults that lie under it (defaults.cue),
// the rules over all sites together (rules.cue), and those of them that plain
// CUE can judge over the source itself (published.cue).
//
// It is text alone. The compiler evaluates it; users get it in the form that
// [Vendored] returns, for plain cue and for editors.
package schema

import (
	"embed"
	"fmt"
)

// FS holds schema.cue, defaults.cue, rules.cue and published.cue.
//
//go:embed schema.cue defaults.cue rules.cue published.cue
var FS embed.FS

// Generated is the name of the file in a topology directory that unifies the
// sites with the schema for plain cue. clink itself leaves it out.
const Generated = "clink_schema.cue"

// Vendored returns the files that make plain "cue vet -c" and editors know the
// schema, by slash-separated name relative to the topology directory: the
// package clink.dev/schema, and the file [Generated] that uses it.
func Vendored() (map[string][]byte, error) {
	text, err := FS.ReadFile("schema.cue")
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	rules, err := FS.ReadFile("published.cue")
	if err != nil {
		return nil, fmt.Errorf("read the published rules: %w", err)
	}
	return map[string][]byte{
		"cue.mod/pkg/clink.dev/schema/schema.cue": text,
		Generated: rules,
	}, nil
}
