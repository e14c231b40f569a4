package writeback

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"

	"clink/compiler"
	"clink/source/splice"
	"clink/topology"
)

// rest deletes the links that a list which is to be all of them leaves out.
func (c *change) rest(links []topology.Link) error {
	var left []string
	for _, l := range links {
		if !slices.ContainsFunc(c.r.Links, func(m map[string]any) bool { return m["name"] == l.Name }) {
			left = append(left, l.Name)
		}
	}
	if len(left) > 0 && !c.r.Prune {
		return refuse(WouldPrune, "the list leaves out %s, and would delete what it leaves out: send them too, or ask with prune=true", strings.Join(left, ", "))
	}
	for _, peer := range left {
		c.drop(peer)
	}
	return nil
}

// others adds the edits of the peers' halves: a half that is missing is
// generated, one that is there is enabled or disabled as ours is and has its
// topics as asked for. It reports
// whether there are any.
func (c *change) others() bool {
	n := len(c.edits)
	for _, e := range c.edits[:n:n] {
		if e.Want == nil || c.after.Topology.Sites[e.Peer] == nil {
			continue
		}
		ours, ok := c.after.Topology.Sites[e.Site].Link(e.Peer)
		if !ok {
			continue
		}
		if half, ok := c.after.Topology.Sites[e.Peer].Link(e.Site); ok {
			if half.Enable != ours.Enable || c.r.Theirs != nil {
				c.alike(e, ours.Enable)
			}
			continue
		}
		if other, ok := compiler.OtherHalf(c.after.Topology, e.Site, e.Peer); ok {
			c.generate(e, other, ours.Enable)
		}
	}
	return len(c.edits) > n
}

// alike enables or disables the other half, and gives it the topics asked for.
func (c *change) alike(e splice.LinkEdit, enable bool) {
	current, ok := c.before.Given(e.Peer, e.Site)
	if !ok {
		return
	}
	want := maps.Clone(current)
	want["enable"] = enable
	if c.r.Theirs != nil {
		want["topics"] = c.r.Theirs
	}
	c.edits = append(c.edits, splice.LinkEdit{Site: e.Peer, Peer: e.Site, Want: want, Override: e.Override})
}

// generate writes the half that is missing. It has a password of its own where
// nothing else would prove who comes.
func (c *change) generate(e splice.LinkEdit, half compiler.Half, enable bool) {
	want := map[string]any{"server": half.Server, "topics": append([]any{}, c.r.Theirs...)}
	if !enable {
		want["enable"] = false
	}
	if half.TLS {
		want["ssl"] = map[string]any{"enable": true, "cacertfile": half.CACertFile}
	}
	if half.Unproven {
		want["username"] = e.Peer
		want["password"] = c.vault.secret(e.Peer, e.Site, "", []byte(rand.Text()+rand.Text()))
	}
	c.edits = append(c.edits, splice.LinkEdit{Site: e.Peer, Peer: e.Site, Want: want})
	c.created = append(c.created, Half{e.Peer, e.Site})
}

// String names a half as people do.
func (h Half) String() string { return fmt.Sprintf("%s's link to %s", h.Site, h.Peer) }
