package command_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// focused is how people know what has the focus: its name, after the kind of
// the element.
const focused = `(() => {
	const el = document.activeElement;
	const name = el.getAttribute('aria-label') ?? el.labels?.[0]?.innerText ?? el.innerText ?? '';
	return el.tagName.toLowerCase() + ' ' + name.replace(/\s*\*?\s*$/, '').trim().split('\n')[0];
})()`

// tab presses Tab until what is wanted has the focus, which must show there. It
// gives up when the focus has gone round.
func (b *tab) tab(element string) {
	b.t.Helper()
	var passed []string
	for range 100 {
		b.press(kb.Tab)
		if eval[bool](b, element+" === document.activeElement") {
			b.shows()
			return
		}
		passed = append(passed, eval[string](b, focused))
	}
	b.t.Fatalf("Tab does not lead to %s, but past\n%s", element, strings.Join(slices.Compact(passed), "\n"))
}

// shows is that what has the focus can be told from what has not.
func (b *tab) shows() {
	b.t.Helper()
	if how := eval[string](b, `(() => {
		const el = document.activeElement, box = el.getBoundingClientRect(), style = getComputedStyle(el);
		const marked = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== 'none';
		if (!el.matches(':focus-visible') || !marked) return 'unmarked';
		return box.bottom <= 0 || box.top >= innerHeight ? 'out of sight' : '';
	})()`); how != "" {
		b.t.Errorf("%s has the focus, and is %s", eval[string](b, focused), how)
	}
}

// types writes where the focus is.
func (b *tab) types(text string) {
	b.t.Helper()
	for _, r := range text {
		b.press(string(r))
	}
}

// has waits until an element has the focus.
func (b *tab) has(element string) {
	b.t.Helper()
	b.holds(element + " === document.activeElement")
}

// A pair is created with Tab, Enter and Escape alone, from the sign-in on.
func TestBrowserTakesKeysAlone(t *testing.T) {
	d, repo := startUnlinked(t)
	b := newTab(t, openBrowser(t), d, desk)
	b.excuse("status of 401", "status of 412")
	b.open("")
	b.has(named("API key")) // at once, without a Tab
	name, secret := d.apiKey()
	b.types(name)
	b.tab(named("Secret"))
	b.types(secret)
	b.press(kb.Enter)
	b.settled()

	b.tab(named("Cluster links"))
	b.press(kb.Enter)
	b.sees("No cluster links yet")
	create := `document.querySelector('.page-head .primary')`
	b.tab(create)
	b.press(kb.Enter)
	b.holds(at(".editor input"))
	b.press(kb.Escape) // nothing was typed: no question
	b.dialogGone()
	b.has(create)
	b.press(kb.Enter)
	b.holds(at(".editor input"))
	b.tab(named("site-b"))
	b.press(kb.Enter)
	b.holds(named("Server address") + ".value === " + quoted("127.0.0.1:"+d.port("site-b")))
	b.tab(named("Generate username and password"))
	b.press(kb.Enter)
	b.tab(at(`[data-field="topics"] li input`))
	b.types("from-b/#")
	b.press(kb.Enter) // another row
	b.types("more/#")
	b.tab(at(`[data-field="peer_topics"] li input`))
	b.types("from-a/#")
	b.press(kb.Escape)
	b.sees("There are changes that are not saved.")
	b.has(named("Go on editing"))
	b.press(kb.Enter)
	b.holds(`!document.querySelector('[data-kind="leave"]')`)
	b.checked(good)
	// The focus stays in the window, and goes round in it.
	b.tab(at(".dialog-foot .primary"))
	b.tab(at(".dialog-head button"))
	b.tab(at(".dialog-foot .primary"))
	b.press(kb.Enter)
	b.dialogGone()
	b.has(create)
	d.online("site-a", "site-b")
	d.online("site-b", "site-a")
	if diff := repo.git("diff", "-U0"); !strings.Contains(diff, `topics: ["from-b/#", "more/#"]`) || !strings.Contains(diff, `topics: ["from-a/#"]`) {
		t.Errorf("the edit is\n%s", diff)
	}

	// What somebody else changes meanwhile takes the focus from no control, be it
	// seen or behind a window.
	b.tab(named("Settings of site-a to site-b"))
	for _, topic := range []string{"theirs/#", "others/#"} {
		d.edit("site_a.cue", `"more/#"`, `"more/#", "`+topic+`"`)
		b.holds(at("table.links") + ".innerText.includes(" + quoted(topic) + ")")
		b.has(named("Settings of site-a to site-b"))
	}
	b.press(kb.Enter)
	b.holds(at(topicRow))
	d.edit("site_a.cue", `, "theirs/#"`, "")
	b.holds("!document.querySelector('table.links').innerText.includes('theirs/#')")
	b.press(kb.Escape)
	b.dialogGone()
	b.has(named("Settings of site-a to site-b"))

	// And the pair is taken away again, from the table.
	b.tab(named("Delete site-a to site-b"))
	b.press(kb.Enter)
	b.sees("Change of the source")
	b.tab(named("Delete"))
	b.press(kb.Enter)
	b.dialogGone()
	b.sees("No cluster links yet")
	b.has("document.querySelector('main')") // what had it is gone
}
