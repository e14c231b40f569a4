// Package command is the clinkd program: its flags, its exit codes, and the
// wiring of source, compiler, reconciler, brokers, link engines and REST API
// into one process. It is importable so that scripts run it in-process.
//
// It decides nothing about topologies or links: it joins the parts that do.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// Exit codes, the same as clinkc's.
const (
	exitOK    = 0
	exitFault = 3  // the work could not be done
	exitUsage = 64 // wrong usage
)

// A Command is one run of clinkd with its streams and environment.
type Command struct {
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Ready, if not nil, is called once with the address of the REST API
	// when every site's listeners stand; scripts wait for it.
	Ready func(httpAddr string)
}

const usage = `clinkd runs the sites of a topology and keeps them at what its source says.

Usage:
	clinkd run [flags] DIR    run the sites of the topology in DIR
	clinkd version            print the version

clinkd run -h lists the flags.
`

// A usageError is answered with exit code 64.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Main runs the command until it is done, or SIGTERM or SIGINT comes, and
// returns its exit code.
func (c Command) Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return c.Run(ctx, args)
}

// Run is Main with the end of ctx in the place of signals.
func (c Command) Run(ctx context.Context, args []string) int {
	err := c.run(ctx, args)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // who ends it while it starts wants no reason
	}
	return c.exitCode(err)
}

func (c Command) exitCode(err error) int {
	var bad usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &bad):
		fmt.Fprintf(c.Stderr, "clinkd: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(c.Stderr, "clinkd: %v\n", err)
	return exitFault
}

func (c Command) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(c.Stderr, usage)
		return usagef("no command given: clinkd run DIR is the one to begin with")
	}
	switch args[0] {
	case "run":
		o, err := c.parse(args[1:])
		if err != nil {
			return err
		}
		return c.daemon(ctx, o)
	case "version", "--version", "-version":
		fmt.Fprintln(c.Stdout, "clinkd", version())
		return nil
	case "help", "-h", "-help", "--help":
		fmt.Fprint(c.Stdout, usage)
		return nil
	}
	fmt.Fprint(c.Stderr, usage)
	return usagef("there is no command %q", args[0])
}

// version is the module's version, or the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return v
}

// sighup delivers a value for each SIGHUP until ctx ends.
func sighup(ctx context.Context, look func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGHUP)
	defer signal.Stop(ch)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ch:
			look()
		}
	}
}
