package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clink/cmd/clinkc/command"
)

// FuzzVet feeds the front door with any text, as a site's file, as a team's
// rules and as the module file: it is judged or refused, in time, with a place,
// and what it says is never a panic. What --fix and fmt make of it is judged
// again.
func FuzzVet(f *testing.F) {
	paths, err := filepath.Glob("../../../testdata/topologies/*/*/*.cue")
	rules, err2 := filepath.Glob("../../../testdata/topologies/*/*/rules/*.cue")
	if err != nil || err2 != nil || len(paths) == 0 || len(rules) == 0 {
		f.Fatal(err, err2, len(paths), len(rules))
	}
	for i, p := range append(rules, paths...) {
		text, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		// Each is tried as three files by four commands: a part is enough.
		switch {
		case testing.Short() && (i+i/21)%3 > 0: // a third of those
		case i < len(rules) || i%42 == 0:
			f.Add(text)
		case i%42 == 21:
			f.Add(text[:len(text)*2/3])
		}
	}
	site, err := os.ReadFile("../../../examples/topologies/two-sites/site_a.cue")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "cue.mod"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"z.cue", "rules/z.cue", "cue.mod/module.cue"} {
			if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
				t.Fatal(err)
			}
			writeAll(t, dir, map[string]string{"a.cue": string(site), name: string(text)})
			for _, args := range [][]string{{"vet", "--format", "json"}, {"vet", "--fix", "--format", "sarif"}, {"fmt"}, {"vet"}} {
				tried(t, append(args, "--", dir), text)
			}
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// tried runs a command that must end in time, and with words.
func tried(t *testing.T, args []string, text []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	c := command.Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	code := c.Run(ctx, args)
	said := errs.String()
	switch {
	case code != 0 && code != 1 && code != 3:
		t.Fatalf("%v: exit code %d: %s\n%q", args, code, said, text)
	case ctx.Err() != nil || strings.Contains(said, "panicked"):
		t.Fatalf("%v: %v %s\n%q", args, ctx.Err(), said, text)
	case code == 3 && said == "":
		t.Fatalf("%v: no word\n%q", args, text)
	}
	if args[0] != "vet" || !strings.Contains(strings.Join(args, " "), "json") || code == 3 {
		return
	}
	var v vetted
	if err := json.Unmarshal(out.Bytes(), &v); err != nil {
		t.Fatalf("%v: %v\n%q", args, err, text)
	}
	for _, f := range v.Findings {
		if f.Pos.File == "" || f.Message == "" {
			t.Fatalf("%v: a finding without a place or words: %+v\n%q", args, f, text)
		}
	}
}
