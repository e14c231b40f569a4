package command

import (
	"crypto/sha256"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"clink/source/git"
	"clink/source/writeback"
)

// States of one file are letters; the edits are pairs of them, in order, and
// the last letter is what is on disk.
func TestWhichEditsWereSetBack(t *testing.T) {
	tests := []struct {
		name, edits, disk string
		back              []int
	}{
		{"none", "ab bc", "c", nil},
		{"saved over by an editor", "ab bc", "x", nil},
		{"all", "ab bc", "a", []int{0, 1}},
		{"the last", "ab bc", "b", []int{1}},
		{"one before another came", "ab ac", "c", []int{0}},
		{"two before another came", "ab bc ad", "d", []int{0, 1}},
		{"the file is gone", "ab", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "site.cue")
			if tt.disk != "" {
				if err := os.WriteFile(file, []byte(tt.disk), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var list []held
			for i := 0; i < len(tt.edits); i += 3 {
				list = append(list, held{files: map[string]fileChange{file: {sha256.Sum256([]byte(tt.edits[i : i+1])), sha256.Sum256([]byte(tt.edits[i+1 : i+2]))}}})
			}
			if got := slices.Sorted(maps.Keys(setBack(list))); !slices.Equal(got, tt.back) {
				t.Errorf("set back: %v, want %v", got, tt.back)
			}
		})
	}
}

// An edit that was set back does not come again over a later one of its link.
func TestLaterEditsHold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.cue")
	if err := os.WriteFile(file, []byte("c"), 0o600); err != nil {
		t.Fatal(err)
	}
	of := func(revision, site string, states string) held {
		return held{revision: revision, halves: []writeback.Half{{Site: site, Peer: "peer"}}, files: map[string]fileChange{file: {sha256.Sum256([]byte(states[:1])), sha256.Sum256([]byte(states[1:]))}}}
	}
	for later, want := range map[string]int{"a": 0, "b": 1} {
		a := again{poke: make(chan struct{}, 1), held: []held{of("r1", "a", "ab"), of("r2", later, "ac"), of("r3", "a", "xy")}}
		none := a.settle(git.Change{Trailers: [][2]string{{revisionTrailer, "r1"}, {revisionTrailer, "r2"}}})
		if none || len(a.redo) != want || len(a.held) != 1 {
			t.Errorf("later edit of %s: to be made again are %v, kept %v", later, a.redo, a.held)
		}
	}
}
