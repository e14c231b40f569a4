package compiler

import (
	"strings"

	"cuelang.org/go/cue/ast"
)

// badPaths are the places with schema faults. A rule that needs what is there
// says nothing: one fault, one finding.
type badPaths struct {
	at    map[string]bool // the places
	under map[string]bool // and all that lie above one
}

func pathKey(path []string) string { return strings.Join(path, "\x00") }

func (b *badPaths) add(path []string) {
	if b.at == nil {
		b.at, b.under = map[string]bool{}, map[string]bool{}
	}
	b.at[pathKey(path)] = true
	for n := 1; n < len(path); n++ {
		b.under[pathKey(path[:n])] = true
	}
}

// touches reports whether a fault is at the path, above it or below it.
func (b badPaths) touches(path ...string) bool {
	return b.under[pathKey(path)] || b.above(path...)
}

// above reports whether a fault is at the path or above it.
func (b badPaths) above(path ...string) bool {
	for n := 1; n <= len(path); n++ {
		if b.at[pathKey(path[:n])] {
			return true
		}
	}
	return false
}

// shortLiteral is the source text of a short scalar, else "".
func shortLiteral(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if len(e.Value) <= 60 && !strings.Contains(e.Value, "\n") {
			return e.Value
		}
	case *ast.UnaryExpr:
		if x := shortLiteral(e.X); x != "" {
			return e.Op.String() + x
		}
	}
	return ""
}
