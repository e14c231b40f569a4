package splice

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"clink/compiler"
	"clink/compiler/cuetext"
	"clink/diagnostic"
	"clink/internal/secret"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"
)

// credential is the name of a field that holds one, misspelt or hidden ones too.
var credential = regexp.MustCompile(`(?i)pass?wo?r?d|passwd|passphrase|secret$`)

// isCredential reports whether a field is called as those that hold one are; a
// rule's name in the policy may end so too.
func isCredential(label string) bool {
	_, rule := diagnostic.FindRule(label)
	return !rule && credential.MatchString(label)
}

// Mask returns a file's text, fit to be shown: six asterisks stand in place of
// every value of a field that is called as credentials are, unless it is a
// reference to one, and of every literal and comment that holds one of the
// known credentials. Lines stay where they are.
func Mask(name string, text []byte, known []string) []byte {
	tree, err := compiler.Parse(name, text)
	if err != nil {
		return []byte(secret.Redacted + "\n") // where credentials are in it cannot be told
	}
	m := &masker{text: text, known: slices.DeleteFunc(slices.Clone(known), func(s string) bool { return s == "" })}
	ast.Walk(tree, m.node, nil)
	for _, g := range comments(tree) {
		m.comment(g)
	}
	return m.shown()
}

// shown is the text with everything hidden that is to be.
func (m *masker) shown() []byte {
	slices.SortFunc(m.edits, func(a, b cuetext.Edit) int { return a.From - b.From })
	var out []byte
	at := 0
	for _, e := range m.edits {
		out = append(append(out, m.text[at:e.From]...), e.Text...)
		at = e.To
	}
	return append(out, m.text[at:]...)
}

type masker struct {
	text  []byte
	known []string
	edits []cuetext.Edit
}

// node looks at a node and reports whether to look at those in it.
func (m *masker) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.Field:
		if label, ok := cuetext.LabelName(n.Label); ok && isCredential(label) {
			return m.value(n.Value)
		}
	case *ast.LetClause:
		if isCredential(n.Ident.Name) {
			return m.value(n.Expr)
		}
	case *ast.Interpolation:
		from, to := n.Pos().Offset(), n.End().Offset()
		if m.holds(string(m.text[from:to])) {
			m.hide(n)
			return false
		}
	case *ast.BasicLit:
		if s, err := literal.Unquote(n.Value); err == nil && m.holds(s) || m.holds(n.Value) {
			m.hide(n)
		}
	}
	return true
}

// value hides what a credential's value is made of, but for references.
func (m *masker) value(v ast.Expr) bool {
	ast.Walk(v, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Interpolation:
			m.hide(n)
			return false
		case *ast.Field: // a struct that is called so, such as a table of policies
			return m.node(n)
		case *ast.BasicLit:
			s, err := literal.Unquote(n.Value)
			if ref, refErr := secret.Parse(s); err == nil && refErr == nil && !ref.IsLiteral() || n.Kind == token.NULL {
				return false
			}
			m.hide(n)
		}
		return true
	}, nil)
	return false
}

// short is the length of a credential that may well stand in a text by chance.
const short = 4

// holds reports whether a text is one of the credentials, or has one in it.
func (m *masker) holds(s string) bool {
	return slices.ContainsFunc(m.known, func(k string) bool { return s == k || len(k) > short && strings.Contains(s, k) })
}

func (m *masker) hide(n ast.Node) {
	m.put(n.Pos().Offset(), n.End().Offset(), `"`+secret.Redacted+`"`)
}

// put replaces a part of the text, newlines aside.
func (m *masker) put(from, to int, with string) {
	with += strings.Repeat("\n", bytes.Count(m.text[from:to], []byte("\n")))
	m.edits = append(m.edits, cuetext.Edit{From: from, To: to, Text: with})
}

// told is a credential in a comment: a field that was taken out of use.
var told = regexp.MustCompile(`(?i)(?:password|password_hash|passwd|secret)["']?\s*[:=]\s*\S`)

func (m *masker) comment(c *ast.Comment) {
	if m.holds(c.Text) || told.MatchString(c.Text) {
		from := c.Pos().Offset()
		m.put(from, from+len(c.Text), "// "+secret.Redacted)
	}
}

// comments are all of a file's.
func comments(tree *ast.File) (all []*ast.Comment) {
	seen := map[*ast.Comment]bool{}
	ast.Walk(tree, func(n ast.Node) bool {
		for _, g := range ast.Comments(n) {
			for _, c := range g.List {
				if !seen[c] {
					seen[c], all = true, append(all, c)
				}
			}
		}
		return true
	}, nil)
	return all
}
