package cuetext_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"clink/compiler/cuetext"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"
	"pgregory.net/rapid"
)

// body parses a text that is one struct or list, and returns the names of its
// elements in order.
func body(t *rapid.T, text string) (cuetext.Body, []string) {
	e, err := parser.ParseExpr("x.cue", text, parser.ParseComments)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var names []string
	add := func(l ast.Label) {
		if name, ok := cuetext.LabelName(l); ok {
			names = append(names, name)
		}
	}
	switch e := e.(type) {
	case *ast.StructLit:
		for _, d := range e.Elts {
			if f, ok := d.(*ast.Field); ok {
				add(f.Label)
			}
		}
	case *ast.ListLit:
		for _, x := range e.Elts {
			add(x.(*ast.BasicLit))
		}
	}
	b, ok := cuetext.In([]byte(text), e)
	if !ok {
		t.Fatalf("no body in\n%s", text)
	}
	return b, names
}

// written draws a struct or a list with elements in any layout. Each comment
// says which element it belongs to, or that it is free.
func written(t *rapid.T, list bool) (text string, names []string) {
	n := rapid.IntRange(0, 4).Draw(t, "elements")
	nl := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "newline")
	lines := rapid.Bool().Draw(t, "lines")
	space := rapid.SampledFrom([]string{"", " ", "\t", "    "})
	var b strings.Builder
	gap := func(own string) {
		switch k := rapid.IntRange(0, 4).Draw(t, "gap"); {
		case !lines || k == 0:
			b.WriteString(space.Draw(t, "space"))
		case k == 1:
			b.WriteString(nl + nl + "\t// free" + nl + nl + "\t")
		case k == 2 && own != "":
			b.WriteString(nl + "\t// of " + own + nl + "\t")
		default:
			b.WriteString(nl + space.Draw(t, "indent"))
		}
	}
	for i := range n {
		name := fmt.Sprintf("e%d", i)
		names = append(names, name)
		gap(name)
		value := rapid.SampledFrom([]string{"1", "{a: 1}", "{\n\t\ta: 1\n\t}", "[\"x\"]"}).Draw(t, "value")
		if list {
			b.WriteString(`"` + name + `"`)
		} else if b.WriteString(name + ": "); lines {
			b.WriteString(value)
		} else {
			b.WriteString("1")
		}
		comma := i < n-1 || rapid.Bool().Draw(t, "comma")
		if comma {
			b.WriteString(",")
		}
		if lines && rapid.IntRange(0, 2).Draw(t, "behind") == 0 {
			b.WriteString(" // of " + name + nl)
		} else if lines && !comma && i < n-1 {
			b.WriteString(nl)
		}
	}
	gap("")
	if list {
		return "[" + b.String() + "]", names
	}
	return "{" + b.String() + "}", names
}

func TestInsertAndRemove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.Bool().Draw(t, "list")
		text, names := written(t, list)
		b, got := body(t, text)
		if !slices.Equal(got, names) {
			t.Fatalf("the test wrote %v and CUE reads %v in\n%s", names, got, text)
		}
		i := rapid.IntRange(0, len(names)).Draw(t, "index")
		line := "new: 2"
		if list {
			line = `"new"`
		}
		more := string(cuetext.Apply([]byte(text), b.Insert(i, line, line)))
		if _, got := body(t, more); !slices.Equal(got, slices.Insert(slices.Clone(names), i, "new")) {
			t.Fatalf("insert at %d of\n%s\ngave %v:\n%s", i, text, got, more)
		}
		if strings.Count(more, "//") != strings.Count(text, "//") {
			t.Fatalf("insert at %d of\n%s\nlost a comment:\n%s", i, text, more)
		}
		if i == len(names) {
			return
		}
		more = string(cuetext.Apply([]byte(text), b.After(i, line, line)))
		if _, got := body(t, more); !slices.Equal(got, slices.Insert(slices.Clone(names), i+1, "new")) {
			t.Fatalf("insert after %d of\n%s\ngave %v:\n%s", i, text, got, more)
		}
		less := string(cuetext.Apply([]byte(text), b.Remove(i)))
		if _, got := body(t, less); !slices.Equal(got, slices.Delete(slices.Clone(names), i, i+1)) {
			t.Fatalf("remove %d of\n%s\ngave %v:\n%s", i, text, got, less)
		}
		for _, other := range append(slices.Delete(slices.Clone(names), i, i+1), "free") {
			if strings.Count(less, other) != strings.Count(text, other) {
				t.Fatalf("remove %d of\n%s\nlost something of %s:\n%s", i, text, other, less)
			}
		}
		// What follows on its line may be meant too; behind the last, nothing is.
		if i == len(names)-1 && strings.Contains(less, "// of "+names[i]) {
			t.Fatalf("remove %d of\n%s\nleft its comment:\n%s", i, text, less)
		}
	})
}

func TestNumber(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "15": "15", "15.0": "15", "1.5": "1.5", "1e3": "1000", "1E+2": "100", "15e-1": "15e-1", "150e-1": "15",
		"1e999": "", "1e-999": "", "01": "", "x": "", "": "", "1_000": "", "0x10": "", strings.Repeat("9", 100): "",
	} {
		if got, ok := cuetext.Number(json.Number(in)); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", in, got, ok)
		}
	}
}

// A name that would mean something else without quotation marks has them.
func TestLabel(t *testing.T) {
	for name, want := range map[string]string{
		"server": "server", "a_1": "a_1", "_x": `"_x"`, "#x": `"#x"`, "for": `"for"`, "true": `"true"`, "emqx-eu": `"emqx-eu"`, "": `""`, "1": `"1"`, "é": `"é"`,
	} {
		if got := cuetext.Label(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
		f, err := parser.ParseFile("x.cue", cuetext.Label(name)+": 1")
		if err != nil || len(f.Decls) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
