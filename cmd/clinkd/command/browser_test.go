package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// findBrowser is the browser that these tests drive.
func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CLINK_BROWSER") == "1" {
		t.Fatal("no browser, and CLINK_BROWSER=1 asks for one: install Debian's chromium")
	}
	t.Skip("no browser: install Debian's chromium to have the dashboard tested in one")
	return ""
}

// openBrowser starts a headless browser that ends with the test.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(findBrowser(t)), chromedp.Flag("lang", "en-US"), chromedp.Flag("force-prefers-reduced-motion", true),
		chromedp.WSURLReadTimeout(deadline))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // chromium has none for root
	}
	alloc, end := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("end the browser: %v", err)
		}
		end()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return ctx
}

// A look is how a page is looked at.
type look struct {
	lang, theme   string
	width, height int
}

var desk = look{"en", "light", 1400, 868}

// A tab is one page of the dashboard, with cookies of its own. What its
// console complains of, and what it asks of other hosts, fails the test.
type tab struct {
	t       *testing.T
	ctx     context.Context
	http    string // the daemon's address
	actions int    // clicks, and fields filled in

	mu      sync.Mutex
	faults  []string
	excused []string // parts of complaints that the test provokes
	weight  float64  // bytes that came over the wire
}

func newTab(t *testing.T, browser context.Context, d *daemon, l look) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	b := &tab{t: t, ctx: ctx, http: d.http}
	t.Cleanup(func() {
		if t.Failed() {
			b.lastWords()
		}
		cancel()
		b.check()
	})
	if err := chromedp.Listen(ctx, b.heard); err != nil { // opens it, too
		t.Fatal(err)
	}
	call(b, cdplog.Enable, cdp.Empty{})
	call(b, network.Enable, network.EnableParams{})
	if l.lang != "" { // else the page begins with the browser's
		call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
			Source: fmt.Sprintf("try { localStorage.setItem('clink.lang', %q) } catch {}", l.lang)})
	}
	b.as(l)
	return b
}

// as makes the page's surroundings another look; its language stays.
func (b *tab) as(l look) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: int64(l.width), Height: int64(l.height), DeviceScaleFactor: 1, Mobile: l.width < 500})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.theme}}})
}

// heard takes down what goes wrong behind the page.
func (b *tab) heard(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			b.faults = append(b.faults, fmt.Sprintf("console: %s %s", e.Type, told(e.Args)))
		}
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, fmt.Sprintf("exception: %s %s", e.ExceptionDetails.Text, told([]*runtime.RemoteObject{e.ExceptionDetails.Exception})))
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning {
			b.faults = append(b.faults, fmt.Sprintf("log: %s %s", e.Entry.Text, e.Entry.URL))
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Host != b.http && u.Scheme != "data" && u.Scheme != "blob" {
			b.faults = append(b.faults, "a request to another host: "+e.Request.URL)
		}
	case *network.EventResponseReceived:
		policy, _ := e.Response.Headers["Content-Security-Policy"].(string)
		if e.Type == network.ResourceTypeDocument && (!strings.Contains(policy, "script-src 'self'") || strings.Contains(policy, "unsafe")) {
			b.faults = append(b.faults, fmt.Sprintf("%s has the policy %q", e.Response.URL, policy))
		}
	case *network.EventLoadingFinished:
		b.weight += e.EncodedDataLength
	}
}

func told(args []*runtime.RemoteObject) string {
	var l []string
	for _, a := range args {
		l = append(l, string(a.Value)+a.Description)
	}
	return strings.Join(l, " ")
}

// excuse lets the console complain of what the test provokes: a browser logs
// each answer that is a refusal.
func (b *tab) excuse(parts ...string) { b.excused = append(b.excused, parts...) }

func (b *tab) check() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fault := range b.faults {
		if !slices.ContainsFunc(b.excused, func(part string) bool { return strings.Contains(fault, part) }) {
			b.t.Error(fault)
		}
	}
}

// lastWords shows what a failed test was looking at.
func (b *tab) lastWords() {
	if text, err := try(b, chromedp.Evaluate[string]("document.body.innerText")); err == nil {
		b.t.Logf("the page says\n%.6000s", text)
	}
	b.shoot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
}

// shoot keeps a picture where CLINK_SCREENSHOTS says.
func (b *tab) shoot(name string) {
	dir := os.Getenv("CLINK_SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := try(b, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Errorf("picture %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
		b.t.Error(err)
	}
}

// try runs an action that may fail.
func try[T any](b *tab, action chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, deadline)
	defer cancel()
	return chromedp.Run(ctx, action)
}

func (b *tab) run(action chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if _, err := try(b, action); err != nil {
		b.t.Fatal(err)
	}
}

// call gives the browser a command of its protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, deadline)
	defer cancel()
	answer, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return answer
}

// eval evaluates an expression of JavaScript; a promise is waited for.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := try(b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%v in %.300s", err, expression)
	}
	return v
}

// do runs a statement of JavaScript.
func (b *tab) do(statement string) {
	b.t.Helper()
	eval[chromedp.Void](b, "void ("+statement+")")
}

// holds waits until an expression of JavaScript is true.
func (b *tab) holds(expression string) {
	b.t.Helper()
	until(b.t, expression, func() bool {
		ok, err := try(b, chromedp.Evaluate[bool]("!!("+expression+")"))
		return err == nil && ok
	})
}

// sees waits until the page shows a text.
func (b *tab) sees(text string) {
	b.t.Helper()
	b.holds("document.body.innerText.includes(" + quoted(text) + ")")
}

// quoted is a value as JavaScript.
func quoted(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a string or a list of them has no such fault
	}
	return string(b)
}

// open loads the dashboard at a fragment, anew.
func (b *tab) open(fragment string) {
	b.t.Helper()
	b.run(chromedp.Navigate("about:blank"))
	b.run(chromedp.Navigate("http://" + b.http + "/" + fragment))
}

// signIn opens the dashboard with the daemon's one-time token.
func (b *tab) signIn(d *daemon) {
	b.t.Helper()
	m := dashboardLine.FindStringSubmatch(d.out.String())
	if m == nil {
		b.t.Fatalf("clinkd says\n%s", d.out)
	}
	b.excuse("about:blank")
	b.open("#token=" + m[2])
	b.settled()
}

// settled waits until the page shows the fleet, live.
func (b *tab) settled() {
	b.t.Helper()
	b.holds("document.querySelector('.process .light')?.dataset.level && !document.querySelector('.loading')")
}

// visit follows a fragment within the loaded page.
func (b *tab) visit(fragment, selector string) {
	b.t.Helper()
	b.do("location.hash = " + quoted(fragment))
	b.holds("document.querySelector(" + quoted(selector) + ")?.checkVisibility()")
}

// The part of the page that can be used: what lies uppermost.
const uppermost = `([...document.querySelectorAll('.menu:popover-open')].at(-1) ?? [...document.querySelectorAll('dialog[open]')].at(-1) ?? document)`

// at is an element by its CSS selector.
func at(selector string) string {
	return uppermost + ".querySelector(" + quoted(selector) + ")"
}

// named is a control by the name that people and screen readers know it by.
func named(name string) string {
	return `[...` + uppermost + `.querySelectorAll('button, a[href], summary, input, select, textarea')].find((el) => el.checkVisibility() &&
		(el.getAttribute('aria-label') ?? el.labels?.[0]?.innerText ?? el.innerText).replace(/\s*\*?\s*$/, '').trim() === ` + quoted(name) + `)`
}

// A spot is where on the screen an element can be hit, or why it cannot.
type spot struct {
	X   float64 `json:"x"`
	Y   float64 `json:"y"`
	Why string  `json:"why"`
}

const locate = `(() => {
	const el = %s;
	if (!el) return { why: 'is not there' };
	el.scrollIntoView({ block: 'center', inline: 'nearest', behavior: 'instant' });
	const box = el.getBoundingClientRect();
	const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
	const hit = document.elementFromPoint(x, y);
	if (!box.width || !hit || !(el.contains(hit) || hit.contains(el) && hit.matches('button, label, a'))) return { why: 'is covered by ' + hit?.outerHTML.slice(0, 200) };
	if (el.disabled) return { why: 'is disabled' };
	return { x, y };
})()`

// aim lets the next click through only where it was meant for. The page may
// move between the moment a place is found and the moment it is hit, as it does
// under a user's hand; what a user would then hit is of no interest here.
const aim = `(() => {
	const el = %s;
	window.aimed?.end();
	const kinds = ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click'];
	const heed = (e) => {
		if (el?.contains(e.target) || e.target.contains?.(el) && e.target.matches('button, label, a')) {
			if (e.type === 'click') window.aimed.hit = true;
			return;
		}
		e.preventDefault();
		e.stopImmediatePropagation();
	};
	window.aimed = { hit: false, end: () => kinds.forEach((kind) => window.removeEventListener(kind, heed, true)) };
	kinds.forEach((kind) => window.addEventListener(kind, heed, true));
})()`

const struck = `(() => {
	const aimed = window.aimed;
	aimed?.end();
	return aimed?.hit ?? true;
})()`

// click hits an element with the mouse where it is, once it is there, lies
// still and nothing covers it.
func (b *tab) click(element string) {
	b.t.Helper()
	b.actions++
	var last, now spot
	until(b.t, "a click on "+element, func() bool {
		var err error
		last = now
		if now, err = try(b, chromedp.Evaluate[spot](fmt.Sprintf(locate, element))); err != nil {
			now.Why = err.Error()
		}
		if now.Why != "" || now != last {
			return false
		}
		b.do(fmt.Sprintf(aim, element))
		b.run(chromedp.MouseClickXY(now.X, now.Y))
		// A click that led to another page took the record of it along.
		hit, err := try(b, chromedp.Evaluate[bool](struck))
		return err != nil || hit
	})
}

// fill replaces what is in a field, as by typing.
func (b *tab) fill(element, text string) {
	b.t.Helper()
	b.click(element)
	b.holds(element + " === document.activeElement")
	b.do(element + ".select()")
	if text == "" {
		b.press(kb.Delete)
		return
	}
	call(b, input.InsertText, input.InsertTextParams{Text: text})
}

// press presses a key.
func (b *tab) press(key string) {
	b.t.Helper()
	b.run(chromedp.KeyEvent(key))
}

// value is what is in a field.
func (b *tab) value(element string) string {
	b.t.Helper()
	return eval[string](b, element+".value")
}

// dialogGone waits until the last dialog has closed.
func (b *tab) dialogGone() {
	b.t.Helper()
	b.holds("!document.querySelector('dialog[open]')")
}

// checked waits until the server has judged what is in the form.
func (b *tab) checked(words string) {
	b.t.Helper()
	b.holds(at(".foot-words") + "?.textContent.startsWith(" + quoted(words) + ")")
}

const good = "Checked: nothing stands against it"
