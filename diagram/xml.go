package diagram

import (
	"bytes"
	"strconv"
	"strings"
)

// An xmlWriter writes elements; whatever it is given is text.
type xmlWriter struct{ bytes.Buffer }

// start opens an element with attributes, given as names and values.
func (w *xmlWriter) start(name string, attributes ...string) {
	w.tag(name, attributes)
	w.WriteString(">")
}

func (w *xmlWriter) end(name string) { w.WriteString("</" + name + ">\n") }

// empty writes an element without content.
func (w *xmlWriter) empty(name string, attributes ...string) {
	w.tag(name, attributes)
	w.WriteString("/>\n")
}

// text writes an element with text as its content.
func (w *xmlWriter) text(name, content string, attributes ...string) {
	w.start(name, attributes...)
	w.WriteString(escaped.Replace(visible(content)))
	w.end(name)
}

func (w *xmlWriter) tag(name string, attributes []string) {
	w.WriteString("<" + name)
	for i := 0; i+1 < len(attributes); i += 2 {
		if attributes[i+1] != "" {
			w.WriteString(" " + attributes[i] + `="` + escaped.Replace(possible(attributes[i+1])) + `"`)
		}
	}
}

var escaped = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;", "\t", "&#9;", "\n", "&#10;", "\r", "&#13;",
)

// possible replaces what no XML text can hold.
func possible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r&0xfffe == 0xfffe && r <= 0xffff {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// num is a length in pixels.
func num(n int) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	text := sign + strconv.Itoa(n/px)
	if n%px != 0 {
		text += "." + strconv.Itoa(n%px)
	}
	return text
}

// data is the curve as the d of a path.
func (c curve) data() string {
	s := "M" + pair(c[0]) + "C" + pair(c[1])
	return s + " " + pair(c[2]) + " " + pair(c[3])
}

func pair(p point) string { return num(p.x) + " " + num(p.y) }
