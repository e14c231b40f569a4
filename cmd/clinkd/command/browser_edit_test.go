package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// unlinked is a site without links, as somebody wrote it down.
const unlinked = `package topology

// %[1]s, as it came from the plant.
sites: %[1]q: {
	listeners: mqtt: bind: "127.0.0.1:%[2]s"   // loopback
	access: anonymous: true
}
`

// startUnlinked runs two sites that know nothing of each other.
func startUnlinked(t *testing.T) (*daemon, work) {
	t.Helper()
	dir := copyExample(t, "two-sites")
	for site, file := range map[string]string{"site-a": "site_a.cue", "site-b": "site_b.cue"} {
		if err := os.WriteFile(filepath.Join(dir, file), fmt.Appendf(nil, unlinked, site, freePort(t)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	repo := commitAll(t, dir)
	return start(t, dir, t.TempDir()), repo
}

// edits is what git says was changed: "file +n -m" for each file; the change
// is then committed.
func (w work) edits() string {
	w.t.Helper()
	var l []string
	for line := range strings.Lines(w.git("diff", "--numstat")) {
		f := strings.Fields(line)
		l = append(l, fmt.Sprintf("%s +%s -%s", f[2], f[0], f[1]))
	}
	if other := w.git("ls-files", "--others", "--exclude-standard"); other != "" {
		l = append(l, "new: "+other)
	}
	if len(l) > 0 {
		w.git("commit", "-q", "-a", "-m", "as edited")
	}
	return strings.Join(l, ", ")
}

func (w work) edited(want string) {
	w.t.Helper()
	diff := w.git("diff")
	if got := w.edits(); got != want {
		w.t.Errorf("the edit is %q, want %q:\n%s", got, want, diff)
	}
}

// A pair between two running sites takes a few clicks and two topics.
func TestBrowserCreatesPair(t *testing.T) {
	t.Parallel()
	d, repo := startUnlinked(t)
	b := newTab(t, openBrowser(t), d, desk)
	b.signIn(d)
	b.actions = 0
	b.click(named("Cluster links"))
	b.click(named("Create"))
	b.click(named("site-b"))
	if got, want := b.value(named("Server address")), "127.0.0.1:"+d.port("site-b"); got != want {
		t.Errorf("the server offered is %q, want %q", got, want)
	}
	b.click(named("Generate username and password"))
	b.fill(at(`[data-field="topics"] li input`), "from-b/#")
	b.fill(at(`[data-field="peer_topics"] li input`), "from-a/#")
	b.checked(good)
	b.sees("from-b/#")
	b.shoot("create-ready")
	b.click(at(".dialog-foot .primary"))
	b.dialogGone()
	if b.actions > 12 {
		t.Errorf("it takes %d actions", b.actions)
	}
	t.Logf("a pair takes %d actions", b.actions)
	d.online("site-a", "site-b")
	d.online("site-b", "site-a")
	a, z := connect(t, d.port("site-a"), "at-a"), connect(t, d.port("site-b"), "at-b")
	a.subscribe("from-b/x", 1)
	z.subscribe("from-a/x", 1)
	flows(t, z, a, "from-b/x")
	flows(t, a, z, "from-a/x")
	until(t, "the state Flowing", func() bool {
		z.publish("from-b/x", "more", 1)
		return eval[bool](b, "document.body.innerText.includes('Flowing')")
	})
	// Only lines that the pair needs, and no credential in them.
	diff := repo.git("diff", "-U0")
	if strings.Contains(diff, "\n-\t") || strings.Contains(diff, "\n- ") || !strings.Contains(diff, "file://") {
		t.Errorf("the edit is\n%s", diff)
	}
	for _, word := range []string{`links: "site-b"`, `links: "site-a"`, `topics: ["from-b/#"]`, `topics: ["from-a/#"]`} {
		if !strings.Contains(diff, word) {
			t.Errorf("the edit has no %s:\n%s", word, diff)
		}
	}
	if n := strings.Count(diff, "\n+\t"); n != 12 {
		t.Errorf("%d lines were added:\n%s", n, diff)
	}
}

// startPair is two linked sites, and a page that shows their links.
func startPair(t *testing.T, flags ...string) (*daemon, work, *tab) {
	t.Helper()
	dir := copyExample(t, "two-sites")
	repo := commitAll(t, dir)
	d := start(t, dir, t.TempDir(), flags...)
	d.online("site-a", "site-b")
	b := newTab(t, openBrowser(t), d, desk)
	b.signIn(d)
	b.visit("#/links", "table.links")
	return d, repo, b
}

const topicRow = `[data-field="topics"] li input`

func TestBrowserEditsLink(t *testing.T) {
	t.Parallel()
	d, repo, b := startPair(t)
	a, z := connect(t, d.port("site-a"), "at-a"), connect(t, d.port("site-b"), "at-b")

	b.click(named("Settings of site-a to site-b"))
	b.fill(at(topicRow), "new/#")
	b.checked(good)
	b.sees("new/#")
	b.click(named("Save"))
	b.dialogGone()
	repo.edited("site_a.cue +1 -1")
	a.subscribe("new/x", 1)
	flows(t, z, a, "new/x")

	for _, word := range []string{"Disable", "Enable"} {
		b.click(named("Enable site-a to site-b"))
		b.sees("Topics that cross")
		b.click(named(word))
		b.dialogGone()
		if word == "Disable" {
			repo.edited("site_a.cue +1 -0, site_b.cue +1 -0")
			b.holds(at(".cell-state") + ".innerText.includes('Disabled')")
			continue
		}
		b.holds(at(".cell-state") + ".innerText.match(/Ready|Flowing/)")
	}
	d.online("site-a", "site-b")
	flows(t, z, a, "new/x")
	repo.edited("site_a.cue +1 -1, site_b.cue +1 -1")

	b.click(named("Delete site-a to site-b"))
	b.sees("Change of the source")
	b.click(named("Delete"))
	b.dialogGone()
	b.sees("No cluster links yet")
	until(t, "the link to end", func() bool { return d.link("site-a", "site-b").Name == "" })
	if diff := repo.git("diff", "-U0"); strings.Contains(diff, "\n+\t") || !strings.Contains(diff, "-\t\tserver:") || repo.git("status", "--porcelain", "--untracked-files") != " M site_a.cue\n M site_b.cue" {
		t.Errorf("deleting is\n%s", diff)
	}
}

// What the server refuses, and what a probe finds, stands beside the field,
// and nothing is written.
func TestBrowserIsRefused(t *testing.T) {
	t.Parallel()
	_, repo, b := startPair(t)
	b.excuse("status of 400", "status of 409")
	b.click(named("Settings of site-a to site-b"))
	server := at(`[data-field="server"] input`)
	b.fill(server, "127.0.0.1:1")
	b.click(named("Test connection"))
	b.sees("It does not work.")
	b.holds(at(`.steps [data-ok="false"]`) + ".innerText.startsWith('TCP')")
	b.shoot("probe-wrong-server")
	b.fill(at(topicRow), "bad/#/filter")
	b.holds(at(`[data-field="topics"] .field-error`))
	b.holds(at(topicRow) + ".getAttribute('aria-invalid') === 'true'")
	b.click(named("Save"))
	b.checked("2 errors")
	if b.value(at(topicRow)) != "bad/#/filter" || b.value(server) != "127.0.0.1:1" {
		t.Error("what was typed is lost")
	}
	b.shoot("refused-by-findings")
	repo.edited("")
	// Nothing is thrown away without a word.
	b.press(kb.Escape)
	b.sees("There are changes that are not saved.")
	b.click(named("Go on editing"))
	b.press(kb.Escape)
	b.click(named("Discard them"))
	b.dialogGone()
}

func TestBrowserMeetsConflict(t *testing.T) {
	t.Parallel()
	d, repo, b := startPair(t)
	b.excuse("status of 412")
	b.click(named("Settings of site-a to site-b"))
	b.fill(at(topicRow), "mine/#")
	b.checked(good)
	d.edit("site_a.cue", `topics: ["global/#"]`, `topics: ["theirs/#"]`)
	b.sees("Changed meanwhile")
	for _, word := range []string{"global/#", "theirs/#", "mine/#"} {
		b.holds(at(".conflict") + ".innerText.includes(" + quoted(word) + ")")
	}
	b.shoot("conflict")
	if b.value(at(topicRow)) != "mine/#" {
		t.Error("what was typed is lost")
	}
	repo.edited("site_a.cue +1 -1")
	b.click(named("Go on with this"))
	b.checked(good)
	b.click(named("Save"))
	b.dialogGone()
	if diff := repo.git("diff", "-U0"); !strings.Contains(diff, `-		topics: ["theirs/#"]`) || !strings.Contains(diff, `+		topics: ["mine/#"]`) {
		t.Errorf("the edit is\n%s", diff)
	}
	repo.edited("site_a.cue +1 -1")
}
