package command

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"clink/diagnostic"
	"clink/diagram"
)

// graph draws the topology, or with --diff what changed of it. What the source
// says wrong of a link is in the picture; a source of which a part cannot be
// read at all is not drawn.
func (c Command) graph(ctx context.Context, s subcommand, args []string) error {
	flags := newFlags()
	format := choice{"svg", []string{"svg", "mermaid", "dot", "json"}}
	lang := choice{"en", []string{"en", "zh"}}
	color := choice{"auto", []string{"auto", "always", "never"}}
	flags.Var(&format, "format", "`FORM` form of the output: svg, mermaid, dot or json")
	flags.Var(&lang, "lang", "`LANG` language of the words in an SVG: en or zh")
	flags.Var(&color, "color", "`WHEN` colour findings: auto, always or never")
	diff := flags.String("diff", "", "`FROM` mark what changed since FROM: another directory, or git:REV, a revision of this one")
	out := flags.String("o", "", "`FILE` write into FILE, and not to standard output")
	timeout := flags.Duration("timeout", time.Minute, "`TIME` give up after this time")
	rest, err := c.parse(s, flags, args, 1)
	if err != nil {
		return helped(err)
	}
	l, err := c.load(ctx, rest, loading{timeout: *timeout})
	if err != nil {
		return err
	}
	if err := c.readable(l, color.value); err != nil {
		return err
	}
	g := diagram.New(l.Topology)
	if *diff != "" {
		old, err := c.before(ctx, *diff, rest, s.help(flags), *timeout)
		if err != nil {
			return err
		}
		if err := c.readable(old, color.value); err != nil {
			return err
		}
		g = diagram.Diff(old.Topology, l.Topology)
	}
	text, err := render(g, format.value, lang.value)
	if err != nil || *out == "" {
		return errors.Join(err, c.print(text))
	}
	f, err := prepare(c.path(*out), []byte(text))
	if err != nil {
		return err
	}
	return errors.Join(f.commit(), f.discard())
}

// readable prints the findings of a source of which a part could not be read,
// and returns errFindings. Other findings are for vet to tell.
func (c Command) readable(l *loaded, color string) error {
	unread := slices.ContainsFunc(l.Findings, func(d diagnostic.Diagnostic) bool {
		return d.Rule == "schema" && d.Severity == diagnostic.Error
	})
	if !unread {
		return nil
	}
	return errors.Join(l.report().WriteText(c.Stderr, c.colored(color, c.Stderr)), errFindings)
}

// before loads what --diff names.
func (c Command) before(ctx context.Context, from string, rest []string, help string, timeout time.Duration) (*loaded, error) {
	rev, isGit := strings.CutPrefix(from, "git:")
	switch {
	case !isGit:
		return c.load(ctx, []string{from}, loading{timeout: timeout})
	case rev == "":
		return nil, usageError{errors.New("git: names no revision: say git:HEAD, git:main or git:v1"), help}
	case len(rest) > 0 && rest[0] == "-":
		return nil, usageError{errors.New("what comes from standard input has no revisions: name the directory"), help}
	}
	return c.loadRevision(ctx, rev, rest, timeout)
}

func render(g diagram.Graph, format, lang string) (string, error) {
	switch format {
	case "mermaid":
		return g.Mermaid(), nil
	case "dot":
		return g.DOT(), nil
	case "json":
		text, err := g.JSON()
		return string(text), err
	}
	return string(g.SVG(diagram.Options{Lang: lang})), nil
}
