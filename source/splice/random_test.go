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
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"
)

// After each of many edits, plain CUE says that the half is what was wanted and
// that nothing else has changed; the text outside of the link is as it was; and
// a refusal names its place.
func TestRandomEdits(t *testing.T) {
	edits := 1_000
	switch {
	case testing.Short():
		edits = 20
	case slow:
		edits = 100
	}
	for i, s := range styles {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := &random{t: t, style: s, rand: rand.New(rand.NewPCG(uint64(i), 4))}
			for r.edits < edits {
				r.reset()
				for range 10 {
					r.step()
				}
			}
			for _, why := range r.why {
				t.Log(why)
			}
			t.Logf("%d edits, %d of them without effect, %d refused", r.edits, r.idle, r.refused)
			if !s.refuses && r.refused > max(1, r.edits/100) {
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

	first     *compiler.Result // of the style's own files, and what plain CUE says
	firstTree map[string]any

	edits, idle, refused int
	why                  []string
}

func (r *random) reset() {
	r.fsys = sources(r.style.files)
	if r.first == nil {
		r.first, r.firstTree = compile(r.t, r.fsys, nil), evaluate(r.t, r.fsys)
	}
	r.now, r.tree = r.first, clone(r.t, r.firstTree)
}

// step makes one edit and checks what came of it.
func (r *random) step() {
	r.edits++
	e := r.edit()
	what := fmt.Sprintf("%s, edit %d: %v: %v, override %v, of\n%s", r.style.name, r.edits, e, e.Want, e.Override, r.texts())
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
	for range 1 + r.rand.IntN(3) {
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
