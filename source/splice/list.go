package splice

import (
	"bytes"
	"fmt"
	"strings"

	"clink/compiler/cuetext"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"
)

// A change replaces the elements from one index to another by others.
type change struct {
	from, to int
	by       []any
}

// maxTable bounds the work of comparing two lists element by element.
const maxTable = 4 << 20

// script returns the fewest changes that make b of a, in order.
func script(a, b []any) []change {
	from, to, end := 0, len(a), len(b)
	for from < to && from < end && equal(a[from], b[from]) {
		from++
	}
	for to > from && end > from && equal(a[to-1], b[end-1]) {
		to, end = to-1, end-1
	}
	if from == to && from == end {
		return nil
	}
	x, y := a[from:to], b[from:end]
	if len(x)*len(y) > maxTable || len(x) == 0 || len(y) == 0 {
		return []change{{from, to, y}}
	}
	kept := common(x, y)
	var l []change
	i, j := 0, 0
	for _, k := range append(kept, [2]int{len(x), len(y)}) {
		if k[0] > i || k[1] > j {
			l = append(l, change{from + i, from + k[0], y[j:k[1]]})
		}
		i, j = k[0]+1, k[1]+1
	}
	return l
}

// common returns the indices of a longest common subsequence.
func common(x, y []any) [][2]int {
	w := len(y) + 1
	table := make([]int32, (len(x)+1)*w)
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if equal(x[i], y[j]) {
				table[i*w+j] = table[(i+1)*w+j+1] + 1
			} else {
				table[i*w+j] = max(table[(i+1)*w+j], table[i*w+j+1])
			}
		}
	}
	var l [][2]int
	for i, j := 0, 0; i < len(x) && j < len(y); {
		switch {
		case equal(x[i], y[j]):
			l = append(l, [2]int{i, j})
			i, j = i+1, j+1
		case table[(i+1)*w+j] >= table[i*w+j+1]:
			i++
		default:
			j++
		}
	}
	return l
}

// maxSteps bounds how many elements of a list are added and taken out one by
// one; beyond it, the list is written anew.
const maxSteps = 300

// editList changes the text of a list, element by element, so that what stands
// beside the others stays.
func editList(text string, has, want []any) (string, error) {
	changes := script(has, want)
	steps := 0
	for _, c := range changes {
		steps += max(c.to-c.from, len(c.by))
	}
	if steps > maxSteps {
		return cuetext.Value("", want, nil)
	}
	b := []byte(text)
	for i := len(changes) - 1; i >= 0; i-- {
		var err error
		if b, err = changes[i].apply(b); err != nil {
			return "", err
		}
	}
	return string(b), nil
}

// apply makes the change of a list's text.
func (c change) apply(text []byte) ([]byte, error) {
	values := make([]string, len(c.by))
	for i, v := range c.by {
		var err error
		if values[i], err = cuetext.Value("", v, nil); err != nil {
			return nil, err
		}
	}
	for i := c.to - 1; i >= c.from+len(values); i-- {
		list, err := parseList(text)
		if err != nil {
			return nil, err
		}
		b, _ := cuetext.In(text, list)
		text = cuetext.Apply(text, b.Remove(i))
	}
	for i, v := range values {
		list, err := parseList(text)
		if err != nil {
			return nil, err
		}
		at := c.from + i
		if at < c.to {
			el := list.Elts[at]
			text = cuetext.Apply(text, cuetext.Edit{From: el.Pos().Offset(), To: el.End().Offset(), Text: v})
			continue
		}
		b, _ := cuetext.In(text, list)
		text = cuetext.Apply(text, b.Insert(at, v, v))
	}
	return text, nil
}

// parseList is the syntax tree of a list. A line end would be a comma in front
// of its first element only outside of the brackets.
func parseList(text []byte) (*ast.ListLit, error) {
	e, err := parser.ParseExpr("list", text, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("edit a list: %w", err)
	}
	list, ok := e.(*ast.ListLit)
	if !ok {
		return nil, fmt.Errorf("edit a list: it is not one: %.20s", strings.TrimSpace(string(bytes.ToValidUTF8(text, nil))))
	}
	return list, nil
}
