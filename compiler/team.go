package compiler

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	cueerrors "cuelang.org/go/cue/errors"

	"clink/compiler/cuetext"
	"clink/diagnostic"
	"clink/topology"
)

// rulesDir is the folder with a team's own rules, and their package.
const rulesDir = "rules"

// maxTeamFindings bounds what the rules of a team find: of one at fault
// everywhere, nobody reads more.
const maxTeamFindings = 10_000

// A team is the rules of a topology's own: CUE of package rules, with lists of
// findings by rule over the facts of all sites.
type team struct {
	c        *compilation
	texts    map[string][]byte
	files    []*ast.File
	index    *index
	names    map[string]bool // the rules that are written out
	open     bool            // there may be others
	failed   bool            // not all of them could be evaluated
	findings diagnostic.List
}

// readTeam parses the files in rules/, if there are any. What is wrong with one
// is a finding, and none of the rules are then evaluated: what they share may
// be in it.
func (c *compilation) readTeam() (*team, error) {
	t := &team{c: c, texts: map[string][]byte{}, names: map[string]bool{}, index: newIndex(nil, nil)}
	entries, err := fs.ReadDir(c.src.fsys, rulesDir)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", rulesDir, err)
	}
	for _, e := range entries {
		if e.IsDir() || !isCUE(e.Name()) {
			continue
		}
		name := path.Join(rulesDir, e.Name())
		text, err := c.src.read(name)
		if err != nil {
			return nil, err
		}
		t.texts[name] = text
		f, pos, why := parseFile(name, text)
		if why == "" && f.PackageName() != rulesDir {
			pos, why = c.packagePos(f), "the files in rules/ are package rules"
		}
		if why != "" {
			t.fault(pos, why)
			continue
		}
		if !ignored(f) {
			t.files = append(t.files, f)
		}
	}
	t.index = newIndex(t.files, t.texts)
	all := t.index.find("findings")
	for name := range all.written() {
		t.names[name] = true
	}
	t.open = t.failed || len(t.index.root.wildIn) > 0 || all != nil && len(all.wildIn) > 0
	return t, nil
}

// An OwnRule is a rule of a topology's own.
type OwnRule struct {
	Name string
	Pos  diagnostic.Pos // of its name in the source
	Doc  string         // the comment above it, "" for none
}

// OwnRules are the rules in rules/ whose names are written out there, in the
// order of the source. They are not evaluated; a file that does not parse gives
// none, and a name that is none for a rule is left out.
func OwnRules(fsys fs.FS) ([]OwnRule, error) {
	t, err := (&compilation{src: &source{fsys: fsys}}).readTeam()
	if err != nil {
		return nil, err
	}
	var l []OwnRule
	for name := range t.index.find("findings").written() {
		if _, builtin := diagnostic.FindRule(name); !builtin && canName(name) {
			at := []string{"findings", name}
			l = append(l, OwnRule{name, t.index.labelPos(at...), t.doc(at)})
		}
	}
	return l, nil
}

// doc is the comment above the first field at the path, or above the field that
// it is the only one of, as in findings: "a-rule": [...].
func (t *team) doc(path []string) string {
	pos := t.index.labelPos(path...)
	for _, f := range t.files {
		if f.Filename != pos.File {
			continue
		}
		for _, d := range f.Decls {
			if text, ok := docAt(d, pos); ok {
				return text
			}
		}
	}
	return ""
}

// docAt finds the field with a label at pos in d, and returns its comment.
func docAt(d ast.Decl, pos diagnostic.Pos) (string, bool) {
	f, ok := d.(*ast.Field)
	if !ok {
		return "", false
	}
	if cuetext.NodePos(f.Label) == pos {
		return comment(f), true
	}
	s, ok := f.Value.(*ast.StructLit)
	if !ok {
		return "", false
	}
	for _, e := range s.Elts {
		if text, ok := docAt(e, pos); ok {
			if text == "" && len(s.Elts) == 1 && !s.Lbrace.IsValid() {
				text = comment(f)
			}
			return text, true
		}
	}
	return "", false
}

// comment is the text of the comment above a field.
func comment(f *ast.Field) string {
	var l []string
	for _, g := range ast.Comments(f) {
		if g.Doc {
			l = append(l, strings.TrimSpace(g.Text()))
		}
	}
	return strings.Join(l, "\n\n")
}

// sources are all texts that findings may speak of.
func (t *team) sources() map[string][]byte {
	if len(t.texts)+len(t.c.src.imported) == 0 {
		return t.c.src.texts
	}
	all := maps.Clone(t.c.src.texts)
	maps.Copy(all, t.c.src.imported)
	maps.Copy(all, t.texts)
	return all
}

func (t *team) fault(pos diagnostic.Pos, why string) {
	t.failed = true
	t.findings = append(t.findings, schemaFinding(pos, why))
}

// run evaluates the rules over the facts.
func (t *team) run(top *topology.Topology, at func(site string, field []string) diagnostic.Pos) error {
	if len(t.files) == 0 || len(t.findings) > 0 {
		return nil
	}
	t.c.watch.doing(suspects(t.files))
	v, err := t.evaluate(top)
	if err != nil || len(t.findings) > 0 {
		return err
	}
	it, ferr := v.LookupPath(cue.ParsePath("findings")).Fields()
	if ferr != nil {
		if v.LookupPath(cue.ParsePath("findings")).Exists() || v.Err() != nil {
			t.cueFaults(cueerrors.Append(cueerrors.Promote(ferr, ""), cueerrors.Promote(v.Err(), "")), nil)
		}
		return nil
	}
	for it.Next() {
		rule := it.Selector().Unquoted()
		if !canName(rule) {
			t.fault(t.index.labelPos("findings", rule), quoted(rule)+" cannot be a rule's name: use letters, digits and - . _, 100 bytes at most")
			continue
		}
		if _, builtin := diagnostic.FindRule(rule); builtin {
			t.fault(t.index.labelPos("findings", rule), "clink has a rule "+rule+" already: give this one another name")
			continue
		}
		t.names[rule] = true
		if err := it.Value().Validate(cue.Concrete(true)); err != nil {
			t.cueFaults(cueerrors.Promote(err, ""), []string{"findings", rule})
			continue
		}
		for i, x := range asList(read(it.Value())) {
			t.finding(top, rule, i, x, at)
		}
		if len(t.findings) > maxTeamFindings {
			t.findings = t.findings[:maxTeamFindings]
			t.fault(t.index.labelPos("findings", rule), fmt.Sprintf("the rules find more than %d faults; the rest is left out", maxTeamFindings))
			return nil
		}
	}
	return nil
}

func asList(x any) []any {
	l, _ := x.([]any)
	return l
}

// evaluate returns the package with the facts in it. The sites are clink's to
// give: the files refer to them, and may say of what form they are.
func (t *team) evaluate(top *topology.Topology) (cue.Value, error) {
	l := &loader{src: t.c.src, loading: map[string]bool{}}
	inst := build.NewContext(build.Loader(l.load)).NewInstance("", nil)
	own, _, why := parseFile(ownPrefix+"rules.cue", []byte("package rules\n\nsites: _\nfindings?: [string]: [...]\n"))
	if why != "" {
		return cue.Value{}, errors.New(why)
	}
	var failed cueerrors.Error
	for _, f := range append(slices.Clone(t.files), own) {
		if err := inst.AddSyntax(f); err != nil {
			failed = cueerrors.Append(failed, err)
		}
	}
	if err := inst.Complete(); err != nil {
		failed = cueerrors.Append(failed, cueerrors.Promote(err, ""))
	}
	if failed == nil && inst.ResolutionErr != nil {
		failed = inst.ResolutionErr
	}
	if failed != nil {
		t.cueFaults(failed, nil)
		return cue.Value{}, nil
	}
	text, err := teamFacts(top, t.spoken(top))
	if err != nil {
		return cue.Value{}, fmt.Errorf("give the facts to the rules: %w", err)
	}
	ctx := cuecontext.New()
	sites := ctx.CompileBytes(text, cue.Filename(ownPrefix+"facts.cue")).LookupPath(cue.ParsePath("sites"))
	v := ctx.BuildInstance(inst)
	filled := v.FillPath(cue.ParsePath("sites"), sites)
	// What cannot be built at all, such as for a name that nobody declares, is
	// an empty value without an error once it is filled.
	if err := v.Err(); err != nil && !filled.LookupPath(cue.ParsePath("findings")).Exists() {
		t.cueFaults(cueerrors.Promote(err, ""), nil)
	}
	return filled, nil
}

// cueFaults tells what CUE says of the rules, at the author's places.
func (t *team) cueFaults(err cueerrors.Error, at []string) {
	before := len(t.findings)
	for _, e := range cueerrors.Errors(err) {
		for _, p := range userPositions(e) {
			if text, ok := t.texts[p.Filename()]; ok {
				why := message(e)
				if len(at) > 1 {
					why = "rule " + at[1] + ": " + why
				}
				t.fault(tokenPos(p, text), why)
				break
			}
		}
	}
	if len(t.findings) > before {
		t.findings = t.findings[:before+1] // the others mostly follow from it
		return
	}
	pos := diagnostic.Pos{File: t.files[0].Filename}
	if at != nil {
		pos = t.index.labelPos(at...)
	}
	t.fault(pos, "the rules cannot be evaluated: "+message(cueerrors.Errors(err)[0]))
}

// finding turns what a rule returned into a finding in the sites' source.
func (t *team) finding(top *topology.Topology, rule string, i int, x any, at func(string, []string) diagnostic.Pos) {
	o, _ := x.(object)
	site, peer, text := o.string("site"), o.string("peer"), strings.Join(strings.Fields(o.string("message")), " ")
	wrong := func(why string) {
		t.fault(t.index.labelPos("findings", rule), fmt.Sprintf("finding %d of %s %s; a finding is {site: ..., message: ...} and perhaps peer, listener, field, other, severity, help", i+1, rule, why))
	}
	severity := diagnostic.Error
	if s, given := o["severity"]; given {
		name, _ := s.(string)
		var err error
		if severity, err = diagnostic.ParseSeverity(name); err != nil {
			wrong("has no severity of error, warning, info and off")
			return
		}
	}
	s := top.Sites[site]
	switch {
	case o == nil:
		wrong("is no struct")
		return
	case s == nil:
		wrong("is on site " + quoted(site) + ", which is not there")
		return
	case text == "":
		wrong("has no message")
		return
	}
	d := diagnostic.Diagnostic{Rule: rule, Severity: severity, Message: bound(text), Help: bound(strings.Join(strings.Fields(o.string("help")), " ")), Sites: []string{site}, Label: "here"}
	var field []string
	switch listener := o.string("listener"); {
	case peer != "":
		field = []string{"cluster", "links", peer}
		d.Links = []diagnostic.Scope{{Site: site, Peer: peer}}
		if top.Sites[peer] != nil && peer != site {
			d.Sites = append(d.Sites, peer)
		}
		if p := top.Sites[peer]; p != nil {
			if back, ok := p.Link(site); ok {
				d.Related = related("the link back", back.Pos)
			}
		}
	case listener != "":
		field = []string{"listeners", listener}
	}
	if f := o.string("field"); f != "" {
		field = append(field, strings.Split(f, ".")...)
	}
	d.Pos = at(site, field)
	if other := top.Sites[o.string("other")]; other != nil && !slices.Contains(d.Sites, other.Name) {
		d.Sites = append(d.Sites, other.Name)
		d.Related = append(d.Related, related(other.Name+" is here", other.Pos)...)
	}
	t.findings = append(t.findings, d)
}

// bound is a text of bearable length.
func bound(s string) string {
	if len(s) > 1000 {
		return strings.ToValidUTF8(s[:1000], "") + "…"
	}
	return s
}

// spoken are the labels of any site whose names stand in the rules. One that no
// site has is not among them: it is probably misspelt, and told.
func (t *team) spoken(top *topology.Topology) map[string]bool {
	names := map[string]bool{}
	for _, s := range top.Sites {
		for name := range s.Labels {
			names[name] = false
		}
	}
	for name := range names {
		for _, text := range t.texts {
			names[name] = names[name] || bytes.Contains(text, []byte(name))
		}
	}
	maps.DeleteFunc(names, func(_ string, spoken bool) bool { return !spoken })
	return names
}

// canName reports whether a text can stand as a rule's name in a line of text,
// in a waiver, and as an id in all formats.
func canName(rule string) bool {
	return rule != "" && len(rule) <= 100 && !strings.ContainsFunc(rule, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("-._:/", r)
	})
}

// unsure reports whether what a rule finds is not all known.
func (t *team) unsure(rule string) bool {
	_, builtin := diagnostic.FindRule(rule)
	return !builtin && (t.failed || !t.names[rule])
}

// unknown reports whether no rule has the name. Where the rules that a team has
// are not all known, that is so only if one of clink's own was probably meant.
func (t *team) unknown(rule string) bool {
	if _, builtin := diagnostic.FindRule(rule); builtin || t.names[rule] {
		return false
	}
	return !t.open || suggest(rule, builtinRules()) != ""
}

func builtinRules() []string {
	var names []string
	for _, r := range diagnostic.Rules() {
		names = append(names, r.Name)
	}
	return names
}

// meant is the rule that was probably meant, as the end of a sentence.
func (t *team) meant(rule string) string {
	names := append(builtinRules(), slices.Collect(maps.Keys(t.names))...)
	slices.Sort(names)
	if near := suggest(rule, names); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// unknownRules tells severities of rules that nobody has, and one that would
// have no effect.
func (c *compilation) unknownRules(t *topology.Topology, own *team) {
	for _, rule := range slices.Sorted(maps.Keys(t.Severity)) {
		why := "no rule is called " + rule + own.meant(rule)
		switch {
		case rule == ruleSchema && t.Severity[rule] != diagnostic.Error:
			why = "schema is always an error: what it finds has no meaning"
		case !own.unknown(rule):
			continue
		}
		path := []string{"policy", "severity", rule}
		c.fault(schemaFinding(c.index.labelPos(path...), why), path)
	}
}
