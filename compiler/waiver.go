package compiler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"

	"clink/compiler/cuetext"
	"clink/diagnostic"
)

const ruleWaiver = "waiver-expired"

// A waiver says that findings of a rule in a part of the source are known and
// accepted: @clink(ignore="rule",reason="...",until="2027-01-01") on a field,
// or inside of a struct for all of it.
type waiver struct {
	pos    diagnostic.Pos // of the attribute
	over   diagnostic.Pos // what it holds for
	rules  []string
	reason string
	until  time.Time // the first moment at which it holds no more; zero: for ever
	used   map[string]bool
}

// waive parts the findings that waivers accept from the others. A waived rule
// does not gate either. It tells waivers that are past their date or accept
// nothing.
func (c *compilation) waive(all diagnostic.List, now time.Time, own map[string]bool) (l, waived diagnostic.List) {
	var waivers []*waiver
	for _, f := range c.files {
		w := waiverReader{c: c, own: own}
		w.decls(f.Decls, diagnostic.Pos{File: f.Filename, Line: 1, Column: 1, EndLine: 1 << 30})
		waivers = append(waivers, w.found...)
		all = append(all, w.faults...)
	}
	if len(waivers) == 0 {
		return all, nil
	}
	by := map[ruleIn][]*waiver{}
	for _, w := range waivers {
		for _, rule := range w.rules {
			by[ruleIn{rule, w.over.File}] = append(by[ruleIn{rule, w.over.File}], w)
		}
	}
	for _, d := range all {
		for _, pos := range c.concerns(d) {
			for _, w := range by[ruleIn{d.Rule, pos.File}] {
				if !within(w.over, pos) {
					continue
				}
				w.used[d.Rule] = true
				if d.Waiver == "" && !w.expired(now) {
					d.Waiver = w.reason
				}
			}
		}
		if d.Waiver != "" {
			waived = append(waived, d)
		} else {
			l = append(l, d)
		}
	}
	for _, w := range waivers {
		l = append(l, w.findings(now)...)
	}
	return l, waived
}

func (w *waiver) expired(now time.Time) bool {
	return !w.until.IsZero() && !now.IsZero() && !now.Before(w.until)
}

// A ruleIn is a rule in a file.
type ruleIn struct{ rule, file string }

// concerns are the places that a waiver of a finding may lie around: its own,
// and those of the links that it speaks of.
func (c *compilation) concerns(d diagnostic.Diagnostic) []diagnostic.Pos {
	all := []diagnostic.Pos{d.Pos}
	for _, s := range slices.Concat(d.Holds, d.Links) {
		if s.Peer != "" {
			all = append(all, c.index.labelPos(linkPath(s.Site, s.Peer)...))
		}
	}
	return all
}

func within(over, p diagnostic.Pos) bool {
	start := diagnostic.Pos{File: over.File, Line: over.Line, Column: over.Column}
	end := diagnostic.Pos{File: over.File, Line: over.EndLine, Column: over.EndColumn}
	return p.File == over.File && p.Line > 0 && start.Compare(p) <= 0 && p.Compare(end) < 0
}

func (w *waiver) findings(now time.Time) diagnostic.List {
	var l diagnostic.List
	for _, rule := range w.rules {
		d := diagnostic.Diagnostic{Rule: ruleWaiver, Severity: diagnostic.Warning, Pos: w.pos, Label: "this waiver"}
		switch {
		case w.expired(now):
			d.Message = fmt.Sprintf("the waiver of %s was good until %s", rule, w.until.AddDate(0, 0, -1).Format(time.DateOnly))
			d.Help = "mend what it was for, or give it a new date"
		case !w.used[rule]:
			d.Message = fmt.Sprintf("the waiver of %s waives nothing here", rule)
			d.Help = "take it away"
		default:
			continue
		}
		l = append(l, d)
	}
	return l
}

// A waiverReader goes through the declarations of a file.
type waiverReader struct {
	c      *compilation
	own    map[string]bool // the team's own rules
	found  []*waiver
	faults diagnostic.List
}

// decls reads the waivers among the declarations of a struct that lies over a
// part of the source.
func (r *waiverReader) decls(decls []ast.Decl, over diagnostic.Pos) {
	for _, d := range decls {
		switch d := d.(type) {
		case *ast.Attribute:
			r.attribute(d, over)
		case *ast.Field:
			part := cuetext.NodePos(d.Label)
			if d.Value != nil {
				end := cuetext.NodePos(d.Value)
				part.EndLine, part.EndColumn = end.EndLine, end.EndColumn
			}
			for _, a := range d.Attrs {
				r.attribute(a, part)
			}
			r.expr(d.Value, part)
		case *ast.EmbedDecl:
			r.expr(d.Expr, over)
		case *ast.Comprehension:
			r.expr(d.Value, over)
		}
	}
}

func (r *waiverReader) expr(e ast.Expr, over diagnostic.Pos) {
	switch e := e.(type) {
	case *ast.StructLit:
		r.decls(e.Elts, over)
	case *ast.ParenExpr:
		r.expr(e.X, over)
	case *ast.BinaryExpr:
		r.expr(e.X, over)
		r.expr(e.Y, over)
	}
}

func (r *waiverReader) attribute(a *ast.Attribute, over diagnostic.Pos) {
	key, body := a.Split()
	if key != "clink" {
		return
	}
	w := &waiver{pos: cuetext.NodePos(a), over: over, used: map[string]bool{}}
	if err := r.read(w, body); err != nil {
		d := schemaFinding(w.pos, "@clink: "+err.Error())
		d.Label = "this waiver"
		d.Help = `write @clink(ignore="rule",reason="why",until="2027-01-01")`
		r.faults = append(r.faults, d)
		return
	}
	r.found = append(r.found, w)
}

func (r *waiverReader) read(w *waiver, body string) error {
	args, err := attributeArgs(body)
	if err != nil {
		return err
	}
	for _, a := range args {
		switch a[0] {
		case "ignore":
			for rule := range strings.SplitSeq(a[1], ",") {
				w.rules = append(w.rules, strings.TrimSpace(rule))
			}
		case "reason":
			w.reason = strings.TrimSpace(a[1])
		case "until":
			day, err := time.Parse(time.DateOnly, a[1])
			if err != nil {
				return fmt.Errorf("until is a day such as 2027-01-01, not %s", quoted(a[1]))
			}
			w.until = day.AddDate(0, 0, 1)
		default:
			return fmt.Errorf("unknown key %s; there are ignore, reason and until", quoted(a[0]))
		}
	}
	switch {
	case len(w.rules) == 0:
		return fmt.Errorf("it names no rule to ignore")
	case w.reason == "":
		return fmt.Errorf("it gives no reason")
	}
	for _, rule := range w.rules {
		if rule == ruleSchema {
			return fmt.Errorf("schema cannot be ignored: what it finds has no meaning")
		}
		if _, ok := diagnostic.FindRule(rule); !ok && !r.own[rule] {
			return fmt.Errorf("no rule is called %s%s", quoted(rule), meant(rule, r.own))
		}
	}
	return nil
}

// meant is the rule that was probably meant, as the end of a sentence.
func meant(rule string, own map[string]bool) string {
	var names []string
	for _, r := range diagnostic.Rules() {
		names = append(names, r.Name)
	}
	for name := range own {
		names = append(names, name)
	}
	slices.Sort(names)
	if near := suggest(rule, names); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// attributeArgs splits the body of an attribute into names and values.
func attributeArgs(body string) ([][2]string, error) {
	var args [][2]string
	for rest := strings.TrimSpace(body); rest != ""; {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, fmt.Errorf("%s has no value", quoted(strings.TrimSpace(rest)))
		}
		after = strings.TrimSpace(after)
		end := strings.IndexByte(after, ',')
		if strings.HasPrefix(after, `"`) {
			end = stringEnd(after)
			if end < 0 {
				return nil, fmt.Errorf("the value of %s does not end", quoted(strings.TrimSpace(name)))
			}
		} else if end < 0 {
			end = len(after)
		}
		value := strings.TrimSpace(after[:end])
		if text, err := literal.Unquote(value); err == nil {
			value = text
		}
		args = append(args, [2]string{strings.TrimSpace(name), value})
		rest = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(after[end:]), ","))
	}
	return args, nil
}

// stringEnd is the offset behind the string literal that a text begins with, -1
// if it does not end.
func stringEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}
