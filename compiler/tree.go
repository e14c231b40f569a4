package compiler

import (
	"cuelang.org/go/cue"
)

// An object is a struct of the source as plain data: values are string, int64,
// float64, bool, []any and object. What CUE has no value for is absent.
type object map[string]any

// read turns a value into plain data, as far as it has any.
func read(v cue.Value) any {
	kind := v.IncompleteKind()
	if kind == cue.BottomKind {
		// What has a fault inside reads as bottom, and still has its parts.
		if l := readList(v); l != nil {
			return l
		}
		return readStruct(v)
	}
	if v.Kind() == cue.BottomKind {
		d, ok := v.Default()
		if !ok {
			return nil
		}
		v, kind = d, d.Kind()
	}
	return readKind(v, kind)
}

func readKind(v cue.Value, kind cue.Kind) any {
	switch kind {
	case cue.StructKind:
		return readStruct(v)
	case cue.ListKind:
		return readList(v)
	case cue.StringKind:
		if s, err := v.String(); err == nil {
			return s
		}
	case cue.BoolKind:
		if b, err := v.Bool(); err == nil {
			return b
		}
	case cue.IntKind, cue.NumberKind:
		if n, err := v.Int64(); err == nil {
			return n
		}
	}
	return nil
}

func readStruct(v cue.Value) any {
	it, err := v.Fields()
	if err != nil {
		return nil
	}
	o := object{}
	for it.Next() {
		sel := it.Selector()
		if sel.Type() != cue.StringLabel {
			continue
		}
		if x := read(it.Value()); x != nil {
			o[sel.Unquoted()] = x
		}
	}
	return o
}

// readList returns the elements, nil for one that has no value. A list with a
// fault inside is no list to List, and still has its elements.
func readList(v cue.Value) any {
	l := []any{}
	if it, err := v.List(); err == nil {
		for it.Next() {
			l = append(l, read(it.Value()))
		}
		return l
	}
	it, err := v.Fields()
	if err != nil {
		return nil
	}
	for it.Next() {
		if it.Selector().Type() != cue.IndexLabel {
			return nil
		}
		l = append(l, read(it.Value()))
	}
	if len(l) == 0 {
		return nil
	}
	return l
}

// under lays defaults under o: o wins, structs are laid under one another.
func (o object) under(defaults object) object {
	for name, d := range defaults {
		x, ok := o[name]
		if !ok {
			o[name] = clone(d)
			continue
		}
		xo, ok1 := x.(object)
		do, ok2 := d.(object)
		if ok1 && ok2 {
			xo.under(do)
		}
	}
	return o
}

func clone(x any) any {
	switch x := x.(type) {
	case object:
		return object{}.under(x)
	}
	return x
}

func (o object) object(name string) object {
	x, _ := o[name].(object)
	return x
}

func (o object) string(name string) string {
	s, _ := o[name].(string)
	return s
}

func (o object) bool(name string) bool {
	b, _ := o[name].(bool)
	return b
}

func (o object) int(name string) int {
	n, _ := o[name].(int64)
	return int(n)
}

func (o object) list(name string) []any {
	l, _ := o[name].([]any)
	return l
}

// strings returns a list of texts; a single text is a list of one.
func (o object) strings(name string) []string {
	if s, ok := o[name].(string); ok {
		return []string{s}
	}
	var l []string
	for _, x := range o.list(name) {
		if s, ok := x.(string); ok {
			l = append(l, s)
		}
	}
	return l
}

func (o object) boolPtr(name string) *bool {
	if b, ok := o[name].(bool); ok {
		return &b
	}
	return nil
}

func (o object) intPtr(name string) *int {
	if n, ok := o[name].(int64); ok {
		i := int(n)
		return &i
	}
	return nil
}
