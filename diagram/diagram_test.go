package diagram_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"clink/compiler"
	"clink/diagram"
	"clink/topology"

	"pgregory.net/rapid"
)

// A shape is an element of a picture with what it holds.
type shape struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []shape    `xml:",any"`
	Text     string     `xml:",chardata"`
}

func (s shape) attr(name string) string {
	for _, a := range s.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (s shape) num(t fatal, name string) float64 {
	n, err := strconv.ParseFloat(s.attr(name), 64)
	if err != nil {
		t.Fatalf("%s of %v: %v", name, s.XMLName.Local, err)
	}
	return n
}

// all are the elements below s whose class has a word.
func (s shape) all(class string) []shape {
	var l []shape
	for _, c := range s.Children {
		if slices.Contains(strings.Fields(c.attr("class")), class) {
			l = append(l, c)
		}
		l = append(l, c.all(class)...)
	}
	return l
}

type fatal interface{ Fatalf(string, ...any) }

func parse(t fatal, svg []byte) shape {
	var root shape
	d := xml.NewDecoder(bytes.NewReader(svg))
	if err := d.Decode(&root); err != nil {
		t.Fatalf("%v in\n%s", err, svg)
	}
	if end, err := d.Token(); err != nil || strings.TrimSpace(fmt.Sprintf("%s", end)) != "" {
		t.Fatalf("after the picture: %v, %v", end, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("after the picture: %v", err)
	}
	return root
}

type area struct{ x0, y0, x1, y1 float64 }

func (s shape) area(t fatal) area {
	x, y := s.num(t, "x"), s.num(t, "y")
	return area{x, y, x + s.num(t, "width"), y + s.num(t, "height")}
}

func (a area) overlaps(b area) bool {
	return a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1
}

func (a area) holds(b area) bool {
	return a.x0 <= b.x0 && a.y0 <= b.y0 && a.x1 >= b.x1 && a.y1 >= b.y1
}

var hostile = []string{
	"</title><script>alert(1)</script>", `" onload="alert(1)`, "a&amp;b", "]]>", "<!--", "line\nbreak", "\x00\x1b[31m", "\xff\xfe",
	"موقع", "\u202eevil\u202c", "测试站点", "`\"|]; click A", "\\", `\"`, "#35;", "🏭", strings.Repeat("long-", 80), "end", "", " ",
	"\ufffe", "\u2028", "e\u0301\u0301", "'",
}

// drawTopology draws sites with harmless and hostile names and links of all
// kinds between them.
func drawTopology(t *rapid.T) *topology.Topology {
	fl := empty()
	n := rapid.IntRange(0, 24).Draw(t, "sites")
	var names []string
	for i := range n {
		name := fmt.Sprintf("site-%d", i)
		if rapid.IntRange(0, 3).Draw(t, "hostile") == 0 {
			name = rapid.SampledFrom(hostile).Draw(t, "name")
		}
		if fl.Sites[name] != nil {
			continue
		}
		names = append(names, name)
		kind := rapid.SampledFrom([]string{topology.Embedded, topology.Embedded, topology.EMQX, topology.External}).Draw(t, "kind")
		fl.Sites[name] = &topology.Site{Name: name, Target: topology.Target{Kind: kind}}
	}
	if len(names) == 0 {
		return fl
	}
	names = append(names, "no site <of> this name")
	some := rapid.SampledFrom(names)
	for range rapid.IntRange(0, 2*n).Draw(t, "links") {
		a, b := some.Draw(t, "a"), some.Draw(t, "b")
		if s := fl.Sites[a]; s == nil || a == b || linked(s, b) {
			continue
		}
		half(fl, a, b, "t/#", "<script>/+")
		if s := fl.Sites[b]; s != nil && !linked(s, a) && rapid.IntRange(0, 4).Draw(t, "both") > 0 {
			half(fl, b, a, "u")
		}
		last := &fl.Sites[a].Links[len(fl.Sites[a].Links)-1]
		last.Enable = rapid.IntRange(0, 5).Draw(t, "enabled") > 0
	}
	compiler.Derive(fl)
	return fl
}

func linked(s *topology.Site, peer string) bool {
	_, there := s.Link(peer)
	return there
}

func drawStatus(t *rapid.T, g diagram.Graph) map[[2]string]string {
	if rapid.Bool().Draw(t, "at rest") {
		return nil
	}
	states := rapid.SampledFrom([]string{"connected", "replicating", "flowing", "rejected", "down", "disabled", "suspended", "unknown", ""})
	m := map[[2]string]string{}
	for _, e := range g.Edges {
		m[[2]string{e.A, e.B}] = states.Draw(t, "status")
		m[[2]string{e.B, e.A}] = states.Draw(t, "status")
	}
	return m
}

func TestPicturesAreSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fl := drawTopology(t)
		g := diagram.New(fl)
		o := diagram.Options{Status: drawStatus(t, g), Lang: rapid.SampledFrom([]string{"", "en", "zh"}).Draw(t, "language")}
		svg := g.SVG(o)
		root := parse(t, svg)
		whole := wholeOf(t, root)
		boxes := checkSites(t, root, g, whole)
		checkLinks(t, root, g)
		for _, p := range root.all("plate") {
			plate := p.area(t)
			if !whole.holds(plate) {
				t.Fatalf("a sign at %v leaves the picture %v", plate, whole)
			}
			for name, b := range boxes {
				if b.overlaps(plate) {
					t.Fatalf("a sign at %v lies on %q at %v", plate, name, b)
				}
			}
		}
		checkHarmless(t, root)
		for _, s := range fl.Sites {
			rand.Shuffle(len(s.Links), func(i, j int) { s.Links[i], s.Links[j] = s.Links[j], s.Links[i] })
		}
		if !bytes.Equal(svg, diagram.New(fl).SVG(o)) {
			t.Fatalf("the same topology gives two pictures")
		}
	})
}

func wholeOf(t fatal, root shape) area {
	var a area
	if _, err := fmt.Sscan(root.attr("viewBox"), &a.x0, &a.y0, &a.x1, &a.y1); err != nil {
		t.Fatalf("viewBox %q: %v", root.attr("viewBox"), err)
	}
	a.x1, a.y1 = a.x1+a.x0, a.y1+a.y0
	return a
}

// checkSites checks that each site is there, within the picture and clear of
// the others, with its name within its box.
func checkSites(t fatal, root shape, g diagram.Graph, whole area) map[string]area {
	boxes := map[string]area{}
	sites := root.all("site")
	if len(sites) != len(g.Nodes) {
		t.Fatalf("%d sites drawn, want %d", len(sites), len(g.Nodes))
	}
	for i, s := range sites {
		if want := asXML(g.Nodes[i].Name); s.attr("data-site") != want {
			t.Fatalf("data-site is %q, want %q", s.attr("data-site"), want)
		}
		if s.attr("tabindex") != "0" || s.attr("aria-label") == "" || len(s.Children) == 0 || s.Children[0].XMLName.Local != "title" {
			t.Fatalf("a site that is not accessible: %v", s.Attrs)
		}
		a := s.all("box")[0].area(t)
		for name, b := range boxes {
			if a.overlaps(b) {
				t.Fatalf("%q at %v lies on %q at %v", g.Nodes[i].Name, a, name, b)
			}
		}
		if !whole.holds(a) {
			t.Fatalf("%q at %v leaves the picture %v", g.Nodes[i].Name, a, whole)
		}
		boxes[g.Nodes[i].Name] = a
	}
	return boxes
}

func checkLinks(t fatal, root shape, g diagram.Graph) {
	links := root.all("link")
	if len(links) != len(g.Edges) {
		t.Fatalf("%d links drawn, want %d", len(links), len(g.Edges))
	}
	for i, l := range links {
		e := g.Edges[i]
		if l.attr("data-a") != asXML(e.A) || l.attr("data-b") != asXML(e.B) || l.attr("data-state") == "" {
			t.Fatalf("a link has %v, want %q and %q", l.Attrs, e.A, e.B)
		}
		heads := 0
		for _, d := range []diagram.Direction{e.AToB, e.BToA} {
			if len(d.Topics) > 0 {
				heads++
			}
		}
		if got := len(l.all("head")); got != heads {
			t.Fatalf("%q and %q have %d arrowheads, want %d", e.A, e.B, got, heads)
		}
	}
}

// asXML is a name as XML can hold it.
func asXML(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\ufffe' || r == '\uffff' {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// checkHarmless checks that there are no elements and attributes but our own.
func checkHarmless(t fatal, s shape) {
	if !slices.Contains([]string{"svg", "title", "style", "g", "rect", "path", "text"}, s.XMLName.Local) {
		t.Fatalf("there is an element %q", s.XMLName.Local)
	}
	for _, a := range s.Attrs {
		if strings.HasPrefix(strings.ToLower(a.Name.Local), "on") || a.Name.Local == "href" || a.Name.Local == "style" {
			t.Fatalf("there is an attribute %q", a.Name.Local)
		}
	}
	for _, c := range s.Children {
		checkHarmless(t, c)
	}
}

// Edges are to be seen: none runs under the box of a third site.
func TestNoEdgeRunsUnderASite(t *testing.T) {
	for name, fl := range pictures() {
		t.Run(name, func(t *testing.T) { checkEdges(t, diagram.New(fl).SVG(diagram.Options{})) })
	}
	rapid.Check(t, func(t *rapid.T) { checkEdges(t, diagram.New(drawTopology(t)).SVG(diagram.Options{})) })
}

func checkEdges(t fatal, svg []byte) {
	root := parse(t, svg)
	var boxes []area
	var names []string
	for _, s := range root.all("site") {
		boxes = append(boxes, s.all("box")[0].area(t))
		names = append(names, s.attr("data-site"))
	}
	for _, l := range root.all("link") {
		for _, w := range l.all("wire") {
			curve := points(t, w.attr("d"))
			whole := dot(curve[0])
			for _, p := range curve {
				d := dot(p)
				whole = area{min(whole.x0, d.x0), min(whole.y0, d.y0), max(whole.x1, d.x1), max(whole.y1, d.y1)}
			}
			for i, b := range boxes {
				if names[i] == l.attr("data-a") || names[i] == l.attr("data-b") || !b.overlaps(whole) {
					continue
				}
				if slices.ContainsFunc(curve, func(p [2]float64) bool { return b.overlaps(dot(p)) }) {
					t.Fatalf("the edge from %q to %q runs under %q", l.attr("data-a"), l.attr("data-b"), names[i])
				}
			}
		}
	}
}

// dot is the area that a point of a line takes.
func dot(p [2]float64) area { return area{p[0] - .5, p[1] - .5, p[0] + .5, p[1] + .5} }

// points are those of a cubic curve.
func points(t fatal, d string) [][2]float64 {
	var p [8]float64
	if _, err := fmt.Sscanf(d, "M%f %fC%f %f %f %f %f %f", &p[0], &p[1], &p[2], &p[3], &p[4], &p[5], &p[6], &p[7]); err != nil {
		t.Fatalf("%q: %v", d, err)
	}
	var l [][2]float64
	for i := range 101 {
		u, v := float64(i)/100, 1-float64(i)/100
		at := func(a, b, c, d float64) float64 { return v*v*v*a + 3*v*v*u*b + 3*v*u*u*c + u*u*u*d }
		l = append(l, [2]float64{at(p[0], p[2], p[4], p[6]), at(p[1], p[3], p[5], p[7])})
	}
	return l
}

// Whatever a name is, every line of a Mermaid chart has the one form it may
// have, and shows the name.
func TestMermaidHoldsAnyName(t *testing.T) {
	form := regexp.MustCompile(`^    (s\d+\["[^"\x00-\x1f]*"\]|s\d+ (<?-->|---|<?-\.->|-\.-)\|"[^"\x00-\x1f]*"\| s\d+)$`)
	own := regexp.MustCompile(`#\d+;|<br/>|<?-[-.]-?>?\|`)
	rapid.Check(t, func(t *rapid.T) {
		lines := strings.Split(strings.TrimSuffix(diagram.New(drawTopology(t)).Mermaid(), "\n"), "\n")
		for i, l := range lines {
			if i == 0 && l != "flowchart LR" || i > 0 && !form.MatchString(l) {
				t.Fatalf("a line %q", l)
			}
			if bare := own.ReplaceAllString(l, ""); strings.ContainsAny(bare, "<>&`;#") {
				t.Fatalf("markup in %q", l)
			}
		}
	})
}

func TestDOTHoldsAnyName(t *testing.T) {
	text := `"(?:[^"\\\x00-\x1f]|\\["\\n])*"`
	form := regexp.MustCompile(`^\t(graph|node|s\d+|s\d+ -> s\d+) \[(\w+=(\w+|` + text + `)(, )?)+\];$`)
	rapid.Check(t, func(t *rapid.T) {
		lines := strings.Split(strings.TrimSuffix(diagram.New(drawTopology(t)).DOT(), "\n"), "\n")
		for _, l := range lines[1 : len(lines)-1] {
			if !form.MatchString(l) {
				t.Fatalf("a line %q", l)
			}
		}
	})
}

func TestJSON(t *testing.T) {
	fl := empty("x")
	both(fl, "b", "a")
	half(fl, "a", "nobody", "t")
	compiler.Derive(fl)
	text, err := diagram.New(fl).JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	compact, _ := json.Marshal(got)
	want := `{"edges":[` +
		`{"a":"a","a_half":"enabled","a_to_b":{"topics":["t/#","u/+/status"]},"b":"b","b_half":"enabled","b_to_a":{"topics":["cmd/#"]},"state":"configured"},` +
		`{"a":"a","a_half":"enabled","a_to_b":{"topics":[]},"b":"nobody","b_half":"absent","b_to_a":{"topics":[]},"state":"one-sided"}],` +
		`"nodes":[{"kind":"embedded","name":"a"},{"kind":"embedded","name":"b"},{"kind":"unknown","name":"nobody"},{"kind":"embedded","name":"x"}]}`
	if string(compact) != want {
		t.Errorf("got\n%s\nwant\n%s", compact, want)
	}
	if text, err := diagram.New(nil).JSON(); err != nil || string(text) != "{\n  \"nodes\": [],\n  \"edges\": []\n}\n" {
		t.Errorf("of nothing: %s, %v", text, err)
	}
}

// Of two ends the worse one counts, but what the source says counts more.
func TestState(t *testing.T) {
	tests := []struct{ a, b, want string }{
		{"", "", "unknown"}, {"flowing", "", "flowing"}, {"unknown", "flowing", "flowing"}, {"replicating", "flowing", "flowing"},
		{"connected", "flowing", "connected"}, {"down", "flowing", "down"}, {"down", "rejected", "rejected"}, {"suspended", "down", "down"},
		{"disabled", "replicating", "disabled"}, {"nonsense", "nonsense", "unknown"}, {"nonsense", "flowing", "flowing"},
	}
	for _, tt := range tests {
		fl := empty()
		both(fl, "a", "b")
		status := map[[2]string]string{{"a", "b"}: tt.a, {"b", "a"}: tt.b}
		if got := parse(t, diagram.New(fl).SVG(diagram.Options{Status: status})).all("link")[0].attr("data-state"); got != tt.want {
			t.Errorf("%q and %q make %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
	fl := empty("b")
	half(fl, "a", "b", "t")
	status := map[[2]string]string{{"a", "b"}: "connected"}
	if got := parse(t, diagram.New(fl).SVG(diagram.Options{Status: status})).all("link")[0].attr("data-state"); got != "one-sided" {
		t.Errorf("one half alone makes %q", got)
	}
}

func TestDiff(t *testing.T) {
	old, now := empty(), empty()
	both(old, "a", "b")
	both(old, "a", "c")
	both(old, "a", "e")
	both(now, "a", "b")
	both(now, "a", "d")
	both(now, "a", "e")
	now.Sites["e"].Links[0].Topics = nil
	compiler.Derive(old)
	compiler.Derive(now)
	g := diagram.Diff(old, now)
	got := ""
	for _, n := range g.Nodes {
		got += n.Name + ":" + n.Change + " "
	}
	for _, e := range g.Edges {
		got += fmt.Sprintf("%s-%s:%s+%v-%v/+%v-%v ", e.A, e.B, e.Change, e.AToB.Starts, e.AToB.Stops, e.BToA.Starts, e.BToA.Stops)
	}
	want := "a: b: c:removed d:added e: a-b:+[]-[]/+[]-[] a-c:removed+[]-[cmd/#]/+[]-[t/# u/+/status] " +
		"a-d:added+[cmd/#]-[]/+[t/# u/+/status]-[] a-e:changed+[]-[cmd/#]/+[]-[] "
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	titles := ""
	for _, l := range parse(t, g.SVG(diagram.Options{})).all("link") {
		titles += l.Children[0].Text + "\n"
	}
	if want := "a – b: configured\na → b: cmd/#\nb → a: t/#, u/+/status\n" +
		"a – c: removed\na → c: stops: cmd/#\nc → a: stops: t/#, u/+/status\n" +
		"a – d: added\na → d: cmd/#\nd → a: t/#, u/+/status\n" +
		"a – e: changed\na → e: stops: cmd/#\ne → a: t/#, u/+/status\n"; titles != want {
		t.Errorf("titles are\n%swant\n%s", titles, want)
	}
	states := ""
	for _, l := range parse(t, g.SVG(diagram.Options{})).all("link") {
		states += l.attr("data-state") + " "
	}
	if states != "configured removed added changed " {
		t.Errorf("drawn as %s", states)
	}
	for _, e := range diagram.Diff(now, now).Edges {
		if e.Change != "" {
			t.Errorf("of equal topologies: %v", e)
		}
	}
}
