package wire

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"clink/internal/etf"
)

// printout reads a term as Erlang prints it, into the types of package etf.
type printout struct {
	rest string
}

func parsePrintout(t testing.TB, text string) any {
	t.Helper()
	p := &printout{rest: text}
	v, err := p.term()
	if err != nil {
		t.Fatalf("%v before %.40q", err, p.rest)
	}
	p.blanks()
	// Each file ends in a line with a per cent sign, Erlang's comment.
	if strings.TrimRight(p.rest, "%\n") != "" {
		t.Fatalf("left over: %.40q", p.rest)
	}
	return v
}

func (p *printout) blanks() { p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace) }

func (p *printout) take(token string) bool {
	p.blanks()
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *printout) term() (any, error) {
	switch {
	case p.take("#{"):
		return p.pairs()
	case p.take("<<"):
		return p.binary()
	case p.take("{"):
		v, err := p.sequence("}")
		return etf.Tuple(v), err
	case p.take("["):
		return p.sequence("]")
	case p.take("'"):
		name, err := p.quoted('\'')
		return etf.Atom(name), err
	}
	return p.word()
}

func (p *printout) sequence(end string) ([]any, error) {
	v := []any{}
	if p.take(end) {
		return v, nil
	}
	for {
		e, err := p.term()
		if err != nil {
			return nil, err
		}
		v = append(v, e)
		switch {
		case p.take(end):
			return v, nil
		case !p.take(","):
			return nil, fmt.Errorf("no %s", end)
		}
	}
}

func (p *printout) pairs() (any, error) {
	m := etf.Map{}
	if p.take("}") {
		return m, nil
	}
	for {
		k, err := p.term()
		if err != nil {
			return nil, err
		}
		if !p.take("=>") {
			return nil, fmt.Errorf("no =>")
		}
		v, err := p.term()
		if err != nil {
			return nil, err
		}
		m = append(m, [2]any{k, v})
		switch {
		case p.take("}"):
			return m, nil
		case !p.take(","):
			return nil, fmt.Errorf("no }")
		}
	}
}

func (p *printout) binary() (any, error) {
	b := []byte{}
	if p.take(">>") {
		return b, nil
	}
	for {
		if p.take(`"`) {
			text, err := p.quoted('"')
			if err != nil {
				return nil, err
			}
			if !p.take("/utf8") && strings.ContainsFunc(text, func(c rune) bool { return c >= utf8.RuneSelf }) {
				return nil, fmt.Errorf("text beyond ASCII without /utf8")
			}
			b = append(b, text...)
		} else {
			v, err := p.word()
			n, is := v.(int64)
			if err != nil || !is || n < 0 || n > 255 {
				return nil, fmt.Errorf("%v in a binary: %v", v, err)
			}
			b = append(b, byte(n))
		}
		switch {
		case p.take(">>"):
			return b, nil
		case !p.take(","):
			return nil, fmt.Errorf("no >>")
		}
	}
}

// quoted reads to the closing mark; of the escapes, those that stand for
// themselves and \n occur.
func (p *printout) quoted(mark byte) (string, error) {
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == mark:
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case c == '\\' && i+1 < len(p.rest):
			i++
			if p.rest[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(p.rest[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("no %c", mark)
}

func (p *printout) word() (any, error) {
	p.blanks()
	end := strings.IndexFunc(p.rest, func(c rune) bool {
		return c != '_' && c != '-' && c != '@' && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	if word == "" {
		return nil, fmt.Errorf("no term")
	}
	if n, err := strconv.ParseInt(word, 10, 64); err == nil {
		return n, nil
	}
	if !unicode.IsLower(rune(word[0])) {
		return nil, fmt.Errorf("neither integer nor atom: %q", word)
	}
	return etf.Atom(word), nil
}

// show writes a term so that equal terms, and no others, look equal.
func show(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case etf.Atom:
		return "'" + string(v) + "'"
	case []byte:
		return fmt.Sprintf("<<%q>>", v)
	case etf.Tuple:
		return "{" + showAll(v) + "}"
	case []any:
		return "[" + showAll(v) + "]"
	case etf.Map:
		pairs := make([]string, len(v))
		for i, p := range v {
			pairs[i] = show(p[0]) + "=>" + show(p[1])
		}
		slices.Sort(pairs)
		return "#{" + strings.Join(pairs, ",") + "}"
	}
	return fmt.Sprintf("?%T", v)
}

func showAll(terms []any) string {
	shown := make([]string, len(terms))
	for i, t := range terms {
		shown[i] = show(t)
	}
	return strings.Join(shown, ",")
}
