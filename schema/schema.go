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
	"encoding/json"
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

// A Guide names what a site declares, so that [Editor] can name it too.
type Guide struct {
	Site             string
	Listeners, Links []string
}

// Editor returns what follows the content of the file [Generated] for the sake
// of CUE's language server, which knows the fields of what a file names but
// does not look behind patterns such as [string]: #Site. Each site, listener
// and link is named once, as optional: no such field comes into being, and one
// that is gone from the source does no harm.
func Editor(guides []Guide) []byte {
	if len(guides) == 0 {
		return nil
	}
	b := []byte("\n// For editors: the names in the source when clinkc schema last ran.\nsites: {\n")
	for _, g := range guides {
		b = fmt.Appendf(b, "\t%s?: schema.#Site\n", label(g.Site))
		for _, l := range g.Listeners {
			b = fmt.Appendf(b, "\t%s?: listeners?: %s?: schema.#Listener\n", label(g.Site), label(l))
		}
		for _, p := range g.Links {
			b = fmt.Appendf(b, "\t%s?: cluster?: links?: %s?: schema.#Link\n", label(g.Site), label(p))
		}
	}
	return append(b, "}\n"...)
}

// label is a name as a quoted label: JSON's strings are CUE's, but for the
// slash, which Go does not escape.
func label(name string) string {
	b, err := json.Marshal(name)
	if err != nil {
		return `""` // a string always has a JSON form
	}
	return string(b)
}
