package broker

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func lasting(n *Node) string {
	var all []string
	for _, r := range n.Lasting() {
		all = append(all, r.Group+":"+string(r.Filter))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// The routes of sessions that are stored last, connected or not, and those are
// named that the next node has.
func TestLasting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	n, end := once(t, dir)
	connect(t, n, "kept", keepSession(3600)).sub(t, "a", "$share/g/b")
	away := connect(t, n, "away", keepSession(3600))
	away.sub(t, "a", "c")
	connect(t, n, "passing").sub(t, "c", "d")
	away.drop(t, n, "away")
	const want = ":a :c g:b"
	if got := lasting(n); got != want {
		t.Errorf("%q last, want %q", got, want)
	}
	end()
	if got := lasting(n); got != want {
		t.Errorf("after its end %q last, want %q", got, want)
	}
	n, _ = once(t, dir)
	var now []string
	routes, stop := n.Routes().Watch(func(Route, bool) {})
	defer stop()
	for _, r := range routes {
		now = append(now, r.Group+":"+string(r.Filter))
	}
	slices.Sort(now)
	if got := strings.Join(now, " "); got != want {
		t.Errorf("the next node has %q, want %q", got, want)
	}
}

func TestNothingLastsWithoutStore(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	connect(t, n, "kept", keepSession(3600)).sub(t, "a")
	if got := lasting(n); got != "" {
		t.Errorf("%q last", got)
	}
}
