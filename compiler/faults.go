package compiler

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"clink/compiler/cuetext"
	"clink/diagnostic"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"
)

// validate adds a finding for each place outside of sites where the package
// does not fit the schema.
func (c *compilation) validate() {
	it, err := c.root.Fields()
	if err != nil {
		return
	}
	for it.Next() {
		name := it.Selector().Unquoted()
		s := c.shape.step(name)
		switch {
		case s == nil:
			if c.unknown(it.Value(), c.shape, []string{name}) == "sites" {
				c.loseAll(name)
			}
		case name != "sites":
			c.fit("#Topology", name, it.Value(), s, []string{name})
		}
	}
}

// fit unifies a value with a field of a definition and tells what does not
// fit; what fits is not looked at field by field. Each site is unified by
// itself, so that no more than one is held in memory twice. It returns the
// unified value, and whether it fits.
func (c *compilation) fit(def, field string, v cue.Value, s *shape, path []string) (cue.Value, bool) {
	constraint := c.defs.LookupPath(cue.ParsePath(def))
	if field != "" {
		constraint = constraint.LookupPath(cue.MakePath(cue.Str(field).Optional()))
	}
	defer c.watch.start("schema")()
	u := constraint.Unify(v)
	if amiss(u) == nil {
		return u, true
	}
	before := len(c.findings)
	c.walk(u, s, path, u.LookupPath(cue.ParsePath("target.external")).Exists())
	if len(c.findings) == before {
		c.leaf(u, s, path)
	}
	return u, len(c.findings) == before
}

// amiss is what keeps a value from being data. Validate alone says nothing of a
// field that refers to itself without end, where a definition is unified with it.
func amiss(v cue.Value) error {
	if err := v.Validate(cue.Concrete(true)); err != nil {
		return err
	}
	return v.Err()
}

// loseAll counts the files with a misspelt "sites" as left out: what they
// declare is not gone.
func (c *compilation) loseAll(field string) {
	p := c.index.find(field)
	if p == nil {
		return
	}
	for _, d := range p.decls {
		c.lost[d.file] = "unknown field " + field
	}
}

// inHelper reports whether an error lies in a definition or hidden field of the
// user's own, which may stay open. The path begins with a definition of the
// schema.
func inHelper(e errors.Error) bool {
	path := e.Path()
	return len(path) > 1 && slices.ContainsFunc(path[1:], func(name string) bool {
		return strings.HasPrefix(name, "#") || strings.HasPrefix(name, "_")
	})
}

func (c *compilation) walk(v cue.Value, s *shape, path []string, external bool) {
	switch {
	case s.isStruct():
		c.walkStruct(v, s, path, external)
	case s.elem != nil:
		c.walkList(v, s, path, external)
	default:
		c.leaf(v, s, path)
	}
}

func (c *compilation) walkStruct(v cue.Value, s *shape, path []string, external bool) {
	// Without Optional, a required field that is not there looks like one that
	// is and has a fault.
	it, err := v.Fields(cue.Optional(true))
	if err != nil {
		c.leaf(v, s, path)
		return
	}
	before := len(c.findings)
	seen := map[string]bool{}
	var strange []string
	for it.Next() {
		sel := it.Selector()
		if sel.Type() != cue.StringLabel {
			continue
		}
		name := sel.Unquoted()
		seen[name] = true
		at := append(slices.Clone(path), name)
		kid := s.step(name)
		switch {
		case kid == nil:
			if meant := c.unknown(it.Value(), s, at); meant != "" {
				strange = append(strange, meant)
			}
		case amiss(it.Value()) != nil:
			c.walk(it.Value(), kid, at, external)
		}
	}
	for _, name := range c.requiredAt(s, path, external) {
		if !seen[name] && !slices.Contains(strange, name) {
			c.missing(v, append(slices.Clone(path), name))
		}
	}
	if len(c.findings) == before && amiss(v) != nil {
		c.leaf(v, s, path)
	}
}

// requiredAt returns the fields that must be there. Those of a link are not
// asked of a site that is known and not managed.
func (c *compilation) requiredAt(s *shape, path []string, external bool) []string {
	if external || !isLink(path) || len(path) != 5 {
		return s.required
	}
	managed := c.shape.step("sites").any.managed
	return append(slices.Clone(s.required), managed.step("cluster").step("links").step("").required...)
}

// isLink reports whether the path is that of a link or below it.
func isLink(path []string) bool {
	return len(path) >= 5 && path[0] == "sites" && path[2] == "cluster" && path[3] == "links"
}

func (c *compilation) walkList(v cue.Value, s *shape, path []string, external bool) {
	before := len(c.findings)
	for i, el := range elements(v) {
		if amiss(el) != nil {
			c.walk(el, s.elem, append(slices.Clone(path), strconv.Itoa(i)), external)
		}
	}
	if len(c.findings) == before {
		c.leaf(v, s, path)
	}
}

// elements returns those of a list, also of one with faults inside: List and
// Fields each refuse some of these.
func elements(v cue.Value) []cue.Value {
	var l []cue.Value
	for {
		el := v.LookupPath(cue.MakePath(cue.Index(len(l))))
		if !el.Exists() {
			return l
		}
		l = append(l, el)
	}
}

// unknown tells a field that the schema does not know, and returns the one
// that was probably meant.
func (c *compilation) unknown(v cue.Value, s *shape, path []string) string {
	name := path[len(path)-1]
	d := schemaFinding(c.placeOf(v, nil, path, true), "unknown field "+name)
	meant := suggest(name, s.names())
	switch {
	case meant != "":
		d.Message += "; did you mean " + meant + "?"
		c.bad.add(append(slices.Clone(path[:len(path)-1]), meant))
	case len(path) == 1:
		d.Help = "a topology has the fields " + strings.Join(s.names(), ", ") + "; fields of your own begin with _ or #"
	default:
		d.Help = "known here: " + strings.Join(s.names(), ", ")
	}
	d.Label = "no such field"
	c.fault(d, path)
	return meant
}

func (c *compilation) missing(v cue.Value, path []string) {
	name, above := path[len(path)-1], path[:len(path)-1]
	d := schemaFinding(c.placeOf(v, nil, above, true), shortPath(above)+" has no "+name)
	d.Label = name + " belongs here"
	c.fault(d, path)
}

// leaf tells one value that does not fit.
func (c *compilation) leaf(v cue.Value, s *shape, path []string) {
	errs := errors.Errors(amiss(v))
	errs = slices.DeleteFunc(errs, inHelper)
	if len(errs) == 0 {
		return
	}
	if own := c.contradiction(path); len(own) > 0 {
		errs = own // and not what the schema says of either value
	}
	name := shortPath(path)
	positions := c.positions(errs)
	d := schemaFinding(c.placeOf(v, positions, path, false), "")
	first := errs[len(errs)-1]
	format, _ := first.Msg()
	constraint := strings.HasPrefix(format, "conflicting values") || strings.HasPrefix(format, "invalid value") || strings.HasPrefix(format, "incomplete value")
	switch {
	case strings.HasPrefix(format, "conflicting values") && len(positions) > 1 && !ownPosition(errs):
		c.conflicts = append(c.conflicts, path)
		d.Message = name + " is given two different values"
		d.Label = "this value"
		positions = c.ownFirst(positions, path)
		d.Pos = positions[0]
		for _, p := range positions[1:] {
			d.Related = append(d.Related, diagnostic.Related{Message: "and another one here", Pos: p})
		}
	case constraint:
		d.Message = name + " must be " + s.describe()
		if text := c.literalAt(path); text != "" && !isSecret(path) {
			d.Message += ", not " + text
		}
		d.Label = "this value"
	case isSecret(path):
		d.Message = name + " cannot be evaluated"
	default:
		d.Message = name + ": " + message(first)
	}
	c.fault(d, path)
}

// contradiction returns the errors of a value that two places of the users'
// files give differently, whatever the schema says of it.
func (c *compilation) contradiction(path []string) []errors.Error {
	errs := errors.Errors(c.root.LookupPath(makePath(path)).Err())
	if len(errs) == 0 || len(c.positions(errs)) < 2 {
		return nil
	}
	if format, _ := errs[len(errs)-1].Msg(); !strings.HasPrefix(format, "conflicting values") {
		return nil
	}
	return errs
}

// ownFirst puts the places that are written out at the path before those of
// templates and comprehensions, which others share; and drops the words for and
// if, which say nothing of the value, where other places are left.
func (c *compilation) ownFirst(positions []diagnostic.Pos, path []string) []diagnostic.Pos {
	var own, rest []diagnostic.Pos
	decls := c.index.find(path...).declarations()
	for _, p := range positions {
		switch {
		case slices.ContainsFunc(decls, func(d decl) bool { return cuetext.NodePos(d.value).Compare(p) == 0 }):
			own = append(own, p)
		case !isClause(c.src.text(p.File), p):
			rest = append(rest, p)
		}
	}
	if len(own)+len(rest) == 0 {
		return positions
	}
	return append(own, rest...)
}

// isClause reports whether a word is that of a comprehension's clause.
func isClause(text []byte, p diagnostic.Pos) bool {
	line := slices.Collect(bytes.Lines(text))
	if p.Line < 1 || p.Line > len(line) {
		return false
	}
	rest := line[p.Line-1]
	if p.Column < 1 || p.Column > len(rest) {
		return false
	}
	rest = rest[p.Column-1:]
	return bytes.HasPrefix(rest, []byte("for ")) || bytes.HasPrefix(rest, []byte("if "))
}

func (s *shape) describe() string {
	switch {
	case s.words != "":
		return s.words
	case s.isStruct():
		return "a struct: {...}"
	case s.elem != nil:
		return "a list: [...]"
	}
	return "of another type"
}

// fault records a schema finding about the path, and what it holds back.
func (c *compilation) fault(d diagnostic.Diagnostic, path []string) {
	c.bad.add(path)
	if path[0] == "sites" && len(path) > 1 {
		held := diagnostic.Scope{Site: path[1]}
		if isLink(path) {
			held.Peer = path[4]
		}
		d.Sites = []string{path[1]}
		d.Holds = []diagnostic.Scope{held}
	}
	c.findings = append(c.findings, d)
}

// shortPath names a field as its author thinks of it: a link's field from the
// link on, a site's from the site on.
func shortPath(path []string) string {
	switch {
	case isLink(path) && len(path) == 5:
		return "the link to " + path[4]
	case isLink(path):
		path = path[5:]
	case path[0] == "sites" && len(path) == 2:
		return "site " + path[1]
	case path[0] == "sites" && len(path) > 2:
		path = path[2:]
	}
	return strings.Join(path, ".")
}

func isSecret(path []string) bool {
	last := path[len(path)-1]
	return last == "password" || last == "password_hash" || last == "secret"
}

// literalAt is the value at the path as written, if it is written once and short.
func (c *compilation) literalAt(path []string) string {
	p := c.index.find(path...)
	if p == nil || len(p.decls) != 1 {
		return ""
	}
	return shortLiteral(p.decls[0].value)
}

// placeOf finds where in the users' files a value, or with label its label,
// stands: written out, or else what made it.
func (c *compilation) placeOf(v cue.Value, positions []diagnostic.Pos, path []string, label bool) diagnostic.Pos {
	if p := c.index.find(path...); p != nil && len(p.decls) > 0 {
		if label {
			return c.index.labelPos(path...)
		}
		if len(p.decls) == 1 || len(positions) == 0 {
			return cuetext.NodePos(p.decls[0].value)
		}
	}
	if pos := c.originOf(path); !label && !pos.IsZero() {
		return pos
	}
	if len(positions) > 0 {
		return positions[0]
	}
	if pos := c.made(v); !pos.IsZero() {
		return pos
	}
	return c.index.labelPos(path...)
}

// made returns where the user's expression that made a value begins.
func (c *compilation) made(v cue.Value) diagnostic.Pos {
	if p := madeAt(v, 4); p.IsValid() {
		return tokenPos(p, c.src.text(p.Filename()))
	}
	return diagnostic.Pos{}
}

func madeAt(v cue.Value, depth int) token.Pos {
	if p := v.Pos(); isUser(p) {
		return p
	}
	if depth == 0 {
		return token.NoPos
	}
	if op, args := v.Expr(); op != cue.NoOp {
		for _, a := range args {
			if p := madeAt(a, depth-1); p.IsValid() {
				return p
			}
		}
	}
	return token.NoPos
}

func isUser(p token.Pos) bool {
	return p.HasAbsPos() && p.Filename() != "" && !strings.HasPrefix(p.Filename(), ownPrefix)
}

// positions returns the places in users' files that the errors speak of.
func (c *compilation) positions(errs []errors.Error) []diagnostic.Pos {
	var l []diagnostic.Pos
	for _, e := range errs {
		for _, p := range userPositions(e) {
			if d := tokenPos(p, c.src.text(p.Filename())); !slices.Contains(l, d) {
				l = append(l, d)
			}
		}
	}
	slices.SortFunc(l, diagnostic.Pos.Compare)
	return l
}

func userPositions(e errors.Error) []token.Pos {
	l := append([]token.Pos{e.Position()}, e.InputPositions()...)
	return slices.DeleteFunc(l, func(p token.Pos) bool { return !isUser(p) })
}

func ownPosition(errs []errors.Error) bool {
	return slices.ContainsFunc(errs, func(e errors.Error) bool {
		return slices.ContainsFunc(append(e.InputPositions(), e.Position()), func(p token.Pos) bool {
			return strings.HasPrefix(p.Filename(), ownPrefix)
		})
	})
}

// message is a CUE error's text in one bounded line, without its path.
func message(e errors.Error) string {
	whole := strings.TrimPrefix(e.Error(), strings.Join(e.Path(), ".")+": ")
	text := strings.Join(strings.Fields(whole), " ")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return text
}
