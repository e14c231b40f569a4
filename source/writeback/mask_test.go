package writeback_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clink/source/writeback"
)

// What is told of a change shows no credential that stands in the source, not
// even one that is written somewhere else and meant by a name.
func TestDifferenceShowsNoCredentials(t *testing.T) {
	w := newWorld(t)
	at := filepath.Join(w.dir, "a.cue")
	text := strings.Replace(tree["a.cue"], `password: "file://secrets/a-to-b"`, `password: plain`, 1)
	text = strings.Replace(text, "\"b\": {\n", "let plain = \"hunter2\"\n\t\t\"c\": {server: \"127.0.0.1:1885\", username: \"a\", password: string & \"hunter3\", topics: []}\n\t\t\"b\": {\n", 1)
	must(t, os.WriteFile(at, []byte(text), 0o644))
	out, err := w.Edit(context.Background(), writeback.Request{Op: writeback.Put, Site: "a", DryRun: true, Links: []map[string]any{{
		"name": "b", "server": "localhost:1884", "username": "a", "password": "******", "topics": []any{"global/#"},
	}}})
	must(t, err)
	if strings.Contains(out.Diff, "hunter") || !strings.Contains(out.Diff, `let plain = "******"`) || !strings.Contains(out.Diff, `string & "******"`) {
		t.Errorf("the difference is\n%s", out.Diff)
	}
}
