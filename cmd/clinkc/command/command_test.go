package command

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestDidYouMean(t *testing.T) {
	known := []string{"vet", "build", "schema", "explain", "version", "--format", "-C"}
	tests := []struct{ word, want string }{
		{"vett", "vet"},
		{"vte", "vet"},
		{"biuld", "build"},
		{"expalin", "explain"},
		{"--fromat", "--format"},
		{"plan", ""},
		{"-x", ""},
		{"", ""},
		{strings.Repeat("v", 5000), ""},
	}
	for _, tt := range tests {
		want := ""
		if tt.want != "" {
			want = "; did you mean " + tt.want + "?"
		}
		if got := didYouMean(tt.word, known); got != want {
			t.Errorf("didYouMean(%.20q) = %q, want %q", tt.word, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, args string
		rest       []string
		flag, err  string
	}{
		{"nothing", "", nil, "text", ""},
		{"flag first", "--format json a", []string{"a"}, "json", ""},
		{"flag last", "a --format=json", []string{"a"}, "json", ""},
		{"single dash", "-format json", nil, "json", ""},
		{"no flags after two dashes", "-- --format", []string{"--format"}, "text", ""},
		{"two dashes last", "a --", []string{"a"}, "text", ""},
		{"standard input", "- --format json", []string{"-"}, "json", ""},
		{"unknown flag", "a --fromat json", nil, "", "there is no flag --fromat; did you mean --format?"},
		{"unknown value", "--format xml", nil, "", `invalid value "xml" for --format: it is one of text, json`},
		{"too many", "a b", nil, "", `vet takes one argument, but 2 are given: ["a" "b"]`},
	}
	vet, err := lookup("vet")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			format := choice{"text", []string{"text", "json"}}
			flags := newFlags()
			flags.Var(&format, "format", "`FORMAT` text or json")
			rest, err := Command{}.parse(vet, flags, strings.Fields(tt.args), 1)
			var wrong usageError
			switch {
			case tt.err != "" && (!errors.As(err, &wrong) || err.Error() != tt.err):
				t.Errorf("error %v, want the usage error %q", err, tt.err)
			case tt.err == "" && (err != nil || !slices.Equal(rest, tt.rest) || format.value != tt.flag):
				t.Errorf("got %q, format %s, %v, want %q, format %s", rest, format.value, err, tt.rest, tt.flag)
			}
		})
	}
}

func TestColored(t *testing.T) {
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	tests := []struct {
		name, when, env string
		want            bool
	}{
		{"a terminal", "auto", "", true},
		{"NO_COLOR", "auto", "NO_COLOR=1", false},
		{"a dumb terminal", "auto", "TERM=dumb", false},
		{"asked for", "always", "NO_COLOR=1", true},
		{"refused", "never", "", false},
	}
	for _, tt := range tests {
		name, value, _ := strings.Cut(tt.env, "=")
		c := Command{Getenv: func(key string) string {
			if key == name {
				return value
			}
			return ""
		}}
		if got := c.colored(tt.when, terminal); got != tt.want {
			t.Errorf("%s: colour is %t", tt.name, got)
		}
	}
	if (Command{}).colored("auto", &bytes.Buffer{}) {
		t.Error("what is no terminal has colour")
	}
}

func TestStdinIsADirectory(t *testing.T) {
	c := Command{Stdin: strings.NewReader("package topology\n")}
	files, revision, err := c.readStdin()
	if err != nil || len(revision) != 16 {
		t.Fatalf("revision %q, %v", revision, err)
	}
	if err := fstest.TestFS(files, stdinName); err != nil {
		t.Error(err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("the pipe is closed") }

// Output that gets lost is no success.
func TestLostOutput(t *testing.T) {
	for _, args := range []string{"help", "version", "vet -h"} {
		var stderr bytes.Buffer
		c := Command{Stdout: broken{}, Stderr: &stderr}
		if code := c.Run(t.Context(), strings.Fields(args)); code != exitFault {
			t.Errorf("clinkc %s exits with %d, want %d", args, code, exitFault)
		}
		if want := "clinkc: write to standard output: the pipe is closed\n"; stderr.String() != want {
			t.Errorf("clinkc %s says %q, want %q", args, stderr.String(), want)
		}
	}
}

func listing(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var l []string
	for _, e := range entries {
		l = append(l, e.Name())
	}
	return l
}

func TestWriteBuilds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "out")
	for range 2 { // the second time over the first
		if err := writeBuilds(dir, []siteBuild{{Site: "a"}, {Site: "b"}}); err != nil {
			t.Fatal(err)
		}
		if got := listing(t, dir); !slices.Equal(got, []string{"a.json", "b.json"}) {
			t.Errorf("the directory holds %q", got)
		}
	}
}

// A build that fails leaves nothing behind, and what was there as it was.
func TestWriteBuildsFails(t *testing.T) {
	for _, name := range []string{"../up", "a/b", `a\b`, "", "nul\x00", strings.Repeat("x", 300)} {
		dir := filepath.Join(t.TempDir(), "out")
		if err := writeBuilds(dir, []siteBuild{{Site: "good"}, {Site: name}}); err == nil {
			t.Errorf("wrote a file for site %.20q", name)
		}
		if got := listing(t, dir); len(got) > 0 {
			t.Errorf("site %.20q left %q behind", name, got)
		}
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "b.json", "in the way"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := writeBuilds(dir, []siteBuild{{Site: "b"}}); err == nil {
		t.Error("wrote over a directory")
	}
	if got := listing(t, dir); !slices.Equal(got, []string{"b.json"}) {
		t.Errorf("the directory holds %q", got)
	}
}
