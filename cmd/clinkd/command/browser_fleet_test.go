package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
)

// writeFleet writes n sites in a ring, each with a link to the ten around it.
func writeFleet(t *testing.T, n int) string {
	t.Helper()
	dir := copyExample(t, "two-sites")
	for _, file := range []string{"site_a.cue", "site_b.cue"} {
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	ports := map[string]bool{}
	for len(ports) < n {
		ports[freePort(t)] = true
	}
	at := make([]string, 0, n)
	for port := range ports {
		at = append(at, "127.0.0.1:"+port)
	}
	for i := range n {
		var links strings.Builder
		for _, step := range []int{-5, -4, -3, -2, -1, 1, 2, 3, 4, 5} {
			peer := (i + step + n) % n
			fmt.Fprintf(&links, "\tcluster: links: \"s%03d\": {server: %q, pool_size: 1, topics: [\"global/#\"], username: \"s%03d-s%03d\", password: \"file://secrets/site-a-to-site-b\"}\n", peer, at[peer], i, peer)
		}
		text := fmt.Sprintf("package topology\n\nsites: \"s%03d\": {\n\tlisteners: mqtt: bind: %q\n\taccess: anonymous: true\n%s}\n", i, at[i], &links)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("s%03d.cue", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// quicker has the page ask for figures ten times as often, and takes down each
// task that keeps its thread busy for more than 50 ms.
const quicker = `{
	const ask = window.fetch;
	window.fetch = (at, ...rest) => {
		const quick = String(at).replace('rates=1s', 'rates=100ms');
		window.isQuick ||= quick !== String(at);
		return ask(quick, ...rest);
	};
	window.tasks = [];
	new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((one) => one.duration))).observe({ type: 'longtask', buffered: true });
}`

// A fleet of 200 sites and 2,000 links at ten updates a second leaves the page
// time for whoever uses it. How long its longest task takes is told, not
// tested: it says as much of the machine.
func TestBrowserFollowsFleet(t *testing.T) {
	if os.Getenv("CLINK_LONG") != "1" {
		t.Skip("CLINK_LONG=1 runs it")
	}
	d := start(t, writeFleet(t, 200), t.TempDir())
	until(t, "all links", func() bool {
		var all []link
		d.get("/sites/s199/cluster/links", &all)
		return len(all) == 10 && !slices.ContainsFunc(all, func(l link) bool { return l.Status != "connected" })
	})
	b := newTab(t, openBrowser(t), d, desk)
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: quicker})
	b.signIn(d)
	b.holds("window.isQuick")
	for _, v := range []view{
		{"begin", func(*tab) {}},
		{"topology", visits("#/topology", "svg [data-site]")},
		{"links", visits("#/links", "table.links")},
		{"link", visits("#/link/s000/s001", "main pre")},
		{"settings", func(b *tab) {
			b.visit("#/links/s000", "table.links")
			b.click(at(gear))
			b.holds(at(".editor .empty-line"))
		}},
	} {
		if v.name != "begin" { // those since the page was opened count, too
			b.do("window.tasks = []")
		}
		b.do("window.from = performance.now()")
		v.show(b)
		b.holds("performance.now() - window.from > 5000")
		tasks := eval[[]float64](b, "window.tasks")
		slices.Sort(tasks)
		t.Logf("%s: %d tasks over 50 ms in 5 s, the longest %.0f ms", v.name, len(tasks), append([]float64{0}, tasks...)[len(tasks)])
	}
}
