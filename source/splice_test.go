package source

import (
	"testing"

	"clink/compiler"
	"clink/source/splice"
)

// An edit of a snapshot gives a snapshot of its own; the first stays as it was.
func TestSnapshotSplice(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.cue", "package topology\n\nsites: a: cluster: links: b: {server: \"x:1\", topics: []}\n")
	write(t, dir, "b.cue", "package topology\n\nsites: b: {}\n")
	s := snapshot(t, open(t, dir, Options{}))
	now, err := compiler.Compile(t.Context(), s, compiler.Options{})
	must(t, err)
	edits := []splice.LinkEdit{{Site: "a", Peer: "b", Want: map[string]any{"server": "y:1", "topics": []any{"t"}}}}
	changed, err := s.Splice(edits, now)
	must(t, err)
	next := s.With(changed)
	if _, err := splice.Prove(t.Context(), next, edits, now, compiler.Options{}); err != nil {
		t.Error(err)
	}
	got, err := next.ReadFile("a.cue")
	must(t, err)
	if want := "package topology\n\nsites: a: cluster: links: b: {server: \"y:1\", topics: [\"t\"]}\n"; len(changed) != 1 || string(got) != want {
		t.Errorf("%d files, %s", len(changed), got)
	}
	if next.Revision == s.Revision || s.With(nil).Revision != s.Revision {
		t.Errorf("revisions %s, %s", s.Revision, next.Revision)
	}
	if was, err := s.ReadFile("a.cue"); err != nil || string(was) == string(got) {
		t.Errorf("the first snapshot has changed: %s, %v", was, err)
	}
	if gone := s.With(map[string][]byte{"b.cue": nil}); len(gone.Files()) != 1 {
		t.Errorf("files %v", gone.Files())
	}
	if on, err := snapshot(t, open(t, dir, Options{})).ReadFile("a.cue"); err != nil || string(on) == string(got) {
		t.Errorf("the disk has changed: %s, %v", on, err)
	}
}
