// Package clink_test checks the repository as a whole: the map of its packages
// and, as scripts, what its programs do. There is no package clink.
package clink_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path that imports of this repository begin with.
const module = "clink"

// A side says whether a package speaks of what is wanted or of what there is.
// The two never import each other; they meet in row 6.
type side int

const (
	both side = iota
	wanted
	actual
)

// A place is where a package stands on the map. It may import what stands in a
// lower row, never a neighbour in its row, and never across from one side to
// the other; its own subpackages it may import whatever their row.
type place struct {
	row  int
	side side
}

// places is the architecture. A package that is not here must not be: to add
// one is to decide where it stands.
var places = map[string]place{
	"topic":               {1, both},
	"diagnostic":          {1, both},
	"internal/secret":     {1, both},
	"internal/pki":        {1, both},
	"internal/atomicfile": {1, both},
	"internal/suggest":    {1, both},
	"internal/hocon":      {1, both},
	"internal/etf":        {1, both},
	"internal/sock":       {1, both},
	"internal/testgc":     {1, both},

	"topology":          {2, both},
	"broker/store":      {2, actual},
	"internal/freeport": {2, both},

	"schema":            {3, wanted},
	"flow":              {3, wanted},
	"broker":            {3, actual},
	"linkengine/client": {3, actual},
	"linkengine/wire":   {3, actual},

	"compiler":             {4, wanted},
	"compiler/cuetext":     {4, wanted},
	"diagram":              {4, wanted},
	"linkengine":           {4, actual},
	"linkengine/actor":     {4, actual},
	"linkengine/extrouter": {4, actual},
	"linkengine/forwarder": {4, actual},
	"linkengine/probe":     {4, actual},
	"linkengine/spool":     {4, actual},
	"emqx":                 {4, actual},

	"source":           {5, wanted},
	"source/git":       {5, wanted},
	"source/splice":    {5, wanted},
	"source/writeback": {6, wanted}, // stands on source and splice

	"httpapi":    {6, both},
	"reconciler": {6, both},
	"dashboard":  {6, both},

	"httpapi/apitest": {7, both},

	"cmd/clinkc/command": {7, both},
	"cmd/clinkd/command": {7, both},

	"bench/loadgen": {7, both},

	"bench":      {8, both},
	"cmd/clinkc": {8, both},
	"cmd/clinkd": {8, both},

	"examples/topologies/tls-pair/certs": {8, both},
}

// libraries are the third-party modules, or parts of one, and the packages that
// may import them: one package each, so that each has one place where its
// defects are fenced off. Tests are exempt.
var libraries = map[string][]string{
	"cuelang.org/go":                      {"compiler", "compiler/cuetext", "source/splice"},
	"github.com/fsnotify/fsnotify":        {"source"},
	"golang.org/x/sys":                    {"source"},
	"github.com/eclipse/paho.golang":      {"linkengine/client"},
	"github.com/mochi-mqtt/server/v2":     {"broker"},
	"github.com/gorilla/websocket":        {"broker"},
	"go.etcd.io/bbolt":                    {"broker/store"},
	"golang.org/x/crypto/bcrypt":          {"internal/secret", "broker"},
	"github.com/gorilla/mux":              {"httpapi"},
	"github.com/prometheus/client_golang": {"httpapi"},

	"github.com/santhosh-tekuri/jsonschema/v6": {"httpapi/apitest"},
	"golang.org/x/sync/errgroup":               {"cmd/clinkd/command"},
}

// A pkg is what the map is held against: one directory with Go files.
type pkg struct {
	documented bool
	imports    []string // of the files that are no tests
}

func TestLayers(t *testing.T) {
	pkgs, err := packages(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 5 {
		t.Fatalf("found only the packages %v", slices.Sorted(maps.Keys(pkgs)))
	}
	for _, fault := range faults(pkgs) {
		t.Error(fault)
	}
}

// The rules are tried on packages that break them, one by one.
func TestLayersFindsFaults(t *testing.T) {
	tests := []struct {
		name, pkg, imports, want string
	}{
		{"downwards", "compiler", "clink/topology", ""},
		{"a subpackage in the same row", "linkengine", "clink/linkengine/actor", ""},
		{"the standard library", "topic", "encoding/json", ""},
		{"an allowed library", "broker", "github.com/mochi-mqtt/server/v2/packets", ""},
		{"upwards", "topology", "clink/compiler", "topology imports compiler, which is not in a lower row"},
		{"sideways", "linkengine", "clink/emqx", "linkengine imports emqx, which is not in a lower row"},
		{"between subpackages", "linkengine/actor", "clink/linkengine/spool", "linkengine/actor imports linkengine/spool, which is not in a lower row"},
		{"from wanted to actual", "compiler", "clink/broker", "compiler imports broker, across from wanted to actual"},
		{"from actual to wanted", "linkengine", "clink/schema", "linkengine imports schema, across from wanted to actual"},
		{"another package's library", "linkengine", "github.com/mochi-mqtt/server/v2", "linkengine imports github.com/mochi-mqtt/server/v2, which only broker may"},
		{"a library with a longer name", "broker", "github.com/mochi-mqtt/server/v22", "broker imports github.com/mochi-mqtt/server/v22, which is not on the list of libraries"},
		{"an unlisted library", "topic", "example.com/new", "topic imports example.com/new, which is not on the list of libraries"},
		{"a package that is not on the map", "util", "fmt", "util is not on the map"},
		{"an import that is not on the map", "compiler", "clink/util", "compiler imports util, which is not on the map"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(faults(map[string]pkg{tt.pkg: {documented: true, imports: []string{tt.imports}}}), "; ")
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := faults(map[string]pkg{"topic": {}}); !slices.Equal(got, []string{"topic has no package comment"}) {
		t.Errorf("without a comment: got %q", got)
	}
}

// faults holds packages against the map.
func faults(pkgs map[string]pkg) []string {
	var l []string
	for _, name := range slices.Sorted(maps.Keys(pkgs)) {
		if _, ok := places[name]; !ok {
			l = append(l, name+" is not on the map")
			continue
		}
		if !pkgs[name].documented {
			l = append(l, name+" has no package comment")
		}
		for _, path := range pkgs[name].imports {
			if why := fault(name, path); why != "" {
				l = append(l, fmt.Sprintf("%s imports %s, %s", name, strings.TrimPrefix(path, module+"/"), why))
			}
		}
	}
	return l
}

// fault says what is wrong with package name importing path, "" if nothing.
func fault(name, path string) string {
	own, ok := strings.CutPrefix(path, module+"/")
	if !ok {
		return libraryFault(name, path)
	}
	from, to := places[name], places[own]
	switch {
	case to == place{}:
		return "which is not on the map"
	case strings.HasPrefix(own, name+"/"):
		return ""
	case to.row >= from.row:
		return "which is not in a lower row"
	case from.side != both && to.side != both && from.side != to.side:
		return "across from wanted to actual"
	}
	return ""
}

func libraryFault(name, path string) string {
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	for library, users := range libraries {
		if path != library && !strings.HasPrefix(path, library+"/") {
			continue
		}
		if slices.Contains(users, name) {
			return ""
		}
		return "which only " + strings.Join(users, ", ") + " may"
	}
	return "which is not on the list of libraries"
}

// packages reads every package of the module, but for its tests. It parses and
// does not build, so that a tree that does not compile still has a map.
func packages(root fs.FS) (map[string]pkg, error) {
	pkgs := map[string]pkg{}
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		base := path.Base(file)
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != "." && (base[0] == '.' || base[0] == '_' || base == "testdata"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		src, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		name := path.Dir(file)
		pkgs[name] = pkgs[name].with(f)
		return nil
	})
	return pkgs, err
}

// with is p and the file f.
func (p pkg) with(f *ast.File) pkg {
	p.documented = p.documented || f.Doc != nil
	for _, spec := range f.Imports {
		// The parser has checked the literal.
		path, _ := strconv.Unquote(spec.Path.Value)
		if !slices.Contains(p.imports, path) {
			p.imports = append(p.imports, path)
		}
	}
	return p
}
