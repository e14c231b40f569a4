package splice_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"clink/compiler"
	"clink/source/splice"
)

// In every topology that is an example or a good one: what a link says put back
// changes nothing, with and without defaults; one topic more changes one line;
// and a link that is deleted and created again says the same.
func TestCorpus(t *testing.T) {
	var dirs []string
	for _, pattern := range []string{"../../examples/topologies/*", "../../testdata/topologies/good/*"} {
		l, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, l...)
	}
	least, most := 100, 6
	if testing.Short() { // a part of them
		least, most = 15, 2
		all := dirs
		dirs = nil
		for i := 0; i < len(all); i += 5 {
			dirs = append(dirs, all[i])
		}
	}
	links, refused := 0, 0
	for _, dir := range dirs {
		fsys := read(t, dir)
		now := compile(t, fsys, nil)
		for _, name := range now.Topology.Names() {
			for _, l := range now.Topology.Sites[name].Links {
				links++
				c := corpusLink{t, fsys, now, name, l.Name}
				c.same()
				if !c.topic() || !c.again() {
					refused++
				}
			}
		}
	}
	// Some are made by comprehensions and patterns.
	if links < least || refused > links/most {
		t.Errorf("%d of %d links cannot be edited", refused, links)
	}
}

func read(t *testing.T, dir string) fstest.MapFS {
	t.Helper()
	fsys := fstest.MapFS{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".cue") {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		fsys[name] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

type corpusLink struct {
	t          *testing.T
	fsys       fstest.MapFS
	now        *compiler.Result
	site, peer string
}

func (c corpusLink) given() map[string]any {
	given, ok := c.now.Given(c.site, c.peer)
	if !ok {
		c.t.Fatalf("nothing is given of %s's link to %s", c.site, c.peer)
	}
	return given
}

func (c corpusLink) same() {
	given := c.given()
	def, err := c.now.Defaults(c.site, given)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, half := range []map[string]any{given, under(given, def)} {
		changed, err := splice.Apply(c.fsys, []splice.LinkEdit{{Site: c.site, Peer: c.peer, Want: half}}, c.now)
		if err != nil || len(changed) > 0 {
			c.t.Errorf("%s's link to %s as it is: %v\n%s", c.site, c.peer, err, changed)
		}
	}
}

// put makes an edit and proves it; nil if it is refused.
func (c corpusLink) put(fsys fstest.MapFS, now *compiler.Result, half map[string]any) (map[string][]byte, *compiler.Result) {
	e := []splice.LinkEdit{{Site: c.site, Peer: c.peer, Want: half}}
	changed, err := splice.Apply(fsys, e, now)
	var after *compiler.Result
	if err == nil {
		after, err = splice.Prove(c.t.Context(), with(fsys, changed), e, now, compiler.Options{})
	}
	if err == nil {
		return changed, after
	}
	if conflict := (*splice.ConflictError)(nil); !errors.As(err, &conflict) || conflict.Pos.Line == 0 {
		c.t.Errorf("%s's link to %s: %v", c.site, c.peer, err)
	}
	return nil, nil
}

func (c corpusLink) topic() bool {
	half := c.given()
	topics, _ := half["topics"].([]any)
	half["topics"] = append(topics, "one/more")
	changed, _ := c.put(c.fsys, c.now, half)
	for name, text := range changed {
		diff := splice.Diff(name, c.fsys[name].Data, text)
		if plus, minus := strings.Count(diff, "\n+"), strings.Count(diff, "\n-"); plus != 2 || minus > 1 { // with the head
			c.t.Errorf("a topic more changes more than a line:\n%s", diff)
		}
	}
	return len(changed) > 0
}

func (c corpusLink) again() bool {
	given := c.given()
	changed, after := c.put(c.fsys, c.now, nil)
	if after == nil {
		return false
	}
	next := with(c.fsys, changed)
	if changed, after = c.put(next, after, given); after == nil {
		return false
	}
	if !after.SameGiven(c.now, c.site, c.peer) {
		c.t.Errorf("%s's link to %s is not what it was:\n%s", c.site, c.peer, maps.Clone(changed))
	}
	return true
}
