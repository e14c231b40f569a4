package splice_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"clink/compiler"
	"clink/source/splice"
)

// want reads the fields of a half from JSON; "" is the deletion.
func want(t testing.TB, text string) map[string]any {
	t.Helper()
	if text == "" {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	m := map[string]any{}
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func sources(texts map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range texts {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func compile(t testing.TB, fsys fstest.MapFS, previous *compiler.Result) *compiler.Result {
	t.Helper()
	r, err := compiler.Compile(t.Context(), fsys, compiler.Options{Previous: previous})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// with is the files with others in the place of some.
func with(fsys fstest.MapFS, changed map[string][]byte) fstest.MapFS {
	next := maps.Clone(fsys)
	for name, text := range changed {
		next[name] = &fstest.MapFile{Data: text}
	}
	return next
}

// edit makes edits and proves them.
func edit(t testing.TB, fsys fstest.MapFS, edits ...splice.LinkEdit) (map[string][]byte, error) {
	t.Helper()
	before := compile(t, fsys, nil)
	changed, err := splice.Apply(fsys, edits, before)
	if err != nil {
		return nil, err
	}
	if _, err := splice.Prove(t.Context(), with(fsys, changed), edits, before, compiler.Options{}); err != nil {
		return changed, err
	}
	return changed, nil
}
