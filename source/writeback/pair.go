package writeback

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"

	"clink/compiler"
	"clink/diagnostic"
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
		if err := c.drop(peer); err != nil {
			return err
		}
	}
	return nil
}

// others adds the edits of the peers' halves: a half that is missing is
// generated, one that is there is enabled or disabled as ours is, and has its
// topics as asked for. The half of a peer that clink does not manage is not ours to make up: what it would say is
// taken for what the peer wants.
func (c *change) others() error {
	for _, e := range slices.Clone(c.edits) {
		ours, ok := c.after.Topology.Sites[e.Site].Link(e.Peer)
		if e.Want == nil || !ok {
			continue
		}
		peer := c.after.Topology.Sites[e.Peer]
		switch {
		case peer == nil && c.unreadable(e.Peer):
			return c.halfless(e, "its site cannot be read in the source now")
		case peer == nil:
			continue // it is a finding that there is no such site
		}
		if half, ok := peer.Link(e.Site); ok {
			if half.Enable != ours.Enable || c.r.Theirs != nil {
				c.alike(e, ours.Enable)
			}
			continue
		}
		if peer.Target.Kind == topology.External {
			continue
		}
		other, ok := compiler.OtherHalf(c.after.Topology, e.Site, e.Peer)
		if !ok {
			return c.halfless(e, "no listener of "+e.Site+" suits it, or it would need a CA that this half does not name")
		}
		c.generate(e, other, ours.Enable)
	}
	return nil
}

// halfless refuses what asks for both halves where one cannot be written.
func (c *change) halfless(e splice.LinkEdit, why string) *Refusal {
	return refuse(Conflict, "%s cannot be written with this one: %s; write it in the source, or ask without pair", Half{e.Peer, e.Site}, why)
}

// unreadable reports whether a site that is not there may be in what cannot be
// read.
func (c *change) unreadable(site string) bool {
	return slices.ContainsFunc(c.before.Findings, func(d diagnostic.Diagnostic) bool {
		return d.Rule == "schema" && (len(d.Holds) == 0 || slices.Contains(d.Holds, diagnostic.Scope{Site: site}))
	})
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
