package command

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"clink/diagnostic"
)

// write prints the report in the form that was asked for: text on standard
// error, every other form on standard output. Where GitHub's runner is there
// and no form was asked for, annotations go to standard output beside the text,
// which the log of the job shows with its snippets.
func (c Command) write(r diagnostic.Report, o *vetOptions) error {
	forms := map[string]func(io.Writer) error{
		"json": r.WriteJSON, "sarif": r.WriteSARIF, "github": r.WriteGitHub, "junit": r.WriteJUnit,
	}
	if form, ok := forms[o.format.value]; ok {
		return form(c.Stdout)
	}
	if o.annotate {
		if err := r.WriteGitHub(c.Stdout); err != nil {
			return err
		}
	}
	return r.WriteText(c.Stderr, c.colored(o.color.value, c.Stderr))
}

// prefix is the topology directory as seen from the root of the checkout: what
// GitHub says is the workspace, or else the folder around it that git works in,
// or else the working directory. It is "" for what lies elsewhere.
func (c Command) prefix(args []string) string {
	dir, ok := c.base(args)
	if !ok {
		return ""
	}
	root := c.getenv("GITHUB_WORKSPACE")
	for _, from := range []string{root, worktree(dir), "."} {
		if from == "" {
			continue
		}
		from, err1 := filepath.Abs(from)
		to, err2 := filepath.Abs(dir)
		if err1 != nil || err2 != nil {
			continue
		}
		rel, err := filepath.Rel(from, to)
		switch rel = filepath.ToSlash(rel); {
		case err != nil || rel == ".." || strings.HasPrefix(rel, "../"):
			continue
		case rel == ".":
			return ""
		}
		return rel
	}
	return ""
}

// worktree is the nearest folder around dir with git's own in it, "" for none.
func worktree(dir string) string {
	at, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		up := filepath.Dir(at)
		if up == at {
			return ""
		}
		at = up
	}
}

// printTimings says what the time of a check went into.
func (c Command) printTimings(l *loaded) {
	w := tabwriter.NewWriter(c.Stderr, 0, 0, 2, ' ', 0)
	var total time.Duration
	for _, p := range l.Phases {
		total += p.Took
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, p.Took.Round(10*time.Microsecond), p.Note)
	}
	fmt.Fprintf(w, "total\t%s\t\n", total.Round(10*time.Microsecond))
	w.Flush()
}
