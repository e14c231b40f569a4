package compiler

import (
	"slices"

	"clink/topic"
	"clink/topology"
)

// An arrival is a grant together with the link it was derived from: the peer's
// half, or (of an external peer whose half is not declared) our own.
type arrival struct {
	grant      topology.Grant
	site, peer string // the link: its site, and whom it names
	proof      string // password, certificate, none or unknown
	loopback   bool   // it comes to a listener that only this machine reaches
}

// What a peer proves itself with.
const (
	proofPassword    = "password"
	proofCertificate = "certificate"
	proofNone        = "none"
	proofUnknown     = "unknown" // it is not known to which listener it comes
)

// Derive fills in the grants and exports of every site from all links.
//
// A grant comes from the peer's half, if that is enabled: its client id
// prefix; username and password (or the password's hash) where it gives both;
// else, where the listener that its server addresses demands a client
// certificate, the certificate's CN, which must be the peer's cluster name;
// else the prefix alone, from loopback only. An external peer whose half is
// not declared comes as "inbound" of our own link says. A site may be sent
// what its half wants; an external one what "export" names, or everything.
func Derive(t *topology.Topology) {
	incoming, exported := arrivals(t), exports(t)
	for name, s := range t.Sites {
		s.Grants = []topology.Grant{}
		for _, a := range incoming[name] {
			s.Grants = append(s.Grants, a.grant)
		}
		s.Exports = exported[name]
	}
}

// arrivals returns who comes to each site as a link peer, in order of name.
func arrivals(t *topology.Topology) map[string][]arrival {
	all := map[string][]arrival{}
	for _, from := range t.Names() {
		for _, l := range t.Sites[from].Links {
			broker := t.Sites[l.Name]
			if l.Enable && l.Name != from && broker != nil {
				all[l.Name] = append(all[l.Name], comes(from, l, broker))
			}
			if l.Enable && undeclared(t, from, l) {
				all[from] = append(all[from], comesUndeclared(t.Sites[from], l))
			}
		}
	}
	for site := range all {
		slices.SortStableFunc(all[site], func(a, b arrival) int {
			switch {
			case a.grant.Peer < b.grant.Peer:
				return -1
			case a.grant.Peer > b.grant.Peer:
				return 1
			}
			return 0
		})
	}
	return all
}

// undeclared reports whether the link's peer is external and its half towards
// us is not declared.
func undeclared(t *topology.Topology, from string, l topology.Link) bool {
	peer := t.Sites[l.Name]
	if peer == nil || peer.Target.Kind != topology.External || t.Sites[from].Target.Kind == topology.External {
		return false
	}
	_, declared := peer.Link(from)
	return !declared
}

// comes is the arrival of a declared half l of site from at its broker.
func comes(from string, l topology.Link, broker *topology.Site) arrival {
	a := arrival{site: from, peer: l.Name, grant: grantFor(from, l.ClientID)}
	met, known := meets(broker, l)
	a.loopback = known && boundToLoopback(met)
	switch {
	case l.Username != "" && (!l.Password.IsZero() || !l.PasswordHash.IsZero()):
		a.proof = proofPassword
		a.grant.Username, a.grant.Password, a.grant.PasswordHash = l.Username, l.Password, l.PasswordHash
	case known && demandsCertificate(met):
		a.proof = proofCertificate
		a.grant.CertName = from
	case known:
		a.proof = proofNone
		a.grant.Loopback = true
	default:
		a.proof = proofUnknown
		a.grant.Loopback = true
	}
	return a
}

// comesUndeclared is the arrival of an external peer of which only our own
// half l is known.
func comesUndeclared(own *topology.Site, l topology.Link) arrival {
	a := arrival{site: own.Name, peer: l.Name, grant: grantFor(l.Name, l.Name), proof: proofNone}
	a.loopback = !slices.ContainsFunc(own.Listeners, func(m topology.Listener) bool { return m.Enable && !boundToLoopback(m) })
	if in := l.Inbound; in != nil {
		if in.ClientID != "" {
			a.grant.ClientIDPrefix = in.ClientID
		}
		if in.Username != "" && !in.Password.IsZero() {
			a.proof = proofPassword
			a.grant.Username, a.grant.Password = in.Username, in.Password
		}
	}
	a.grant.Loopback = a.proof == proofNone
	return a
}

// grantFor is what a peer may do, whatever it proves itself with.
func grantFor(peer, prefix string) topology.Grant {
	return topology.Grant{
		Peer: peer, ClientIDPrefix: prefix,
		Publish:   []string{"$LINK/cluster/route/" + peer, "$LINK/cluster/msg/" + peer},
		Subscribe: []string{"$LINK/cluster/resp/" + peer + "/+"},
	}
}

// exports returns what each peer may be sent, by exporting site and peer.
func exports(t *topology.Topology) map[string]map[string][]topic.Filter {
	all := make(map[string]map[string][]topic.Filter, len(t.Sites))
	for name := range t.Sites {
		all[name] = map[string][]topic.Filter{}
	}
	for name, s := range t.Sites {
		for _, l := range s.Links {
			if of := all[l.Name]; of != nil && l.Enable && l.Name != name {
				of[name] = valid(l.Topics)
			}
		}
	}
	for name, s := range t.Sites {
		for _, l := range s.Links {
			peer := t.Sites[l.Name]
			if l.Enable && peer != nil && peer.Target.Kind == topology.External && l.Name != name {
				narrow(all[name], l)
			}
		}
	}
	return all
}

// narrow lays what our half l says of an external peer over what the peer's
// half wants, if that is declared.
func narrow(of map[string][]topic.Filter, l topology.Link) {
	switch wanted, declared := of[l.Name]; {
	case !l.HasExport && !declared:
		of[l.Name] = []topic.Filter{"#"}
	case !l.HasExport:
	case !declared:
		of[l.Name] = valid(l.Export)
	default:
		of[l.Name] = common(wanted, valid(l.Export))
	}
}

// common returns what both sets of filters let through.
func common(a, b []topic.Filter) []topic.Filter {
	l := []topic.Filter{}
	for _, f := range a {
		l = append(l, topic.IntersectAll(f, b)...)
	}
	kept, _ := topic.Reduce(l)
	return kept
}

// valid leaves out what is no topic filter, so that nobody downstream has to
// look again.
func valid(filters []topic.Filter) []topic.Filter {
	l := []topic.Filter{}
	for _, f := range filters {
		if _, err := topic.Parse(string(f)); err == nil {
			l = append(l, f)
		}
	}
	return l
}
