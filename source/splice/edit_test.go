package splice_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"clink/source/splice"

	"github.com/rogpeppe/go-internal/txtar"
)

// Each file of testdata holds a topology and edits of it, one a line: put,
// override or delete, the site, the peer, and the half that is wanted. Each is
// made of the topology as it stands there; "out" holds what it changes, or why
// it is refused. CLINK_UPDATE=1 writes it.
func TestEdits(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fsys, wanted := fstest.MapFS{}, ""
			for _, f := range a.Files {
				if f.Name == "out" {
					wanted = string(f.Data)
					continue
				}
				fsys[f.Name] = &fstest.MapFile{Data: styled(string(a.Comment), f.Data)}
			}
			var out strings.Builder
			for line := range strings.Lines(string(a.Comment)) {
				if line = strings.TrimSpace(line); line == "" || line[0] == '#' || strings.HasPrefix(line, "style ") {
					continue
				}
				fmt.Fprintf(&out, "> %s\n%s", line, outcome(t, fsys, line))
			}
			if out.String() == wanted {
				return
			}
			if os.Getenv("CLINK_UPDATE") == "" {
				t.Fatalf("%s differs; got:\n%s\nas difference:\n%s", path, &out, splice.Diff(path, []byte(wanted), []byte(out.String())))
			}
			a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == "out" })
			a.Files = append(a.Files, txtar.File{Name: "out", Data: []byte(out.String())})
			if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// styled is a file in a style that a text archive cannot show.
func styled(comment string, text []byte) []byte {
	s := string(text)
	if strings.Contains(comment, "style crlf") {
		s = strings.ReplaceAll(s, "\n", "\r\n")
	}
	if strings.Contains(comment, "style no-final-newline") {
		s = strings.TrimRight(s, "\r\n")
	}
	return []byte(s)
}

// outcome makes the edit that a line describes and says what came of it.
func outcome(t *testing.T, fsys fstest.MapFS, line string) string {
	t.Helper()
	fields := strings.SplitN(line, " ", 4)
	e := splice.LinkEdit{Site: fields[1], Peer: fields[2], Override: fields[0] == "override"}
	if fields[0] != "delete" {
		e.Want = want(t, fields[3])
	}
	changed, err := edit(t, fsys, e)
	if err != nil {
		return refusal(t, err)
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		out.WriteString(splice.Diff(name, fsys[name].Data, changed[name]))
	}
	return strings.ReplaceAll(out.String(), "\r", "^M")
}

// refusal is an error with all that it names; it must name a position.
func refusal(t *testing.T, err error) string {
	var c *splice.ConflictError
	if !errors.As(err, &c) {
		return fmt.Sprintf("error: %v\n", err)
	}
	if c.Pos.Line == 0 {
		t.Errorf("%v: no position", err)
	}
	kind := "conflict"
	if errors.Is(err, splice.ErrUnintended) {
		kind = "unintended"
	}
	s := fmt.Sprintf("%s: %v\n", kind, err)
	for _, r := range c.Related {
		s += fmt.Sprintf("  %s: %s\n", r.Pos, r.Message)
	}
	return s
}
