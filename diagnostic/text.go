package diagnostic

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// WriteText writes the report for people: each finding with the lines of the
// source that it speaks of and carets under exactly its range, then one line
// that sums up. With color, ANSI sequences set the parts off.
//
// A related place gets its own snippet where it is a range; an empty range is
// a place where something is missing, and is only named.
//
// Whatever in the sources or messages could move a terminal's cursor, hide
// text or forge a line is written in a visible form instead.
func (r Report) WriteText(w io.Writer, color bool) error {
	p := printer{w: bufio.NewWriter(w), color: color, sources: r.Sources, files: map[string]*shown{}}
	for _, d := range r.Findings {
		p.finding(d)
		p.print("\n")
	}
	p.print(r.summary(), "\n")
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	return nil
}

// The parts of a finding that are set off by colour, as parameters of ANSI's
// "select graphic rendition".
const (
	styleMessage = "1"    // bold
	styleGutter  = "1;34" // bold blue
	styleHelp    = "1;36" // bold cyan
)

func (s Severity) style() string {
	switch s {
	case Error:
		return "1;31" // bold red
	case Warning:
		return "1;33" // bold yellow
	}
	return "1;36" // bold cyan
}

// A printer writes findings; its writer keeps the first error.
type printer struct {
	w       *bufio.Writer
	color   bool
	sources map[string][]byte
	files   map[string]*shown // the sources looked at so far
	gutter  int               // columns for line numbers in the finding at hand
	secret  Pos               // a credential itself, in the finding at hand
}

// A shown is a source that snippets are cut from.
type shown struct {
	lines [][]byte
	at    []int // where each begins
	*hider
}

func (p *printer) print(parts ...string) {
	for _, s := range parts {
		p.w.WriteString(s)
	}
}

func (p *printer) paint(style, s string) string {
	if !p.color || s == "" {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

func (p *printer) finding(d Diagnostic) {
	p.gutter, p.secret = 2, Pos{}
	if d.Rule == "literal-secret" {
		p.secret = d.Pos // however it came to be one, such as through a template
	}
	for _, pos := range append(d.places(), d.Pos) {
		p.gutter = max(p.gutter, len(strconv.Itoa(pos.Line)))
	}
	p.print(p.paint(d.Severity.style(), d.Severity.String()+"["+visible(d.Rule)+"]"))
	p.print(p.paint(styleMessage, ": "+visible(d.Message)), "\n")
	if !d.Pos.IsZero() {
		p.place(d.Pos, "")
		p.snippet(d.Pos, d.Label, d.Severity.style())
	}
	for _, r := range d.Related {
		p.place(r.Pos, r.Message)
		if r.Pos.isRange() {
			p.snippet(r.Pos, "", styleGutter)
		}
	}
	if help := d.help(); help != "" {
		p.print("  ", p.paint(styleHelp, "help:"), " ", visible(help), "\n")
	}
}

// places are the related places that get a snippet.
func (d Diagnostic) places() []Pos {
	var l []Pos
	for _, r := range d.Related {
		if r.Pos.isRange() {
			l = append(l, r.Pos)
		}
	}
	return l
}

// help is what to do next: the finding's own words, else what its fix does.
func (d Diagnostic) help() string {
	if d.Help == "" && d.Fix != nil {
		return d.Fix.Message
	}
	return d.Help
}

// isRange reports whether p has an extent.
func (p Pos) isRange() bool {
	return p.EndLine > p.Line || p.EndLine == p.Line && p.EndColumn > p.Column
}

func (p *printer) place(pos Pos, message string) {
	p.print("  ", p.paint(styleGutter, "-->"))
	if !pos.IsZero() {
		p.print(" ", visible(pos.String()))
		if message != "" {
			p.print(":")
		}
	}
	if message != "" {
		p.print(" ", visible(message))
	}
	p.print("\n")
}

// snippet writes the first line of the range with carets under it. A range
// that goes on below is marked to the end of that line.
func (p *printer) snippet(pos Pos, label, style string) {
	line, hidden, ok := p.line(pos)
	if !ok {
		return
	}
	from := pos.Column - 1
	to := pos.EndColumn - 1
	if pos.EndLine > pos.Line {
		to = len(bytes.TrimRight(line, " \t"))
	}
	text, pad, carets := excerpt(line, hidden, from, to)
	blank := strings.Repeat(" ", p.gutter) + " |"
	p.print(p.paint(styleGutter, blank), "\n")
	p.print(p.paint(styleGutter, fmt.Sprintf("%*d |", p.gutter, pos.Line)), text, "\n")
	p.print(p.paint(styleGutter, blank), strings.Repeat(" ", pad))
	mark := strings.Repeat("^", carets)
	if label != "" {
		mark += " " + visible(label)
	}
	p.print(p.paint(style, mark), "\n")
}

// line returns the source line of pos without its end, and what of it must not
// be shown.
func (p *printer) line(pos Pos) (line []byte, hidden [][2]int, ok bool) {
	f := p.file(pos.File)
	if pos.Line < 1 || pos.Line > len(f.lines) || pos.Column < 1 {
		return nil, nil, false
	}
	line = bytes.TrimSuffix(f.lines[pos.Line-1], []byte("\r"))
	start, h := f.at[pos.Line-1], f.hider
	if at := start + pos.Column - 1; pos == p.secret && at < len(h.text) {
		h = &hider{text: h.text, at: at, hidden: slices.Clone(h.hidden)}
		if t := h.next(); t.kind == tokenString {
			h.hide(t.from, t.to)
		}
		h.sort()
	}
	return line, h.in(start, start+len(line)), true
}

// file returns a source as it is shown, one without lines if it is not known.
func (p *printer) file(name string) *shown {
	f := p.files[name]
	if f != nil {
		return f
	}
	f = &shown{}
	if text, known := p.sources[name]; known {
		f.hider, f.lines = hide(text), bytes.Split(text, []byte("\n"))
		at := 0
		for _, line := range f.lines {
			f.at = append(f.at, at)
			at += len(line) + 1
		}
	}
	p.files[name] = f
	return f
}
