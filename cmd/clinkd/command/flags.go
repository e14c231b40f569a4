package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// readFlags reads flags wherever they stand and returns the other arguments.
// After "--" nothing is a flag.
func readFlags(fs *flag.FlagSet, args []string) (rest []string, err error) {
	fs.SetOutput(io.Discard) // errors are worded here, and printed once
	fs.Usage = func() {}
	for {
		if err := fs.Parse(args); err != nil {
			return nil, flagFault(fs, err)
		}
		left := fs.Args()
		taken := args[:len(args)-len(left)]
		if len(left) == 0 || len(taken) > 0 && taken[len(taken)-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

// flagFault words an error of the flag package with flags as they are written
// here.
func flagFault(fs *flag.FlagSet, err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return usagef("there is no flag --%s: clinkd run -h lists the flags", name)
	}
	fs.VisitAll(func(f *flag.Flag) {
		text = strings.Replace(text, "flag -"+f.Name+":", "--"+f.Name+":", 1)
		text = strings.Replace(text, " for -"+f.Name+":", " for --"+f.Name+":", 1) // those that take true or false
	})
	return usagef("%s", strings.Replace(text, "flag needs an argument: -", "an argument is needed after --", 1))
}

// help is how to use clinkd run.
func help(fs *flag.FlagSet) string {
	var b strings.Builder
	b.WriteString(runUsage)
	fs.VisitAll(func(f *flag.Flag) {
		arg, text := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, "  %-26s %s", strings.TrimSpace("--"+f.Name+" "+arg), text)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Fprintf(&b, " (default %s)", f.DefValue)
		}
		b.WriteByte('\n')
	})
	return b.String()
}

const runUsage = `usage: clinkd run [flags] DIR

Runs the sites of the topology in DIR, and follows its source. Each flag can
also be set by an environment variable: --data-dir by CLINK_DATA_DIR, and so on.

flags:
`
