package httpapi

import (
	"slices"

	"clink/diagnostic"
)

// writtenList answers the writing of a whole list: the links, as EMQX does,
// each with what is to be told of it. What is to be told of a link that was
// removed is left out: it has no place.
func writtenList(site string, done Written) []writeAnswer {
	list := make([]writeAnswer, len(done.Links))
	for i, l := range done.Links {
		list[i] = writeAnswer{answer(l), diagnostic.List{}, []Half{}}
	}
	at := func(peer string) int {
		return slices.IndexFunc(done.Links, func(l Link) bool { return l.Name == peer })
	}
	var removed []string
	for _, h := range done.Halves {
		peer := h.Peer
		if h.Site != site {
			peer = h.Site
		}
		if i := at(peer); i >= 0 {
			list[i].Halves = append(list[i].Halves, h)
		} else {
			removed = append(removed, peer)
		}
	}
	for _, d := range done.Findings {
		for _, i := range toldAt(site, d, done.Links, removed) {
			list[i].Findings = append(list[i].Findings, d)
		}
	}
	return list
}

// toldAt returns at which links of a site a finding is told: at those that it
// names, else at the one in whose text it is, else at the first.
func toldAt(site string, d diagnostic.Diagnostic, links []Link, removed []string) []int {
	var named []int
	for i, l := range links {
		if names(d, site, l.Name) {
			named = append(named, i)
		}
	}
	if len(named) > 0 || len(links) == 0 || slices.ContainsFunc(removed, func(peer string) bool { return names(d, site, peer) }) {
		return named
	}
	near := 0
	for i, l := range links {
		before := l.Pos.File == d.Pos.File && l.Pos.Line <= d.Pos.Line
		if before && (links[near].Pos.File != d.Pos.File || links[near].Pos.Line > d.Pos.Line || links[near].Pos.Line < l.Pos.Line) {
			near = i
		}
	}
	return []int{near}
}

// names reports whether a finding is about one of the two halves between the
// site and a peer.
func names(d diagnostic.Diagnostic, site, peer string) bool {
	return slices.Contains(d.Sites, peer) && slices.Contains(d.Sites, site) ||
		slices.Contains(d.Holds, diagnostic.Scope{Site: site, Peer: peer})
}
