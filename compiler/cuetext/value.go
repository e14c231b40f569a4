package cuetext

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"
)

// LabelName is the name that a label writes out, if it does.
func LabelName(l ast.Label) (string, bool) {
	if a, ok := l.(*ast.Alias); ok {
		if l, ok = a.Expr.(ast.Label); !ok {
			return "", false
		}
	}
	switch l := l.(type) {
	case *ast.Ident:
		return l.Name, true
	case *ast.BasicLit:
		if l.Kind == token.STRING {
			s, err := literal.Unquote(l.Value)
			return s, err == nil
		}
	}
	return "", false
}

// Quote is a text as a CUE string in one line. Nothing in it is evaluated.
func Quote(s string) string { return literal.String.Quote(s) }

// bare is a name that may stand as a label without quotation marks. Names with
// a leading _ or # mean something else there.
var bare = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)

// Label is a name as the label of an ordinary field.
func Label(name string) string {
	switch name {
	case "true", "false", "null", "for", "in", "if", "let", "import", "package", "else", "try", "fallback", "func", "otherwise":
		return Quote(name)
	}
	if bare.MatchString(name) {
		return name
	}
	return Quote(name)
}

// number is JSON's form of one, of a size that can be evaluated.
var number = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?$`)

// Number is a JSON number in the one form in which it is written: a whole number
// in digits, whatever fraction of zeros or exponent it came with. ok is false
// for one that is none, or too long.
func Number(v json.Number) (text string, ok bool) {
	if !number.MatchString(v.String()) {
		return "", false
	}
	r, ok := new(big.Rat).SetString(v.String())
	if !ok || !r.IsInt() {
		return v.String(), ok
	}
	return r.Num().String(), true
}

// An Order compares the names of fields of the struct with a name.
type Order func(in, a, b string) int

// Value is a JSON value, that of the field with a name, as a CUE literal in one
// line. The fields of structs stand in order; nil: in order of name.
func Value(in string, v any, order Order) (string, error) {
	switch v := v.(type) {
	case nil:
		return "null", nil
	case bool:
		return fmt.Sprint(v), nil
	case string:
		if !utf8.ValidString(v) {
			return "", fmt.Errorf("a text is not UTF-8")
		}
		return Quote(v), nil
	case json.Number:
		n, ok := Number(v)
		if !ok {
			return "", fmt.Errorf("%.40q is no number that can be written", v.String())
		}
		return n, nil
	case int:
		return fmt.Sprint(v), nil
	case []any:
		var l []string
		for _, x := range v {
			s, err := Value(in, x, order)
			if err != nil {
				return "", err
			}
			l = append(l, s)
		}
		return "[" + strings.Join(l, ", ") + "]", nil
	case map[string]any:
		l, err := Fields(in, v, order)
		return "{" + strings.Join(l, ", ") + "}", err
	}
	return "", fmt.Errorf("%T is no JSON value", v)
}

// Fields are the fields of a struct, that of the field with a name, as CUE text,
// each in one line.
func Fields(in string, o map[string]any, order Order) ([]string, error) {
	names := slices.Sorted(maps.Keys(o))
	if order != nil {
		slices.SortStableFunc(names, func(a, b string) int { return order(in, a, b) })
	}
	l := make([]string, 0, len(names))
	for _, name := range names {
		s, err := Value(name, o[name], order)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("a name is not UTF-8")
		}
		l = append(l, Label(name)+": "+s)
	}
	return l, nil
}
