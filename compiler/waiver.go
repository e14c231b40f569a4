package compiler

import (
	"bytes"
	"fmt"
	"maps"
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
func (c *compilation) waive(all diagnostic.List, now time.Time, own *team) (l, waived diagnostic.List) {
	var waivers []*waiver
	for _, f := range slices.Concat(c.files, own.files, c.importedWaivers()) {
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
	unsure := c.silencing(all)
	for _, w := range waivers {
		l = append(l, w.findings(now, func(rule string) bool {
			return own.unsure(rule) || len(c.lost) > 0 || slices.ContainsFunc(unsure, func(p diagnostic.Pos) bool { return within(w.over, p) })
		})...)
	}
	return l, waived
}

// importedWaivers are the files of imported packages that may hold waivers: what
// a template gives to links is told in its own lines.
func (c *compilation) importedWaivers() []*ast.File {
	var l []*ast.File
	for _, name := range slices.Sorted(maps.Keys(c.src.imported)) {
		if text := c.src.imported[name]; bytes.Contains(text, []byte("@clink")) {
			if f, _, why := parseFile(name, text); why == "" {
				l = append(l, f)
			}
		}
	}
	return l
}

// silencing are the places about which something may not be told because of
// schema findings: a waiver there waives nothing until these are mended.
func (c *compilation) silencing(all diagnostic.List) []diagnostic.Pos {
	var l []diagnostic.Pos
	for _, d := range all {
		if d.Rule != ruleSchema {
			continue
		}
		l = append(l, c.concerns(d)...)
		for _, s := range d.Holds {
			others := []string{s.Peer}
			if s.Peer == "" {
				others = slices.Collect(c.index.find("sites").written())
			}
			for _, other := range others {
				if path := linkPath(other, s.Site); c.index.find(path...) != nil {
					l = append(l, c.index.labelPos(path...))
				}
			}
		}
	}
	return l
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

// findings tells where the waiver holds no more or, for all that is sure, for
// nothing.
func (w *waiver) findings(now time.Time, unsure func(rule string) bool) diagnostic.List {
	var l diagnostic.List
	for _, rule := range w.rules {
		d := diagnostic.Diagnostic{Rule: ruleWaiver, Severity: diagnostic.Warning, Pos: w.pos, Label: "this waiver"}
		switch {
		case w.expired(now):
			d.Message = fmt.Sprintf("the waiver of %s was good until %s", rule, w.until.AddDate(0, 0, -1).Format(time.DateOnly))
			d.Help = "mend what it was for, or give it a new date"
		case !w.used[rule] && !unsure(rule):
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
	own    *team
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
		case *ast.LetClause:
			r.expr(d.Expr, cuetext.NodePos(d))
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
	case *ast.UnaryExpr:
		r.expr(e.X, over)
	case *ast.Comprehension:
		r.expr(e.Value, over)
	case *ast.ListLit:
		for _, el := range e.Elts {
			r.expr(el, cuetext.NodePos(el))
		}
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
	seen := map[string]bool{}
	for _, a := range args {
		if seen[a[0]] && a[0] != "ignore" {
			return fmt.Errorf("%s stands twice", a[0])
		}
		seen[a[0]] = true
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
		if r.own.unknown(rule) {
			return fmt.Errorf("no rule is called %s%s", quoted(rule), r.own.meant(rule))
		}
	}
	return nil
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
