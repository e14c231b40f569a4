package diagnostic

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// Mask is CUE text with six asterisks in the place of each credential that is
// written out in it: what stands in a string as the value of a field called
// password, password_hash or secret, on however many lines, also in a comment
// and in text that does not parse. References such as file://… are kept, and
// every line stays a line.
func Mask(text []byte) []byte {
	h := hide(text)
	return h.masked()
}

// hide finds what of a text must not be shown.
func hide(text []byte) *hider {
	h := &hider{text: text}
	h.fields()
	// What is not closed swallows what follows: so each line by itself, too.
	at := 0
	for line := range bytes.Lines(text) {
		for _, s := range secrets(bytes.TrimRight(line, "\r\n")) {
			h.hidden = append(h.hidden, [2]int{at + s[0], at + s[1]})
		}
		at += len(line)
	}
	h.sort()
	return h
}

func (h *hider) sort() { slices.SortFunc(h.hidden, func(a, b [2]int) int { return a[0] - b[0] }) }

// in returns what is hidden of a part of the text, as ascending byte offsets
// in that part.
func (h *hider) in(from, to int) [][2]int {
	var l [][2]int
	for _, s := range h.hidden {
		a, b := max(s[0], from)-from, min(s[1], to)-from
		if n := len(l); n > 0 && a < l[n-1][1] {
			l[n-1][1] = max(l[n-1][1], b)
		} else if a < b {
			l = append(l, [2]int{a, b})
		}
	}
	return l
}

// A hider finds credentials in CUE text, by its tokens.
type hider struct {
	text   []byte
	at     int
	nested int      // interpolations that are being read
	hidden [][2]int // byte offsets, from and to
}

// The kinds of a token; any other character is a token of its own.
const (
	tokenEnd     = 0
	tokenName    = 'a'
	tokenString  = '"'
	tokenNewline = '\n'
)

type token struct {
	kind     byte
	from, to int // what a string holds
}

// maxNested bounds how deep strings stand in each other's interpolations.
const maxNested = 50

func (h *hider) next() token {
	for h.at < len(h.text) {
		c := h.text[h.at]
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			h.at++
		case bytes.HasPrefix(h.text[h.at:], []byte("//")):
			h.at += lineLen(h.text[h.at:])
		case c == '"' || c == '\'' || c == '#' && h.isString():
			return h.string()
		case isNamePart(c):
			from := h.at
			for h.at < len(h.text) && isNamePart(h.text[h.at]) {
				h.at++
			}
			return token{tokenName, from, h.at}
		default:
			h.at++
			return token{kind: c}
		}
	}
	return token{kind: tokenEnd}
}

func lineLen(text []byte) int {
	if n := bytes.IndexByte(text, '\n'); n >= 0 {
		return n
	}
	return len(text)
}

func isNamePart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c == '#' || c == '.' || c >= utf8.RuneSelf
}

// isString reports whether the hashes at hand open a string.
func (h *hider) isString() bool {
	rest := bytes.TrimLeft(h.text[h.at:], "#")
	return len(rest) > 0 && (rest[0] == '"' || rest[0] == '\'')
}

// string reads a string. One that is not closed ends with its line, or, if it
// may have several, with the text.
func (h *hider) string() token {
	hashes := len(h.text[h.at:]) - len(bytes.TrimLeft(h.text[h.at:], "#"))
	h.at += hashes
	quote := h.text[h.at : h.at+1]
	triple := bytes.Repeat(quote, 3)
	multi := bytes.HasPrefix(h.text[h.at:], triple)
	if multi {
		quote = triple
	}
	h.at += len(quote)
	marks := bytes.Repeat([]byte("#"), hashes)
	closing, escape := slices.Concat(quote, marks), slices.Concat([]byte(`\`), marks)
	t := token{kind: tokenString, from: h.at}
	for h.at < len(h.text) {
		rest := h.text[h.at:]
		switch {
		case bytes.HasPrefix(rest, closing):
			t.to = h.at
			h.at += len(closing)
			return t
		case !multi && rest[0] == '\n':
			t.to = h.at
			return t
		case bytes.HasPrefix(rest, escape):
			h.at = min(h.at+len(escape), len(h.text))
			h.escaped(multi)
		default:
			h.at++
		}
	}
	t.to = h.at
	return t
}

// escaped reads what follows the sign of an escape: an interpolation to its
// end, of anything else the first character.
func (h *hider) escaped(multi bool) {
	if h.at >= len(h.text) || !multi && h.text[h.at] == '\n' {
		return
	}
	h.at++
	if h.text[h.at-1] != '(' || h.nested >= maxNested {
		return
	}
	h.nested++
	defer func() { h.nested-- }()
	for depth := 1; depth > 0; {
		switch h.next().kind {
		case '(':
			depth++
		case ')':
			depth--
		case tokenNewline:
			if !multi {
				h.at--
				return
			}
		case tokenEnd:
			return
		}
	}
}

// fields goes through the whole text.
func (h *hider) fields() {
	label := ""
	for {
		switch t := h.next(); t.kind {
		case tokenEnd:
			return
		case tokenName, tokenString:
			label = string(h.text[t.from:t.to])
		case '?', '!':
		case ':':
			for isCredential(label) {
				label = h.value()
			}
			label = ""
		default:
			label = ""
		}
	}
}

// isCredential reports whether a field holds a credential, also one that is
// hidden from the data or a definition.
func isCredential(label string) bool {
	switch strings.TrimLeft(label, "_#") {
	case "password", "password_hash", "secret":
		return true
	}
	return false
}

// value hides the strings of a field's value. If that turns out to be a field
// itself, nothing is hidden, and its label is returned.
func (h *hider) value() (label string) {
	found, depth, whole := len(h.hidden), 0, false
	last := ""
	for {
		before := h.at
		t := h.next()
		switch t.kind {
		case tokenEnd:
			return ""
		case tokenNewline:
			if depth == 0 && whole {
				return ""
			}
			continue
		case tokenString:
			h.hide(t.from, t.to)
		case '{', '[', '(':
			if t.kind == '{' && depth == 0 && !whole {
				h.hidden = h.hidden[:found]
				return ""
			}
			depth++
		case '}', ']', ')':
			if depth == 0 {
				h.at = before
				return ""
			}
			depth--
		case ',', '@':
			if depth == 0 {
				return ""
			}
		case ':':
			if depth == 0 {
				h.hidden = h.hidden[:found]
				return last
			}
		}
		last = ""
		if t.kind == tokenName || t.kind == tokenString {
			last = string(h.text[t.from:t.to])
		}
		whole = last != "" || t.kind == tokenString || t.kind == '}' || t.kind == ']' || t.kind == ')'
	}
}

// hide hides what a string holds, line by line.
func (h *hider) hide(from, to int) {
	if reference.Match(h.text[from:to]) {
		return
	}
	for line := range bytes.Lines(h.text[from:to]) {
		inner := bytes.TrimSpace(line)
		if at := from + bytes.Index(line, inner); len(inner) > 0 {
			h.hidden = append(h.hidden, [2]int{at, at + len(inner)})
		}
		from += len(line)
	}
}

// masked is the text without what is hidden.
func (h *hider) masked() []byte {
	var out []byte
	at := 0
	for _, s := range h.hidden {
		if s[0] >= at {
			out = append(append(out, h.text[at:s[0]]...), maskText...)
		}
		at = max(at, s[1])
	}
	return append(out, h.text[at:]...)
}
