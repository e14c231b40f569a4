package clink_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/load"
	"github.com/rogpeppe/go-internal/testscript"

	clinkc "clink/cmd/clinkc/command"
	clinkd "clink/cmd/clinkd/command"
	"clink/diagnostic"
)

// topologies is where the examples lie.
const topologies = "examples/topologies"

// TestMain makes the programs commands that scripts run with exec: this test
// binary, started anew under the program's name.
func TestMain(m *testing.M) {
	quickExit()
	// As seldom as clinkd does: many topologies are compiled here.
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(512 << 20)
	testscript.Main(m, map[string]func(){
		"clinkc": func() {
			c := clinkc.Command{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
			os.Exit(c.Main(os.Args[1:]))
		},
		"clinkd": func() {
			c := clinkd.Command{Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
			os.Exit(c.Main(os.Args[1:]))
		},
		"cue-vet": cueVet,
	})
}

// quickExit lets a program that a test starts end at once under the race
// detector, which by default waits a second in each that ends well, in case
// what still runs has a race: the programs here start hundreds of times.
func quickExit() {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
}

// cueVet is plain "cue vet -c" in the working directory: CUE's own loader and
// judgement, with nothing of clink but the files that lie there.
func cueVet() {
	instance := load.Instances([]string{"."}, nil)[0]
	var err error = instance.Err
	if instance.Err == nil {
		err = cuecontext.New().BuildInstance(instance).Validate(cue.Concrete(true))
	}
	if err != nil {
		dir, _ := os.Getwd()
		fmt.Fprint(os.Stderr, errors.Details(err, &errors.Config{Cwd: dir}))
		os.Exit(1)
	}
}

// Each script is something a user can see, with its whole output. With
// CLINK_UPDATE=1 in the environment the outputs in the scripts are written
// anew; what changed is then to be read.
func TestScripts(t *testing.T) {
	cmds := daemonCmds()
	maps.Copy(cmds, runCmds())
	maps.Copy(cmds, traceCmds())
	maps.Copy(cmds, map[string]func(*testscript.TestScript, bool, []string){
		"example": example,
		"replace": replace,
		"status":  status,
	})
	testscript.Run(t, testscript.Params{
		Files:               scripts(t),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("CLINK_UPDATE") == "1",
		Cmds:                cmds,
		Setup: func(e *testscript.Env) error {
			e.Values[runKey{}] = map[string]*running{}
			e.Vars = append(e.Vars, "GORACE="+os.Getenv("GORACE"))
			return nil
		},
	})
}

// scripts are those in which programs run beside each other, and of the others,
// which run one command after another, a part under -short.
func scripts(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(all) == 0 {
		t.Fatal(len(all), err)
	}
	if !testing.Short() {
		return all
	}
	var l []string
	for i, file := range all {
		if text := contents(t, file); i%4 == 0 || strings.Contains(text, "\nclinkd-run ") || strings.Contains(text, "\nstart ") {
			l = append(l, file)
		}
	}
	return l
}

// example copies an example topology into the working directory: example NAME.
func example(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: example NAME")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(filepath.Join(topologies, args[0]))))
}

// replace changes the one place in a file that has a text: replace FILE OLD NEW.
func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	file := ts.MkAbs(args[0])
	text, err := os.ReadFile(file)
	ts.Check(err)
	if n := bytes.Count(text, []byte(args[1])); n != 1 {
		ts.Fatalf("%s has %d times %q", args[0], n, args[1])
	}
	ts.Check(os.WriteFile(file, bytes.Replace(text, []byte(args[1]), []byte(args[2]), 1), 0o666))
}

// status runs a program as exec does, and checks its exit code, which exec
// knows only as success or failure: status CODE PROGRAM ARG...
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	got := 0
	if exit != nil {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// A new example does not get by unvetted.
func TestEveryExampleIsVetted(t *testing.T) {
	script, err := os.ReadFile("testdata/script/vet_examples.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := os.ReadDir(topologies)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if d.IsDir() && !strings.Contains(string(script), "\nexample "+d.Name()+"\n") {
			t.Errorf("vet_examples.txtar does not vet %s", d.Name())
		}
	}
}

// A rule without a script is one whose words nobody has read.
func TestEveryRuleHasAScript(t *testing.T) {
	for _, r := range diagnostic.Rules() {
		if r.Explanation == nil {
			continue // not checked by this version
		}
		script, err := os.ReadFile("testdata/script/vet_" + r.Name + ".txtar")
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(script), "["+r.Name+"]: ") {
			t.Errorf("vet_%s.txtar does not show the rule", r.Name)
		}
	}
}
