package command_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clink/cmd/clinkc/command"
)

// run is clinkc in a process of its own, nearly.
func run(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	c := command.Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	code = c.Run(ctx, args)
	if ctx.Err() != nil {
		t.Fatalf("%v did not end", args)
	}
	return code, errs.String()
}

// forAMoment computes longer than it is given, and ends.
const forAMoment = `package %

import "list"

_a: list.Range(0, ` + many + `, 1)
_b: [for x in _a for y in _a if x == -1 {y}]
`

// givesUp has a command give up while it evaluates what is slow, and checks that
// it says so. How soon it comes there is up to the machine: it gets more time
// until it does, and it has failed if it comes to an end.
func givesUp(t *testing.T, want string, args ...string) {
	t.Helper()
	for timeout := 200 * time.Millisecond; ; timeout *= 2 {
		code, said := run(t, append(slices.Clone(args), "--timeout", timeout.String())...)
		switch {
		case code != 3 || !strings.Contains(said, "given up"):
			t.Fatalf("%v, given %v: exit code %d; want %q in\n%.2000s", args, timeout, code, want, said)
		case strings.Contains(said, strings.ReplaceAll(want, "TIME", timeout.String())):
			return
		}
	}
}

// Whatever lies in a topology directory, each command that reads it ends, names
// what is wrong and where, and says by its exit code whose fault it is.
func TestBadInput(t *testing.T) {
	link := func(to, name string) func(string) error {
		return func(dir string) error { return os.Symlink(to, filepath.Join(dir, name)) }
	}
	file := func(name, text string) func(string) error {
		return func(dir string) error {
			at := filepath.Join(dir, name)
			return errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644))
		}
	}
	for name, tt := range map[string]struct {
		make func(dir string) error
		code int
		want string
	}{
		"50 MB":                   {file("x.cue", "package topology\n"+strings.Repeat("// "+strings.Repeat("x", 97)+"\n", 500_000)), 3, "x.cue: larger than 1048576 bytes"},
		"a loop of links":         {link("x.cue", "x.cue"), 3, "x.cue: symbolic link cannot be followed"},
		"a loop of directories":   {link(".", "sub"), 3, "sub: symbolic link cannot be followed"},
		"a link to nowhere":       {link("nowhere", "x.cue"), 3, "x.cue, a symbolic link: no such file"},
		"a link to no plain file": {link("/dev/null", "x.cue"), 3, "x.cue: it is not a regular file"},
		"a file called rules":     {file("rules", ""), 0, ""},
		"a directory x.cue":       {func(dir string) error { return os.Mkdir(filepath.Join(dir, "x.cue"), 0o755) }, 0, ""},
		"not UTF-8":               {file("x.cue", "package topology\n\n\xff: 1\n"), 1, "x.cue:3:1"},
		"UTF-16":                  {file("x.cue", "\xff\xfep\x00a\x00"), 1, "x.cue:1:1"},
		"NUL":                     {file("x.cue", "package topology\n\x00"), 1, "x.cue:2:1"},
		"deep":                    {file("x.cue", "package topology\n"+strings.Repeat("{a:", 100_000)), 1, "x.cue:2:1"},
		"many fields":             {file("x.cue", "package topology\n"+strings.Repeat("a: b: 1\n", 5_000)), 1, "x.cue:2:1"},
		"a deep module file":      {file("cue.mod/module.cue", strings.Repeat("a: ", 300_000)+"1"), 0, ""},
		"sites for ever":          {file("x.cue", strings.ReplaceAll(forAMoment, "%", "topology")+"sites: b: labels: x: \"\\(len(_b))\"\n"), 3, "evaluating x.cue given up: it took more than TIME"},
		"rules for ever":          {file("rules/x.cue", strings.ReplaceAll(forAMoment, "%", "rules")+"findings: x: _b\n"), 3, "evaluating rules/x.cue given up: it took more than TIME"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := errors.Join(file("a.cue", "package topology\n\nsites: a: {}\n")(dir), tt.make(dir)); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"vet"}, {"vet", "--fix"}} {
				args = append(args, dir)
				if strings.HasSuffix(name, "for ever") {
					givesUp(t, tt.want, args...)
					continue
				}
				code, said := run(t, args...)
				if code != tt.code || !strings.Contains(said, tt.want) {
					t.Errorf("%v: exit code %d, want %d; want %q in\n%.2000s", args, code, tt.code, tt.want, said)
				}
			}
			if strings.HasSuffix(name, "for ever") {
				return
			}
			code, said := run(t, "fmt", "--check", dir)
			if wrong := code != 0 && code != 1 && code != 3; wrong || code == 3 && !strings.Contains(said, filepath.Base(strings.Fields(tt.want + " x")[0])) && tt.code == 3 {
				t.Errorf("fmt: exit code %d\n%.2000s", code, said)
			}
		})
	}
}

// A file without read permission is not passed over.
func TestUnreadableFile(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := t.TempDir()
	writeAll(t, dir, map[string]string{"a.cue": "package topology\n\nsites: a: {}\n", "x.cue": "package topology\n"})
	if err := os.Chmod(filepath.Join(dir, "x.cue"), 0); err != nil {
		t.Fatal(err)
	}
	if code, said := run(t, "vet", dir); code != 3 || !strings.Contains(said, "x.cue: permission denied") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// What was given up cannot be stopped: watching does not heap up more of it.
func TestWatchEndsWithWhatIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	writeAll(t, dir, map[string]string{"x.cue": strings.ReplaceAll(forAMoment, "%", "topology") + "sites: b: labels: x: \"\\(len(_b))\"\n"})
	givesUp(t, "evaluating x.cue given up", "vet", "--watch", dir)
}

// A file that was mended stays a symbolic link and keeps its mode and owner.
func TestMendedFilesStayWhoseTheyAre(t *testing.T) {
	const text = "package topology\n\nsites: {a: {listeners: m: bind: \"127.0.0.1:1\"}, b:  cluster: links: a: {server: \"127.0.0.1:2\", topics: [], enable: false}}\n"
	for _, args := range [][]string{{"vet", "--fix"}, {"fmt"}} {
		dir, other := t.TempDir(), t.TempDir()
		real, at := filepath.Join(other, "x.cue"), filepath.Join(dir, "a.cue")
		if err := errors.Join(os.WriteFile(real, []byte(text), 0o600), os.Symlink(real, at)); err != nil {
			t.Fatal(err)
		}
		const somebody = 12345
		if os.Geteuid() == 0 {
			if err := os.Chown(real, somebody, somebody); err != nil {
				t.Fatal(err)
			}
		}
		was, err := os.Stat(real)
		if err != nil {
			t.Fatal(err)
		}
		_, said := run(t, append(args, dir)...)
		now, err := os.Stat(real)
		if err != nil {
			t.Fatal(err)
		}
		if after, _ := os.ReadFile(real); string(after) == text {
			t.Errorf("%v changed nothing: %s", args, said)
		}
		if link, err := os.Lstat(at); err != nil || link.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%v: the link is none any more: %v", args, err)
		}
		if now.Mode() != was.Mode() || owner(now) != owner(was) {
			t.Errorf("%v: mode %v and owner %v, were %v and %v", args, now.Mode(), owner(now), was.Mode(), owner(was))
		}
		if left, err := filepath.Glob(filepath.Join(other, ".clink-*")); err != nil || len(left) > 0 {
			t.Errorf("%v left %v: %v", args, left, err)
		}
	}
}
