package command

import (
	"os"
	"path/filepath"
	"testing"
)

func TestIgnoresSecrets(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "secrets\n": true, "/secrets/": true, "x\nsecrets/ \r\ny\n": true, "/secrets/*\n": true, "**/secrets/\n": true, "secrets/**\n": true,
		"# secrets/\n": false, "my-secrets/\n": false, "secrets.txt\n": false, "secrets/one\n": false,
		"secrets/\n!secrets/\n": false, "!secrets/\nsecrets/\n": true, "secrets/*\n!secrets/one\n": false, "/secrets/*\n!/secrets/one\n": false,
	} {
		if got := ignoresSecrets(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// A .gitignore loses no byte, whatever its last line; what cannot be added to
// leaves nothing of the topology behind.
func TestPlantKeepsWhatIsIgnored(t *testing.T) {
	files, err := plan{names: []string{"a", "b"}}.files(1883)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":           gitignore,
		"a":          "a\n\n" + gitignore,
		"a\r\n":      "a\r\n\n" + gitignore,
		"\xff\x00\n": "\xff\x00\n\n" + gitignore,
		"/secrets":   "/secrets",
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, ignoreFile)
		if err := os.WriteFile(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := plant(t.Context(), dir, files); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); string(got) != want {
			t.Errorf("%q became %q: %v", text, got, err)
		}
	}
	dir := t.TempDir()
	if err := transplant(t.TempDir(), dir, nil, func() error { return addTo(filepath.Join(dir, "gone"), "x") }); err == nil {
		t.Error("nothing was added, and nothing said")
	}
}
