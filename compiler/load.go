package compiler

import (
	"fmt"
	"maps"
	"path"
	"strings"
	"unicode/utf8"

	"clink/compiler/cuetext"
	"clink/diagnostic"
	"clink/topology"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
)

const (
	packageName = "topology"
	ownPrefix   = "clink:" // of the names of clink's own files in positions
	ruleSchema  = "schema"
)

// A compilation is the state of one run of [Compile], or of the evaluation of
// one part of it.
type compilation struct {
	src      *source
	trees    map[string]*tree
	files    []*ast.File       // those that parse, in order of name
	lost     map[string]string // files left out, and why
	findings diagnostic.List

	root     cue.Value // the package as its author wrote it
	defs     cue.Value // the schema
	text     []byte    // of the schema
	shape    *shape
	defaults object
	index    *index
	bad      badPaths // where schema faults are
	watch    *stopwatch

	conflicts [][]string      // where two files disagree
	masked    map[string]bool // see Result

	names  map[string]string  // cluster.name by site, where it is declared
	halves map[halfKey][]byte // what the source gives of links
	from   origins            // of what no file writes at its own path
	parts  map[string]*part   // by file, of those that are evaluated alone
	rest   *part              // of all others

	together bool               // evaluate all files together: it means the same
	result   *topology.Topology // what was read
}

// unreadable returns why nothing of the package can be read, if so.
func (c *compilation) unreadable(root cue.Value) []errors.Error {
	if _, err := root.Fields(); err != nil {
		return errors.Errors(err)
	}
	sites := root.LookupPath(cue.ParsePath("sites"))
	if _, err := sites.Fields(); err == nil || !sites.Exists() {
		return undecided(root, sites)
	}
	const why = "sites must be " + sitesForm
	var errs []errors.Error
	for _, d := range c.index.find("sites").declarations() {
		if _, ok := d.value.(*ast.StructLit); !ok {
			errs = append(errs, errors.Newf(d.value.Pos(), why))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, errors.Newf(madeAt(sites, 4), why))
	}
	return errs
}

// undecided returns why it is not known which sites there are: an if or for
// around sites that cannot be evaluated makes none, and is no fault of any one
// site.
func undecided(values ...cue.Value) []errors.Error {
	var l []errors.Error
	for _, v := range values {
		for _, e := range errors.Errors(v.Err()) {
			path := e.Path()
			if (len(path) == 0 || len(path) == 1 && path[0] == "sites") && len(userPositions(e)) > 0 {
				l = append(l, e)
			}
		}
	}
	return l
}

const sitesForm = `a struct with the sites by name: sites: "emqx-us-east": {...}`

// parse reads the files. Evaluation leaves marks in a syntax tree: only that of
// a file whose evaluation is not repeated is used again.
func (c *compilation) parse() {
	c.files, c.trees = nil, map[string]*tree{}
	for _, name := range c.src.names {
		if _, lost := c.lost[name]; lost {
			continue
		}
		if p := c.parts[name]; p != nil {
			c.trees[name] = p.tree
			c.files = append(c.files, p.tree.file)
			continue
		}
		if f := c.parseOne(name); f != nil {
			c.trees[name] = newTree(f)
			c.files = append(c.files, f)
		}
	}
	c.index = newIndex(c.files, c.src.texts)
	c.index.dependencies(c.files, c.src.texts)
}

// parseOne returns a file's tree, nil if it is left out or ignored.
func (c *compilation) parseOne(name string) *ast.File {
	f, pos, why := parseFile(name, c.src.texts[name])
	switch {
	case why != "":
		c.lose(name, pos, why)
	case f.PackageName() != packageName:
		c.lose(name, c.packagePos(f), wrongPackage(f))
	case !ignored(f):
		return f
	}
	return nil
}

// parseFile returns the syntax tree, or the first fault: what follows from it
// is noise.
func parseFile(name string, text []byte) (*ast.File, diagnostic.Pos, string) {
	if i := invalidUTF8(text); i >= 0 {
		return nil, offsetPos(name, text, i), "the file is not UTF-8"
	}
	if i := tooManyLabels(text); i >= 0 {
		return nil, offsetPos(name, text, i), fmt.Sprintf("the file has a statement with more than %d labels", maxColons)
	}
	f, err := parser.ParseFile(name, text, parser.ParseComments)
	if err != nil {
		first := errors.Errors(err)[0]
		pos := diagnostic.Pos{File: name}
		if p := first.Position(); p.IsValid() {
			pos = tokenPos(p, text)
		}
		return nil, pos, "the file does not parse: " + message(first)
	}
	if p := tooDeep(f); p.IsValid() {
		return nil, tokenPos(p, text), fmt.Sprintf("the file nests deeper than %d", maxDepth)
	}
	return f, diagnostic.Pos{}, ""
}

func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// tooDeep returns where the tree is deeper than the evaluator is trusted with.
func tooDeep(f *ast.File) token.Pos {
	depth, at := 0, token.NoPos
	ast.Walk(f, func(n ast.Node) bool {
		depth++
		if depth > maxDepth {
			if !at.IsValid() {
				at = n.Pos()
			}
			depth--
			return false
		}
		return true
	}, func(ast.Node) { depth-- })
	return at
}

func wrongPackage(f *ast.File) string {
	if f.PackageName() == "" {
		return "the file has no package clause: the files of a topology begin with: package " + packageName
	}
	return fmt.Sprintf("package %s: the files of a topology are package %s", f.PackageName(), packageName)
}

func (c *compilation) packagePos(f *ast.File) diagnostic.Pos {
	for _, d := range f.Decls {
		if p, ok := d.(*ast.Package); ok {
			return cuetext.NodePos(p.Name)
		}
	}
	return diagnostic.Pos{File: f.Filename, Line: 1, Column: 1, EndLine: 1, EndColumn: 1}
}

// ignored reports whether the file says @ignore() before its package clause.
func ignored(f *ast.File) bool {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.Attribute:
			if key, _ := d.Split(); key == "ignore" {
				return true
			}
		case *ast.Package:
			return false
		}
	}
	return false
}

// build makes one value of all files, without evaluating it. The errors are
// those after which there is no value at all.
func (c *compilation) build(ctx *cue.Context) (cue.Value, []errors.Error) {
	l := &loader{src: c.src, loading: map[string]bool{}}
	inst := build.NewContext(build.Loader(l.load)).NewInstance("", nil)
	for _, f := range c.files {
		if err := inst.AddSyntax(f); err != nil {
			return cue.Value{}, errors.Errors(err)
		}
	}
	if err := inst.Complete(); err != nil {
		return cue.Value{}, errors.Errors(err)
	}
	if inst.ResolutionErr != nil {
		return cue.Value{}, errors.Errors(inst.ResolutionErr)
	}
	if len(c.files) == 0 {
		return ctx.CompileString("{}"), nil
	}
	return ctx.BuildInstance(inst), nil
}

// leaveOut drops those of the files that the errors of their evaluation speak
// of, each with one finding. If they speak of none, nothing can be told apart
// and all are dropped.
func (c *compilation) leaveOut(files []string, errs []errors.Error) {
	dropped := false
	for _, e := range errs {
		for _, p := range userPositions(e) {
			name := p.Filename()
			if _, own := c.src.texts[name]; !own {
				continue
			}
			dropped = true
			if _, lost := c.lost[name]; !lost {
				c.lose(name, tokenPos(p, c.src.texts[name]), message(e))
			}
			break
		}
	}
	if dropped {
		return
	}
	why := "the package cannot be evaluated"
	if len(errs) > 0 {
		why += ": " + message(errs[0])
	}
	c.findings = append(c.findings, schemaFinding(diagnostic.Pos{File: files[0]}, why))
	for _, name := range files {
		c.lost[name] = why
	}
}

// lose leaves a file out. What only follows from another file that was left
// out before is not told.
func (c *compilation) lose(name string, pos diagnostic.Pos, why string) {
	follows := false
	if ident, ok := unresolved(why); ok {
		for other := range maps.Keys(c.lost) {
			follows = follows || mentions(c.src.texts[other], ident)
		}
	}
	c.lost[name] = why
	if !follows {
		c.findings = append(c.findings, schemaFinding(pos, why))
	}
}

func unresolved(why string) (string, bool) {
	_, rest, ok := strings.Cut(why, `reference "`)
	if !ok {
		return "", false
	}
	ident, _, ok := strings.Cut(rest, `" not found`)
	return ident, ok
}

func schemaFinding(pos diagnostic.Pos, why string) diagnostic.Diagnostic {
	return diagnostic.Diagnostic{Rule: ruleSchema, Severity: diagnostic.Error, Message: why, Pos: pos}
}

// A loader finds imported packages inside the topology directory.
type loader struct {
	src     *source
	loading map[string]bool
	count   int
}

const schemaPackage = "clink.dev/schema"

func (l *loader) load(pos token.Pos, imported string) *build.Instance {
	dir, name, _ := strings.Cut(imported, ":")
	dir, _, _ = strings.Cut(dir, "@")
	if first, _, _ := strings.Cut(dir, "/"); !strings.Contains(first, ".") {
		return nil // a package of CUE's own
	}
	if name == "" {
		name = path.Base(dir)
	}
	inst := build.NewContext(build.Loader(l.load)).NewInstance(dir, nil)
	inst.ImportPath = imported
	if l.count++; l.count > maxImports || l.loading[dir] {
		inst.Err = errors.Newf(pos, "import %q: a cycle, or too many imports", imported)
		return inst
	}
	l.loading[dir] = true
	defer delete(l.loading, dir)
	found := false
	for _, folder := range l.folders(dir) {
		files, err := l.read(folder, name)
		if err != nil {
			inst.Err = errors.Newf(pos, "import %q: %v", imported, err)
			return inst
		}
		for _, f := range files {
			found = true
			if err := inst.AddSyntax(f); err != nil {
				inst.Err = err
				return inst
			}
		}
	}
	if !found {
		inst.Err = errors.Newf(pos, "import %q: no such package in this directory or under its cue.mod/pkg", imported)
		return inst
	}
	inst.Complete()
	return inst
}

// folders returns where the package may lie: in the module itself, or vendored.
func (l *loader) folders(imported string) []string {
	var folders []string
	if module := l.module(); module != "" {
		if imported == module {
			return []string{"."}
		}
		if rest, ok := strings.CutPrefix(imported, module+"/"); ok {
			folders = append(folders, rest)
		}
	}
	for _, d := range [...]string{"cue.mod/gen", "cue.mod/pkg", "cue.mod/usr"} {
		folders = append(folders, path.Join(d, imported))
	}
	return folders
}

// module returns the module's path without its version. It is read as it is
// written: a module file is data, and what it says needs no evaluation.
func (l *loader) module() string {
	const name = "cue.mod/module.cue"
	text, err := l.src.read(name)
	if err != nil {
		return ""
	}
	f, _, why := parseFile(name, text)
	if why != "" {
		return ""
	}
	for _, d := range f.Decls {
		field, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		label, _ := cuetext.LabelName(field.Label)
		if x, ok := plain(field.Value); ok && label == "module" {
			module, _ := x.(string)
			module, _, _ = strings.Cut(module, "@")
			return module
		}
	}
	return ""
}
