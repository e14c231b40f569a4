package compiler

import (
	"clink/topology"
)

// A Half is what the missing half of a link is to say: the first fitting
// endpoint of the other side, no topics, TLS with the same authorities.
type Half struct {
	Server     string // host:port
	TLS        bool
	CACertFile string
	// Unproven says that without a username and a password the other side has
	// nothing but the client id prefix to know it by; Loopback, that it comes
	// over loopback alone.
	Unproven, Loopback bool
}

// OtherHalf returns what the half of peer's link to site is to say that belongs
// to site's link to peer. There is none where site has no endpoint that fits,
// or where it is not known which authorities peer is to trust.
func OtherHalf(t *topology.Topology, site, peer string) (Half, bool) {
	s := t.Sites[site]
	if s == nil {
		return Half{}, false
	}
	l, ok := s.Link(peer)
	if !ok {
		return Half{}, false
	}
	h := Half{Server: fittingEndpoint(s, l), TLS: l.SSL.Enable, CACertFile: l.SSL.CACertFile}
	if h.Server == "" || h.TLS && h.CACertFile == "" {
		return Half{}, false
	}
	half := topology.Link{Name: site, Enable: true, ClientID: peer, Server: h.Server, SSL: topology.TLS{Enable: h.TLS}}
	a := comes(peer, half, s)
	h.Unproven, h.Loopback = a.proof == proofNone, a.loopback
	return h, true
}

// fittingEndpoint is the first address of a site at which a link of the same
// kind as l is taken, on the same side of loopback.
func fittingEndpoint(s *topology.Site, l topology.Link) string {
	for _, m := range s.Listeners {
		if !m.Enable || !fits(m, l) {
			continue
		}
		for _, a := range endpoints(m) {
			if isLoopback(a.host) == isLoopback(addressOf(l).host) || a.host == addressOf(l).host {
				return a.String()
			}
		}
	}
	return ""
}
