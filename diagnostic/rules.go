package diagnostic

import "slices"

// A Rule is an entry of the catalogue of findings. Its name is its id
// everywhere and is never used again for something else.
type Rule struct {
	Name     string
	Severity Severity // where the policy of the topology says nothing
	// Gates says that what a finding names stays at its last good state.
	Gates       bool
	Summary     string       // one line: found when
	Explanation *Explanation // nil for a rule that is named but not built yet
}

// An Explanation is what "clinkc explain" prints of a rule. Bad and Mended are
// CUE; the rest is prose without line breaks.
type Explanation struct {
	What, Why, EMQX string
	Bad, Mended     string
}

// Rules returns the catalogue, in its order.
func Rules() []Rule {
	l := slices.Clone(catalogue)
	for i := range l {
		if e, ok := explained(l[i].Name); ok {
			l[i].Explanation = &e
		}
	}
	return l
}

// FindRule returns the rule with the name.
func FindRule(name string) (Rule, bool) {
	i := slices.IndexFunc(catalogue, func(r Rule) bool { return r.Name == name })
	if i < 0 {
		return Rule{}, false
	}
	r := catalogue[i]
	if e, ok := explained(name); ok {
		r.Explanation = &e
	}
	return r, true
}

// catalogue is never written to. Where a severity or the gate depends on the
// case, it is the graver one.
var catalogue = []Rule{
	{"schema", Error, true, "a value, type, name or missing field that the schema refuses, or a file that cannot be read", nil},
	{"duplicate-link", Warning, false, "the same link is declared in two files, which CUE merges silently", nil},
	{"name-mismatch", Error, true, "cluster.name differs from the site's key, or two sites have one name", nil},
	{"name-unsafe", Error, true, "a name that cannot be a level of a topic or a folder, or that EMQX refuses", nil},
	{"unknown-site", Error, true, "a link to a name that no site has", nil},
	{"self-link", Error, true, "a link to the site itself", nil},
	{"one-sided", Error, false, "an enabled link whose peer has no link back", nil},
	{"enable-mismatch", Error, false, "a link that is enabled on one side and disabled on the other", nil},
	{"server-is-self", Error, true, "server is an address of the site itself", nil},
	{"server-is-third", Error, true, "server is an address of another site than the peer", nil},
	{"server-unknown", Error, true, "the peer advertises no such endpoint", nil},
	{"server-looks-own", Warning, false, "in EMQX files: the host of server bears the own cluster's name and not the peer's", nil},
	{"server-many", Error, true, "server holds more than one address", nil},
	{"tls-mismatch", Error, true, "one end speaks TLS and the other does not, or the listener is a WebSocket one", nil},
	{"tls-no-port", Warning, false, "TLS is on and server names no port, so that 1883 is used", nil},
	{"tls-no-verify", Warning, false, "TLS without verifying the peer", nil},
	{"tls-files", Error, false, "a certificate, key or CA that is missing, unreadable or does not fit", nil},
	{"tls-cert", Error, false, "the peer's certificate does not name the host, is not signed by the CA, or is expired", nil},
	{"tls-client-cert", Error, false, "the peer's listener demands a client certificate and the link has none", nil},
	{"plaintext-public", Warning, false, "no TLS to an address that is neither private nor loopback", nil},
	{"clientid-collision", Error, true, "two links come to one broker with the same client id prefix", nil},
	{"clientid-overlap", Warning, false, "one client id prefix is the beginning of another at the same broker", nil},
	{"peer-unauthenticated", Error, true, "a peer is let in with neither password nor client certificate", nil},
	{"shared-credentials", Warning, false, "two peers use one username at the same broker", nil},
	{"missing-credentials", Error, false, "the peer lets nobody in without a username and the link gives none", nil},
	{"literal-secret", Warning, false, "a credential is written in the source", nil},
	{"secret-unreadable", Error, false, "a secret's reference cannot be resolved on this host", nil},
	{"redacted-secret", Error, true, "six asterisks stand in the place of a credential", nil},
	{"topic-invalid", Error, true, "a text in topics is no topic filter", nil},
	{"topic-reserved", Error, true, "a topic filter under $LINK, $share, $queue, $exclusive or $delayed", nil},
	{"topic-redundant", Error, true, "a topic filter that another one of the same link covers", nil},
	{"nothing-flows", Warning, false, "both sides of a link want nothing", nil},
	{"no-transit", Warning, false, "a topic is wanted from a peer that could only have it over another link", nil},
	{"link-cycle", Off, false, "three or more sites are linked in a ring", nil},
	{"listener-loopback", Error, false, "the peer's endpoint is on loopback and the peer on another host", nil},
	{"listener-mountpoint", Error, false, "a listener that links use has a mount point", nil},
	{"packet-size", Warning, false, "the far listener's largest packet is not larger than the near side's", nil},
	{"connection-budget", Warning, false, "a link's connections are more than the listener allows", nil},
	{"buffer-budget", Warning, false, "the buffers of a site's links are more than its memory", nil},
	{"acl-missing", Error, false, "the peer's declared ACL denies a topic that the link needs", nil},
	{"acl-open", Warning, false, "a declared ACL lets everyone use $LINK topics", nil},
	{"target-version", Error, true, "a value that the site's EMQX version refuses or is broken by", nil},
	{"conf-shadow", Error, true, "cluster.links is pinned in the configuration file of a cluster that clink drives", nil},
	{"flow-policy", Error, true, "a flow that the policy forbids, or one missing that it demands", nil},
	{"waiver-expired", Warning, false, "a waiver past its date, or one that waives nothing", nil},
}
