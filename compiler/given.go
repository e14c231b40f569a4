package compiler

import (
	"bytes"
	"encoding/json"
	"fmt"

	"cuelang.org/go/cue/ast"
)

// A halfKey names one half of a link.
type halfKey struct{ site, peer string }

// keep notes what the source gives of a half, before defaults are laid under it.
func (c *compilation) keep(site, peer string, o object) {
	b, err := json.Marshal(o)
	if err != nil {
		return // it is of strings, numbers, lists and structs
	}
	if c.halves == nil {
		c.halves = map[halfKey][]byte{}
	}
	c.halves[halfKey{site, peer}] = b
}

// Given returns the fields of a site's link that the source gives, in whatever
// way, as JSON values; numbers are [json.Number]. Defaults are not among them.
// Credentials that stand in the source are: it must never be shown.
func (r *Result) Given(site, peer string) (map[string]any, bool) {
	b := r.half(site, peer)
	if b == nil {
		return nil, false
	}
	m, err := decodeJSON(b)
	return m, err == nil
}

// half is what the source gives of a half, in JSON; nil if there is none.
func (r *Result) half(site, peer string) []byte {
	s := r.Topology.Sites[site]
	if s == nil {
		return nil
	}
	for _, f := range s.Files {
		if p := r.parts[f]; p != nil {
			if b, ok := p.halves[halfKey{site, peer}]; ok {
				return b
			}
		}
	}
	if r.rest == nil {
		return nil
	}
	return r.rest.halves[halfKey{site, peer}]
}

func decodeJSON(b []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	m := map[string]any{}
	return m, d.Decode(&m)
}

// Defaults returns the values that hold for fields of a site's link where the
// source does not give them, in the form of [Result.Given]. They depend on
// what it does give.
func (r *Result) Defaults(site string, given map[string]any) (map[string]any, error) {
	o := object{"clientid": site}
	if ssl, ok := given["ssl"].(map[string]any); ok && ssl["enable"] == true {
		o.under(r.defaults.object("verified"))
	}
	b, err := json.Marshal(o.under(r.defaults.object("link")))
	if err != nil {
		return nil, fmt.Errorf("encode the defaults: %w", err)
	}
	return decodeJSON(b)
}

// Parse returns the syntax tree of one file of a topology, with comments. An
// error has the form "name:line:column: why", also for text that is deeper or
// larger than [Compile] takes.
func Parse(name string, text []byte) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, err = nil, fmt.Errorf("%s: parsing it panicked: %.200v", name, r)
		}
	}()
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	f, pos, why := parseFile(name, text)
	if why != "" {
		return nil, fmt.Errorf("%s: %s", pos, why)
	}
	return f, nil
}

// SameGiven reports whether two results give the same of a site's link.
func (r *Result) SameGiven(o *Result, site, peer string) bool {
	return bytes.Equal(r.half(site, peer), o.half(site, peer))
}
