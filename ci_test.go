package clink_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	clinkc "clink/cmd/clinkc/command"
	"clink/diagnostic"
)

// An action is the part of action.yml that these tests look at.
type action struct {
	Inputs map[string]struct{ Description, Default string }
	Runs   struct {
		Using string
		Steps []actionStep
	}
}

type actionStep struct {
	ID, Uses, Run, Shell string
	Env, With            map[string]string
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

var inputRef = regexp.MustCompile(`\binputs\.([a-z-]+)`)

// What a user gives the action reaches a shell as a variable, never as text of
// the script; all that is referred to exists.
func TestActionIsWellFormed(t *testing.T) {
	var a action
	readYAML(t, "action.yml", &a)
	if a.Runs.Using != "composite" || len(a.Runs.Steps) == 0 {
		t.Fatalf("runs: %+v", a.Runs)
	}
	used := map[string]bool{}
	for _, s := range a.Runs.Steps {
		if strings.Contains(s.Run, "${{") {
			t.Errorf("step %s: an expression inside the script", s.ID)
		}
		if s.Run != "" && s.Shell != "bash" {
			t.Errorf("step %s: shell %q", s.ID, s.Shell)
		}
		if s.Uses != "" && !regexp.MustCompile(`@v\d+$`).MatchString(s.Uses) {
			t.Errorf("%s is not pinned to a major version", s.Uses)
		}
	}
	text, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range inputRef.FindAllStringSubmatch(string(text), -1) {
		used[m[1]] = true
		if _, ok := a.Inputs[m[1]]; !ok {
			t.Errorf("there is no input %s", m[1])
		}
	}
	for name, in := range a.Inputs {
		if in.Description == "" || !used[name] {
			t.Errorf("input %s: used %v, description %q", name, used[name], in.Description)
		}
	}
}

// A sandbox is what a runner gives a step.
type sandbox struct {
	workspace, temp, summary, output string
	env                              []string
}

func newSandbox(t *testing.T) sandbox {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := sandbox{filepath.Join(dir, "work"), filepath.Join(dir, "temp"), filepath.Join(dir, "summary"), filepath.Join(dir, "output"), nil}
	for _, d := range []string{s.workspace, s.temp} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	s.env = append(os.Environ(), "GITHUB_ACTIONS=true", "CI=true", "RUNNER_TEMP="+s.temp, "GITHUB_WORKSPACE="+s.workspace,
		"GITHUB_ACTION_PATH="+root, "GITHUB_STEP_SUMMARY="+s.summary, "GITHUB_OUTPUT="+s.output)
	return s
}

// run runs the script of a step as a runner does, with the inputs that are not
// at their default.
func (s sandbox) run(t *testing.T, a action, id string, inputs map[string]string) (string, int) {
	t.Helper()
	i := slices.IndexFunc(a.Runs.Steps, func(s actionStep) bool { return s.ID == id })
	if i < 0 {
		t.Fatalf("no step %s", id)
	}
	step := a.Runs.Steps[i]
	cmd := exec.Command("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step.Run)
	cmd.Dir, cmd.Env = s.workspace, s.env
	for name, expression := range step.Env {
		value := ""
		if m := inputRef.FindStringSubmatch(expression); m != nil {
			given, ok := inputs[m[1]]
			if value = given; !ok {
				value = a.Inputs[m[1]].Default
			}
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func contents(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The steps of the action, run by bash over a good topology, a bad one, and
// inputs that are no such thing.
func TestActionRuns(t *testing.T) {
	var a action
	readYAML(t, "action.yml", &a)
	s := newSandbox(t)
	for _, name := range []string{"two-sites", "vendor-example"} {
		if err := os.CopyFS(filepath.Join(s.workspace, name), os.DirFS(filepath.Join(topologies, name))); err != nil {
			t.Fatal(err)
		}
	}
	if out, code := s.run(t, a, "install", nil); code != 0 || !strings.Contains(out, "clinkc") {
		t.Fatalf("install: exit code %d: %s", code, out)
	}
	if out, code := s.run(t, a, "install", map[string]string{"version": "v1"}); code != 64 || !strings.Contains(out, "::error::") {
		t.Errorf("a version of an unknown repository: exit code %d: %s", code, out)
	}
	for name, tt := range map[string]struct {
		inputs       map[string]string
		code         int
		out, summary string
	}{
		"good":      {map[string]string{"directory": "two-sites", "format": "text"}, 0, "no findings", "no findings"},
		"bad":       {map[string]string{"directory": "vendor-example", "format": "text"}, 1, "error[server-is-self]", "error[server-is-self]"},
		"data":      {map[string]string{"directory": "vendor-example", "format": "json"}, 1, `"rule": "server-is-self"`, "error[server-is-self]"},
		"below":     {map[string]string{"directory": ".", "working-directory": "two-sites", "format": "text", "fail-on": "info"}, 0, "no findings", "no findings"},
		"missing":   {map[string]string{"directory": "nowhere", "format": "text"}, 3, "no such directory", ""},
		"nowhere":   {map[string]string{"working-directory": "nowhere", "format": "text"}, 3, "No such file", ""},
		"a command": {map[string]string{"directory": "$(touch pwned)`touch pwned`; touch pwned", "format": "text"}, 3, "no such directory", ""},
		"a flag":    {map[string]string{"directory": "--fix", "format": "text"}, 3, "no such directory", ""},
		"a format":  {map[string]string{"directory": "two-sites", "format": "x; touch pwned"}, 64, "format", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, f := range []string{s.summary, s.output} {
				if err := os.WriteFile(f, nil, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			out, code := s.run(t, a, "vet", tt.inputs)
			if code != tt.code || !strings.Contains(out, tt.out) {
				t.Errorf("exit code %d, want %d with %q: %s", code, tt.code, tt.out, out)
			}
			if summary := contents(t, s.summary); !strings.Contains(summary, tt.summary) || (summary == "") != (tt.summary == "") {
				t.Errorf("summary %q, want %q", summary, tt.summary)
			}
			if output := contents(t, s.output); name != "nowhere" && output != fmt.Sprintf("status=%d\n", tt.code) {
				t.Errorf("output %q", output)
			}
			if found, _ := filepath.Glob(filepath.Join(s.workspace, "*pwned*")); len(found) > 0 {
				t.Errorf("an input was run: %v", found)
			}
		})
	}
}

// A hook is an entry of .pre-commit-hooks.yaml.
type hook struct {
	ID, Name, Entry, Language, Files string
	PassFilenames                    bool `yaml:"pass_filenames"`
}

func TestPreCommitHooks(t *testing.T) {
	var hooks []hook
	readYAML(t, ".pre-commit-hooks.yaml", &hooks)
	ids := map[string]hook{}
	for _, h := range hooks {
		ids[h.ID] = h
		if h.Language != "golang" || h.PassFilenames || !regexp.MustCompile(h.Files).MatchString("topology/a.cue") || regexp.MustCompile(h.Files).MatchString("a.cue.md") {
			t.Errorf("%+v", h)
		}
	}
	if len(ids) != 2 || ids["clinkc-fmt"].Entry != "clinkc fmt" {
		t.Fatalf("%+v", hooks)
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/clinkc").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	repo := t.TempDir()
	if err := os.CopyFS(repo, os.DirFS(filepath.Join(topologies, "two-sites"))); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) error {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = repo, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		t.Logf("%s %v: %s", name, args, out)
		return err
	}
	// What pre-commit does, for those without it: the entry as git's own hook.
	script := "#!/bin/sh\nexec " + ids["clinkc-vet"].Entry + "\n"
	if err := run("git", "init", "-q"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo, ".git/hooks/pre-commit"), []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	commit := func() error {
		if err := run("git", "add", "-A"); err != nil {
			t.Fatal(err)
		}
		return run("git", "-c", "user.name=a", "-c", "user.email=a@example.net", "commit", "-q", "-m", "x")
	}
	if err := commit(); err != nil {
		t.Errorf("a good topology is not committed: %v", err)
	}
	if err := os.Remove(filepath.Join(repo, "site_b.cue")); err != nil {
		t.Fatal(err)
	}
	if err := commit(); err == nil {
		t.Error("half a topology is committed")
	}
}

// A matcher is the form of a problem matcher for GitHub.
type matcher struct {
	ProblemMatcher []struct {
		Owner   string
		Pattern []struct {
			Regexp                                      string
			Severity, Code, Message, File, Line, Column int
		}
	}
}

// matches are the problems that the matcher finds, as in want.txt.
func (m matcher) matches(text string) []string {
	first, second := m.ProblemMatcher[0].Pattern[0], m.ProblemMatcher[0].Pattern[1]
	head, place := regexp.MustCompile(first.Regexp), regexp.MustCompile(second.Regexp)
	var l []string
	lines := strings.Split(text, "\n")
	for i := range lines[:len(lines)-1] {
		h, p := head.FindStringSubmatch(lines[i]), place.FindStringSubmatch(lines[i+1])
		if h != nil && p != nil {
			l = append(l, fmt.Sprintf("%s[%s] %s:%s:%s %s", h[first.Severity], h[first.Code], p[second.File], p[second.Line], p[second.Column], h[first.Message]))
		}
	}
	return l
}

// told are the findings with a position in vet's JSON, in the same form.
func told(t *testing.T, dir string) []string {
	t.Helper()
	var out, trouble bytes.Buffer
	c := clinkc.Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &trouble, Getenv: func(string) string { return "" }}
	c.Main([]string{"vet", "--format", "json", dir})
	var r struct {
		Findings []struct {
			Severity, Rule, Message string
			Pos                     struct {
				File         string
				Line, Column int
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%s: %v %s", dir, err, &trouble)
	}
	var l []string
	for _, f := range r.Findings {
		if f.Pos.File != "" {
			l = append(l, fmt.Sprintf("%s[%s] %s:%d:%d %s", f.Severity, f.Rule, f.Pos.File, f.Pos.Line, f.Pos.Column, f.Message))
		}
	}
	return l
}

// The problem matcher finds each finding of the whole corpus, and nothing else,
// in what clinkc vet prints.
func TestProblemMatcher(t *testing.T) {
	var m matcher
	if err := json.Unmarshal([]byte(contents(t, ".github/clinkc-problem-matcher.json")), &m); err != nil {
		t.Fatal(err)
	}
	if len(m.ProblemMatcher) != 1 || len(m.ProblemMatcher[0].Pattern) != 2 {
		t.Fatalf("%+v", m)
	}
	cases, err := filepath.Glob("testdata/topologies/bad/*")
	if err != nil || len(cases) < 50 {
		t.Fatal(len(cases), err)
	}
	total, met := 0, 0
	for i, dir := range cases {
		if testing.Short() && i%4 > 0 {
			continue
		}
		met++
		want := told(t, dir)
		total += len(want)
		var out bytes.Buffer
		c := clinkc.Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
		c.Main([]string{"vet", "--format", "text", dir})
		if got := m.matches(out.String()); !slices.Equal(got, want) {
			t.Errorf("%s: matches\n%s\nwant\n%s\nin\n%s", dir, strings.Join(got, "\n"), strings.Join(want, "\n"), &out)
		}
	}
	if total < met/2 {
		t.Errorf("only %d findings in %d cases", total, met)
	}
	// A file and a message beyond ASCII, and a line of the source that looks
	// like a place.
	text := "warning[tls-no-port]: Straße → Ω\n  --> größe ü.cue:3:7\n   |\n 3 |  --> x.cue:1:1\n   |  ^^^\n  --> b.cue:1:2: über hier\n"
	if got := m.matches(text); !slices.Equal(got, []string{"warning[tls-no-port] größe ü.cue:3:7 Straße → Ω"}) {
		t.Errorf("%q", got)
	}
}

// What the pages say of the action, the hooks and the matcher is so, and the
// two languages show the same.
func TestDocsShowWhatThereIs(t *testing.T) {
	fences := regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```")
	comment := regexp.MustCompile(`(?m)\s+#.*$`)
	for _, page := range []string{"ci", "editors"} {
		en, zh := contents(t, "docs/"+page+".md"), contents(t, "docs/"+page+".zh.md")
		a, b := fences.FindAllString(comment.ReplaceAllString(en, ""), -1), fences.FindAllString(comment.ReplaceAllString(zh, ""), -1)
		if len(a) < 3 || !slices.Equal(a, b) {
			t.Errorf("%s: the languages differ in their examples", page)
		}
		for _, f := range fences.FindAllStringSubmatch(en, -1) {
			var v any
			if f[1] == "yaml" && yaml.Unmarshal([]byte(f[2]), &v) != nil {
				t.Errorf("%s: no YAML:\n%s", page, f[2])
			}
		}
		for _, text := range []string{en, zh} {
			for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1) {
				if _, err := os.Stat(filepath.Join("docs", link[1])); err != nil {
					t.Errorf("%s: %v", page, err)
				}
			}
		}
	}
	var a action
	readYAML(t, "action.yml", &a)
	for name, in := range a.Inputs {
		row := "| `" + name + "` | "
		if in.Default != "" {
			row += "`" + in.Default + "` |"
		}
		if !strings.Contains(contents(t, "docs/ci.md"), row) || !strings.Contains(contents(t, "docs/ci.zh.md"), row) {
			t.Errorf("docs/ci does not have the row %q", row)
		}
	}
	var m matcher
	if err := json.Unmarshal([]byte(contents(t, ".github/clinkc-problem-matcher.json")), &m); err != nil {
		t.Fatal(err)
	}
	for _, p := range m.ProblemMatcher[0].Pattern {
		quoted, err := json.Marshal(p.Regexp)
		if err != nil {
			t.Fatal(err)
		}
		// JSON may write > as it is.
		if text := strings.ReplaceAll(string(quoted), `\u003e`, ">"); !strings.Contains(contents(t, "docs/editors.md"), text) {
			t.Errorf("docs/editors.md does not show %s", text)
		}
	}
	for _, r := range diagnostic.Rules() {
		shown := strings.Contains(contents(t, "docs/editors.md"), "`"+r.Name+"`") && strings.Contains(contents(t, "docs/editors.zh.md"), "`"+r.Name+"`")
		if expressed := beyondCUE[r.Name] == "" && r.Name != "schema"; shown != expressed {
			t.Errorf("docs/editors: %s is shown: %v", r.Name, shown)
		}
	}
}

// The rule that the page shows finds what it says, and nothing where it must not.
func TestDocsShowARuleThatWorks(t *testing.T) {
	shown := regexp.MustCompile("(?s)```cue\n(package rules\n.*?)```").FindStringSubmatch(contents(t, "docs/ci.md"))
	if shown == nil {
		t.Fatal("docs/ci.md shows no rule")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/topologies/bad/team-tls")); err != nil {
		t.Fatal(err)
	}
	for region, want := range map[string]int{"eu": 1, "us": 0} {
		site := strings.Replace(contents(t, "testdata/topologies/bad/team-tls/a.cue"), `region: "eu"`, fmt.Sprintf("region: %q", region), 1)
		for file, text := range map[string]string{"a.cue": site, "rules/tls.cue": shown[1]} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		text, code := vetAs(t, "json", dir)
		if n := strings.Count(text, `"rule": "eu-uses-tls"`); n != want || code != want {
			t.Errorf("region %s: %d findings, status %d\n%s", region, n, code, text)
		}
	}
}
