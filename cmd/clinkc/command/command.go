// Package command is the clinkc program: its commands, flags, exit codes and
// streams, over the source, the compiler and the formats of findings. It is
// importable so that scripts run it in-process.
//
// It judges nothing itself: what is wrong with a topology is the compiler's to
// say. Only trace opens a socket, to the REST API of a running clinkd, and only
// build, graph, fmt, init, schema and vet --fix write what they are asked for.
package command

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// The exit codes, the same for every command and format. Code 2 is kept for
// "changes pending".
const (
	exitClean    = 0
	exitFindings = 1  // at or above --fail-on
	exitFault    = 3  // the work could not be done
	exitUsage    = 64 // wrong usage
)

// A Command is one run of clinkc with its streams and environment.
type Command struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string // nil: nothing is set

	dir     string              // -C: relative names are relative to it
	inspect func(*flag.FlagSet) // not nil: a command hands its flags over and does nothing else
}

// Main runs the command until it is done, or SIGTERM or SIGINT comes, and
// returns its exit code.
func (c Command) Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return c.Run(ctx, args)
}

// Run is Main with the end of ctx in the place of signals. args are without
// the program's name.
func (c Command) Run(ctx context.Context, args []string) int {
	return c.exitCode(c.run(ctx, args))
}

// A subcommand is a row of the list of commands.
type subcommand struct {
	name  string
	args  string // of the usage line
	short string
	run   func(Command, context.Context, subcommand, []string) error
}

// subcommands are the commands in the order in which help lists them.
func subcommands() []subcommand {
	return []subcommand{
		{"init", "[DIR]", "write a first topology, which vets clean and runs", Command.initialize},
		{"vet", "[DIR | -]", "check all sites together and report what is wrong", Command.vet},
		{"build", "[DIR | -]", "write what each site gets", Command.build},
		{"graph", "[DIR | -]", "draw the sites, the links between them and what travels", Command.graph},
		{"trace", "", "follow a probe message through running sites", Command.trace},
		{"fmt", "[DIR | -]", "format the CUE files, as cue fmt does", Command.format},
		{"schema", "[DIR]", "write the CUE schema into DIR, for cue vet and editors", Command.schema},
		{"explain", "RULE", "say what a rule means, why it hurts, and how to mend it", Command.explain},
		{"rules", "", "list the rules that vet checks", Command.rules},
		{"version", "", "print the version", Command.version},
		{"completion", "SHELL", "print the script that completes clinkc in bash, zsh, fish or powershell", Command.completion},
		{"help", "[COMMAND]", "explain clinkc or one of its commands", Command.help},
	}
}

func (c Command) run(ctx context.Context, args []string) error {
	var dir, command string
	help, ver := false, false
	flags := newFlags()
	flags.StringVar(&dir, "C", "", "")
	flags.BoolVar(&help, "help", false, "")
	flags.BoolVar(&help, "h", false, "")
	flags.BoolVar(&ver, "version", false, "")
	if err := flags.Parse(args); err != nil {
		return usageError{c.flagFault(flags, err), usage()}
	}
	c.dir = dir
	command, args = flags.Arg(0), flags.Args()
	switch {
	case help:
		command, args = "help", args[:0]
	case ver:
		command, args = "version", args[:0]
	case command == "":
		return usageError{errors.New("no command given: clinkc vet is the one to begin with"), usage()}
	default:
		args = args[1:]
	}
	if command == completer.name {
		return c.complete(ctx, completer, args)
	}
	s, err := lookup(command)
	if err != nil {
		return usageError{err, usage()}
	}
	return s.run(c, ctx, s, args)
}

// completer is the command that the scripts of completion run. It is not
// listed: nobody types it.
var completer = subcommand{name: "complete", args: "WORD...", short: "print what the last word may become"}

// lookup returns the command with the given name.
func lookup(name string) (subcommand, error) {
	for _, s := range subcommands() {
		if s.name == name {
			return s, nil
		}
	}
	return subcommand{}, fmt.Errorf("there is no command %q%s", name, didYouMean(name, commandNames()))
}

// commandNames are the names of the commands, as help lists them.
func commandNames() []string {
	var l []string
	for _, s := range subcommands() {
		l = append(l, s.name)
	}
	return l
}

// A usageError is wrong usage, and what the right one is.
type usageError struct {
	error
	usage string
}

// errFindings says that there are findings at or above the threshold. They
// have been printed.
var errFindings = errors.New("findings")

// exitCode is the one place where an error is printed and becomes an exit code.
func (c Command) exitCode(err error) int {
	var wrong usageError
	switch {
	case err == nil:
		return exitClean
	case errors.Is(err, errFindings):
		return exitFindings
	case errors.As(err, &wrong):
		fmt.Fprintf(c.Stderr, "clinkc: %v\n", err)
		if wrong.usage != "" {
			fmt.Fprintf(c.Stderr, "\n%s", wrong.usage)
		}
		return exitUsage
	}
	fmt.Fprintf(c.Stderr, "clinkc: %v\n", err)
	return exitFault
}

func (c Command) getenv(name string) string {
	if c.Getenv == nil {
		return ""
	}
	return c.Getenv(name)
}

// path is name as seen from the directory given with -C.
func (c Command) path(name string) string {
	if c.dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.dir, name)
}

// help prints how to use clinkc, or one of its commands, on standard output.
func (c Command) help(ctx context.Context, s subcommand, args []string) error {
	flags := newFlags()
	names, err := c.parse(s, flags, args, 1)
	if err != nil {
		return helped(err)
	}
	if len(names) == 0 {
		return c.print(usage())
	}
	about, err := lookup(names[0])
	if err != nil {
		return usageError{err, usage()}
	}
	return about.run(c, ctx, about, []string{"-h"})
}

// print writes data to standard output.
func (c Command) print(s string) error {
	if _, err := io.WriteString(c.Stdout, s); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

func usage() string {
	var b bytes.Buffer
	b.WriteString("usage: clinkc [-C DIR] COMMAND [flags] [arguments]\n\ncommands:\n")
	for _, s := range subcommands() {
		fmt.Fprintf(&b, "  %-20s %s\n", strings.TrimSpace(s.name+" "+s.args), s.short)
	}
	b.WriteString(`
-C DIR makes DIR the directory that other names are relative to. "clinkc COMMAND
-h" lists the flags of a command. DIR is the topology directory, "." if it is
left out; "-" reads a single CUE file from standard input.

Exit status: 0 clean, 1 findings, 3 the work could not be done, 64 wrong usage.
`)
	return b.String()
}
