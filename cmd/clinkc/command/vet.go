package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"clink/diagnostic"
)

// vet prints all findings: as text on standard error, or as data on standard
// output.
func (c Command) vet(ctx context.Context, s subcommand, args []string) error {
	flags := newFlags()
	format := choice{"text", []string{"text", "json"}}
	failOn := choice{"error", []string{"error", "warning", "info"}}
	color := choice{"auto", []string{"auto", "always", "never"}}
	var sites names
	flags.Var(&format, "format", "`FORMAT` form of the findings: text or json")
	flags.Var(&failOn, "fail-on", "`SEVERITY` exit with 1 from this severity on: error, warning or info")
	flags.Var(&color, "color", "`WHEN` colour text: auto, always or never")
	flags.Var(&sites, "site", "`NAME` only findings that concern this site; may be given several times")
	rest, err := c.parse(s, flags, args, 1)
	if err != nil {
		return helped(err)
	}
	l, err := c.load(ctx, rest)
	if err != nil {
		return err
	}
	report := l.report()
	if len(sites) > 0 {
		if report, err = l.concerning(sites); err != nil {
			return err
		}
	}
	if format.value == "json" {
		err = report.WriteJSON(c.Stdout)
	} else {
		err = report.WriteText(c.Stderr, c.colored(color.value, c.Stderr))
	}
	if err != nil {
		return err
	}
	threshold, err := diagnostic.ParseSeverity(failOn.value)
	if err != nil {
		return err
	}
	if report.Findings.AtLeast(threshold) {
		return errFindings
	}
	return nil
}

// concerning is the report on some sites alone. A finding that names no site,
// such as a file that does not parse, concerns every one.
func (l *loaded) concerning(sites names) (diagnostic.Report, error) {
	r := l.report()
	r.Sites, r.Links, r.Findings = 0, 0, nil
	anywhere := false
	for _, d := range l.Findings {
		anywhere = anywhere || len(d.Sites) == 0
		if len(d.Sites) == 0 || slices.ContainsFunc(d.Sites, func(s string) bool { return slices.Contains(sites, s) }) {
			r.Findings = append(r.Findings, d)
		}
	}
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
		}
	}
	return r, nil
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
