package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// elsewhere is a site that another process runs, with which not all is well.
const elsewhere = `package topology

sites: "site-c": {
	labels: region: "north"
	listeners: mqtt: bind: "127.0.0.1:%[1]s"
	access: anonymous: true
	cluster: links: "site-a": {
		server:   "127.0.0.1:%[2]s"
		topics: ["global/#", "global/news"]
		username: "site-c"
		password: "file://secrets/site-a-to-site-b"
	}
}
sites: "site-a": cluster: links: "site-c": {
	server:   "127.0.0.1:%[1]s"
	topics: ["north/#", "alarm/+", "state/#", "plan/#"]
	username: "site-a-to-c"
	password: "file://secrets/site-b-to-site-a"
}
`

// startThree runs two sites of three, after an edit.
func startThree(t *testing.T) *daemon {
	t.Helper()
	dir := copyExample(t, "two-sites")
	text, err := os.ReadFile(filepath.Join(dir, "site_a.cue"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(string(text), `bind: "127.0.0.1:`)
	port, _, _ = strings.Cut(port, `"`)
	if err := os.WriteFile(filepath.Join(dir, "site_c.cue"), fmt.Appendf(nil, elsewhere, freePort(t), port), 0o644); err != nil {
		t.Fatal(err)
	}
	d := start(t, dir, t.TempDir(), "--site", "site-a", "--site", "site-b")
	d.online("site-a", "site-b")
	d.edit("site_b.cue", `topics: ["global/#"]`, `topics: ["global/#", "orders/#"]`)
	until(t, "the edit", func() bool { return len(d.link("site-b", "site-a").Topics) == 2 })
	return d
}

// A view is a state of the dashboard that people see; show leads there from any
// page that is settled.
type view struct {
	name string
	show func(*tab)
}

func visits(fragment, selector string) func(*tab) {
	return func(b *tab) { b.visit(fragment, selector) }
}

// opens visits the links and opens a window by what is clicked there.
func opens(selector, shows string) func(*tab) {
	return func(b *tab) {
		b.visit("#/links/site-b", "table.links")
		b.click(at(selector))
		b.holds(at(shows) + "?.checkVisibility()")
	}
}

const gear = ".cell-actions .button:not(.danger)"

var views = []view{
	{"topology", visits("#/topology", "svg [data-site]")},
	{"topology-table", func(b *tab) {
		b.visit("#/topology", ".segments")
		b.click(at(".page-head .segments button:last-child, .segments button:last-child"))
		b.holds("document.querySelector('table.halves')")
	}},
	{"links", visits("#/links", "table.links")},
	{"links-no-match", func(b *tab) {
		b.visit("#/links", "table.links")
		b.fill(at(".search"), "nowhere")
		b.holds("!document.querySelector('table.links')")
	}},
	{"link", visits("#/link/site-a/site-b", "main pre")},
	{"link-elsewhere", visits("#/link/site-c/site-a", ".link-title")},
	{"link-missing", visits("#/link/site-b/site-c", ".empty")},
	{"revisions", visits("#/revisions", "main .diff")},
	{"findings", visits("#/findings", ".finding")},
	{"create", opens(".page-head .primary", ".editor input")},
	{"create-empty", func(b *tab) {
		opens(".page-head .primary", ".editor input")(b)
		b.click(at(".dialog-foot .primary"))
		b.holds(at(".field-error"))
	}},
	{"settings", opens(gear, ".editor .diff, .editor .empty-line")},
	{"settings-open", func(b *tab) {
		opens(gear, ".editor .diff, .editor .empty-line")(b)
		b.click(at(`[data-field="ssl.enable"] button`))
		b.do("document.querySelectorAll('dialog details').forEach((one) => { one.open = true; })")
		b.holds(at(".editor .preview:not(.old)"))
	}},
	{"settings-refused", func(b *tab) {
		opens(gear, ".editor .diff, .editor .empty-line")(b)
		b.fill(at(topicRow), "bad/#/filter")
		b.holds(at(".field-error"))
	}},
	{"probe", func(b *tab) {
		opens(gear, ".editor .diff, .editor .empty-line")(b)
		b.click(at(".dialog-foot .button"))
		b.holds(at(".steps li:last-child"))
	}},
	{"leave", func(b *tab) {
		opens(gear, ".editor .diff, .editor .empty-line")(b)
		b.fill(at(topicRow), "other/#")
		b.holds(at(".editor .diff"))
		b.press(kb.Escape)
		b.holds(at(`[data-kind="leave"]`))
	}},
	{"disable", opens(".cell-enable button", ".diff")},
	{"delete", opens(".cell-actions .danger", ".diff")},
	{"suspend", func(b *tab) {
		b.visit("#/link/site-a/site-b", "main pre")
		b.click(`[...document.querySelectorAll('.page-head .button')].find((el) => el.querySelector('.icon-pause'))`)
		b.holds(at("dialog textarea, textarea"))
	}},
	{"process", func(b *tab) {
		b.visit("#/links", "table.links")
		b.click(at(".process"))
		b.holds("document.querySelector('.menu:popover-open')")
	}},
	{"preferences", func(b *tab) {
		b.visit("#/links", "table.links")
		b.click(at(".top-end > .button"))
		b.holds("document.querySelector('.menu:popover-open')")
	}},
}

// shut leaves what a view has opened.
func (b *tab) shut() {
	b.t.Helper()
	const open = "document.querySelector('dialog[open], .menu:popover-open')"
	until(b.t, "the windows to close", func() bool {
		switch {
		case !eval[bool](b, "!!"+open):
			return true
		case eval[bool](b, `!!document.querySelector('[data-kind="leave"]')`):
			b.click(at(`[data-kind="leave"] .danger`))
		default:
			b.press(kb.Escape)
		}
		return false
	})
}

// TestBrowserLooks shows every page and window in both languages, both themes
// and on a phone. CLINK_AXE names axe-core's axe.min.js, with which each is
// then judged; CLINK_SCREENSHOTS a directory that keeps how each looks.
func TestBrowserLooks(t *testing.T) {
	if testing.Short() {
		t.Skip("the same pages over and over")
	}
	d := startThree(t)
	browser := openBrowser(t)
	name, secret := d.apiKey()
	axe := readAxe(t)
	for _, lang := range []string{"en", "zh"} {
		t.Run(lang, func(t *testing.T) {
			b := newTab(t, browser, d, look{lang, "light", 1400, 868})
			b.excuse("status of 400", "status of 401")
			b.open("")
			b.holds(at("input"))
			b.judge(axe, lang, "sign-in")
			b.fill(at(`[name="key"]`), name)
			b.fill(at(`[name="secret"]`), "wrong")
			b.press(kb.Enter)
			b.holds(at(".form-error:not([hidden])"))
			b.judge(axe, lang, "sign-in-refused")
			b.fill(at(`[name="secret"]`), secret)
			b.press(kb.Enter)
			b.settled()
			for _, v := range views {
				v.show(b)
				b.judge(axe, lang, v.name)
				b.shut()
				b.visit("#/findings", ".finding")
			}
		})
	}
}

// Names of any length find room on a phone.
func TestBrowserFitsLongNames(t *testing.T) {
	name := strings.Repeat("plant-in-the-north-", 5)
	dir := copyExample(t, "two-sites")
	rewrite(t, dir, func(text string) string { return strings.ReplaceAll(text, `"site-b"`, `"`+name+`"`) })
	d := start(t, dir, t.TempDir())
	b := newTab(t, openBrowser(t), d, look{"en", "light", 375, 812})
	b.signIn(d)
	for _, v := range []view{
		{"topology", visits("#/topology", "svg [data-site]")},
		{"links", visits("#/links", "table.links")},
		{"links of a site", visits("#/links/"+name, "table.links")},
		{"link", visits("#/link/site-a/"+name, "main pre")},
		{"revisions", visits("#/revisions", "main .diff, main .empty-line")},
		{"settings", func(b *tab) {
			b.visit("#/links", "table.links")
			b.click(at(gear))
			b.holds(at(".editor input"))
		}},
	} {
		v.show(b)
		b.shoot("long-" + v.name)
		if wide := eval[[]string](b, tooWide); len(wide) > 0 {
			t.Errorf("%s: wider than the screen: %q", v.name, wide)
		}
	}
}

func readAxe(t *testing.T) string {
	t.Helper()
	at := os.Getenv("CLINK_AXE")
	if at == "" {
		t.Log("without axe-core: CLINK_AXE does not name an axe.min.js")
		return ""
	}
	text, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// judge looks at what is shown in both themes and widths.
func (b *tab) judge(axe, lang, name string) {
	b.t.Helper()
	for _, width := range []int{375, 1400} {
		for _, theme := range []string{"dark", "light"} {
			l := look{lang, theme, width, 868}
			if width == 375 {
				l.height = 812
			}
			b.as(l)
			if os.Getenv("CLINK_SCREENSHOTS") != "" {
				b.shoot(fmt.Sprintf("%s-%d-%s-%s", name, width, lang, theme))
			}
			if axe != "" && width == 1400 {
				b.axe(axe, name, theme)
			}
		}
		if wide := eval[[]string](b, tooWide); len(wide) > 0 {
			b.t.Errorf("%s: wider than %d pixels: %q", name, width, wide)
		}
	}
}

// tooWide are the parts that make the page scroll sideways.
const tooWide = `(() => {
	const room = document.documentElement.clientWidth;
	const roots = [document.documentElement, ...document.querySelectorAll('dialog[open] .dialog-body')];
	return roots.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.className + ' ' + one.scrollWidth + ': ' +
		[...one.querySelectorAll('*')].filter((el) => el.getBoundingClientRect().right > room + 1).slice(0, 3).map((el) => el.tagName + '.' + el.className).join(' '));
})()`

// axe fails the test for each rule of axe-core that the page breaks. The other
// theme changes nothing but colours.
func (b *tab) axe(source, name, theme string) {
	b.t.Helper()
	if !eval[bool](b, "!!window.axe") {
		b.run(chromedp.Evaluate[chromedp.Void](source))
	}
	options := "{}"
	if theme == "dark" {
		options = "{ runOnly: ['color-contrast', 'link-in-text-block'] }"
	}
	for _, fault := range eval[[]string](b, `axe.run(document, Object.assign(`+options+`, { resultTypes: ['violations'] })).then((r) =>
		r.violations.flatMap((v) => v.nodes.map((n) => v.id + ': ' + n.target.join(' ') + ': ' + n.failureSummary)))`) {
		b.t.Errorf("%s in %s: %s", name, theme, fault)
	}
}

// The first page is light, and comes at once. How soon is told, not tested.
func TestBrowserLoadsQuickly(t *testing.T) {
	if testing.Short() {
		t.Skip("the same page ten times")
	}
	d := startThree(t)
	browser := openBrowser(t)
	var paints []float64
	for range 10 {
		b := newTab(t, browser, d, desk)
		b.open("")
		b.holds("performance.getEntriesByName('first-contentful-paint').length")
		b.holds(at("input"))
		paints = append(paints, eval[float64](b, "performance.getEntriesByName('first-contentful-paint')[0].startTime"))
		if b.weight > 300_000 || b.weight < 10_000 {
			t.Errorf("the page weighs %.0f bytes", b.weight)
		}
		if len(paints) == 10 {
			t.Logf("the page weighs %.0f bytes", b.weight)
		}
		call(b, page.Close, cdp.Empty{})
	}
	slices.Sort(paints)
	t.Logf("first contentful paint after %.0f ms in the median of ten, %.0f to %.0f", (paints[4]+paints[5])/2, paints[0], paints[9])
}
