// Package emqx is EMQX's own surface: so far the access list that a site's
// links need there, as text for its acl.conf.
package emqx

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"clink/topology"
)

// ACL is who may speak as a link peer at a site, and as whom, in the form of
// EMQX's acl.conf: the site's grants, and after them that nobody else may. The
// same site gives the same text. Credentials are not in it: EMQX checks them
// when a client connects, not here.
func ACL(s *topology.Site) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%%%% Who may speak as a cluster link at site %s.\n", quote(s.Name))
	b.WriteString(head)
	for _, g := range s.Grants {
		fmt.Fprintf(&b, "\n%%%% Peer %s.\n", quote(g.Peer))
		if why := unsayable(g); why != "" {
			fmt.Fprintf(&b, "%%%% No rule lets it in: %s.\n", why)
			continue
		}
		b.WriteString(proof(g))
		who := who(g)
		fmt.Fprintf(&b, "{allow, %s, publish, %s}.\n", who, topics(g, g.Publish))
		fmt.Fprintf(&b, "{allow, %s, subscribe, %s}.\n", who, topics(g, g.Subscribe))
	}
	b.WriteString("\n%% Nobody else speaks as a cluster.\n{deny, all, all, [\"$LINK/#\"]}.\n")
	return b.Bytes()
}

const head = `%% Derived from the links of all sites: put it before every other rule, since the
%% first that matches decides. A rule for the topic "#" does not cover "$LINK/...".
%% No QoS may be demanded in these rules: heartbeats come with QoS 0, all else
%% with QoS 1.
`

// unsayable says why a grant cannot be put into rules, "" if it can: what
// stands in ${} would mean something else to EMQX.
func unsayable(g topology.Grant) string {
	switch {
	case strings.Contains(g.Peer, "${"):
		return "EMQX reads what stands in ${} in a topic as the name of something of the client's; give the peer another name"
	case g.Username == "" && g.CertName != "" && g.CertName != g.Peer:
		return "its certificate is named " + quote(g.CertName) + " and not as its cluster is, which EMQX cannot tell here; give it a certificate with the cluster's name, or a username"
	}
	return ""
}

// proof says by what the peer is known.
func proof(g topology.Grant) string {
	switch {
	case g.Username != "":
		return fmt.Sprintf("%%%% It proves itself as user %s: EMQX's authenticator must know that user, and it\n%%%% must be no superuser, who is asked for no rule.\n", quote(g.Username))
	case g.CertName != "":
		return "%% It proves itself by the name in its certificate, which is that of its cluster:\n%% the listener must have verify = verify_peer and fail_if_no_peer_cert = true.\n"
	case g.Loopback:
		return "%% It proves nothing, and is let in from this machine alone.\n"
	}
	return "%% It proves nothing: whoever can connect can take its client id.\n"
}

// who is the condition that the peer's connections fulfil.
func who(g topology.Grant) string {
	id := fmt.Sprintf(`{clientid, {re, %s}}`, quote("^"+escape(g.ClientIDPrefix)+":"))
	switch {
	case g.Username != "":
		return fmt.Sprintf(`{'and', [{username, %s}, %s]}`, quote(g.Username), id)
	case g.CertName == "" && g.Loopback:
		return fmt.Sprintf(`{'and', [{ipaddrs, ["127.0.0.0/8", "::1/128"]}, %s]}`, id)
	}
	return id
}

// topics is a list of topics. The name of a peer that is known by its
// certificate is left for EMQX to put in from there, which ties the two.
func topics(g topology.Grant, filters []string) string {
	list := make([]string, len(filters))
	for i, f := range filters {
		if g.Username == "" && g.CertName != "" {
			f = named(f, g.Peer)
		}
		list[i] = quote(f)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// named puts the placeholder of the certificate's name in the place of the
// level that is the peer's name.
func named(filter, peer string) string {
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		if i > 2 && level == peer { // behind $LINK/cluster/KIND
			levels[i] = "${cert_common_name}"
		}
	}
	return strings.Join(levels, "/")
}

// escape writes a text so that as a regular expression it matches itself.
func escape(s string) string { return regexp.QuoteMeta(s) }

// quote writes a text as a string of Erlang's.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029':
			fmt.Fprintf(&b, `\x{%X}`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
