package command

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"clink/compiler"
	"clink/diagnostic"
)

// proseWidth is the width in columns of the lines of an explanation.
const proseWidth = 78

// explain prints what the catalogue says of a rule, or of a rule of the working
// directory's own what its author says.
func (c Command) explain(ctx context.Context, s subcommand, args []string) error {
	flags := newFlags()
	rest, err := c.parse(s, flags, args, 1)
	if err != nil {
		return helped(err)
	}
	if len(rest) == 0 {
		return usageError{errors.New("explain takes the name of a rule; clinkc rules lists them"), s.help(flags)}
	}
	rule, ok := diagnostic.FindRule(rest[0])
	if ok {
		return c.print(explanation(rule))
	}
	var names []string
	for _, r := range diagnostic.Rules() {
		names = append(names, r.Name)
	}
	for _, r := range c.ownRules(ctx) {
		if r.Name == rest[0] {
			return c.print(ownExplanation(r))
		}
		names = append(names, r.Name)
	}
	return usageError{fmt.Errorf("there is no rule %q%s", rest[0], cmp.Or(didYouMean(rest[0], names), "; clinkc rules lists them, and a topology's own are in its folder rules/: run clinkc explain there, or with -C")), ""}
}

// ownRules are the rules of the topology in the working directory, none where
// there is no topology: nobody has asked for one.
func (c Command) ownRules(ctx context.Context) []compiler.OwnRule {
	files, _, err := c.read(ctx, nil)
	if err != nil {
		return nil
	}
	l, err := compiler.OwnRules(files)
	if err != nil {
		return nil
	}
	return l
}

// ownExplanation says where a team's own rule stands, and its comment.
func ownExplanation(r compiler.OwnRule) string {
	text := fmt.Sprintf("%s: a rule of this topology's own\n  --> %s\n", visible(r.Name), visible(r.Pos.String()))
	if r.Doc == "" {
		return text + "\nNo comment stands above it there.\n"
	}
	return text + "\n" + indent(visible(r.Doc), "  ")
}

// visible is text from the source with nothing in it that moves a cursor.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func explanation(r diagnostic.Rule) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s[%s]: %s\n", r.Severity, r.Name, r.Summary)
	if r.Gates {
		b.WriteString("What it names stays at its last good state until it is mended.\n")
	}
	e := r.Explanation
	if e == nil {
		b.WriteString("\nThis version of clinkc does not check it.\n")
		return b.String()
	}
	for _, part := range []struct{ title, prose string }{
		{"What it means", e.What},
		{"Why it hurts", e.Why},
		{"What EMQX does", e.EMQX},
	} {
		if part.prose != "" {
			fmt.Fprintf(&b, "\n%s:\n%s", part.title, wrap(part.prose, "  "))
		}
	}
	for _, part := range []struct{ title, text string }{{"Bad", e.Bad}, {"Mended", e.Mended}} {
		if part.text != "" {
			fmt.Fprintf(&b, "\n%s:\n\n%s", part.title, indent(part.text, "    "))
		}
	}
	return b.String()
}

// wrap breaks prose into lines at spaces.
func wrap(prose, margin string) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(prose) {
		width := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			b.WriteString(margin)
			column = len(margin)
		case column+1+width > proseWidth:
			b.WriteString("\n" + margin)
			column = len(margin)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += width
	}
	b.WriteByte('\n')
	return b.String()
}

func indent(text, margin string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.Trim(text, "\n") + "\n") {
		if line != "\n" {
			b.WriteString(margin)
		}
		b.WriteString(line)
	}
	return b.String()
}

// A ruleRow is a rule as the list of rules has it.
type ruleRow struct {
	Rule     string              `json:"rule"`
	Severity diagnostic.Severity `json:"severity"` // where the policy of a topology says nothing
	Gates    bool                `json:"gates"`
	Summary  string              `json:"summary"`
}

// rules lists the rules that this version checks.
func (c Command) rules(_ context.Context, s subcommand, args []string) error {
	flags := newFlags()
	asJSON := flags.Bool("json", false, "print a JSON array")
	if _, err := c.parse(s, flags, args, 0); err != nil {
		return helped(err)
	}
	rows := []ruleRow{}
	for _, r := range diagnostic.Rules() {
		if r.Explanation != nil {
			rows = append(rows, ruleRow{r.Name, r.Severity, r.Gates, r.Summary})
		}
	}
	if *asJSON {
		text, err := encode(rows)
		if err != nil {
			return err
		}
		return c.print(string(text))
	}
	var b bytes.Buffer
	for _, r := range rows {
		fmt.Fprintf(&b, "%-20s  %-7s  %s\n", r.Rule, r.Severity, r.Summary)
	}
	return c.print(b.String())
}
