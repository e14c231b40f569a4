package command

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"clink/diagnostic"
)

// vetOptions are what vet's command line asks for.
type vetOptions struct {
	format, failOn, color choice
	sites                 names
	secrets               bool
	timings               bool
	watch                 bool
	fix                   bool
	timeout               time.Duration

	threshold diagnostic.Severity // failOn
	annotate  bool                // GitHub's runner is there and no format was asked for
}

func newVetOptions() *vetOptions {
	return &vetOptions{
		format: choice{"text", []string{"text", "json", "sarif", "github", "junit"}},
		failOn: choice{"error", []string{"error", "warning", "info"}},
		color:  choice{"auto", []string{"auto", "always", "never"}},
	}
}

// vet prints all findings: as text on standard error, or as data on standard
// output.
func (c Command) vet(ctx context.Context, s subcommand, args []string) error {
	flags, o := newFlags(), newVetOptions()
	flags.Var(&o.format, "format", "`FORMAT` form of the findings: text, json, sarif, github or junit")
	flags.Var(&o.failOn, "fail-on", "`SEVERITY` exit with 1 from this severity on: error, warning or info")
	flags.Var(&o.color, "color", "`WHEN` colour text: auto, always or never")
	flags.Var(&o.sites, "site", "`NAME` only findings that concern this site; may be given several times")
	flags.BoolVar(&o.fix, "fix", false, "mend in the source what can be mended for certain")
	flags.BoolVar(&o.watch, "watch", false, "check again after every change, until interrupted")
	flags.BoolVar(&o.secrets, "secrets", false, "look for the credentials and host files of the sites named, or of all")
	flags.BoolVar(&o.timings, "timings", false, "say on standard error what the time went into")
	flags.DurationVar(&o.timeout, "timeout", time.Minute, "`TIME` give up after this time")
	rest, err := c.parse(s, flags, args, 1)
	if err != nil {
		return helped(err)
	}
	if o.threshold, err = diagnostic.ParseSeverity(o.failOn.value); err != nil {
		return err
	}
	asked := false
	flags.Visit(func(f *flag.Flag) { asked = asked || f.Name == "format" })
	o.annotate = !asked && c.getenv("GITHUB_ACTIONS") == "true"
	if err := o.check(rest); err != nil {
		return err
	}
	switch {
	case o.watch:
		return c.watch(ctx, o, rest)
	case o.fix:
		return c.fix(ctx, o, rest)
	}
	l, err := c.load(ctx, rest, o.loading())
	if err != nil {
		return err
	}
	return c.verdict(l, o, rest)
}

// check refuses what cannot be done together.
func (o *vetOptions) check(args []string) error {
	stdin := len(args) > 0 && args[0] == "-"
	switch {
	case o.timeout <= 0:
		return usageError{fmt.Errorf("--timeout %v: it must be longer than nothing", o.timeout), ""}
	case o.fix && o.watch:
		return usageError{errors.New("--fix and --watch do not go together: what is typed would be changed while it is typed"), ""}
	case stdin && o.fix:
		return usageError{errors.New("--fix mends files, and standard input is none"), ""}
	case stdin && o.watch:
		return usageError{errors.New("--watch watches a directory, and standard input is none"), ""}
	}
	return nil
}

// loading is how the source is to be looked at.
func (o *vetOptions) loading() loading {
	return loading{timeout: o.timeout, secrets: o.secrets, here: o.sites}
}

// verdict prints the findings on l; the error says whether they are too grave.
func (c Command) verdict(l *loaded, o *vetOptions, args []string) error {
	report, err := c.about(l, o, args)
	if err != nil {
		return err
	}
	report.Findings, report.Waived = gathered(report.Findings), gathered(report.Waived)
	if err := c.write(report, o); err != nil {
		return err
	}
	if o.timings {
		c.printTimings(l)
	}
	if report.Findings.AtLeast(o.threshold) {
		return errFindings
	}
	return nil
}

// about is the report on what was asked for.
func (c Command) about(l *loaded, o *vetOptions, args []string) (diagnostic.Report, error) {
	report := l.report()
	if len(o.sites) > 0 {
		var err error
		if report, err = l.concerning(o.sites); err != nil {
			return report, err
		}
	}
	if o.format.value == "sarif" && c.getenv("GITHUB_ACTIONS") == "true" {
		report.Waived = nil // GitHub takes a suppressed result for an open alert
	}
	report.FailOn, report.Version, report.Prefix = o.threshold, readBuild().Version, c.prefix(args)
	return report, nil
}

// concerning is the report on some sites alone. A finding that names no site,
// such as a file that does not parse, concerns every one.
func (l *loaded) concerning(sites names) (diagnostic.Report, error) {
	r := l.report()
	r.Sites, r.Links, r.Names = 0, 0, nil
	anywhere := slices.ContainsFunc(l.Findings, func(d diagnostic.Diagnostic) bool { return len(d.Sites) == 0 })
	r.Findings, r.Waived = sites.among(l.Findings), sites.among(l.Waived)
	known := l.Topology.Names()
	for i, name := range sites {
		if slices.Contains(sites[:i], name) {
			continue
		}
		site, ok := l.Topology.Sites[name]
		if !ok && !anywhere { // else it may stand in what could not be read
			return r, usageError{fmt.Errorf("there is no site %q%s", name, cmp.Or(didYouMean(name, known), listed(known))), ""}
		}
		if ok {
			r.Sites++
			r.Links += len(site.Links)
			r.Names = append(r.Names, name)
		}
	}
	return r, nil
}

// among are the findings that concern one of the sites.
func (n names) among(all diagnostic.List) (l diagnostic.List) {
	for _, d := range all {
		if len(d.Sites) == 0 || slices.ContainsFunc(d.Sites, func(s string) bool { return slices.Contains(n, s) }) {
			l = append(l, d)
		}
	}
	return l
}

// listed names the first few of the sites that there are.
func listed(sites []string) string {
	const few = 10
	if len(sites) > few {
		return fmt.Sprintf("; there are %d, among them %s", len(sites), strings.Join(sites[:few], ", "))
	}
	return "; there are " + strings.Join(sites, ", ")
}

// colored decides whether text on w has colour. NO_COLOR is obeyed unless
// colour is asked for in as many words.
func (c Command) colored(when string, w io.Writer) bool {
	switch when {
	case "always":
		return true
	case "never":
		return false
	}
	if c.getenv("NO_COLOR") != "" || c.getenv("TERM") == "dumb" {
		return false
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
