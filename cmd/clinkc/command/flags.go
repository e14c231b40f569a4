package command

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// errHelped says that help was asked for and given.
var errHelped = errors.New("help given")

// helped turns errHelped into success.
func helped(err error) error {
	if errors.Is(err, errHelped) {
		return nil
	}
	return err
}

func newFlags() *flag.FlagSet {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are worded and printed here
	flags.Usage = func() {}
	return flags
}

// parse reads the flags of a command wherever they stand, and returns its
// other arguments, of which there may be up to most. After "--" nothing is a
// flag. Where help is asked for it prints the help and returns errHelped.
func (c Command) parse(s subcommand, flags *flag.FlagSet, args []string, most int) ([]string, error) {
	if c.inspect != nil {
		c.inspect(flags)
		return nil, errHelped
	}
	var rest []string
	for {
		err := flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return nil, cmp.Or(c.print(s.help(flags)), errHelped)
		}
		if err != nil {
			return nil, usageError{c.flagFault(flags, err), s.help(flags)}
		}
		left := flags.Args()
		taken := args[:len(args)-len(left)]
		if len(left) == 0 || len(taken) > 0 && taken[len(taken)-1] == "--" {
			rest = append(rest, left...)
			break
		}
		rest, args = append(rest, left[0]), left[1:]
	}
	if len(rest) > most {
		return nil, usageError{fmt.Errorf("%s takes %s, but %d are given: %q", s.name, upTo(most), len(rest), rest), s.help(flags)}
	}
	return rest, nil
}

func upTo(most int) string {
	if most == 0 {
		return "no arguments"
	}
	return "one argument"
}

// flagFault rewords an error of the flag package for people, with the flag
// that may have been meant.
func (c Command) flagFault(flags *flag.FlagSet, err error) error {
	name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	var names []string
	flags.VisitAll(func(f *flag.Flag) { names = append(names, dashed(f.Name)) })
	if !ok {
		text := err.Error()
		for _, n := range names {
			text = strings.Replace(text, "flag -"+strings.TrimLeft(n, "-")+":", n+":", 1)
		}
		return errors.New(text)
	}
	return fmt.Errorf("there is no flag %s%s", dashed(name), didYouMean(dashed(name), names))
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// help is how to use one command.
func (s subcommand) help(flags *flag.FlagSet) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "usage: clinkc %s\n\n%s.\n", strings.Join(strings.Fields(s.name+" [flags] "+s.args), " "), upper(s.short))
	var list bytes.Buffer
	flags.VisitAll(func(f *flag.Flag) {
		arg, _ := flag.UnquoteUsage(f)
		text := strings.TrimPrefix(f.Usage, "`"+arg+"` ")
		fmt.Fprintf(&list, "  %-24s %s", strings.TrimSpace(dashed(f.Name)+" "+arg), text)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Fprintf(&list, " (default %s)", f.DefValue)
		}
		list.WriteByte('\n')
	})
	if list.Len() > 0 {
		fmt.Fprintf(&b, "\nflags:\n%s", list.Bytes())
	} else {
		return strings.Replace(b.String(), " [flags]", "", 1)
	}
	return b.String()
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// A names is a flag that may be given several times.
type names []string

func (n *names) String() string     { return strings.Join(*n, ",") }
func (n *names) Set(s string) error { *n = append(*n, s); return nil }

// A choice is a flag that is one of a few words.
type choice struct {
	value string
	among []string
}

func (w *choice) String() string { return w.value }

func (w *choice) Set(s string) error {
	for _, a := range w.among {
		if a == s {
			w.value = s
			return nil
		}
	}
	return fmt.Errorf("it is one of %s", strings.Join(w.among, ", "))
}
