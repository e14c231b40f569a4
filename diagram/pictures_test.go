package diagram_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"clink/compiler"
	"clink/diagram"
	"clink/topic"
	"clink/topology"
)

func empty(names ...string) *topology.Topology {
	t := &topology.Topology{Sites: map[string]*topology.Site{}}
	for _, n := range names {
		t.Sites[n] = &topology.Site{Name: n, Target: topology.Target{Kind: topology.Embedded}}
	}
	return t
}

func half(t *topology.Topology, a, b string, topics ...topic.Filter) {
	s := t.Sites[a]
	if s == nil {
		s = empty(a).Sites[a]
		t.Sites[a] = s
	}
	s.Links = append(s.Links, topology.Link{Name: b, Enable: true, Topics: topics})
}

func both(t *topology.Topology, a, b string) {
	half(t, a, b, "t/#", "u/+/status")
	half(t, b, a, "cmd/#")
}

func pictures() map[string]*topology.Topology {
	m := map[string]*topology.Topology{"empty": empty(), "one": empty("emqx-us-east")}
	two := empty()
	both(two, "emqx-us-east", "emqx-eu-west")
	m["two"] = two
	for _, n := range []int{8, 40} {
		hub := empty()
		for i := range n {
			both(hub, "hub", fmt.Sprintf("plant-%02d", i+1))
		}
		m[fmt.Sprintf("hub%d", n)] = hub
	}
	for _, n := range []int{3, 8, 20} {
		m[fmt.Sprintf("mesh%d", n)] = mesh(n)
	}
	ring := empty()
	for i := range 12 {
		both(ring, fmt.Sprintf("ring-%02d", i), fmt.Sprintf("ring-%02d", (i+1)%12))
	}
	m["ring12"] = ring
	for _, n := range []int{6, 20} {
		chain := empty()
		for i := range n - 1 {
			both(chain, fmt.Sprintf("node-%02d", i), fmt.Sprintf("node-%02d", i+1))
		}
		m[fmt.Sprintf("chain%d", n)] = chain
	}
	hubs := empty()
	for i := range 9 {
		both(hubs, "hub-east", fmt.Sprintf("east-%d", i))
		both(hubs, "hub-west", fmt.Sprintf("west-%d", i))
	}
	both(hubs, "hub-east", "hub-west")
	m["hubs"] = hubs
	m["mixed60"] = mixed()
	m["states"] = states()
	big := mesh(64)
	for i := range 136 {
		both(big, fmt.Sprintf("mesh-%02d", i%64), fmt.Sprintf("edge-%03d", i))
	}
	m["big200"] = big
	sparse := empty()
	r := rand.New(rand.NewPCG(1, 2))
	for range 600 {
		a, b := fmt.Sprintf("site-%03d", r.IntN(200)), fmt.Sprintf("site-%03d", r.IntN(200))
		if s := sparse.Sites[a]; a != b && (s == nil || !linked(s, b)) {
			both(sparse, a, b)
		}
	}
	m["sparse200"] = sparse
	dual := empty()
	for i := range 10 {
		both(dual, "hub-a", fmt.Sprintf("site-%d", i))
		both(dual, "hub-b", fmt.Sprintf("site-%d", i))
	}
	both(dual, "hub-b", "solo")
	both(dual, "hub-a", "hub-b")
	m["dual"] = dual
	wheel := empty()
	for i := range 9 {
		both(wheel, "hub", fmt.Sprintf("rim-%d", i))
		both(wheel, fmt.Sprintf("rim-%d", i), fmt.Sprintf("rim-%d", (i+1)%9))
	}
	m["wheel"] = wheel
	for _, t := range m {
		compiler.Derive(t)
	}
	return m
}

func mesh(n int) *topology.Topology {
	t := empty()
	for i := range n {
		for j := range i {
			both(t, fmt.Sprintf("mesh-%02d", j), fmt.Sprintf("mesh-%02d", i))
		}
	}
	return t
}

func mixed() *topology.Topology {
	t := mesh(5)
	for i := range 24 {
		both(t, fmt.Sprintf("mesh-%02d", i%5), fmt.Sprintf("plant-%02d", i))
		if i%6 == 0 {
			both(t, fmt.Sprintf("plant-%02d", i), fmt.Sprintf("cell-%02d", i))
			both(t, fmt.Sprintf("plant-%02d", i), fmt.Sprintf("cell-%02d-b", i))
		}
	}
	for i := range 7 {
		both(t, fmt.Sprintf("ship-%d", i), fmt.Sprintf("ship-%d", (i+1)%7))
	}
	both(t, "ship-1", "ship-4")
	for i := range 6 {
		both(t, "warehouse", fmt.Sprintf("dock-%d", i))
	}
	for _, n := range []string{"lab", "spare-1", "spare-2", "an-extraordinarily-long-name-of-a-site-in-the-north-of-norway-17", "测试站点-上海", "موقع-الرياض"} {
		t.Sites[n] = empty(n).Sites[n]
	}
	t.Sites["x"] = &topology.Site{Name: "x", Target: topology.Target{Kind: topology.External}}
	half(t, "mesh-00", "x", "ext/#")
	return t
}

func states() *topology.Topology {
	t := empty("noc", "lab")
	for _, n := range []string{"flowing", "replicating", "connected", "rejected", "down", "suspended", "unknown"} {
		both(t, "noc", "is-"+n)
	}
	half(t, "noc", "one-sided", "t/#")
	t.Sites["one-sided"] = empty("one-sided").Sites["one-sided"]
	half(t, "noc", "nobody", "t/#")
	both(t, "noc", "is-disabled")
	t.Sites["is-disabled"].Links[0].Enable = false
	half(t, "noc", "partner", "p/#")
	t.Sites["partner"] = &topology.Site{Name: "partner", Target: topology.Target{Kind: topology.External}}
	both(t, "noc", "real-emqx")
	t.Sites["real-emqx"].Target.Kind = topology.EMQX
	return t
}

func statusOf(t *topology.Topology) map[[2]string]string {
	m := map[[2]string]string{}
	for _, n := range []string{"flowing", "replicating", "connected", "rejected", "down", "suspended", "unknown"} {
		m[[2]string{"noc", "is-" + n}] = n
	}
	m[[2]string{"noc", "partner"}] = "flowing"
	m[[2]string{"noc", "real-emqx"}] = "replicating"
	return m
}

// The pictures of small topologies are kept, so that a change of them is seen in
// review. With CLINK_UPDATE=1 they are written anew; with CLINK_PICTURES=DIR
// all pictures are written there, to be looked at.
func TestGolden(t *testing.T) {
	dir := os.Getenv("CLINK_PICTURES")
	for name, top := range pictures() {
		o := diagram.Options{}
		switch name {
		case "states":
			o.Status = statusOf(top)
		case "hub8":
			o.Lang = "zh"
		}
		svg := diagram.New(top).SVG(o)
		if dir != "" {
			if err := os.WriteFile(filepath.Join(dir, name+".svg"), svg, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join("testdata", name+".svg")
		switch {
		case !slices.Contains([]string{"empty", "one", "two", "mesh3", "hub8", "states", "dual"}, name):
			continue
		case os.Getenv("CLINK_UPDATE") == "1":
			if err := os.WriteFile(file, svg, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || !bytes.Equal(svg, want) {
			t.Errorf("%s differs from %s (%v): look at it, and write it with CLINK_UPDATE=1", name, file, err)
		}
	}
}

var variable = regexp.MustCompile(`--clink-(\w+):#([0-9a-f]{6})`)

// themes are the colours of the light theme and of the dark one, as the picture
// has them.
func themes(t *testing.T) [2]map[string][3]float64 {
	t.Helper()
	sheet := parse(t, diagram.New(nil).SVG(diagram.Options{})).Children[1].Text
	light, dark, found := strings.Cut(sheet, "@media (prefers-color-scheme:dark)")
	if !found {
		t.Fatalf("no dark theme in %s", sheet)
	}
	var both [2]map[string][3]float64
	for i, text := range []string{light, dark} {
		both[i] = map[string][3]float64{}
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			n, _ := strconv.ParseUint(m[2], 16, 32)
			both[i][m[1]] = [3]float64{float64(n >> 16), float64(n >> 8 & 255), float64(n & 255)}
		}
	}
	return both
}

// contrast is that of WCAG 2.
func contrast(a, b [3]float64) float64 {
	light := func(c [3]float64) float64 {
		for i := range c {
			if c[i] /= 255; c[i] <= 0.04045 {
				c[i] /= 12.92
			} else {
				c[i] = math.Pow((c[i]+0.055)/1.055, 2.4)
			}
		}
		return 0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2]
	}
	x, y := light(a), light(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func TestContrast(t *testing.T) {
	for i, theme := range themes(t) {
		for _, pair := range []string{"fg bg", "fg box", "muted bg", "muted box", "line bg", "ok bg", "warn bg", "bad bg", "off bg", "border bg", "focus bg"} {
			a, b, _ := strings.Cut(pair, " ")
			ca, oka := theme[a]
			cb, okb := theme[b]
			if c := contrast(ca, cb); !oka || !okb || c < 4.5 {
				t.Errorf("theme %d: contrast of %s is %.2f", i, pair, c)
			}
		}
	}
}

// The looks of two states differ in more than the colour.
func TestStatesDifferWithoutColour(t *testing.T) {
	top := pictures()["states"]
	root := parse(t, diagram.New(top).SVG(diagram.Options{Status: statusOf(top)}))
	seen := map[string]string{}
	for _, l := range root.all("link") {
		form := ""
		for _, w := range l.all("wire") {
			form += w.attr("stroke-dasharray") + "/" + w.attr("stroke-width") + " "
		}
		if other, there := seen[form]; there && other != l.attr("data-state") {
			t.Errorf("%s and %s are drawn alike: %s", other, l.attr("data-state"), form)
		}
		seen[form] = l.attr("data-state")
	}
	if len(seen) != 9 {
		t.Errorf("%d ways to draw a link, want 9: %v", len(seen), seen)
	}
}

func TestTitles(t *testing.T) {
	top := empty()
	both(top, "a", "b")
	both(top, "a", "c")
	top.Sites["b"].Links[0].Enable = false
	for i := range 20 {
		top.Sites["c"].Links[0].Topics = append(top.Sites["c"].Links[0].Topics, topic.Filter(fmt.Sprintf("n/%d", i)))
	}
	compiler.Derive(top)
	g := diagram.New(top)
	want := map[string][]string{
		"en": {
			"a – b: disabled\na → b: nothing\nb → a: nothing\nhalf of b: disabled",
			"a – c: connected only\na → c: cmd/#, n/0, n/1, n/2, n/3, n/4, n/5, n/6, n/7, n/8, n/9, n/10, 9 more\nc → a: t/#, u/+/status\nat a: connected only",
		},
		"zh": {
			"a – b：已禁用\na → b：无\nb → a：无\nb 一侧：已禁用",
			"a – c：仅连接\na → c：cmd/#，n/0，n/1，n/2，n/3，n/4，n/5，n/6，n/7，n/8，n/9，n/10，另有 9 个\nc → a：t/#，u/+/status\n在 a：仅连接",
		},
	}
	for lang, titles := range want {
		root := parse(t, g.SVG(diagram.Options{Lang: lang, Status: map[[2]string]string{{"a", "c"}: "connected"}}))
		for i, l := range root.all("link") {
			if got := l.Children[0].Text; got != titles[i] {
				t.Errorf("%s: got %q, want %q", lang, got, titles[i])
			}
		}
	}
}

// A long name is cut in its middle, and whole in the title.
func TestLongNames(t *testing.T) {
	name := strings.Repeat("very-", 20) + "long-17"
	site := parse(t, diagram.New(empty(name)).SVG(diagram.Options{})).all("site")[0]
	shown := site.all("name")[0].Text
	if !strings.HasPrefix(shown, "very-") || !strings.HasSuffix(shown, "-17") || !strings.Contains(shown, "…") || len(shown) > 30 {
		t.Errorf("shown as %q", shown)
	}
	if got := site.Children[0].Text; !strings.HasPrefix(got, name+", embedded") {
		t.Errorf("the title is %q", got)
	}
}

func BenchmarkSVG(b *testing.B) {
	for _, name := range []string{"mixed60", "big200", "sparse200"} {
		g := diagram.New(pictures()[name])
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				g.SVG(diagram.Options{})
			}
		})
	}
}
