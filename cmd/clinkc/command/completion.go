package command

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"clink/diagnostic"
)

// completions are the scripts, a file a shell. They ask clinkc complete.
//
//go:embed completion
var completions embed.FS

// shells are those that there is a script for.
var shells = [...]string{"bash", "zsh", "fish", "powershell"}

// completion prints the script that makes a shell complete the words of clinkc.
func (c Command) completion(_ context.Context, s subcommand, args []string) error {
	flags := newFlags()
	rest, err := c.parse(s, flags, args, 1)
	if err != nil {
		return helped(err)
	}
	if len(rest) == 0 || !slices.Contains(shells[:], rest[0]) {
		err := errors.New("completion takes the name of a shell: " + strings.Join(shells[:], ", "))
		if len(rest) > 0 {
			err = fmt.Errorf("there is no completion for %q: the shells are %s", rest[0], strings.Join(shells[:], ", "))
		}
		return usageError{err, s.help(flags)}
	}
	script, err := completions.ReadFile("completion/" + rest[0])
	if err != nil {
		return fmt.Errorf("read the completion script: %w", err)
	}
	return c.print(string(script))
}

// completeTimeout bounds how long a shell is kept waiting for the names of
// sites, unless the command is told otherwise.
const completeTimeout = 2 * time.Second

// complete prints what the last word may become, one a line. It prints nothing
// where it does not know, and says nothing of what is wrong: a user is typing.
func (c Command) complete(ctx context.Context, s subcommand, args []string) error {
	flags := newFlags()
	fresh := flags.Bool("new", false, "the word to complete is a new one after those given")
	timeout := flags.Duration("timeout", completeTimeout, "`TIME` after which the names of sites are given up")
	words, err := c.parse(s, flags, args, math.MaxInt)
	if err != nil {
		return helped(err)
	}
	if *fresh || len(words) == 0 {
		words = append(words, "")
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	l := c.candidates(ctx, words)
	slices.Sort(l)
	var b strings.Builder
	for _, word := range slices.Compact(l) {
		if !strings.ContainsAny(word, "\n\r\x00") {
			b.WriteString(word + "\n")
		}
	}
	return c.print(b.String())
}

// candidates are what the last of the words may become.
func (c Command) candidates(ctx context.Context, words []string) []string {
	for len(words) > 1 && strings.HasPrefix(words[0], "-") {
		taken := 1
		if words[0] == "-C" || words[0] == "--C" {
			if taken = 2; len(words) == 2 {
				return nil // a directory: the shell's own
			}
			c.dir = words[1]
		}
		words = words[taken:]
	}
	if len(words) == 1 {
		l := []string{"-C", "--help", "--version"}
		if !strings.HasPrefix(words[0], "-") {
			l = commandNames()
		}
		return beginning(l, words[0], "")
	}
	s, err := lookup(words[0])
	if err != nil {
		return nil
	}
	return c.argument(ctx, s, words[1:])
}

// argument completes the last word after the name of a command.
func (c Command) argument(ctx context.Context, s subcommand, words []string) []string {
	flags := c.flagsOf(ctx, s)
	words = unsplit(words)
	last := words[len(words)-1]
	var place []string // the arguments before that are no flags
	for i := 0; i < len(words)-1; i++ {
		f, valued := flagOf(flags, words[i])
		switch {
		case words[i] == "-" || !strings.HasPrefix(words[i], "-"):
			place = append(place, words[i])
		case f == nil || valued || isSwitch(f):
		case i == len(words)-2:
			return beginning(c.values(ctx, f, place), last, "")
		default:
			i++
		}
	}
	switch f, valued := flagOf(flags, last); {
	case valued && f != nil:
		name, value, _ := strings.Cut(last, "=")
		return beginning(c.values(ctx, f, place), value, name+"=")
	case strings.HasPrefix(last, "-"):
		l := []string{"--help"}
		flags.VisitAll(func(f *flag.Flag) { l = append(l, dashed(f.Name)) })
		return beginning(l, last, "")
	case len(place) > 0:
		return nil
	}
	l := places(s.name)
	if s.name == "explain" {
		for _, r := range c.ownRules(ctx) {
			l = append(l, r.Name)
		}
	}
	return beginning(l, last, "")
}

// unsplit undoes what bash does: it takes --format=json for three words.
func unsplit(words []string) []string {
	var l []string
	for i, w := range words {
		switch {
		case w != "=" || i == 0 || !strings.HasPrefix(words[i-1], "-"):
			l = append(l, w)
		case i == len(words)-1:
			l = append(l, "")
		}
	}
	return l
}

// flagsOf are the flags of a command.
func (c Command) flagsOf(ctx context.Context, s subcommand) *flag.FlagSet {
	found := newFlags()
	c.inspect = func(flags *flag.FlagSet) { found = flags }
	// It does nothing but tell its flags.
	_ = s.run(c, ctx, s, nil)
	return found
}

// flagOf returns the flag that a word is, nil if it is none or unknown, and
// whether its value is in the same word.
func flagOf(flags *flag.FlagSet, word string) (f *flag.Flag, valued bool) {
	if !strings.HasPrefix(word, "-") {
		return nil, false
	}
	name, _, valued := strings.Cut(strings.TrimLeft(word, "-"), "=")
	return flags.Lookup(name), valued
}

// isSwitch reports whether a flag takes no value.
func isSwitch(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// values are what a flag may be given, none if it is not known.
func (c Command) values(ctx context.Context, f *flag.Flag, place []string) []string {
	if v, ok := f.Value.(*choice); ok {
		return v.among
	}
	if f.Name != "site" && f.Name != "from" && f.Name != "to" {
		return nil
	}
	if len(place) > 0 && place[0] == "-" {
		return nil // what is there is for the command, not for us
	}
	l, err := c.load(ctx, place, loading{}) // as long as ctx lasts
	if err != nil {
		return nil
	}
	return l.Topology.Names()
}

// places are what the argument of a command may be, where it is no file.
func places(command string) []string {
	switch command {
	case "explain":
		var l []string
		for _, r := range diagnostic.Rules() {
			l = append(l, r.Name)
		}
		return l
	case "help":
		return commandNames()
	case "completion":
		return shells[:]
	}
	return nil
}

// beginning are the words that begin with part, each after prefix.
func beginning(words []string, part, prefix string) []string {
	var l []string
	for _, w := range words {
		if strings.HasPrefix(w, part) {
			l = append(l, prefix+w)
		}
	}
	return l
}
