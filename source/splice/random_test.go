package splice_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"clink/compiler"
	"clink/source/splice"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
)

// A style is a way in which people write topologies.
type style struct {
	name  string
	files map[string]string
	// of team defaults, by field
	defaults map[string]any
	// refuses: there are expressions that edits come up against.
	refuses bool
}

var styles = []style{
	{name: "nested", refuses: true, files: map[string]string{"a.cue": `package topology

import "strings"

// The machines.
let domain = "example.net"
let up = strings.ToLower("EU")

_common: username: "common"

sites: {
	// In the east.
	"site-a": {
		listeners: m: bind: "127.0.0.1:1"

		cluster: {
			links: {
				// About b.
				"site-b": { // of it
					server: "b.\(domain):1883" // interpolated
					topics: [
						// what is global
						"global/#", // all of it

						"fwd/\(up)/#",
						"x/+",
					]
					enable: false
					// a free comment
				} // behind it

				// About c, above.

				"site-c": {
					_common
					server: "c:1"
					topics: ["a", "b", "c"]
					ssl: {enable: true, cacertfile: "ca.pem"}
					resource_opts: {
						worker_pool_size: 3 // few
						request_ttl:      "infinity"
					}
				}
				// The end.
			}
		}
	}
	site_b: listeners: m: bind: "127.0.0.1:2"
}
`}},
	{name: "chains", files: map[string]string{"a.cue": `package topology
sites: "a":   listeners: m:   bind: "127.0.0.1:1"


sites:   "a": cluster:  links: "b": {server:   "b:1", topics: [  "t/#" ]}
sites: a: cluster: links: c: server: "c:1"
// more of c
sites: a: cluster: links: c: topics: ["x",
   "y"]
sites: "b": cluster: links: "a": {
     server:    "a:1" // odd
     topics:  []
  }`}},
	{name: "one line", files: map[string]string{"a.cue": `package topology

sites: {a: {listeners: m: bind: "127.0.0.1:1", cluster: links: {b: {server: "b:1", topics: []}, c: {server: "c:1", topics: ["t"], ssl: {enable: true}}}}, b: {cluster: {}}}
sites: c: {cluster: {name: "c"}} // behind
`}},
	{name: "repeated", files: map[string]string{"a.cue": `package topology

sites: "a": {
	listeners: m: bind: "127.0.0.1:1"
	cluster: {
		name: "a"
		links: "b": {
			server: "b:1"
			topics: []
		}

		// To c.
		links: "c": {
			server: "c:1"
			topics: ["t"]
		}
	}
}
sites: "b": cluster: links: "a": {server: "a:1", topics: []}
`}},
	{name: "files", files: map[string]string{"a.cue": `package topology

sites: a: {
	listeners: m: bind: "127.0.0.1:1"
	cluster: links: {
		b: {
			server: "b:1"
			topics: ["t"]
		}
		d: {
			server: "d:1"
			topics: []
		}
	}
}
`, "more.cue": `package topology

// More of a.
sites: a: cluster: links: {
	b: ssl: enable: true
	c: {server: "c:1", topics: []}
}
sites: b: cluster: links: a: {server: "a:1", topics: ["t"]}
`}},
	{name: "generated", refuses: true, files: map[string]string{"a.cue": `package topology

_peers: ["x", "y"]

sites: a: cluster: links: {
	for p in _peers {(p): {server: p + ":1", topics: ["t"]}}
	b: {
		server: "b:1"
		topics: []
	}
}
sites: b: cluster: links: "a": {
	server: "a:1"
	topics: []
	if len(_peers) > 1 {
		retained: true
	}
}
`}},
	{name: "team", defaults: map[string]any{"pool_size": json.Number("4")}, files: map[string]string{"a.cue": `package topology

sites: a: cluster: links: b: {
	server: "b:1"
	topics: []
}
sites: b: cluster: links: {
	a: {server: "a:1", topics: [], pool_size: 5}
}
`, "policy.cue": `package topology

sites: [_]: cluster: links: [_]: pool_size: *4 | int
`}},
	{name: "references", refuses: true, files: map[string]string{"a.cue": `package topology

_tls: {enable: true, cacertfile: "ca.pem"}
_base: {
	server: "base:1"
	topics: ["base/#"]
}
sites: a: {
	listeners: m: bind: "127.0.0.1:1"
	cluster: links: {
		b: _base & {
			username: "u"
		}
		c: _base
		d: {
			let t = ["x", "y"]
			server: sites.a.listeners.m.bind
			topics: t
			ssl:    _tls
		}
		e: {server: "e:1", topics: d.topics}
	}
}
`}},
	{name: "clean", files: map[string]string{"a.cue": `package topology

sites: a: {
	listeners: m: bind: "127.0.0.1:1"
	cluster: links: {
		// About b.
		"b": {
			server:   "b:1"
			username: "a-user" // of b
			topics: ["global/#", "fwd/#"]
			resource_opts: {
				worker_pool_size: 2
			}
		}

		"d": {
			server: "d:1"
			topics: [
				"one", // first
				"two",
			]
		}
	}
}

sites: b: cluster: links: "a": {server: "a:1", topics: []}
`}},
	{name: "CRLF", files: map[string]string{"a.cue": strings.ReplaceAll(`package topology

// About a.
sites: a: cluster: links: {
  b: {
    server: "b:1" // where
    topics: [
      "t",
    ]
  }

  // About c.
  c: {
    server: "c:1"
    topics: []
  }
}
sites: b: listeners: m: bind: "127.0.0.1:1"`, "\n", "\r\n")}},
}

// After each of many edits, plain CUE says that the half is what was wanted and
// that nothing else has changed; the text outside of the link is as it was; and
// a refusal names its place.
func TestRandomEdits(t *testing.T) {
	edits := 1_020
	if testing.Short() {
		edits = 100
	}
	for i, s := range styles {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := &random{t: t, style: s, rand: rand.New(rand.NewPCG(uint64(i), 4))}
			for r.edits < edits {
				r.reset()
				for range 12 {
					r.step()
				}
			}
			for _, why := range r.why {
				t.Log(why)
			}
			t.Logf("%d edits, %d of them without effect, %d refused", r.edits, r.idle, r.refused)
			if !s.refuses && r.refused > r.edits/100 {
				t.Errorf("%d of %d edits were refused where all is literal: %v", r.refused, r.edits, r.why)
			}
			if r.refused > r.edits*3/4 {
				t.Errorf("%d of %d edits were refused", r.refused, r.edits)
			}
		})
	}
}

type random struct {
	t     *testing.T
	style style
	rand  *rand.Rand
	fsys  fstest.MapFS
	now   *compiler.Result
	tree  map[string]any // what plain CUE says

	edits, idle, refused int
	why                  []string
}

func (r *random) reset() {
	r.fsys = sources(r.style.files)
	r.now = compile(r.t, r.fsys, nil)
	r.tree = evaluate(r.t, r.fsys)
}

// step makes one edit and checks what came of it.
func (r *random) step() {
	r.edits++
	e := r.edit()
	what := fmt.Sprintf("%s, edit %d: %+v of\n%s", r.style.name, r.edits, e, r.texts())
	changed, err := splice.Apply(r.fsys, []splice.LinkEdit{e}, r.now)
	if err != nil {
		r.refusal(what, err)
		return
	}
	if len(changed) == 0 {
		r.idle++
		r.compare(what, e, r.tree)
		return
	}
	next := with(r.fsys, changed)
	after, err := splice.Prove(r.t.Context(), next, []splice.LinkEdit{e}, r.now, compiler.Options{})
	if err != nil {
		r.refusal(what+"\ngave\n"+r.diff(changed), err)
		return
	}
	tree := evaluate(r.t, next)
	r.compare(what+"\ngave\n"+r.diff(changed), e, tree)
	r.outside(what, e, changed)
	r.fsys, r.now, r.tree = next, after, tree
	r.again(what, e)
}

// again makes the same edit, which must change nothing.
func (r *random) again(what string, e splice.LinkEdit) {
	changed, err := splice.Apply(r.fsys, []splice.LinkEdit{e}, r.now)
	if err != nil || len(changed) > 0 {
		r.t.Fatalf("%s\nthe same again: %v\n%s", what, err, r.diff(changed))
	}
}

func (r *random) texts() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.fsys)) {
		fmt.Fprintf(&b, "-- %s --\n%s\n", name, r.fsys[name].Data)
	}
	return b.String()
}

func (r *random) diff(changed map[string][]byte) string {
	var b strings.Builder
	for name, text := range changed {
		b.WriteString(splice.Diff(name, r.fsys[name].Data, text))
	}
	return b.String()
}

func (r *random) refusal(what string, err error) {
	r.refused++
	var c *splice.ConflictError
	if !errors.As(err, &c) || r.fsys[c.Pos.File] == nil || c.Pos.Line == 0 {
		r.t.Fatalf("%s\na refusal without its place: %v", what, err)
	}
	if len(r.why) < 10 && !r.style.refuses {
		r.why = append(r.why, what+"\n"+err.Error())
	}
}

// edit is an edit by chance: of a link that is there, most of the time.
func (r *random) edit() splice.LinkEdit {
	sites := r.now.Topology.Names()
	e := splice.LinkEdit{Site: sites[r.rand.IntN(len(sites))], Override: r.rand.IntN(5) == 0}
	links := r.now.Topology.Sites[e.Site].Links
	chance := r.rand.IntN(10)
	if len(links) == 0 || chance < 2 {
		e.Peer = pick(r.rand, "b", "site-b", "0", "new link", "é\"\\(x)", "zz", "m")
		e.Want = map[string]any{"server": "n:1", "topics": r.topics(nil)}
	} else {
		e.Peer = links[r.rand.IntN(len(links))].Name
		e.Want, _ = r.now.Given(e.Site, e.Peer)
	}
	if chance == 2 {
		e.Want = nil
		return e
	}
	for range r.rand.IntN(4) {
		r.mutate(e.Want)
	}
	return e
}

func pick[T any](r *rand.Rand, l ...T) T { return l[r.IntN(len(l))] }

// mutate changes one field.
func (r *random) mutate(m map[string]any) {
	sub := func(name, field string, v any) {
		o, _ := m[name].(map[string]any)
		if o = maps.Clone(o); o == nil {
			o = map[string]any{}
		}
		if o[field] = v; r.rand.IntN(4) == 0 {
			delete(o, field)
		}
		m[name] = o
	}
	switch r.rand.IntN(11) {
	case 0:
		m["server"] = pick(r.rand, "s:1", "t:2")
	case 1, 2, 3:
		old, _ := m["topics"].([]any)
		m["topics"] = r.topics(old)
	case 4:
		m["enable"] = r.rand.IntN(2) == 0
	case 5:
		m[pick(r.rand, "username", "clientid", "password")] = pick(r.rand, "u", "a \"b\" \\(x)", "{, a: }", "// no\ncomment")
	case 6:
		m["pool_size"] = json.Number(pick(r.rand, "1", "4", "8"))
	case 7:
		sub("ssl", pick(r.rand, "enable", "reuse_sessions"), r.rand.IntN(2) == 0)
	case 8:
		sub("ssl", pick(r.rand, "cacertfile", "verify"), pick[any](r.rand, "verify_none", "verify_peer"))
	case 9:
		sub("resource_opts", pick(r.rand, "request_ttl", "start_timeout"), pick[any](r.rand, "1s", json.Number("5")))
	case 10:
		if names := slices.Sorted(maps.Keys(m)); len(names) > 0 {
			delete(m, pick(r.rand, names...))
		}
	}
}

// topics adds, takes out and replaces elements.
func (r *random) topics(old []any) []any {
	l := slices.Clone(old)
	if l == nil {
		l = []any{}
	}
	for range 1 + r.rand.IntN(2) {
		v := any(pick(r.rand, "n/1", "n/2", "n/#", "+/x", "\"q\""))
		switch i := r.rand.IntN(len(l) + 1); r.rand.IntN(3) {
		case 0:
			l = slices.Insert(l, i, v)
		case 1:
			if i < len(l) {
				l = slices.Delete(l, i, i+1)
			}
		case 2:
			if i < len(l) {
				l[i] = v
			}
		}
	}
	return l
}

// evaluate is what plain CUE makes of the files.
func evaluate(t *testing.T, fsys fstest.MapFS) map[string]any {
	t.Helper()
	inst := build.NewContext().NewInstance("", nil)
	for _, name := range slices.Sorted(maps.Keys(fsys)) {
		f, err := parser.ParseFile(name, fsys[name].Data)
		if err != nil {
			t.Fatal(err)
		}
		if err := inst.AddSyntax(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := inst.Complete(); err != nil {
		t.Fatal(err)
	}
	b, err := cuecontext.New().BuildInstance(inst).LookupPath(cue.ParsePath("sites")).MarshalJSON()
	if err != nil {
		t.Fatalf("%v in\n%v", err, fsys)
	}
	return want(t, string(b))
}

// takeLink takes a half out of what CUE says.
func takeLink(tree map[string]any, site, peer string) (map[string]any, bool) {
	cluster, _ := tree[site].(map[string]any)["cluster"].(map[string]any)
	links, _ := cluster["links"].(map[string]any)
	l, there := links[peer].(map[string]any)
	delete(links, peer)
	if links != nil && len(links) == 0 {
		delete(cluster, "links")
	}
	if cluster != nil && len(cluster) == 0 {
		delete(tree[site].(map[string]any), "cluster")
	}
	return l, there
}

func (r *random) compare(what string, e splice.LinkEdit, tree map[string]any) {
	r.t.Helper()
	before, after := clone(r.t, r.tree), clone(r.t, tree)
	takeLink(before, e.Site, e.Peer)
	got, there := takeLink(after, e.Site, e.Peer)
	if !reflect.DeepEqual(before, after) {
		r.t.Fatalf("%s\nsomething else has changed: from\n%v\nto\n%v", what, before, after)
	}
	if there != (e.Want != nil) {
		r.t.Fatalf("%s\nthe link is there: %v", what, there)
	}
	if e.Want == nil {
		return
	}
	if full, expected := r.full(e, got), r.full(e, e.Want); !reflect.DeepEqual(full, expected) {
		r.t.Fatalf("%s\ngot\n%v\nwant\n%v", what, full, expected)
	}
}

// full is a half with the defaults of the team and of the schema laid under it.
func (r *random) full(e splice.LinkEdit, half map[string]any) map[string]any {
	def, err := r.now.Defaults(e.Site, e.Want)
	if err != nil {
		r.t.Fatal(err)
	}
	return under(under(half, r.style.defaults), def)
}

func under(o, def map[string]any) map[string]any {
	o = maps.Clone(o)
	if o == nil {
		o = map[string]any{}
	}
	for name, d := range def {
		x, ok := o[name]
		xm, isMap := x.(map[string]any)
		switch dm, _ := d.(map[string]any); {
		case !ok:
			o[name] = d
		case isMap:
			o[name] = under(xm, dm)
		}
	}
	for name, x := range o { // an empty struct says nothing
		if m, ok := x.(map[string]any); ok && len(m) == 0 {
			delete(o, name)
		}
	}
	return o
}

func clone(t *testing.T, tree map[string]any) map[string]any {
	b, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return want(t, string(b))
}

// outside checks that the text that is not the link's own is as it was: but for
// space and commas between elements, for what has lost its last user, and for
// what holds nothing any more. A file that was clean is laid out anew and must
// be clean after.
func (r *random) outside(what string, e splice.LinkEdit, changed map[string][]byte) {
	r.t.Helper()
	for name, text := range changed {
		before := r.fsys[name].Data
		if nice, err := format.Source(before); err == nil && string(nice) == string(before) {
			if again, err := format.Source(text); err != nil || string(again) != string(text) {
				r.t.Fatalf("%s\n%s was clean and is no more: %v\n%s", what, name, err, text)
			}
		}
		was, is := rest(r.t, before, e), rest(r.t, text, e)
		if was != is {
			r.t.Fatalf("%s\nthe rest of %s has changed:\n%s\n%s", what, name, r.diff(changed), splice.Diff("rest", []byte(was), []byte(is)))
		}
	}
}

// rest is a file without one link, and without what holds nothing else.
func rest(t *testing.T, text []byte, e splice.LinkEdit) string {
	f, err := parser.ParseFile("f.cue", text, parser.ParseComments)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	c := cutter{text: text, path: []string{"sites", e.Site, "cluster", "links", e.Peer}}
	var cuts [][2]int
	ast.Walk(f, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.ImportDecl, *ast.LetClause:
			cuts = append(cuts, [2]int{n.Pos().Offset(), n.End().Offset()})
		}
		return true
	}, nil)
	cuts = append(cuts, c.cuts(f.Decls, 0)...)
	return compact(without(text, cuts))
}

// compact is a text without space, and without commas.
func compact(text []byte) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(string(text)), ""), ",", "")
}

// without cuts ranges out, with their own comments; what lies in another goes
// with it.
func without(text []byte, cuts [][2]int) []byte {
	slices.SortFunc(cuts, func(a, b [2]int) int { return b[0] - a[0] })
	for i, c := range cuts {
		if slices.ContainsFunc(cuts[i+1:], func(d [2]int) bool { return d[0] <= c[0] && c[1] <= d[1] }) {
			continue
		}
		text = slices.Concat(ownComments(text[:c[0]]), behind(text[c[1]:]))
	}
	return text
}

type cutter struct {
	text []byte
	path []string
}

// cuts are the ranges that are the link's, below the elements of a struct.
func (c cutter) cuts(decls []ast.Decl, depth int) (l [][2]int) {
	for _, d := range decls {
		f, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		label := f.Label
		if a, ok := label.(*ast.Alias); ok {
			label = a.Expr.(ast.Label)
		}
		if name, _, _ := ast.LabelName(label); name != c.path[depth] {
			continue
		}
		whole := [2]int{f.Pos().Offset(), f.End().Offset()}
		s, isStruct := f.Value.(*ast.StructLit)
		switch {
		case depth == len(c.path)-1:
			l = append(l, whole)
		case !isStruct:
		default:
			inner := c.cuts(s.Elts, depth+1)
			from, to := s.Pos().Offset(), s.End().Offset()
			var moved [][2]int
			for _, x := range inner {
				moved = append(moved, [2]int{x[0] - from, x[1] - from})
			}
			left := compact(without(c.text[from:to], moved))
			if left == "" || left == "{}" {
				inner = [][2]int{whole}
			}
			l = append(l, inner...)
		}
	}
	return l
}

// ownComments cuts off the comments right above the end of a text.
func ownComments(text []byte) []byte {
	for {
		s := strings.TrimRight(string(text), " \t\r")
		if !strings.HasSuffix(s, "\n") {
			return text
		}
		s = strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
		line := s[strings.LastIndexByte(s, '\n')+1:]
		if !strings.HasPrefix(strings.TrimSpace(line), "//") {
			return text
		}
		text = []byte(s[:len(s)-len(line)])
	}
}

// behind cuts off the comment on the line that a text begins in.
func behind(text []byte) []byte {
	line, more, _ := strings.Cut(string(text), "\n")
	if s := strings.TrimLeft(line, " \t,"); strings.HasPrefix(s, "//") {
		return []byte("\n" + more)
	}
	return text
}
