// Package schema holds what makes a topology valid, as CUE text: the shape of
// the source (schema.cue), the defaults that lie under it (defaults.cue) and
// the rules over all sites together (rules.cue).
//
// It is text alone. The compiler evaluates it; users get it in the form that
// [Vendored] returns, for plain cue and for editors.
package schema

import (
	"embed"
	"fmt"
)

// FS holds schema.cue, defaults.cue and rules.cue.
//
//go:embed schema.cue defaults.cue rules.cue
var FS embed.FS

// Generated is the name of the file in a topology directory that unifies the
// sites with the schema for plain cue. clink itself leaves it out.
const Generated = "clink_schema.cue"

// generated is the content of the file [Generated].
const generated = `// Written by clinkc schema; do not edit. clink itself does not read this file:
// it is here for plain cue and for editors.
package topology

import "clink.dev/schema"

sites:   schema.#Sites
policy?: schema.#Policy
expect?: [string]: schema.#Expectation
`

// Vendored returns the files that make plain "cue vet -c" and editors know the
// schema, by slash-separated name relative to the topology directory: the
// package clink.dev/schema, and the file [Generated] that uses it.
func Vendored() (map[string][]byte, error) {
	text, err := FS.ReadFile("schema.cue")
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	return map[string][]byte{
		"cue.mod/pkg/clink.dev/schema/schema.cue": text,
		Generated: []byte(generated),
	}, nil
}
