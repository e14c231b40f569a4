package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// apiKey is the daemon's key and its secret.
func (d *daemon) apiKey() (string, string) {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.data, "api-key"))
	if err != nil {
		d.t.Fatal(err)
	}
	name, secret, _ := strings.Cut(strings.TrimSpace(string(b)), ":")
	return name, secret
}

func (b *tab) enterKey(name, secret string) {
	b.t.Helper()
	b.fill(named("API key"), name)
	b.fill(named("Secret"), secret)
	b.press(kb.Enter)
}

func TestBrowserSignsIn(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	browser := openBrowser(t)
	b := newTab(t, browser, d, desk)
	b.excuse("status of 401")
	b.open("")
	name, secret := d.apiKey()
	b.enterKey(name, "wrong")
	b.holds(`document.querySelector('.form-error')?.innerText.length > 5`)
	if got := b.value(named("API key")); got != name {
		t.Errorf("the key typed has become %q", got)
	}
	b.enterKey(name, secret)
	b.settled()
	// The session lasts beyond the page, and ends when one says so.
	b.open("")
	b.settled()
	b.click(named("Preferences and account"))
	b.sees("Administrator")
	b.click(named("Sign out"))
	b.holds(named("API key"))
	b.open("")
	b.holds(named("API key"))
	// The line of the key file, whole, is a key too.
	b.fill(named("API key"), name+":"+secret)
	b.press(kb.Enter)
	b.settled()

	once := newTab(t, browser, d, desk)
	once.signIn(d)
	if at := eval[string](once, "location.href"); strings.Contains(at, "token") {
		t.Errorf("the token stays in the address %s", at)
	}
	again := newTab(t, browser, d, desk)
	again.excuse("status of 401")
	m := dashboardLine.FindStringSubmatch(d.out.String())
	again.open("#token=" + m[2])
	again.sees("has been used")
}

// A daemon that ends and comes back while a window is open takes nothing with
// it; a new process asks for the key anew.
func TestBrowserOutlivesDaemon(t *testing.T) {
	t.Parallel()
	d, repo, b := startPair(t)
	b.excuse("ERR_CONNECTION", "ERR_INCOMPLETE", "ERR_EMPTY", "ERR_NETWORK", "status of 401", "status of 503")
	b.click(named("Settings of site-a to site-b"))
	b.holds(`document.querySelector('dialog[open] [data-field="topics"] li input') !== null`)
	d.stop()
	b.fill(at(topicRow), "kept/#")
	b.sees("clinkd does not answer. What you typed is kept")
	b.shoot("daemon-away")
	start(t, d.dir, d.data, "--http", d.http)
	b.sees("Sign in again")
	b.shoot("sign-in-again")
	b.enterKey(d.apiKey())
	b.holds("document.querySelectorAll('dialog[open]').length === 1")
	if got := b.value(at(topicRow)); got != "kept/#" {
		t.Errorf("what was typed has become %q", got)
	}
	b.checked(good)
	b.click(named("Save"))
	b.dialogGone()
	repo.edited("site_a.cue +1 -1")
}

// A viewer sees what there is; what changes it is off, and says why.
func TestBrowserShowsViewer(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("olga:right:administrator\nvera:right:viewer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := copyExample(t, "two-sites")
	d := start(t, dir, t.TempDir(), "--api-keys", keys)
	b := newTab(t, openBrowser(t), d, desk)
	b.open("")
	b.enterKey("vera", "right")
	b.settled()
	b.visit("#/links", "table.links")
	const why = "Your key is a viewer’s: it may look at everything and change nothing."
	off := func(names ...string) {
		t.Helper()
		for _, name := range names {
			b.holds(named(name) + `?.getAttribute('aria-disabled') === 'true'`)
			b.holds(named(name) + `.getAttribute('aria-description') === ` + quoted(why))
			b.click(named(name))
		}
		b.holds("!document.querySelector('dialog[open]')")
	}
	off("Create", "Settings of site-a to site-b", "Delete site-a to site-b", "Enable site-a to site-b")
	b.visit("#/link/site-a/site-b", ".link-title")
	b.sees("acl.conf")
	b.sees("site_a.cue")
	off("Settings", "Test connection", "Suspend", "Delete")
	for fragment, words := range map[string]string{"#/topology": "The fleet", "#/revisions": "In force", "#/findings": "No findings"} {
		b.visit(fragment, "h1")
		b.sees(words)
	}
}

// hostile is text that a page which takes text for markup would run.
const hostile = `<img src=x onerror=document.title='pwned'><b>bold</b>`

func TestBrowserInjectsNothing(t *testing.T) {
	t.Parallel()
	dir := copyExample(t, "two-sites")
	rewrite(t, dir, func(text string) string {
		text = strings.ReplaceAll(text, `topics: ["global/#"]`, fmt.Sprintf("topics: [%q]", hostile+"/#"))
		text = strings.ReplaceAll(text, `username: "site-a"`, fmt.Sprintf("username: %q", hostile))
		return strings.ReplaceAll(text, `access: anonymous`, fmt.Sprintf("labels: note: %q\n\taccess: anonymous", hostile))
	})
	d := start(t, dir, t.TempDir())
	b := newTab(t, openBrowser(t), d, desk)
	b.signIn(d)
	clean := func(selector string) {
		t.Helper()
		b.holds(at(selector) + "?.checkVisibility()")
		b.holds("!document.querySelector('img, main b b, .topics b') && !document.title.includes('pwned')")
	}
	clean("svg [data-site]")
	b.holds(`document.querySelector('svg [data-a] title')?.textContent.includes(` + quoted(hostile) + `)`)
	b.click(named("Table"))
	b.sees(hostile + "/#")
	b.sees("note: " + hostile)
	clean("table.halves")
	b.visit("#/links", "table.links")
	b.sees(hostile + "/#")
	clean("table.links")
	b.click(named("Settings of site-a to site-b"))
	b.holds(at(topicRow) + "?.value === " + quoted(hostile+"/#"))
	b.fill(at(topicRow), hostile+"/new/#")
	b.checked("C")
	b.sees("+")
	b.holds(`document.querySelector('dialog .diff')?.innerText.includes(` + quoted(hostile+"/new/#") + `)`)
	clean(".diff")
	b.click(named("Save"))
	b.dialogGone()
	b.visit("#/link/site-a/site-b", ".link-title")
	b.sees(hostile + "/new/#")
	b.visit("#/link/"+strings.ReplaceAll(hostile, " ", "%20")+"/site-b", "main h2, main h1, main b, main strong, .empty")
	b.sees(hostile)
	b.visit("#/revisions", "main .revision-list")
	b.sees("/new/#")
	clean("main .diff")
}

// Many topics are pasted at once, and all of them are there.
func TestBrowserTakesManyTopics(t *testing.T) {
	t.Parallel()
	d, repo, b := startPair(t)
	const n = 500
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("line/%03d/#", i))
	}
	b.click(named("Settings of site-a to site-b"))
	b.click(at(`[data-field="topics"] > .tools .ghost`))
	b.fill(at(`[data-field="topics"] textarea`), strings.Join(all, "\n"))
	b.click(named("Add these"))
	b.holds(fmt.Sprintf("document.querySelectorAll(%q).length === %d", topicRow, n+1))
	b.checked("C")
	b.checked(good)
	b.sees("501 topics")
	b.shoot("many-topics")
	b.click(named("Save"))
	b.dialogGone()
	until(t, "the topics", func() bool { return len(d.link("site-a", "site-b").Topics) == n+1 })
	diff := repo.git("diff", "-U0", "--ignore-all-space")
	if strings.Count(diff, "\n-") > 2 || strings.Count(diff, "line/") != n || strings.Count(diff, "\n+") > n+4 {
		t.Errorf("the edit is\n%.3000s", diff)
	}
}

// The language and the theme are chosen in the page, and kept.
func TestBrowserSpeaksChinese(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	b := newTab(t, openBrowser(t), d, look{"", "light", 1400, 868})
	b.signIn(d)
	background := func() string { return eval[string](b, "getComputedStyle(document.body).backgroundColor") }
	light := background()
	b.click(named("Preferences and account"))
	b.click(named("中文"))
	b.holds("document.documentElement.lang === 'zh-CN'")
	b.click(named("集群连接"))
	b.click(named("创建"))
	for _, word := range []string{"集群名称", "服务器地址", "客户端 ID 前缀", "用户名", "密码", "主题", "启用 TLS", "高级设置"} {
		b.sees(word)
	}
	b.press(kb.Escape)
	b.dialogGone()
	b.click(at(".top-end > .button"))
	b.click(named("深色"))
	if dark := background(); dark == light {
		t.Errorf("dark is %s, as is light", dark)
	}
	b.run(chromedp.Reload())
	b.settled()
	if lang, dark := eval[string](b, "document.documentElement.lang"), background(); lang != "zh-CN" || dark == light {
		t.Errorf("after a reload the language is %s and the background %s", lang, dark)
	}
}
