package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clink/cmd/clinkc/command"
	"clink/diagnostic"
)

const corpus = "../../../testdata/topologies/bad"

// styles are ways in which people write the same topology.
var styles = map[string]func(string) string{
	"as it is": func(s string) string { return s },
	"CRLF":     func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
	"spaces":   func(s string) string { return strings.ReplaceAll(s, "\t", "    ") },
	"no newline at the end, comments": func(s string) string {
		return strings.TrimRight(strings.ReplaceAll(s, "{\n", "{ // of this\n\t// above\n"), "\n")
	},
}

// copyTree copies a folder of the corpus, its CUE files in a style.
func copyTree(t *testing.T, from string, style func(string) string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(to, "*.cue"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(f, []byte(style(string(text))), 0o640), os.Chmod(f, 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

type vetted struct {
	Findings []struct {
		Rule     string
		Severity string
		Message  string
		Sites    []string
		Pos      diagnostic.Pos
		Fix      *diagnostic.Fix
	}
}

func vetJSON(t *testing.T, args ...string) (vetted, string) {
	t.Helper()
	var out, errs bytes.Buffer
	c := command.Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	if code := c.Run(context.Background(), append([]string{"vet", "--format", "json"}, args...)); code > 1 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	var v vetted
	if err := json.Unmarshal(out.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	return v, errs.String()
}

func (v vetted) errors() map[string]int {
	n := map[string]int{}
	for _, f := range v.Findings {
		if f.Severity == "error" {
			n[f.Rule+" "+strings.Join(f.Sites, " ")]++
		}
	}
	return n
}

func (v vetted) fixable() int {
	n := 0
	for _, f := range v.Findings {
		if f.Fix != nil {
			n++
		}
	}
	return n
}

// Whatever the style, --fix leaves nothing behind that it could have mended,
// brings no error, touches only lines that it says, and does nothing the
// second time.
func TestFix(t *testing.T) {
	dirs, err := filepath.Glob(corpus + "/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no corpus", err)
	}
	least := 40
	if testing.Short() { // a part of them
		least = 10
		all := dirs
		dirs = nil
		for i := 0; i < len(all); i += 4 {
			dirs = append(dirs, all[i])
		}
	}
	dirs = slices.DeleteFunc(dirs, func(dir string) bool {
		v, _ := vetJSON(t, dir)
		return v.fixable() == 0 // in any style
	})
	mended := 0
	for name, style := range styles {
		for _, dir := range dirs {
			t.Run(name+"/"+filepath.Base(dir), func(t *testing.T) {
				at := copyTree(t, dir, style)
				before, _ := vetJSON(t, at)
				if before.fixable() == 0 {
					return
				}
				mended++
				was := readAll(t, at)
				after, _ := vetJSON(t, "--fix", at)
				if after.fixable() > 0 {
					t.Errorf("still to be mended: %+v", after.Findings)
				}
				had := before.errors()
				for key, n := range after.errors() {
					if n > had[key] && !strings.HasPrefix(key, "tls-") { // which a wrong address silenced
						t.Errorf("a new error: %s", key)
					}
				}
				now := readAll(t, at)
				sameLines(t, before, was, now)
				if _, said := vetJSON(t, "--fix", at); said != "" {
					t.Errorf("the second time: %s", said)
				}
				for file, text := range readAll(t, at) {
					if text != now[file] {
						t.Errorf("%s changed the second time", file)
					}
				}
			})
		}
	}
	if mended < least {
		t.Errorf("only %d topologies were mended", mended)
	}
}

func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.cue"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(f)
		if err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s has mode %v: %v", f, info.Mode(), err)
		}
		all[filepath.Base(f)] = string(text)
	}
	return all
}

// sameLines checks that each line that no fix speaks of is still there, in its
// order.
func sameLines(t *testing.T, v vetted, was, now map[string]string) {
	t.Helper()
	touched := map[string]map[int]bool{}
	for _, f := range v.Findings {
		if f.Fix == nil {
			continue
		}
		for _, e := range f.Fix.Edits {
			if touched[e.Pos.File] == nil {
				touched[e.Pos.File] = map[int]bool{}
			}
			for line := e.Pos.Line; line <= e.Pos.EndLine; line++ {
				touched[e.Pos.File][line] = true
			}
		}
	}
	for file, text := range was {
		left := now[file]
		line := 0
		for l := range strings.Lines(text) {
			line++
			if touched[file][line] {
				continue
			}
			i := strings.Index(left, strings.TrimRight(l, "\r\n"))
			if i < 0 {
				t.Errorf("%s:%d is not there any more: %q", file, line, l)
				continue
			}
			left = left[i+len(strings.TrimRight(l, "\r\n")):]
		}
	}
}

// However many halves are missing in one place, one run adds them all.
func TestFixAddsManyHalves(t *testing.T) {
	const spokes = 30
	for name, links := range map[string]string{
		"none":      "",
		"a struct":  "\tcluster: links: {}\n",
		"on lines":  "\tcluster: links: {\n\t\t\"a\": {server: \"10.0.0.1\", topics: [], enable: false}\n\t}\n",
		"one line":  "\tcluster: links: {a: {server: \"10.0.0.1\", topics: [], enable: false}}\n",
		"no braces": "\tcluster: links: a: {server: \"10.0.0.1\", topics: [], enable: false}\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{"hub.cue": "package topology\n\nsites: hub: {\n\tlisteners: m: bind: \"127.0.0.1:1883\"\n" + links + "}\n"}
			files["a.cue"] = "package topology\n\nsites: a: target: external: true\n"
			for i := range spokes {
				files[fmt.Sprintf("s%02d.cue", i)] = fmt.Sprintf("package topology\n\nsites: s%02d: {\n\tlisteners: m: bind: \"127.0.0.1:%d\"\n\tcluster: links: hub: {server: \"127.0.0.1:1883\", topics: [\"x\"], username: \"s%02d\", password: \"file://secrets/s\"}\n}\n", i, 2000+i, i)
			}
			writeAll(t, dir, files)
			v, said := vetJSON(t, "--fix", dir)
			if v.fixable() > 0 || strings.Count(said, "fixed ") != spokes {
				text, _ := os.ReadFile(filepath.Join(dir, "hub.cue"))
				t.Errorf("%d are left of %d:\n%s\n%s", v.fixable(), spokes, said, text)
			}
			if n := v.rules()["one-sided"]; n > 0 {
				t.Errorf("%d halves are missing", n)
			}
		})
	}
}

func (v vetted) rules() map[string]int {
	n := map[string]int{}
	for _, f := range v.Findings {
		n[f.Rule]++
	}
	return n
}
