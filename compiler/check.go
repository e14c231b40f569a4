package compiler

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"clink/compiler/cuetext"
	"clink/diagnostic"
	"clink/topology"
)

// A checker applies the rules over all sites.
type checker struct {
	t      *topology.Topology
	names  map[string]string // cluster.name by site where it is declared; nil: the sites' own
	at     locator           // nil: only the positions in t are known
	bad    badPaths
	hidden func(site string) bool // what it says may stand in a file that was left out
	lost   bool                   // a file was left out
	masked map[string]bool        // see Result
	opts   Options
	edit   *editor // nil: the source cannot be edited

	called   map[string]string // memo of renamed: keys of sites by the other name that they give themselves
	incoming map[string][]arrival
	visited  map[string]map[string][]visit // by site and listener
	transit  *transit
	literals map[string][]string  // paths of literal secrets
	meants   map[[2]string]string // see meant, by site and name
	near     map[string][]string  // see close
	linkers  map[string][]string  // who links to a name
	waiting  map[string][]string  // see waitingFor
	unsure   map[string]bool      // see unknown
	findings diagnostic.List
	ruled    *ruled
	shelf    *shelf
}

// A locator finds a label or a value in the source.
type locator func(path []string, label bool) (diagnostic.Pos, bool)

func (k *checker) run() error {
	k.incoming, k.transit = arrivals(k.t), newTransit(k.t)
	k.literals, k.meants = map[string][]string{}, map[[2]string]string{}
	k.near, k.waiting = map[string][]string{}, map[string][]string{}
	for _, name := range k.t.Names() {
		k.site(k.t.Sites[name])
	}
	var err error
	if k.ruled, err = k.rules(); err != nil {
		return err
	}
	silent := map[[2]string]bool{}
	for _, f := range k.told(k.ruled.found) {
		k.findings = append(k.findings, k.word(f))
		if strings.HasPrefix(f.rule, "server-") {
			silent[[2]string{f.site, f.peer}] = true
		}
	}
	k.cycles()
	k.policies()
	k.flows()
	k.files(silent)
	k.secrets()
	return nil
}

// site checks what concerns one site alone.
func (k *checker) site(s *topology.Site) {
	k.nameUnsafe(s.Name, s.Pos, diagnostic.Scope{Site: s.Name})
	for _, l := range s.Links {
		scope := diagnostic.Scope{Site: s.Name, Peer: l.Name}
		if _, known := k.t.Sites[l.Name]; !known {
			k.nameUnsafe(l.Name, l.Pos, scope)
		}
		if l.Server != "" && !k.bad.touches(linkPath(s.Name, l.Name, "server")...) {
			if _, err := parseServer(l.Server); err != nil {
				k.add(diagnostic.Diagnostic{
					Rule: ruleSchema, Severity: diagnostic.Error, Message: "server " + err.Error(), Label: "this address",
					Pos: k.link(s.Name, l.Name, "server"), Sites: []string{s.Name}, Holds: []diagnostic.Scope{scope}, Links: []diagnostic.Scope{scope},
				})
				k.bad.add(linkPath(s.Name, l.Name, "server"))
			}
		}
		k.topics(s.Name, l)
	}
}

// nameUnsafe refuses names that cannot be a level of a topic, a folder, or a
// place in the REST API, and warns of those that EMQX does not take everywhere.
func (k *checker) nameUnsafe(name string, pos diagnostic.Pos, scope diagnostic.Scope) {
	d := diagnostic.Diagnostic{Rule: "name-unsafe", Severity: diagnostic.Error, Pos: pos, Label: "this name", Sites: []string{scope.Site}}
	switch {
	case !safeName(name):
		d.Holds = []diagnostic.Scope{scope}
		d.Message = quoted(name) + ` cannot be a cluster's name: it must be none of "", ".", ".." and "link", and hold no / + # or NUL`
		d.Help = "use letters, digits, - and _"
	case name == "emqxcl":
		d.Severity = diagnostic.Warning
		d.Message = "emqxcl is the name that every EMQX cluster has which nobody gave a name"
		d.Help = "give the cluster a name of its own; two clusters with one name cannot be told apart"
	case len(name) > 254:
		d.Severity = diagnostic.Warning
		d.Message = fmt.Sprintf("the name has %d bytes; EMQX's REST API takes 254 at most", len(name))
		d.Help = "use a shorter name"
	case !restName.MatchString(name):
		d.Severity = diagnostic.Warning
		d.Message = quoted(name) + " is a name that EMQX's REST API refuses"
		d.Help = "use letters, digits, - and _, a letter or digit first"
	default:
		return
	}
	k.add(d)
}

// restName is what EMQX's REST API takes for the name of a link.
var restName = regexp.MustCompile(`^[0-9a-zA-Z][-0-9a-zA-Z_]*$`)

func safeName(name string) bool {
	return name != "" && name != "." && name != ".." && name != "link" && !strings.ContainsAny(name, "/+#\x00")
}

func (k *checker) add(d diagnostic.Diagnostic) { k.findings = append(k.findings, d) }

func linkPath(site, peer string, rest ...string) []string {
	return append([]string{"sites", site, "cluster", "links", peer}, rest...)
}

// link is where a field's value of a link stands; else the link's label.
func (k *checker) link(site, peer string, field ...string) diagnostic.Pos {
	if k.at != nil && len(field) > 0 {
		if p, ok := k.at(linkPath(site, peer, field...), false); ok {
			return p
		}
	}
	if s := k.t.Sites[site]; s != nil {
		if l, ok := s.Link(peer); ok {
			return l.Pos
		}
		return s.Pos
	}
	return diagnostic.Pos{}
}

// told drops what only follows from another fault, and puts the rest in a
// fixed order: one fault, one finding.
func (k *checker) told(all map[string][]found) []found {
	scheme := map[[2]string]bool{}
	for _, f := range all["tls-mismatch"] {
		if f.kind == "scheme" {
			scheme[[2]string{f.site, f.peer}] = true
		}
	}
	server := map[[2]string]bool{} // links with one of the server rules
	var l []found
	for _, rule := range ruleOrder {
		isServer := strings.HasPrefix(rule, "server-")
		for _, f := range all[rule] {
			k.about(&f)
			link := [2]string{f.site, f.peer}
			switch {
			case server[link] && (isServer || strings.HasPrefix(rule, "tls-") || rule == "listener-loopback" || rule == "plaintext-public"),
				rule == "tls-mismatch" && scheme[link] && f.kind != "scheme",
				rule == "unknown-site" && (k.renamed(f.peer) != "" || !safeName(f.peer)),
				rule == "one-sided" && k.explained(f):
				continue
			}
			server[link] = server[link] || isServer
			if !k.silenced(f) {
				l = append(l, f)
			}
		}
	}
	return l
}

// about fills in the link that a finding about an arrival speaks of.
func (k *checker) about(f *found) {
	if f.from == "" {
		return
	}
	a := k.arrival(f.at, f.from)
	f.site, f.peer = a.site, a.peer
}

func (k *checker) arrival(at, from string) arrival {
	for _, a := range k.incoming[at] {
		if a.grant.Peer == from {
			return a
		}
	}
	return arrival{}
}

// ruleOrder has the server rules in the order in which one silences the next.
var ruleOrder = [...]string{
	"name-mismatch", "self-link", "unknown-site", "one-sided", "enable-mismatch",
	"server-many", "server-is-self", "server-is-third", "server-unknown", "tls-mismatch",
	"tls-no-port", "tls-no-verify", "tls-client-cert", "plaintext-public",
	"clientid-collision", "clientid-overlap", "peer-unauthenticated", "shared-credentials", "missing-credentials",
	"literal-secret", "redacted-secret", "nothing-flows", "no-transit",
	"listener-loopback", "listener-mountpoint", "packet-size", "connection-budget", "buffer-budget", "acl-missing", "acl-open",
}

// renamed returns the site that calls its cluster by a name other than its
// key, namely by this one.
func (k *checker) renamed(name string) string {
	if k.called == nil {
		k.called = map[string]string{}
		for key, declared := range k.names {
			if key != declared {
				k.called[declared] = key
			}
		}
	}
	return k.called[name]
}

// explained reports whether a missing link back is there under a wrong name,
// which is told by itself.
func (k *checker) explained(f found) bool {
	for _, l := range k.t.Sites[f.peer].Links {
		if k.t.Sites[l.Name] == nil && (k.meant(f.peer, l.Name) == f.site || k.names[f.site] == l.Name) {
			return true
		}
	}
	return false
}

// meant returns the site that a link to a name that no site has was probably
// meant for, or "". A site that links here and waits for its other half comes
// before all others: where names are numbered, many are close. Of those, the
// one that the link's server is an endpoint of needs no name that is close.
func (k *checker) meant(site, name string) string {
	if meant, ok := k.meants[[2]string{site, name}]; ok {
		return meant
	}
	waiting := k.waitingFor(site)
	l, _ := k.t.Sites[site].Link(name)
	reached := slices.DeleteFunc(slices.Clone(waiting), func(other string) bool { return !listensAt(k.t.Sites[other], addressOf(l)) })
	meant := cmp.Or(suggest(name, waiting), suggest(name, k.unlinked(site, k.close(name))))
	if len(reached) == 1 {
		meant = reached[0]
	}
	k.meants[[2]string{site, name}] = meant
	return meant
}

// close are the sites whose names may be meant by one that is none.
func (k *checker) close(name string) []string {
	l, known := k.near[name]
	if !known {
		l = nearTo(name, k.t.Names())
		k.near[name] = l
	}
	return l
}

// waitingFor are the sites that link to a site which does not link back.
func (k *checker) waitingFor(site string) []string {
	if k.linkers == nil {
		k.linkers = map[string][]string{}
		for _, from := range k.t.Names() {
			for _, l := range k.t.Sites[from].Links {
				k.linkers[l.Name] = append(k.linkers[l.Name], from)
			}
		}
	}
	l, known := k.waiting[site]
	if !known {
		l = k.unlinked(site, k.linkers[site])
		k.waiting[site] = l
	}
	return l
}

// unlinked are those of the others that a site has no link to.
func (k *checker) unlinked(site string, others []string) []string {
	return slices.DeleteFunc(slices.Clone(others), func(other string) bool {
		_, linked := k.t.Sites[site].Link(other)
		return linked || other == site
	})
}

// listensAt reports whether an address is an endpoint of a site.
func listensAt(s *topology.Site, a address) bool {
	return slices.ContainsFunc(s.Listeners, func(l topology.Listener) bool {
		return l.Enable && slices.ContainsFunc(endpoints(l), func(e address) bool { return e.key() == a.key() })
	})
}

// silenced reports whether what the rule looks at is itself at fault, or may
// stand in a file that was left out.
func (k *checker) silenced(f found) bool {
	if k.hidden != nil && f.peer != "" && (k.hidden(f.peer) || k.hidden(f.site)) {
		return true
	}
	for _, path := range needs(f) {
		if k.bad.touches(path...) {
			return true
		}
	}
	return f.peer != "" && k.bad.above("sites", f.peer, "cluster", "links", f.site)
}

// needs returns the places that a finding rests on.
func needs(f found) [][]string {
	own := func(fields ...string) (paths [][]string) {
		for _, name := range fields {
			paths = append(paths, linkPath(f.site, f.peer, name))
		}
		return paths
	}
	listeners := []string{"sites", f.peer, "listeners"}
	switch f.rule {
	case "name-mismatch":
		return [][]string{{"sites", f.site, "cluster", "name"}}
	case "one-sided":
		return own("enable")
	case "enable-mismatch":
		return append(own("enable"), linkPath(f.peer, f.site, "enable"))
	case "server-many":
		return own("server")
	case "server-is-self", "server-is-third", "server-unknown":
		return append(own("server"), listeners)
	case "tls-mismatch":
		return append(own("server", "ssl"), listeners)
	case "clientid-collision":
		return append(own("clientid"), linkPath(f.other, f.at, "clientid"))
	case "tls-no-port", "tls-no-verify", "plaintext-public":
		return own("server", "ssl")
	case "tls-client-cert":
		return append(own("server", "ssl"), listeners)
	case "clientid-overlap":
		return append(own("clientid", "inbound"), linkPath(f.other, f.at, "clientid"))
	case "shared-credentials":
		return append(own("username", "inbound"), linkPath(f.other, f.at, "username"))
	case "missing-credentials":
		return append(own("username"), []string{"sites", f.peer, "access"}, []string{"sites", f.peer, "target"})
	case "nothing-flows":
		return append(own("topics", "enable"), linkPath(f.peer, f.site, "topics"), linkPath(f.peer, f.site, "enable"))
	case "no-transit":
		return append(own("topics"), []string{"sites", f.peer, "intent"}, []string{"sites", f.other, "intent"})
	case "listener-loopback":
		return append(own("server"), listeners, []string{"sites", f.peer, "host"}, []string{"sites", f.site, "host"})
	case "listener-mountpoint", "packet-size", "connection-budget":
		return [][]string{{"sites", f.site, "listeners"}, linkPath(f.peer, f.site, "server"), linkPath(f.peer, f.site, "pool_size"), {"sites", f.peer, "listeners"}}
	case "buffer-budget":
		return append(own("resource_opts"), []string{"sites", f.site, "memory"})
	case "acl-missing":
		return append(own("username", "clientid"), []string{"sites", f.peer, "access"})
	case "acl-open":
		return [][]string{{"sites", f.site, "access"}}
	case "peer-unauthenticated":
		return append(own("server", "username", "password", "password_hash", "ssl", "inbound"), listeners, []string{"sites", f.at, "listeners"})
	}
	return nil
}

// locate is the compilation's [locator].
func (c *compilation) locate(path []string, label bool) (diagnostic.Pos, bool) {
	if label {
		if p := c.index.find(path...); p != nil && len(p.decls) > 0 {
			return c.index.labelPos(path...), true
		}
		return diagnostic.Pos{}, false
	}
	if p, ok := c.index.valuePos(path...); ok {
		return p, true
	}
	p, ok := c.from[pathKey(path)]
	return p, ok
}

// duplicates finds links that are declared in more than one file.
func (c *compilation) duplicates() diagnostic.List {
	var l diagnostic.List
	sites := c.index.find("sites")
	if sites == nil {
		return nil
	}
	sites.expand()
	for _, site := range sites.order {
		links := c.index.find("sites", site, "cluster", "links")
		if links == nil || len(links.decls) < 2 {
			continue
		}
		links.expand()
		for _, peer := range links.order {
			if c.disagrees(linkPath(site, peer)) {
				continue
			}
			first := links.kids[peer].decls[0]
			i := slices.IndexFunc(links.kids[peer].decls, func(d decl) bool { return d.file != first.file })
			if i < 0 {
				continue
			}
			second := links.kids[peer].decls[i]
			l = append(l, diagnostic.Diagnostic{
				Rule: "duplicate-link", Severity: diagnostic.Warning,
				Message: site + "'s link to " + peer + " is declared in two files, which merge",
				Pos:     cuetext.NodePos(second.label), Label: "and here",
				Related: []diagnostic.Related{{Message: "declared first here", Pos: cuetext.NodePos(first.label)}},
				Sites:   []string{site}, Help: "keep one of them; clinkc explain duplicate-link",
			})
		}
	}
	return l
}

// disagrees reports whether two files contradict each other below the path,
// which is told by itself.
func (c *compilation) disagrees(path []string) bool {
	return slices.ContainsFunc(c.conflicts, func(at []string) bool {
		return len(at) >= len(path) && slices.Equal(at[:len(path)], path)
	})
}
