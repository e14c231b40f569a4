package compiler

import (
	"fmt"
	"strconv"
	"strings"

	"clink/diagnostic"
	"clink/topology"
)

// word turns what a rule found into a finding: at the user's place, with the
// other side's place beside it.
func (k *checker) word(f found) diagnostic.Diagnostic {
	d := diagnostic.Diagnostic{Rule: f.rule, Severity: diagnostic.Error, Sites: []string{f.site}}
	if r, ok := diagnostic.FindRule(f.rule); ok {
		d.Severity = r.Severity
		if r.Gates {
			d.Holds = []diagnostic.Scope{{Site: f.site, Peer: f.peer}}
		}
	}
	if f.peer != "" {
		d.Pos = k.link(f.site, f.peer)
		d.Links = []diagnostic.Scope{{Site: f.site, Peer: f.peer}}
		if f.peer != f.site && k.t.Sites[f.peer] != nil {
			d.Sites = append(d.Sites, f.peer)
		}
	}
	words, ok := map[string]func(found, *diagnostic.Diagnostic){
		"name-mismatch": k.wordNameMismatch, "self-link": k.wordSelf, "unknown-site": k.wordUnknown,
		"one-sided": k.wordOneSided, "enable-mismatch": k.wordEnable,
		"tls-mismatch": k.wordTLS, "tls-no-port": k.wordNoPort, "tls-no-verify": k.wordNoVerify,
		"tls-client-cert": k.wordClientCert, "plaintext-public": k.wordPlaintext,
		"clientid-collision": k.wordCollision, "clientid-overlap": k.wordOverlap,
		"peer-unauthenticated": k.wordUnauthenticated, "shared-credentials": k.wordShared, "missing-credentials": k.wordMissing,
		"literal-secret": k.wordLiteral, "redacted-secret": k.wordRedacted,
		"nothing-flows": k.wordNothing, "no-transit": k.wordTransit,
		"listener-loopback": k.wordLoopback, "listener-mountpoint": k.wordMountpoint, "packet-size": k.wordPacket,
		"connection-budget": k.wordConnections, "buffer-budget": k.wordBuffers,
		"acl-missing": k.wordDenied, "acl-open": k.wordOpen,
	}[f.rule]
	if !ok {
		words = k.wordServer
	}
	words(f, &d)
	k.mend(f, &d)
	return d
}

func (k *checker) wordSelf(f found, d *diagnostic.Diagnostic) {
	d.Message, d.Label = f.site+" links to itself", "this link"
	d.Help = "a link's key is the peer's name, not the own one"
}

func related(message string, pos diagnostic.Pos) []diagnostic.Related {
	if pos.IsZero() {
		return nil
	}
	return []diagnostic.Related{{Message: message, Pos: pos}}
}

func (k *checker) wordNameMismatch(f found, d *diagnostic.Diagnostic) {
	s, declared := k.t.Sites[f.site], k.names[f.site]
	if declared == "" {
		declared = s.Name
	}
	d.Pos = s.Pos
	if k.at != nil {
		if p, ok := k.at([]string{"sites", f.site, "cluster", "name"}, false); ok {
			d.Pos = p
			d.Related = related("the site's key", s.Pos)
		}
	}
	d.Message = fmt.Sprintf("site %s calls its cluster %s; the two must be one name", f.site, declared)
	d.Label = "this name"
	d.Help = fmt.Sprintf("leave cluster.name out, or write name: %q", f.site)
}

func (k *checker) wordUnknown(f found, d *diagnostic.Diagnostic) {
	d.Message, d.Label = fmt.Sprintf("%s links to %s, but no site has that name", f.site, f.peer), "this link"
	if meant := k.meant(f.site, f.peer); meant != "" {
		d.Message += "; did you mean " + meant + "?"
		d.Related = related(meant+" is here", k.t.Sites[meant].Pos)
		d.Sites = append(d.Sites, meant)
		d.Help = fmt.Sprintf("write links: %q", meant)
		return
	}
	const most = 8
	names, more := k.t.Names(), ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	d.Help = "there are " + strings.Join(names, ", ") + more + "; a cluster that clink does not manage is a site with target: external: true"
}

func (k *checker) wordOneSided(f found, d *diagnostic.Diagnostic) {
	d.Message = fmt.Sprintf("%s links to %s, but %s has no link back", f.site, f.peer, f.peer)
	d.Label = "this link"
	d.Related = related("its other half belongs here", k.half(f.peer))
	d.Help = fmt.Sprintf("add links: %q: {...} there; clinkc explain one-sided", f.site)
}

// half is the place, as an empty range, where a site's links stand or belong.
func (k *checker) half(site string) diagnostic.Pos {
	pos := k.t.Sites[site].Pos
	if k.at != nil {
		for _, path := range [][]string{{"sites", site, "cluster", "links"}, {"sites", site, "cluster"}, {"sites", site}} {
			if p, ok := k.at(path, true); ok {
				pos = p
				break
			}
		}
	}
	pos.EndLine, pos.EndColumn = pos.Line, pos.Column
	return pos
}

func (k *checker) wordEnable(f found, d *diagnostic.Diagnostic) {
	d.Message = fmt.Sprintf("%s's link to %s is enabled, but the link back is disabled", f.site, f.peer)
	d.Label = "enabled here"
	d.Related = related("disabled here", k.link(f.peer, f.site, "enable"))
	d.Help = "enable both halves or disable both; clinkc explain enable-mismatch"
}

// wordServer words the server rules.
func (k *checker) wordServer(f found, d *diagnostic.Diagnostic) {
	l, _ := k.t.Sites[f.site].Link(f.peer)
	d.Pos = k.link(f.site, f.peer, "server")
	d.Label = "this address"
	peer := k.t.Sites[f.peer]
	should := bestEndpoint(peer, l)
	switch f.rule {
	case "server-many":
		list, _ := parseServer(l.Server)
		d.Message = fmt.Sprintf("server holds %d addresses; EMQX below 6.3.0 cannot change any link any more after that", len(list))
		d.Help = "write one address, such as that of a load balancer in front of the cluster"
		return
	case "server-is-self":
		d.Message = fmt.Sprintf("server %s is %s itself, not %s", l.Server, f.site, f.peer)
		d.Related = k.listeners(k.t.Sites[f.site], l.Server, f.site+" listens here")
	case "server-is-third":
		d.Message = fmt.Sprintf("server %s is %s, not %s", l.Server, f.other, f.peer)
		d.Related = k.listeners(k.t.Sites[f.other], l.Server, f.other+" listens here")
		d.Sites = append(d.Sites, f.other)
	default:
		d.Message = fmt.Sprintf("%s has no endpoint %s", f.peer, l.Address)
		if m, ok := disabledAt(peer, l); ok {
			d.Message += ": its listener " + m.Name + " is disabled"
			d.Related = related("disabled here", m.Pos)
		}
	}
	if should.host == "" {
		d.Help = fmt.Sprintf(`%s names no endpoint: give one of its listeners advertise: ["host:port"]`, f.peer)
		d.Related = append(d.Related, related(f.peer+" is here", peer.Pos)...)
		return
	}
	k.wordAddresses(f, d, should.String())
}

// wordAddresses names what server could be: the nearest address first. Where
// others fit too, only the author knows which one was meant.
func (k *checker) wordAddresses(f found, d *diagnostic.Diagnostic, nearest string) {
	const few = 3
	all := []string{nearest}
	for _, a := range k.candidates(f) {
		if a != nearest {
			all = append(all, a)
		}
	}
	named := all[:min(few, len(all))]
	d.Help = "write server: " + strconv.Quote(nearest)
	for _, a := range named[1:] {
		d.Help += " or " + strconv.Quote(a)
	}
	if more := len(all) - len(named); more > 0 {
		d.Help += fmt.Sprintf(", or one of %s's %d other endpoints", f.peer, more)
	}
	seen := map[diagnostic.Pos]bool{}
	for _, a := range named {
		for _, r := range k.listeners(k.t.Sites[f.peer], a, f.peer+" listens here") {
			if !seen[r.Pos] {
				seen[r.Pos], d.Related = true, append(d.Related, r)
			}
		}
	}
}

// listeners is the place of the site's listener at the address, else of its
// first one at that host.
func (k *checker) listeners(s *topology.Site, server, message string) []diagnostic.Related {
	list, err := parseServer(server)
	if err != nil {
		return nil
	}
	var host diagnostic.Pos
	for _, m := range s.Listeners {
		for _, a := range endpoints(m) {
			switch {
			case a.key() == list[0].key():
				return related(message, m.Pos)
			case a.host == list[0].host && host.IsZero():
				host = m.Pos
			}
		}
	}
	return related(message, host)
}

func disabledAt(peer *topology.Site, l topology.Link) (topology.Listener, bool) {
	for _, m := range peer.Listeners {
		for _, a := range endpoints(m) {
			if !m.Enable && a.String() == l.Address {
				return m, true
			}
		}
	}
	return topology.Listener{}, false
}

// bestEndpoint is what a link's server should be: an endpoint of the peer that
// speaks what the link speaks, if possible on the host that was written.
func bestEndpoint(peer *topology.Site, l topology.Link) address {
	var best address
	bestScore := -1
	list, _ := parseServer(l.Server)
	for _, m := range peer.Listeners {
		if !m.Enable || m.Type == topology.WS || m.Type == topology.WSS {
			continue
		}
		for _, a := range endpoints(m) {
			score := 0
			if len(list) > 0 && isLoopback(a.host) == isLoopback(list[0].host) {
				score += 4
			}
			if fits(m, l) {
				score += 2
			}
			if len(list) > 0 && a.host == list[0].host {
				score++
			}
			if score > bestScore {
				best, bestScore = a, score
			}
		}
	}
	return best
}

func (k *checker) wordTLS(f found, d *diagnostic.Diagnostic) {
	peer := k.t.Sites[f.peer]
	l, _ := k.t.Sites[f.site].Link(f.peer)
	m, _ := meets(peer, l)
	d.Pos, d.Label = k.link(f.site, f.peer, "server"), "this address"
	d.Related = related("this listener", m.Pos)
	should := bestEndpoint(peer, l)
	fit := ""
	if should.host != "" && should.String() != l.Address {
		fit = fmt.Sprintf(`, or write server: %q`, should.String())
	}
	switch f.kind {
	case "scheme":
		d.Message = "server says mqtts://, but ssl.enable is false; EMQX ignores the scheme and speaks plain MQTT"
		d.Help = "write ssl: enable: true, or leave the scheme out"
	case topology.WS, topology.WSS:
		d.Message = fmt.Sprintf("%s is the WebSocket listener %s of %s; links speak MQTT over TCP or TLS", l.Address, m.Name, f.peer)
		d.Help = "address a tcp or ssl listener" + fit
	case topology.SSL:
		d.Message = fmt.Sprintf("the link speaks plain MQTT, but %s's listener %s at %s expects TLS", f.peer, m.Name, l.Address)
		d.Help = "write ssl: enable: true" + fit
	default:
		d.Message = fmt.Sprintf("the link speaks TLS, but %s's listener %s at %s is plain", f.peer, m.Name, l.Address)
		d.Help = "address a listener with ssl" + fit
	}
}

func (k *checker) wordCollision(f found, d *diagnostic.Diagnostic) {
	mine, other := k.arrival(f.at, f.from), k.arrival(f.at, f.other)
	d.Pos, d.Label = k.prefixPos(mine), "this prefix"
	d.Message = fmt.Sprintf("%s and %s come to %s with the same client id prefix %s", mine.grant.Peer, f.other, f.at, quoted(mine.grant.ClientIDPrefix))
	d.Related = related("the same prefix here", k.prefixPos(other))
	d.Sites = []string{f.from, f.other, f.at}
	d.Holds = append(d.Holds, diagnostic.Scope{Site: other.site, Peer: other.peer})
	d.Help = "give each link a clientid of its own; clinkc explain clientid-collision"
}

// prefixPos is where the client id prefix of an arrival is said.
func (k *checker) prefixPos(a arrival) diagnostic.Pos {
	if a.grant.Peer != a.site {
		return k.link(a.site, a.peer, "inbound", "clientid")
	}
	return k.link(a.site, a.peer, "clientid")
}

func (k *checker) wordUnauthenticated(f found, d *diagnostic.Diagnostic) {
	broker := k.t.Sites[f.at]
	d.Label = "this link"
	d.Message = fmt.Sprintf("%s comes to %s with neither password nor client certificate", f.from, f.at)
	d.Help = `give the link username and password: "file://secrets/..."`
	if f.at == f.site {
		d.Help = `say in inbound how it comes: {username: "...", password: "file://secrets/..."}`
	} else {
		l, _ := k.t.Sites[f.site].Link(f.peer)
		if m, ok := meets(broker, l); ok {
			d.Related = related("this listener lets it in", m.Pos)
		}
	}
	if k.arrival(f.at, f.from).loopback {
		d.Severity, d.Holds = diagnostic.Warning, nil
		d.Message += "; on loopback only programs of this machine can do the same"
		return
	}
	d.Message += ": whoever knows its client id prefix can inject messages"
}

func (k *checker) wordLiteral(f found, d *diagnostic.Diagnostic) {
	what := k.field(f, d)
	d.Message = what + " is written in the source"
	d.Label = "a credential"
	d.Help = `put it into a file that is not committed and write "file://secrets/NAME", or "env://NAME"`
}

// field names the field with a credential that a finding is about, and puts the
// finding there.
func (k *checker) field(f found, d *diagnostic.Diagnostic) string {
	path := k.literals[f.field]
	if len(path) == 0 {
		return "a credential"
	}
	d.Pos = k.t.Sites[f.site].Pos
	if isLink(path) {
		d.Pos = k.link(f.site, path[4], path[5:]...)
		d.Links = []diagnostic.Scope{{Site: f.site, Peer: path[4]}}
		return fmt.Sprintf("the %s of %s's link to %s", strings.Join(path[5:], "."), f.site, path[4])
	}
	d.Pos = k.place(f.site, path[2:]...)
	return fmt.Sprintf("%s of %s", strings.Join(path[2:], "."), f.site)
}

// place is where a field of a site has its value; else the nearest field around
// it that is written; else the site's label.
func (k *checker) place(site string, field ...string) diagnostic.Pos {
	path := append([]string{"sites", site}, field...)
	for n := len(path); k.at != nil && n > 2; n-- {
		if p, ok := k.at(path[:n], n < len(path)); ok {
			return p
		}
	}
	return k.t.Sites[site].Pos
}

// anywhere is where a field of a site, or of its link or listener, stands; else
// the link or listener; else the site.
func (k *checker) anywhere(site string, field []string) diagnostic.Pos {
	if len(field) >= 3 && field[0] == "cluster" {
		if len(field) == 3 {
			return k.link(site, field[2])
		}
		return k.link(site, field[2], field[3:]...)
	}
	if len(field) == 0 {
		return k.t.Sites[site].Pos
	}
	if len(field) == 2 && field[0] == "listeners" {
		for _, m := range k.t.Sites[site].Listeners {
			if m.Name == field[1] {
				return m.Pos
			}
		}
	}
	return k.place(site, field...)
}
