package clink_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// runCmds are the commands of scripts about programs that run beside them, and
// about output that differs from run to run.
func runCmds() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"start": startCmd, "await": await, "interrupt": interrupt,
		"mask": mask, "mode": mode, "results": results,
	}
}

// A running is one program that a script started.
type running struct {
	name     string
	cmd      *exec.Cmd
	out, log string // files
	done     chan error
}

type runKey struct{}

// runs are the programs of a script that run beside it.
func runs(ts *testscript.TestScript) map[string]*running {
	return ts.Value(runKey{}).(map[string]*running)
}

// start starts one of our programs in the script's directory. Its streams are
// the files NAME.out and NAME.log there.
func start(ts *testscript.TestScript, name string, args ...string) *running {
	bin := filepath.Join(strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator))[0], name)
	r := &running{name: name, out: ts.MkAbs(name + ".out"), log: ts.MkAbs(name + ".log"), done: make(chan error, 1)}
	r.cmd = exec.Command(bin, args...)
	r.cmd.Dir = ts.MkAbs(".")
	r.cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
	var err error
	r.cmd.Stdout, err = os.Create(r.out)
	ts.Check(err)
	r.cmd.Stderr, err = os.Create(r.log)
	ts.Check(err)
	ts.Check(r.cmd.Start())
	go func() { r.done <- r.cmd.Wait() }()
	ts.Defer(func() { r.cmd.Process.Kill() })
	runs(ts)[name] = r
	return r
}

// stop asks the program to stop, as Ctrl-C does, and checks its exit code.
func (r *running) stop(ts *testscript.TestScript, code int) {
	ts.Check(r.cmd.Process.Signal(os.Interrupt))
	select {
	case <-r.done:
		if got := r.cmd.ProcessState.ExitCode(); got != code {
			ts.Fatalf("%s stops with status %d, want %d", r.name, got, code)
		}
	case <-time.After(patience):
		ts.Fatalf("%s does not stop", r.name)
	}
}

// startCmd starts one of our programs beside the script: start PROGRAM ARG...
func startCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: start PROGRAM ARG...")
	}
	start(ts, args[0], args[1:]...)
}

// interrupt sends Ctrl-C to a program and checks its exit code: interrupt PROGRAM CODE.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || runs(ts)[args[0]] == nil {
		ts.Fatalf("usage: interrupt PROGRAM CODE, after start PROGRAM")
	}
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	runs(ts)[args[0]].stop(ts, code)
}

// await waits until a file matches: await FILE REGEXP.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE REGEXP")
	}
	re := regexp.MustCompile(args[1])
	wait(ts, args[0]+" to say "+args[1], func() bool {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && re.Match(b)
	})
}

// wait waits until ok, and tells what the programs logged if it is in vain.
func wait(ts *testscript.TestScript, what string, ok func() bool) {
	end := time.NewTimer(patience)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end.C:
			logs := ""
			for _, r := range runs(ts) {
				log, _ := os.ReadFile(r.log)
				logs += fmt.Sprintf("; %s's log:\n%s", r.name, log)
			}
			ts.Fatalf("waited in vain for %s%s", what, logs)
		}
	}
}

// clocks are times of day, and how long something took with the spaces that
// align it in a table.
var clocks = regexp.MustCompile(`\b\d\d:\d\d:\d\d\b| *\b[0-9.]+(ns|µs|ms|s)\b *`)

// mask puts words in the place of times in a file: mask FILE.
func mask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mask FILE")
	}
	text := clocks.ReplaceAllStringFunc(ts.ReadFile(args[0]), func(s string) string {
		if strings.Contains(s, ":") {
			return "TIME"
		}
		return " TOOK "
	})
	text = regexp.MustCompile(`(?m) +$`).ReplaceAllString(text, "")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o666))
}

// mode checks who may read a file or folder, and how many bytes a file has:
// mode PERM FILE [SIZE].
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: mode PERM FILE [SIZE]")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	perm, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	if info.Mode().Perm() != fs.FileMode(perm) {
		ts.Fatalf("%s has mode %o, want %o", args[1], info.Mode().Perm(), perm)
	}
	if len(args) == 3 && fmt.Sprint(info.Size()) != args[2] {
		ts.Fatalf("%s has %d bytes, want %s", args[1], info.Size(), args[2])
	}
}

// results writes what a SARIF log says but for the catalogue of rules and the
// version of clinkc: results FILE OUT.
func results(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: results FILE OUT")
	}
	var log struct {
		Schema  string           `json:"$schema"`
		Version string           `json:"version"`
		Runs    []map[string]any `json:"runs"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &log))
	for _, run := range log.Runs {
		delete(run, "tool")
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	ts.Check(enc.Encode(log))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(b.String()), 0o666))
}
