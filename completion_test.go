package clink_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	clinkc "clink/cmd/clinkc/command"
	"clink/diagnostic"
)

// completer asks bash what the words of a command line may become: it loads the
// script as a user does, and calls what the script registered for clinkc, with
// the variables that bash sets.
const completer = `
eval "$(clinkc completion bash)" || exit 1
spec=$(complete -p clinkc) || exit 1
[[ $spec =~ -F\ ([^ ]+) ]] || exit 1
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
"${BASH_REMATCH[1]}" clinkc "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
for word in "${COMPREPLY[@]}"; do printf '%s\n' "$word"; done
`

func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash to complete anything")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("examples/topologies/three-site-mesh")); err != nil {
		t.Fatal(err)
	}
	odd := "package topology\n\nsites: \"it's $HOME\": {}\n"
	if err := os.WriteFile(dir+"/odd.cue", []byte(odd), 0o666); err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, r := range diagnostic.Rules() {
		rules = append(rules, r.Name)
	}
	slices.Sort(rules)
	tests := []struct {
		words []string // behind clinkc; the last one is being typed
		want  []string
	}{
		{[]string{""}, []string{"build", "completion", "explain", "fmt", "graph", "help", "init", "rules", "schema", "trace", "version", "vet"}},
		{[]string{"ex"}, []string{"explain"}},
		{[]string{"vet", "--f"}, []string{"--fail-on", "--fix", "--format"}},
		{[]string{"-C", dir, "fmt", "-"}, []string{"--check", "--help"}},
		// What is typed is --format= and --format=s: bash splits at the equals sign.
		{[]string{"vet", "--format", "="}, []string{"github", "json", "junit", "sarif", "text"}},
		{[]string{"vet", "--format", "=", "s"}, []string{"sarif"}},
		{[]string{"vet", "--format", "j"}, []string{"json", "junit"}},
		{[]string{"graph", "--format", ""}, []string{"dot", "json", "mermaid", "svg"}},
		{[]string{"explain", ""}, rules},
		{[]string{"explain", "topic-r"}, []string{"topic-redundant", "topic-reserved"}},
		{[]string{"vet", "--site", "emqx-"}, []string{"emqx-ap-south", "emqx-eu-west", "emqx-us-east"}},
		{[]string{"vet", "--site", "=", "emqx-u"}, []string{"emqx-us-east"}},
		// What the shell would read something into is quoted for it.
		{[]string{"vet", "--site", "it"}, []string{`it\'s\ \$HOME`}},
		{[]string{"vet", ""}, nil}, // a directory: bash's own
	}
	for _, tt := range tests {
		var out []byte
		// A busy machine may have no names of sites in the time that a shell waits.
		for range 20 {
			cmd := exec.Command(bash, append([]string{"--noprofile", "--norc", "-c", completer, "bash", "clinkc"}, tt.words...)...)
			cmd.Dir = dir
			var said strings.Builder
			cmd.Stderr = &said
			var err error
			if out, err = cmd.Output(); err != nil || said.Len() > 0 {
				t.Errorf("clinkc %q: %v: %s", tt.words, err, &said)
			}
			if len(out) > 1 || len(tt.want) == 0 {
				break
			}
		}
		if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, tt.want) && (len(tt.want) > 0 || len(out) > 1) {
			t.Errorf("clinkc %q becomes %q, want %q", tt.words, got, tt.want)
		}
	}
}

// Fish answers what a command line may become when it is asked with complete -C.
func TestFishCompletes(t *testing.T) {
	fish, err := exec.LookPath("fish")
	if err != nil {
		t.Skip("there is no fish to complete anything")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("examples/topologies/three-site-mesh")); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ line, want string }{
		{"clinkc ", "build completion explain fmt graph help init rules schema trace version vet"},
		{"clinkc ex", "explain"},
		{"clinkc explain topic-r", "topic-redundant topic-reserved"},
		{"clinkc vet --site emqx-u", "emqx-us-east"},
		{"clinkc vet --format=s", "--format=sarif"},
		{"clinkc vet us", "us_east.cue"}, // a file: fish's own
	}
	for _, tt := range tests {
		var got string
		for range 20 { // as with bash
			cmd := exec.Command(fish, "--no-config", "-c", "clinkc completion fish | source; complete -C $argv[1]", tt.line)
			cmd.Dir = dir
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%q: %v", tt.line, err)
			}
			if got = strings.Join(strings.Fields(string(out)), " "); got == tt.want {
				break
			}
		}
		if got != tt.want {
			t.Errorf("%q becomes %q, want %q", tt.line, got, tt.want)
		}
	}
}

// Every flag of every command is offered, so that none is forgotten.
func TestCompletionKnowsEveryFlag(t *testing.T) {
	run := func(args ...string) string {
		var out, errs strings.Builder
		c := clinkc.Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
		if code := c.Main(args); code != 0 {
			t.Fatalf("clinkc %q: status %d: %s", args, code, &errs)
		}
		return out.String()
	}
	commands := strings.Fields(run("complete", "--", ""))
	if len(commands) < 10 {
		t.Fatalf("the commands are %q", commands)
	}
	for _, command := range commands {
		want := []string{"--help"}
		for line := range strings.Lines(run("help", command)) {
			if flag, ok := strings.CutPrefix(line, "  -"); ok {
				want = append(want, "-"+strings.Fields(flag)[0])
			}
		}
		slices.Sort(want)
		if got := strings.Fields(run("complete", "--", command, "-")); !slices.Equal(got, want) {
			t.Errorf("clinkc %s - becomes %q, want %q", command, got, want)
		}
	}
}
