package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxBody  = 1 << 20
	maxDepth = 16
)

var (
	errMediaType = &problem{status: http.StatusUnsupportedMediaType, code: "UNSUPPORTED_MEDIA_TYPE", message: "content-type:application/json Required"}
	errTooLarge  = &problem{status: http.StatusRequestEntityTooLarge, code: "REQUEST_TOO_LARGE", message: "The body is larger than 1 MiB; send fewer links at a time"}
)

// isJSON reports whether the request says that its body is JSON as it is.
func isJSON(r *http.Request) bool {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, ok := params["charset"]
	encoding := r.Header.Get("Content-Encoding")
	return err == nil && kind == "application/json" && (!ok || strings.EqualFold(charset, "utf-8")) &&
		(encoding == "" || strings.EqualFold(encoding, "identity"))
}

// readBody reads a request's JSON body.
func readBody(w http.ResponseWriter, r *http.Request) (any, error) {
	if !isJSON(r) {
		return nil, errMediaType
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, bad("The body could not be read to its end")
	}
	v, err := parseBody(b)
	if err != nil {
		return nil, bad("Invalid json message received: " + err.Error())
	}
	return v, nil
}

func readObject(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	v, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, bad("The body must be a JSON object")
	}
	return m, nil
}

// parseBody reads one JSON value, more strictly than encoding/json does: a
// key that stands twice, or text that is no Unicode, would otherwise be
// changed without a word. Numbers are kept as they are written.
func parseBody(b []byte) (any, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("it is not UTF-8")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, placed(b, err)
	}
	if at := loneSurrogate(b); at >= 0 {
		return nil, fmt.Errorf("%s: half of a surrogate pair", lineColumn(b, at))
	}
	p := &parser{Decoder: json.NewDecoder(bytes.NewReader(b))}
	p.UseNumber()
	v, err := p.value()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.where(), err)
	}
	return v, nil
}

// placed puts line and column before a syntax error.
func placed(b []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	return fmt.Errorf("%s: %w", lineColumn(b, max(int(syntax.Offset)-1, 0)), err)
}

func lineColumn(b []byte, at int) string {
	before := b[:min(at, len(b))]
	line := bytes.Count(before, []byte("\n")) + 1
	return fmt.Sprintf("line %d, column %d", line, len(before)-bytes.LastIndexByte(before, '\n'))
}

// loneSurrogate returns where valid JSON escapes half of a surrogate pair, or
// -1.
func loneSurrogate(b []byte) int {
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		first, ok := escaped(b[i:])
		if !ok {
			i++ // what is escaped may be a backslash
			continue
		}
		if !utf16.IsSurrogate(first) {
			continue
		}
		second, _ := escaped(b[i+6:])
		if utf16.DecodeRune(first, second) == utf8.RuneError {
			return i
		}
		i += 11
	}
	return -1
}

// escaped returns the number of a \u escape that b begins with.
func escaped(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}

// A parser builds a value out of the tokens of valid JSON.
type parser struct {
	*json.Decoder
	path []any // to the value being read: keys, and numbers in lists
}

// where is the path as text; the ends of long keys are left out.
func (p *parser) where() string {
	text := "the body"
	for _, step := range p.path {
		if key, ok := step.(string); ok {
			text += "." + limited(key)
		} else {
			text += fmt.Sprintf("[%d]", step)
		}
	}
	return text
}

// value reads a value. After an error, the path still leads to it.
func (p *parser) value() (any, error) {
	if len(p.path) > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	tok, err := p.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		return p.object()
	case json.Delim('['):
		return p.array()
	}
	if n, ok := tok.(json.Number); ok {
		if f, err := n.Float64(); err != nil || math.Abs(f) > maxNumber {
			return nil, fmt.Errorf("the number %s is out of range", limited(n.String()))
		}
	}
	return tok, nil
}

// maxNumber is the greatest whole number up to which all programs that read JSON
// agree (RFC 8259, section 6).
const maxNumber = 1<<53 - 1

// member reads the value that one step leads to.
func (p *parser) member(step any) (any, error) {
	p.path = append(p.path, step)
	v, err := p.value()
	if err == nil {
		p.path = p.path[:len(p.path)-1]
	}
	return v, err
}

func (p *parser) object() (any, error) {
	m := map[string]any{}
	for p.More() {
		tok, err := p.Token()
		if err != nil {
			return nil, err
		}
		key, _ := tok.(string)
		if _, ok := m[key]; ok {
			return nil, fmt.Errorf("the key %q stands twice", limited(key))
		}
		if m[key], err = p.member(key); err != nil {
			return nil, err
		}
	}
	_, err := p.Token()
	return m, err
}

func (p *parser) array() (any, error) {
	l := []any{}
	for p.More() {
		v, err := p.member(len(l))
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	_, err := p.Token()
	return l, err
}
