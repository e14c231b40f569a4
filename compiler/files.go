package compiler

import (
	"bytes"
	"maps"
	"regexp"
	"slices"

	"cuelang.org/go/cue/ast"
)

// filesOf returns the files that say something about a site, in order: those
// that write it out, those with patterns or comprehensions over sites, and
// those whose fields these refer to.
func (x *index) filesOf(site string) []string {
	set := map[string]bool{}
	if p := x.find("sites", site); p != nil {
		for _, d := range p.decls {
			set[d.file] = true
		}
	}
	for _, p := range []*place{x.root, x.find("sites")} {
		if p == nil {
			continue
		}
		p.expand()
		for _, f := range p.wildIn {
			set[f] = true
		}
	}
	todo := slices.Collect(maps.Keys(set))
	for len(todo) > 0 {
		last := len(todo) - 1
		next := x.deps[todo[last]]
		todo = todo[:last]
		for _, f := range next {
			if !set[f] {
				set[f] = true
				todo = append(todo, f)
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// siteReference is how a file takes a value from a site by its name.
var siteReference = regexp.MustCompile(`\bsites\.(?:"([^"\\\n]+)"|([A-Za-z_]\w*))`)

// overSites is a value that is made by going through all sites.
var overSites = regexp.MustCompile(`\bin\s+sites\b|\bsites\[`)

// dependencies finds, for each file, the others whose top-level fields it
// names. A reference to a site by a computed name counts as one to all sites.
func (x *index) dependencies(files []*ast.File, texts map[string][]byte) {
	x.deps, x.overSites = map[string][]string{}, map[string]bool{}
	top, site := declaredBy(files)
	for _, f := range files {
		var on []string
		for _, id := range f.Unresolved {
			if id.Name != "sites" {
				on = append(on, top[id.Name]...)
			}
		}
		text := texts[f.Filename]
		if overSites.Match(text) {
			x.overSites[f.Filename] = true
			on = append(on, top["sites"]...)
		}
		if bytes.Contains(text, []byte("sites.")) {
			for _, m := range siteReference.FindAllSubmatch(text, -1) {
				on = append(on, site[string(m[1])+string(m[2])]...)
			}
		}
		if len(on) > 0 {
			slices.Sort(on)
			x.deps[f.Filename] = slices.Compact(on)
		}
	}
}

// declaredBy returns the files by top-level field, and by site.
func declaredBy(files []*ast.File) (top, site map[string][]string) {
	top, site = map[string][]string{}, map[string][]string{}
	for _, f := range files {
		own := &place{kids: map[string]*place{}, expanded: true}
		own.addDecls(f.Filename, f.Decls)
		for name, p := range own.kids {
			top[name] = append(top[name], f.Filename)
			if name != "sites" {
				continue
			}
			p.expand()
			for s := range p.kids {
				site[s] = append(site[s], f.Filename)
			}
		}
	}
	return top, site
}
