package diagnostic

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// WriteGitHub writes the findings as workflow commands of GitHub Actions, one
// a line, which its runner turns into annotations on the lines of a change.
// Files are named as seen from the root of the checkout (see [Report.Prefix]).
func (r Report) WriteGitHub(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, d := range r.Findings {
		b.WriteString(r.command(d))
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write findings as workflow commands: %w", err)
	}
	return nil
}

// command is one finding as a workflow command. An annotation has one place, so
// that the others are named in its text.
func (r Report) command(d Diagnostic) string {
	name := map[Severity]string{Error: "error", Warning: "warning"}[d.Severity]
	if name == "" {
		name = "notice"
	}
	var props []string
	if d.Pos.File != "" {
		props = append(props, "file="+property(r.place(d.Pos.File)))
	}
	if d.Pos.Line > 0 {
		props = append(props, fmt.Sprintf("line=%d", d.Pos.Line))
		if d.Pos.EndLine > d.Pos.Line {
			props = append(props, fmt.Sprintf("endLine=%d", d.Pos.EndLine))
		} else if d.Pos.Column > 0 {
			// Columns are of one line only, and the last one belongs to it.
			props = append(props, fmt.Sprintf("col=%d", d.Pos.Column), fmt.Sprintf("endColumn=%d", max(d.Pos.EndColumn-1, d.Pos.Column)))
		}
	}
	props = append(props, "title="+property("clinkc "+d.Rule))
	text := visible(d.Message)
	for _, rel := range d.Related {
		text += "\n" + visible(r.at(rel.Pos)+": "+rel.Message)
	}
	if help := d.help(); help != "" {
		text += "\nhelp: " + visible(help)
	}
	return "::" + name + " " + strings.Join(props, ",") + "::" + data(text) + "\n"
}

// data and property escape what would end the command, or a part of it.
func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(data(visible(s)))
}
