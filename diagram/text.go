package diagram

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"clink/topic"
)

// Mermaid returns the graph as a Mermaid flowchart, which Markdown viewers draw.
func (g Graph) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	ids := g.ids()
	for _, n := range g.Nodes {
		label := mermaidText(n.Name)
		if kind := english.kinds[n.Kind]; kind != "" {
			label += "<br/>" + kind
		}
		fmt.Fprintf(&b, "    %s[\"%s\"]\n", ids[n.Name], label+marked(n.Change, "<br/>"))
	}
	for _, e := range g.Edges {
		// An arrowhead at the beginning alone is nothing that Mermaid knows.
		if e.BToA.any() && !e.AToB.any() {
			e.A, e.B, e.AToB, e.BToA = e.B, e.A, e.BToA, e.AToB
		}
		fmt.Fprintf(&b, "    %s %s|\"%s\"| %s\n", ids[e.A], e.arrow(), e.label(mermaidText, "<br/>"), ids[e.B])
	}
	return b.String()
}

// DOT returns the graph in the language of Graphviz.
func (g Graph) DOT() string {
	var b strings.Builder
	b.WriteString("digraph topology {\n\tgraph [overlap=false, splines=true];\n\tnode [shape=box, style=rounded];\n")
	ids := g.ids()
	for _, n := range g.Nodes {
		label, style := dotText(n.Name), ""
		if kind := english.kinds[n.Kind]; kind != "" {
			label, style = label+`\n`+kind, `, style="rounded,dashed"`
		}
		fmt.Fprintf(&b, "\t%s [label=\"%s\"%s];\n", ids[n.Name], label+marked(n.Change, `\n`), style)
	}
	for _, e := range g.Edges {
		style := ""
		if e.broken() {
			style = ", style=dashed"
		}
		dir := map[[2]bool]string{{true, true}: "both", {true, false}: "forward", {false, true}: "back", {false, false}: "none"}
		fmt.Fprintf(&b, "\t%s -> %s [dir=%s, label=\"%s\"%s];\n",
			ids[e.A], ids[e.B], dir[[2]bool{e.AToB.any(), e.BToA.any()}], e.label(dotText, `\n`), style)
	}
	b.WriteString("}\n")
	return b.String()
}

// ids are what the formats call the nodes: names are only ever labels.
func (g Graph) ids() map[string]string {
	m := map[string]string{}
	for i, n := range g.Nodes {
		m[n.Name] = "s" + strconv.Itoa(i+1)
	}
	return m
}

func (e Edge) broken() bool { return e.State != configured || e.Change == removed }

// arrow is Mermaid's.
func (e Edge) arrow() string {
	kinds := [2][3]string{{"---", "-->", "<-->"}, {"-.-", "-.->", "<-.->"}}
	line, tips := 0, 0
	if e.broken() {
		line = 1
	}
	for _, d := range []Direction{e.AToB, e.BToA} {
		if d.any() {
			tips++
		}
	}
	return kinds[line][tips]
}

func marked(change, newline string) string {
	if change == "" {
		return ""
	}
	return newline + "(" + change + ")"
}

// label says the state where it is not plain, and what travels either way.
func (e Edge) label(text func(string) string, newline string) string {
	var l []string
	if s := e.state(nil); s != configured {
		l = append(l, "("+s+")")
	}
	for _, d := range []struct {
		sign string
		way  Direction
	}{{"→", e.AToB.told(e.Change)}, {"←", e.BToA.told(e.Change)}} {
		if some := brief(d.way.Topics, text); some != "" {
			l = append(l, d.sign+" "+some)
		}
		if some := brief(d.way.Starts, text); some != "" {
			l = append(l, d.sign+" starts: "+some)
		}
		if some := brief(d.way.Stops, text); some != "" {
			l = append(l, d.sign+" stops: "+some)
		}
	}
	if len(l) == 0 {
		return "nothing travels"
	}
	return strings.Join(l, newline)
}

// brief is the first few of the filters.
func brief(filters []topic.Filter, text func(string) string) string {
	const most, longest = 4, 60
	var l []string
	for _, f := range filters[:min(len(filters), most)] {
		l = append(l, text(clip(string(f), longest)))
	}
	if more := len(filters) - most; more > 0 {
		l = append(l, fmt.Sprintf("%d more", more))
	}
	return strings.Join(l, ", ")
}

// mermaidText writes whatever might mean something to Mermaid, or to the HTML
// it makes, as a numbered character.
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range visible(clip(s, titleName)) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" -_./:…", r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}

// dotText escapes what ends a string in DOT, what its labels take for an
// escape, and what they take for a character reference.
func dotText(s string) string {
	return dotEscapes.Replace(visible(clip(s, titleName)))
}

var dotEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "&", "&amp;", "<", "&lt;", ">", "&gt;")
