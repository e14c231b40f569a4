package compiler

import (
	"fmt"
	"math"
	"strconv"

	"clink/diagnostic"
	"clink/topology"
)

// What is worth a word in a link whose ends do find each other.

func (k *checker) wordNoPort(f found, d *diagnostic.Diagnostic) {
	l, _ := k.t.Sites[f.site].Link(f.peer)
	d.Pos, d.Label = k.link(f.site, f.peer, "server"), "this address"
	d.Message = fmt.Sprintf("the link speaks TLS and server gives no port, so it dials %s", dials(l))
	d.Help = "write the port; TLS does not change the default, which is 1883"
	if should := bestEndpoint(k.t.Sites[f.peer], l); should.host != "" {
		d.Help = fmt.Sprintf("write server: %q; TLS does not change the default port, which is 1883", should.String())
	}
}

// dials is the address that a link connects to.
func dials(l topology.Link) string {
	list, err := parseServer(l.Server)
	if err != nil {
		return l.Server
	}
	return list[0].String()
}

func (k *checker) wordNoVerify(f found, d *diagnostic.Diagnostic) {
	d.Pos, d.Label = k.link(f.site, f.peer, "ssl", "verify"), "this"
	d.Message = fmt.Sprintf("%s's link to %s does not verify whom it speaks with", f.site, f.peer)
	d.Help = `write verify: "verify_peer" and a cacertfile; without, anybody in between can read along and answer`
}

func (k *checker) wordClientCert(f found, d *diagnostic.Diagnostic) {
	l, _ := k.t.Sites[f.site].Link(f.peer)
	m, _ := meets(k.t.Sites[f.peer], l)
	d.Pos, d.Label = k.link(f.site, f.peer, "ssl"), "this block"
	d.Message = fmt.Sprintf("%s's listener %s demands a client certificate, and the link has none", f.peer, m.Name)
	d.Related = related("demanded here", k.place(f.peer, "listeners", m.Name, "ssl", "fail_if_no_peer_cert"))
	d.Help = "give the link's ssl a certfile and a keyfile"
}

func (k *checker) wordPlaintext(f found, d *diagnostic.Diagnostic) {
	l, _ := k.t.Sites[f.site].Link(f.peer)
	d.Pos, d.Label = k.link(f.site, f.peer, "server"), "this address"
	d.Message = fmt.Sprintf("the link to %s goes without TLS to %s, which is neither private nor loopback", f.peer, dials(l))
	d.Help = "write ssl: enable: true and address a TLS listener; messages and the password go in clear otherwise"
}

func (k *checker) wordOverlap(f found, d *diagnostic.Diagnostic) {
	mine, other := k.arrival(f.at, f.from), k.arrival(f.at, f.other)
	d.Pos, d.Label = k.prefixPos(mine), "this prefix"
	d.Message = fmt.Sprintf("%s comes to %s with the client id prefix %s, which begins with %s's %s",
		f.from, f.at, quoted(mine.grant.ClientIDPrefix), f.other, quoted(other.grant.ClientIDPrefix))
	d.Related = related("the shorter one", k.prefixPos(other))
	d.Sites = []string{f.from, f.other, f.at}
	d.Help = fmt.Sprintf("end each prefix with a sign that the names do not go on with: clientid: %q", other.grant.ClientIDPrefix+"-")
}

func (k *checker) wordShared(f found, d *diagnostic.Diagnostic) {
	mine, other := k.arrival(f.at, f.from), k.arrival(f.at, f.other)
	d.Pos, d.Label = k.usernamePos(mine), "this username"
	d.Message = fmt.Sprintf("%s and %s come to %s with one username, %s", f.from, f.other, f.at, quoted(mine.grant.Username))
	d.Related = related("the same one here", k.usernamePos(other))
	d.Sites = []string{f.from, f.other, f.at}
	d.Help = "give each peer a username of its own: who has the one password can pass for either"
}

// usernamePos is where the username of an arrival is said.
func (k *checker) usernamePos(a arrival) diagnostic.Pos {
	if a.grant.Peer != a.site {
		return k.link(a.site, a.peer, "inbound", "username")
	}
	return k.link(a.site, a.peer, "username")
}

func (k *checker) wordMissing(f found, d *diagnostic.Diagnostic) {
	d.Label = "this link"
	d.Message = fmt.Sprintf("%s lets nobody in without a username, and %s's link gives none", f.peer, f.site)
	d.Related = related("said here", k.place(f.peer, "access", "anonymous"))
	d.Help = `give the link username and password: "file://secrets/..."`
}

func (k *checker) wordRedacted(f found, d *diagnostic.Diagnostic) {
	what := k.field(f, d)
	d.Message = what + " is six asterisks, which is what a credential is shown as, and none itself"
	d.Label = "no credential"
	d.Help = `write where it is kept: "file://secrets/NAME" or "env://NAME"`
	d.Holds = []diagnostic.Scope{{Site: f.site}}
	if path := k.literals[f.field]; isLink(path) {
		d.Holds[0].Peer = path[4]
		if k.t.Sites[path[4]] != nil {
			d.Sites = append(d.Sites, path[4])
		}
	}
}

func (k *checker) wordNothing(f found, d *diagnostic.Diagnostic) {
	d.Pos, d.Label = k.link(f.site, f.peer, "topics"), "nothing is wanted here"
	d.Message = fmt.Sprintf("%s and %s want nothing from each other: their link carries no message", f.site, f.peer)
	d.Related = related("nor here", k.link(f.peer, f.site, "topics"))
	d.Links = append(d.Links, diagnostic.Scope{Site: f.peer, Peer: f.site})
	d.Help = "put the topic filters that this site wants from the peer into topics, on one side at least"
}

func (k *checker) wordTransit(f found, d *diagnostic.Diagnostic) {
	l, _ := k.t.Sites[f.site].Link(f.peer)
	i, _ := strconv.Atoi(f.field)
	d.Pos, d.Label = k.element(f.site, l, "topics", i), "wanted here"
	d.Message = fmt.Sprintf("%s wants %s from %s, but %s publishes it; what came over one link is never sent over another",
		f.site, quoted(string(l.Topics[i])), f.peer, f.other)
	d.Related = related("published there", k.place(f.other, "intent", "publishes"))
	d.Sites = append(d.Sites, f.other)
	d.Help = fmt.Sprintf("link %s with %s directly; clinkc explain no-transit", f.site, f.other)
}

func (k *checker) wordLoopback(f found, d *diagnostic.Diagnostic) {
	l, _ := k.t.Sites[f.site].Link(f.peer)
	m, _ := meets(k.t.Sites[f.peer], l)
	d.Pos, d.Label = k.link(f.site, f.peer, "server"), "this address"
	d.Message = fmt.Sprintf("%s's listener %s is reached from its own host %s only, and %s runs on %s",
		f.peer, m.Name, k.t.Sites[f.peer].Host, f.site, k.t.Sites[f.site].Host)
	d.Related = related("this listener", k.place(f.peer, "listeners", m.Name, "bind"))
	d.Help = "bind the listener to an address of the network, and advertise it"
}

// listener is the listener that a finding about one is on, and the link that
// comes to it.
func (k *checker) listener(f found, d *diagnostic.Diagnostic, field string) (topology.Listener, topology.Link) {
	d.Pos = k.place(f.site, "listeners", f.field, field)
	d.Related = related("this link comes there", k.link(f.peer, f.site))
	l, _ := k.t.Sites[f.peer].Link(f.site)
	for _, m := range k.t.Sites[f.site].Listeners {
		if m.Name == f.field {
			return m, l
		}
	}
	return topology.Listener{}, l
}

func (k *checker) wordMountpoint(f found, d *diagnostic.Diagnostic) {
	m, _ := k.listener(f, d, "mountpoint")
	d.Label = "this mount point"
	d.Message = fmt.Sprintf("%s's listener %s puts %s before every topic, so that a link's control topics are not known there", f.site, m.Name, quoted(m.Mountpoint))
	d.Help = "give links a listener without a mount point"
}

func (k *checker) wordPacket(f found, d *diagnostic.Diagnostic) {
	m, _ := k.listener(f, d, "max_packet_size")
	d.Label = "this size"
	d.Message = fmt.Sprintf("%s's listener %s takes packets of %d bytes, and %s takes %d from its clients; over the link a message has a larger packet than it came in",
		f.site, m.Name, m.MaxPacketSize.Bytes, f.peer, k.largestPacket(k.t.Sites[f.peer]))
	d.Help = fmt.Sprintf("allow more here than any peer does, or less at %s: a few KB more are enough", f.peer)
}

func (k *checker) wordConnections(f found, d *diagnostic.Diagnostic) {
	m, _ := k.listener(f, d, "max_connections")
	come := k.visited[f.site][f.field]
	d.Label = "this limit"
	d.Message = fmt.Sprintf("links open up to %d connections to %s's listener %s, which allows %d", connections(come), f.site, m.Name, m.MaxConnections)
	d.Help = "raise max_connections, or lower pool_size of the links"
	for _, v := range come[1:] {
		if len(d.Sites) < 10 {
			d.Sites = append(d.Sites, v.from.Name)
		}
	}
}

func (k *checker) wordBuffers(f found, d *diagnostic.Diagnostic) {
	s := k.t.Sites[f.site]
	var sum int64
	for _, l := range s.Links {
		if l.Enable {
			sum += buffers(l) / 2 // half, so that no sum runs over
		}
	}
	d.Pos, d.Label = k.place(f.site, "memory"), "this budget"
	d.Related = related("with this link it is spent", k.link(f.site, f.peer))
	d.Message = fmt.Sprintf("the buffers of %s's links may grow to %s, and its memory is %s", f.site, size(2*float64(sum)), size(float64(s.Memory.Bytes)))
	d.Help = "lower resource_opts.max_buffer_bytes or worker_pool_size: a link may take their product"
}

// size is a number of bytes for people to read.
func size(n float64) string {
	units := []string{"bytes", "KB", "MB", "GB", "TB"}
	i := 0
	for ; n >= 1024 && i < len(units)-1; i++ {
		n /= 1024
	}
	return strconv.FormatFloat(math.Round(n*10)/10, 'f', -1, 64) + " " + units[i]
}

func (k *checker) wordDenied(f found, d *diagnostic.Diagnostic) {
	peer := k.t.Sites[f.peer]
	l, _ := k.t.Sites[f.site].Link(f.peer)
	d.Label = "this list"
	d.Message = fmt.Sprintf("%s's ACL does not let %s's link %s, which every link must", f.peer, f.site, f.kind)
	d.Pos = k.place(f.peer, "access", "acl")
	for _, deed := range deeds(f.site, l) {
		i := decides(peer.Access.ACL, deed)
		if i >= 0 && peer.Access.ACL[i].Permit == "deny" {
			d.Pos, d.Label = k.place(f.peer, "access", "acl", strconv.Itoa(i)), "this rule"
			break
		}
		if i < 0 {
			break
		}
	}
	d.Related = related("the link", k.link(f.site, f.peer))
	d.Sites = []string{f.peer, f.site}
	d.Help = fmt.Sprintf("allow publish on $LINK/cluster/route/%s and $LINK/cluster/msg/%s at QoS 0 and 1, and subscribe on $LINK/cluster/resp/%s/+, before any deny", f.site, f.site, f.site)
}

func (k *checker) wordOpen(f found, d *diagnostic.Diagnostic) {
	d.Pos, d.Label = k.place(f.site, "access", "acl", f.field), "this rule"
	d.Message = f.site + "'s ACL lets every client use the control topics of links: whoever does can forge routes and messages"
	d.Help = `put a rule before it: {permit: "deny", action: "all", topics: ["$LINK/#"]}, after those for the peers`
}
