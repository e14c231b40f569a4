package compiler

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"clink/diagnostic"
	"clink/schema"
	"clink/topology"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
)

// A part of a package is what was evaluated together, a file alone or all that
// cannot be told apart, and what came of it. It is not changed once it is made:
// a later compilation takes it over if the texts are the same.
type part struct {
	tree  *tree // of a file alone
	names []string
	texts [][]byte
	fixed bool // nothing but the texts goes into it

	topology  *topology.Topology // without grants and exports
	findings  diagnostic.List
	lost      map[string]string
	bad       badPaths
	conflicts [][]string
	masked    map[string]bool
	declared  map[string]string  // see compilation.names
	halves    map[halfKey][]byte // what the source gives of links, in JSON
	from      origins
}

// A context of CUE holds on to all that was built in it, and to make one costs
// as much as to evaluate two links: so many files share one.
const filesPerContext = 20

// evaluate parses and evaluates the package, in parts where that is the same.
// A file that stands in the way of all others is left out with a finding, so
// that the rest is still checked.
func (c *compilation) evaluate(previous *Result) (*topology.Topology, error) {
	if err := c.prepare(); err != nil {
		return nil, err
	}
	c.takeOver(previous)
	for range maxReadRuns {
		stop := c.watch.start("parse")
		c.parse()
		alone := c.alone()
		for name := range c.parts {
			if !alone[name] {
				c.reparse(name)
			}
		}
		stop()
		whole, err := c.evaluateAlone(alone)
		if err != nil {
			return nil, err
		}
		ok, err := c.evaluateRest(alone)
		if err != nil {
			return nil, err
		}
		if whole && ok {
			return c.join(), nil
		}
	}
	return nil, fmt.Errorf("more than %d files cannot be evaluated", maxReadRuns)
}

func (c *compilation) prepare() (err error) {
	if c.text, err = schema.FS.ReadFile("schema.cue"); err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	if c.shape, err = newShape(c.text); err != nil {
		return err
	}
	c.defaults, err = readDefaults()
	return err
}

// takeOver takes what the texts have not changed for from an earlier result.
func (c *compilation) takeOver(previous *Result) {
	c.parts = map[string]*part{}
	if previous == nil {
		return
	}
	for name, p := range previous.parts {
		if text, ok := c.src.texts[name]; ok && bytes.Equal(text, p.texts[0]) {
			c.parts[name] = p
		}
	}
	c.rest = previous.rest
}

// reparse gives up a part whose file does not stand alone any more.
func (c *compilation) reparse(name string) {
	delete(c.parts, name)
	f := c.parseOne(name)
	if f == nil {
		return // it was parsed before
	}
	i := slices.IndexFunc(c.files, func(f *ast.File) bool { return f.Filename == name })
	c.files[i] = f
	c.trees[name] = newTree(f)
}

// A room is a context with the schema in it.
type room struct {
	ctx  *cue.Context
	defs cue.Value
}

func (c *compilation) room() (*room, error) {
	r := &room{ctx: cuecontext.New()}
	r.defs = r.ctx.CompileBytes(c.text, cue.Filename(ownPrefix+"schema.cue"))
	if err := r.defs.Err(); err != nil {
		return nil, fmt.Errorf("compile the schema: %w", err)
	}
	return r, nil
}

// evaluateAlone evaluates the files that stand alone, one by one. It reports
// whether none had to be left out.
func (c *compilation) evaluateAlone(alone map[string]bool) (bool, error) {
	var r *room
	whole, n := true, 0
	for _, f := range c.files {
		name := f.Filename
		if !alone[name] || c.parts[name] != nil {
			continue
		}
		if n%filesPerContext == 0 {
			var err error
			if r, err = c.room(); err != nil {
				return false, err
			}
		}
		n++
		c.watch.doing(name)
		sub := c.sub([]*ast.File{f})
		if errs := sub.run(r); len(errs) > 0 {
			c.leaveOut([]string{name}, errs)
			whole = false
			continue
		}
		p := sub.part()
		p.tree = c.trees[name]
		c.parts[name] = p
	}
	c.watch.note("evaluate", fmt.Sprintf("%d of %d files alone", n, len(c.files)))
	return whole, nil
}

// evaluateRest evaluates all files together that do not stand alone.
func (c *compilation) evaluateRest(alone map[string]bool) (bool, error) {
	files := slices.DeleteFunc(slices.Clone(c.files), func(f *ast.File) bool { return alone[f.Filename] })
	sub := c.sub(files)
	if c.rest.same(sub) {
		return true, nil
	}
	c.rest = nil
	if len(files) == 0 {
		return true, nil
	}
	r, err := c.room()
	if err != nil {
		return false, err
	}
	c.watch.doing(suspects(files))
	if errs := sub.run(r); len(errs) > 0 {
		var names []string
		for _, f := range files {
			names = append(names, f.Filename)
		}
		c.leaveOut(names, errs)
		return false, nil
	}
	c.rest = sub.part()
	return true, nil
}

// suspects names the files whose evaluation may take its time: those that do
// not consist of literals.
func suspects(files []*ast.File) string {
	var names []string
	for _, f := range files {
		if _, ok := plainSites(f); !ok {
			names = append(names, f.Filename)
		}
	}
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s or one of %d more files", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, " or ")
}

// sub is the evaluation of some files alone.
func (c *compilation) sub(files []*ast.File) *compilation {
	return &compilation{
		src: c.src, files: files, shape: c.shape, defaults: c.defaults, watch: c.watch, trees: c.trees,
		index: newIndex(files, c.src.texts), lost: map[string]string{}, masked: map[string]bool{}, names: map[string]string{},
	}
}

// same reports whether the part is that of these files as they are now.
func (p *part) same(c *compilation) bool {
	if p == nil || !p.fixed || len(p.names) != len(c.files) {
		return false
	}
	for i, f := range c.files {
		if p.names[i] != f.Filename || !bytes.Equal(p.texts[i], c.src.texts[f.Filename]) {
			return false
		}
	}
	return true
}

func (c *compilation) part() *part {
	p := &part{
		findings: c.findings, lost: c.lost, bad: c.bad, conflicts: c.conflicts, masked: c.masked, declared: c.names, halves: c.halves, from: c.from,
		topology: c.result, fixed: true,
	}
	for _, f := range c.files {
		p.names = append(p.names, f.Filename)
		p.texts = append(p.texts, c.src.texts[f.Filename])
		for s := range f.ImportSpecs() {
			p.fixed = p.fixed && isBuiltin(s)
		}
	}
	return p
}

// run evaluates the files and reads what they make. The errors are those after
// which nothing can be read.
func (c *compilation) run(r *room) []errors.Error {
	c.defs = r.defs
	stop := c.watch.start("evaluate")
	v, errs := c.build(r.ctx)
	if len(errs) > 0 {
		stop()
		return errs
	}
	stop()
	if c.runPlain(v) {
		return nil
	}
	stop = c.watch.start("evaluate")
	_, err := v.Fields()
	c.root = v
	if err == nil {
		errs = c.unreadable(v)
	} else {
		errs = errors.Errors(err)
	}
	stop()
	if len(errs) > 0 {
		return errs
	}
	c.result = c.topology()
	return nil
}

// runPlain reads a file that is all literals and fits the schema as it is
// written, which says the same as its value and costs less.
func (c *compilation) runPlain(v cue.Value) bool {
	if len(c.files) != 1 || !c.trees[c.files[0].Filename].contained {
		return false
	}
	sites, ok := plainSites(c.files[0])
	if !ok {
		return false
	}
	stop := c.watch.start("schema")
	u := c.defs.LookupPath(cue.ParsePath("#Topology")).Unify(v)
	err := u.Validate(cue.Concrete(true))
	stop()
	if err != nil {
		return false
	}
	defer c.watch.start("read")()
	c.result = &topology.Topology{Sites: map[string]*topology.Site{}}
	for _, name := range slices.Sorted(maps.Keys(sites)) {
		o, ok := sites[name].(object)
		if !ok {
			return false
		}
		c.decode(c.result, name, o)
	}
	return true
}

// join puts the parts together.
func (c *compilation) join() *topology.Topology {
	t := &topology.Topology{Sites: map[string]*topology.Site{}, Severity: map[string]diagnostic.Severity{}}
	c.masked, c.names, c.from = map[string]bool{}, map[string]string{}, origins{}
	c.bad = badPaths{map[string]bool{}, map[string]bool{}}
	for _, f := range c.files {
		if p := c.parts[f.Filename]; p != nil {
			c.add(t, p)
		}
	}
	if c.rest != nil {
		c.add(t, c.rest)
		for name := range c.rest.topology.Sites {
			t.Sites[name].Files = c.index.filesOf(name)
		}
	}
	return t
}

func (c *compilation) add(t *topology.Topology, p *part) {
	for name, s := range p.topology.Sites {
		copied := *s
		t.Sites[name] = &copied
	}
	maps.Copy(t.Severity, p.topology.Severity)
	t.Policies = append(t.Policies, p.topology.Policies...)
	c.findings = append(c.findings, p.findings...)
	c.conflicts = append(c.conflicts, p.conflicts...)
	maps.Copy(c.lost, p.lost)
	maps.Copy(c.bad.at, p.bad.at)
	maps.Copy(c.bad.under, p.bad.under)
	maps.Copy(c.masked, p.masked)
	maps.Copy(c.names, p.declared)
	maps.Copy(c.from, p.from)
}
