package splice_test

import (
	"slices"
	"strings"
	"testing"

	"clink/source/splice"
)

func TestBlocks(t *testing.T) {
	texts := map[string][]byte{
		"a.cue": []byte("package topology\n\nsites: a: cluster: links: {\n\tb: {\n\t\tserver: \"h:1\"\n\t}\n\tc: server: \"h:2\"\n}\n"),
		"b.cue": []byte("package topology\n\nsites: a: cluster: links: b: topics: [\"x\"]\nsites: d: cluster: links: b: server: \"no\"\n"),
	}
	tests := []struct {
		site, peer string
		want       []string
	}{
		{"a", "b", []string{"b: {\n\t\tserver: \"h:1\"\n\t}", "b: topics: [\"x\"]"}},
		{"a", "c", []string{"c: server: \"h:2\""}},
		{"a", "e", nil},
	}
	for _, tt := range tests {
		blocks, err := splice.Blocks([]string{"a.cue", "b.cue", "gone.cue"}, texts, tt.site, tt.peer)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range blocks {
			lines := strings.Split(string(texts[p.File]), "\n")[p.Line-1 : p.EndLine]
			lines[len(lines)-1] = lines[len(lines)-1][:p.EndColumn-1]
			lines[0] = lines[0][p.Column-1:]
			got = append(got, strings.Join(lines, "\n"))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s to %s: got %q, want %q", tt.site, tt.peer, got, tt.want)
		}
	}
	if _, err := splice.Blocks([]string{"a.cue"}, map[string][]byte{"a.cue": []byte("{")}, "a", "b"); err == nil {
		t.Error("a file that does not parse gives no error")
	}
}

// What is changed for another is told, what it is is not.
func TestDiffMasked(t *testing.T) {
	before, after := []byte("a\nsecret one\nb\n"), []byte("a\nsecret two\nb\n")
	mask := func(text []byte) []byte {
		return []byte(strings.NewReplacer("one", "***", "two", "***").Replace(string(text)))
	}
	const want = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n a\n-secret ***\n+secret ***\n b\n"
	if got := splice.DiffMasked("x", before, after, mask); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// A mask that loses lines is no reason to fail.
	if got := splice.DiffMasked("x", before, after, func([]byte) []byte { return nil }); strings.Contains(got, "one") || got == "" {
		t.Errorf("got %q", got)
	}
}
