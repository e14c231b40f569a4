package splice

import (
	"fmt"
	"slices"
	"strings"

	"clink/compiler/cuetext"

	"cuelang.org/go/cue/ast"
)

// maxDrops bounds how much is taken out of one link by override.
const maxDrops = 100

// run does what is to be done. Each step looks the places up anew.
func (h *half) run(want, given, def map[string]any) error {
	if err := h.drop(want, given, def); err != nil {
		return err
	}
	if err := h.values(); err != nil {
		return err
	}
	for _, o := range h.ops {
		var err error
		switch o.action {
		case insert:
			err = h.insert(o.path, o.value)
		case remove:
			err = h.remove(o.path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// drop takes out what gives fields without their being written in the link; all
// that it gave is then to be written there.
func (h *half) drop(want, given, def map[string]any) error {
	dropped := false
	if c := h.find().chains; !hasStruct(c) {
		value := c[0].last().Value
		if !h.Override {
			return h.conflict(value, nil, kind(unparen(value))+" stands for the whole link: change what it stands for, or write with override, which puts the values in its place")
		}
		dropped = true
		if err := c[0].file.apply(cuetext.Edit{From: value.Pos().Offset(), To: value.End().Offset(), Text: "{}"}); err != nil {
			return err
		}
	}
	for range maxDrops {
		i := slices.IndexFunc(h.ops, func(o op) bool { return o.action == drop })
		if i < 0 {
			break
		}
		dropped = true
		x, a := h.giver(h.ops[i].path, h.find(h.ops[i].path...))
		if a == no {
			h.ops = slices.Delete(h.ops, i, i+1)
			continue
		}
		if err := x.file.apply(x.dropping()); err != nil {
			return err
		}
	}
	if !dropped {
		return nil
	}
	ops, err := h.compare(nil, want, h.written(given), def)
	h.ops = ops
	return err
}

// hasStruct reports whether any of the chains ends in a struct.
func hasStruct(chains []chain) bool {
	return slices.ContainsFunc(chains, func(c chain) bool { return len(structs(c.last().Value)) > 0 })
}

// written are those of the given fields that the link still gives.
func (h *half) written(given map[string]any, above ...string) map[string]any {
	m := map[string]any{}
	for name, v := range given {
		path := append(slices.Clone(above), name)
		at := h.find(path...)
		if sub, ok := v.(map[string]any); ok && at.holdsFields() {
			if sub = h.written(sub, path...); len(sub) > 0 {
				m[name] = sub
			}
		} else if _, a := h.giver(path, at); len(at.chains) > 0 || a == yes {
			m[name] = v
		}
	}
	return m
}

// dropping takes out what is no field of its own.
func (x wild) dropping() cuetext.Edit {
	switch {
	case x.parent != nil && x.node.Pos() == x.parent.X.Pos():
		return cuetext.Edit{From: x.parent.X.Pos().Offset(), To: x.parent.Y.Pos().Offset()}
	case x.parent != nil:
		return cuetext.Edit{From: x.parent.X.End().Offset(), To: x.parent.Y.End().Offset()}
	case x.elem != nil && x.in != nil:
		if b, ok := cuetext.In(x.file.text, x.in); ok {
			return b.Remove(b.At(x.elem.Pos().Offset()))
		}
	}
	return cuetext.Edit{From: x.node.Pos().Offset(), To: x.node.End().Offset(), Text: "{}"}
}

// values replaces values in their places, all at once: no place of another is
// lost by it.
func (h *half) values() error {
	edits := map[*file][]cuetext.Edit{}
	for _, o := range h.ops {
		if o.action != replace && o.action != replaceAt {
			continue
		}
		c := h.find(o.path...).chains[0]
		value := c.last().Value
		from, to := value.Pos().Offset(), value.End().Offset()
		text, err := cuetext.Value(o.path[len(o.path)-1], o.value, fieldOrder)
		if list, ok := unparen(value).(*ast.ListLit); ok && o.action == replaceAt {
			from, to = list.Pos().Offset(), list.End().Offset()
			text, err = editList(string(c.file.text[from:to]), o.was, o.value.([]any))
		}
		if err != nil {
			return h.invalid(o.path, err)
		}
		edits[c.file] = append(edits[c.file], cuetext.Edit{From: from, To: to, Text: text})
	}
	for f, l := range edits {
		if err := f.apply(l...); err != nil {
			return err
		}
	}
	return nil
}

func (h *half) invalid(path []string, err error) error {
	return fmt.Errorf("write %s of the link of %s to %s: %w", strings.Join(path, "."), h.Site, h.Peer, err)
}

// insert writes a field that is not written yet: into the nearest braces around
// it, else as a statement of its own beside the one that holds the link.
func (h *half) insert(path []string, v any) error {
	text, err := cuetext.Value(path[len(path)-1], v, fieldOrder)
	if err != nil {
		return h.invalid(path, err)
	}
	for n := len(path) - 1; n >= 0; n-- {
		for _, c := range h.find(path[:n]...).chains {
			s := braces(c.last().Value)
			if s == nil {
				continue
			}
			line := labels(path[n:]) + text
			b, _ := cuetext.In(c.file.text, s)
			return c.file.apply(b.Insert(b.Successor(s.Elts, path[n], within(path[:n])), line, line))
		}
	}
	c := h.find().chains[0]
	t := c.statement(len(c.steps) - 1)
	line := c.upTo(t, c.last().Value) + labels(path) + text
	b := c.body(t)
	return c.file.apply(b.After(b.At(c.steps[t].field.Pos().Offset()), line, line))
}

func labels(path []string) string {
	var b strings.Builder
	for _, name := range path {
		b.WriteString(cuetext.Label(name) + ": ")
	}
	return b.String()
}

// statement returns the index of the outermost field of the chain that holds
// the one at i without braces in between.
func (c chain) statement(i int) int {
	for i > 0 && c.steps[i].in != nil && !c.steps[i].in.Lbrace.IsValid() {
		i--
	}
	return i
}

// body is what the field at i stands in, which has braces or is the file.
func (c chain) body(i int) cuetext.Body {
	if in := c.steps[i].in; in != nil {
		b, _ := cuetext.In(c.file.text, in)
		return b
	}
	b, _ := cuetext.In(c.file.text, c.file.tree)
	return b
}

// upTo is the text of a statement's labels from the one at i to a node behind
// them, as it is written.
func (c chain) upTo(i int, n ast.Node) string {
	text := string(c.file.text[c.steps[i].field.Pos().Offset():n.Pos().Offset()])
	if !strings.ContainsAny(text, "\n~=") && !strings.Contains(text, "//") {
		return text
	}
	var b strings.Builder
	for _, s := range c.steps[i:] {
		if s.field.Pos().Offset() >= n.Pos().Offset() {
			break
		}
		name, _ := cuetext.LabelName(s.field.Label)
		b.WriteString(cuetext.Label(name) + ": ")
	}
	return b.String()
}

// remove takes out a field of the link.
func (h *half) remove(path []string) error {
	for {
		chains := h.find(path...).chains
		if len(chains) == 0 {
			return nil
		}
		floor := atLink + 1
		if len(h.find().chains) > 1 {
			floor = h.floor(chains[0])
		}
		if err := chains[0].takeOut(floor); err != nil {
			return err
		}
	}
}

// delete takes out the link wherever it is written.
func (h *half) delete() error {
	for {
		chains := h.find().chains
		if len(chains) == 0 {
			return nil
		}
		if err := chains[0].takeOut(h.floor(chains[0])); err != nil {
			return err
		}
	}
}

// floor is the index of the outermost field of a chain that may be taken out:
// the site must stay.
func (h *half) floor(c chain) int {
	if len(find(h.files, "sites", h.Site).chains) > 1 {
		return 0
	}
	return atSite + 1
}

// takeOut removes the chain's last field, and those around it that hold nothing
// else, down to the one at floor.
func (c chain) takeOut(floor int) error {
	i := len(c.steps) - 1
	for i > floor && c.only(i) {
		i--
	}
	in, f := c.steps[i].in, c.steps[i].field
	if in != nil && !in.Lbrace.IsValid() {
		return c.file.apply(cuetext.Edit{From: in.Pos().Offset(), To: in.End().Offset(), Text: "{}"})
	}
	b := c.body(i)
	return c.file.apply(b.Remove(b.At(f.Pos().Offset())))
}

// only reports whether the field around the one at i holds nothing else.
func (c chain) only(i int) bool {
	in, around := c.steps[i].in, c.steps[i-1].field
	if in == nil || around.Value != ast.Expr(in) || len(around.Attrs) > 0 {
		return false
	}
	if !in.Lbrace.IsValid() {
		return len(in.Elts) == 1
	}
	b := c.body(i)
	return b.Only(b.At(c.steps[i].field.Pos().Offset()))
}
