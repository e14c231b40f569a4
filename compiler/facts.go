package compiler

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"clink/internal/secret"
	"clink/schema"
	"clink/topology"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
)

// What the rules of rules.cue read, which says what each means. Go computes
// here what CUE cannot say well: default ports, which endpoint an address is,
// who comes to whom.
type siteFacts struct {
	Name     string               `json:"name"`
	External bool                 `json:"external,omitempty"`
	Closed   bool                 `json:"closed,omitempty"`
	Links    map[string]linkFacts `json:"links"`
	Odd      map[string]oddFacts  `json:"odd"`

	Collides map[string]string `json:"collides"`
	Overlaps map[string]string `json:"overlaps"`
	Shares   map[string]string `json:"shares"`
	Unproven map[string]bool   `json:"unproven"`

	Mounted map[string]string `json:"mounted"`
	Narrow  map[string]string `json:"narrow"`
	Crowded map[string]string `json:"crowded"`

	Overbooked string          `json:"overbooked,omitempty"`
	Open       string          `json:"open,omitempty"`
	Literals   map[string]bool `json:"literals"`
	Redacted   map[string]bool `json:"redacted"`
}

type linkFacts struct {
	Enable bool `json:"enable,omitempty"`
}

type oddFacts struct {
	Many       bool              `json:"many,omitempty"`
	Astray     *map[string]bool  `json:"astray,omitempty"`
	Speaks     string            `json:"speaks"`
	Meets      string            `json:"meets,omitempty"`
	Scheme     string            `json:"scheme,omitempty"`
	NoPort     bool              `json:"noport,omitempty"`
	Unverified bool              `json:"unverified,omitempty"`
	Demands    bool              `json:"demands,omitempty"`
	Certless   bool              `json:"certless,omitempty"`
	Public     bool              `json:"public,omitempty"`
	Anonymous  bool              `json:"anonymous,omitempty"`
	Idle       bool              `json:"idle,omitempty"`
	Loopback   bool              `json:"loopback,omitempty"`
	Apart      bool              `json:"apart,omitempty"`
	Transit    map[string]string `json:"transit,omitempty"`
	Denied     string            `json:"denied,omitempty"`
}

// odd reports whether there is anything to look at.
func (f oddFacts) odd() bool {
	return f.Many || f.Astray != nil || f.Meets != "" && f.Meets != f.Speaks || f.Scheme != "" || f.Unverified || f.Public || f.Idle || f.Denied != "" ||
		f.NoPort && f.Speaks == topology.SSL || f.Demands && f.Certless || f.Anonymous || f.Loopback && f.Apart || len(f.Transit) > 0
}

// A finding of rules.cue: about a site or its link; or about the peer From
// that comes to the broker At, where Site and Peer are filled in afterwards.
// Other is a further site, Field a key of checker.literals.
type found struct {
	rule, site, peer, other, at, from, kind, field string
}

// endpointIndex knows which sites advertise an address, and whose a host is.
type endpointIndex struct {
	address map[string]map[string]bool // host:port -> sites
	host    map[string]map[string]bool // host -> sites
}

func indexEndpoints(t *topology.Topology) endpointIndex {
	x := endpointIndex{map[string]map[string]bool{}, map[string]map[string]bool{}}
	put := func(m map[string]map[string]bool, key, site string) {
		if m[key] == nil {
			m[key] = map[string]bool{}
		}
		m[key][site] = true
	}
	for name, s := range t.Sites {
		for _, l := range s.Listeners {
			if !l.Enable {
				continue
			}
			for _, a := range endpoints(l) {
				put(x.address, a.key(), name)
				if !isLoopback(a.host) { // that is no site's own
					put(x.host, a.host, name)
				}
			}
		}
	}
	return x
}

// lands returns the sites that an address leads to: those that advertise it,
// else the one site that the host belongs to, if that is not the peer.
func (x endpointIndex) lands(a address, peer string) map[string]bool {
	if sites := x.address[a.key()]; sites != nil {
		return sites
	}
	if sites := x.host[a.host]; len(sites) == 1 && !sites[peer] {
		return sites
	}
	return map[string]bool{}
}

// facts returns what the rules read, by site.
func (k *checker) facts() map[string]*siteFacts {
	x := indexEndpoints(k.t)
	all := make(map[string]*siteFacts, len(k.t.Sites))
	for name, s := range k.t.Sites {
		f := &siteFacts{
			Name: s.Name, External: s.Target.Kind == topology.External, Closed: closed(s),
			Links: make(map[string]linkFacts, len(s.Links)), Odd: map[string]oddFacts{},
			Collides: map[string]string{}, Overlaps: map[string]string{}, Shares: map[string]string{}, Unproven: map[string]bool{},
			Mounted: map[string]string{}, Narrow: map[string]string{}, Crowded: map[string]string{},
			Overbooked: overbooked(s), Open: opened(s),
			Literals: map[string]bool{}, Redacted: map[string]bool{},
		}
		if declared := k.names[name]; declared != "" {
			f.Name = declared
		}
		for _, l := range s.Links {
			f.Links[l.Name] = linkFacts{Enable: l.Enable}
			if odd := k.oddFacts(x, s, l); odd.odd() {
				f.Odd[l.Name] = odd
			}
		}
		k.credentials(name, s, f)
		k.arrivalsTo(name, f)
		all[name] = f
	}
	k.listenerFacts(all)
	return all
}

// oddFacts says what there is to look at in a link. What concerns a running
// link alone is left out for one that is disabled.
func (k *checker) oddFacts(x endpointIndex, s *topology.Site, l topology.Link) oddFacts {
	f := oddFacts{Speaks: speaks(l)}
	peer := k.t.Sites[l.Name]
	list, err := parseServer(l.Server)
	if l.Name == s.Name {
		return f
	}
	f.Unverified = l.SSL.Enable && l.SSL.Verify == "verify_none"
	f.Idle = l.Enable && len(l.Topics) == 0 && (s.Target.Kind != topology.External || slices.Contains(l.Written, "topics"))
	if err != nil || l.Server == "" || peer == nil {
		return f
	}
	f.Anonymous = l.Enable && l.Username == "" && closed(peer)
	if l.Enable {
		f.Transit = k.transit.wanted(s.Name, l)
		f.Denied = denied(peer, s.Name, l)
	}
	if len(list) > 1 {
		f.Many = true
		return f
	}
	if list[0].scheme == "mqtts" && !l.SSL.Enable {
		f.Scheme = "mqtts"
	}
	f.NoPort = !list[0].stated
	lands := x.lands(list[0], l.Name)
	// Of a broker that clink does not run itself, no listener need be declared.
	known := len(lands) > 0 || peer.Target.Kind == topology.Embedded || len(peer.Listeners) > 0
	if known && !lands[l.Name] {
		f.Astray = &lands
	}
	m, met := meets(peer, l)
	if met {
		f.Meets = m.Type
		f.Demands, f.Certless = demandsCertificate(m), l.SSL.CertFile == ""
		f.Loopback = l.Enable && (boundToLoopback(m) || isLoopback(list[0].host))
		f.Apart = s.Host != "" && peer.Host != "" && s.Host != peer.Host
	}
	f.Public = l.Enable && !l.SSL.Enable && isPublic(list[0].host) && !(met && boundPrivately(m))
	return f
}

// closed reports whether a broker that clink does not run lets nobody in
// without a username.
func closed(s *topology.Site) bool {
	return s.Target.Kind != topology.Embedded && s.Access.Declared && !s.Access.Anonymous
}

func demandsCertificate(m topology.Listener) bool {
	return m.SSL.Enable && m.SSL.Verify == "verify_peer" && m.SSL.FailIfNoPeerCert
}

func speaks(l topology.Link) string {
	if l.SSL.Enable {
		return topology.SSL
	}
	return topology.TCP
}

// meets returns the listener of the peer that a link's server addresses; of
// several at one address, one that fits.
func meets(peer *topology.Site, l topology.Link) (topology.Listener, bool) {
	list, err := parseServer(l.Server)
	if err != nil || len(list) != 1 {
		return topology.Listener{}, false
	}
	var met *topology.Listener
	for i := range peer.Listeners {
		m := &peer.Listeners[i]
		if !m.Enable || !slices.ContainsFunc(endpoints(*m), func(a address) bool { return a.key() == list[0].key() }) {
			continue
		}
		if met == nil || fits(*m, l) && !fits(*met, l) {
			met = m
		}
	}
	if met == nil {
		return topology.Listener{}, false
	}
	return *met, true
}

// fits reports whether the link speaks what the listener speaks.
func fits(m topology.Listener, l topology.Link) bool {
	return m.Type == speaks(l)
}

// arrivalsTo fills in who comes to a site as a link peer, as its grants say.
func (k *checker) arrivalsTo(site string, f *siteFacts) {
	prefixes, usernames := map[string]string{}, map[string]string{}
	for _, a := range k.incoming[site] {
		peer := a.grant.Peer
		if first, taken := prefixes[a.grant.ClientIDPrefix]; taken {
			f.Collides[peer] = first
		} else {
			prefixes[a.grant.ClientIDPrefix] = peer
		}
		if u := a.grant.Username; u != "" {
			if first, taken := usernames[u]; taken {
				f.Shares[peer] = first
			} else {
				usernames[u] = peer
			}
		}
		if a.proof == proofNone {
			f.Unproven[peer] = true
		}
	}
	// In order, a text comes right before those that begin with it.
	var begun []string
	for _, p := range slices.Sorted(maps.Keys(prefixes)) {
		for len(begun) > 0 && !strings.HasPrefix(p, begun[len(begun)-1]) {
			begun = begun[:len(begun)-1]
		}
		if len(begun) > 0 {
			f.Overlaps[prefixes[p]] = prefixes[begun[len(begun)-1]]
		}
		begun = append(begun, p)
	}
}

// credentials notes the fields of a site that hold a credential itself.
func (k *checker) credentials(name string, s *topology.Site, f *siteFacts) {
	for _, c := range credentialsOf(s) {
		if !c.ref.IsLiteral() || c.hash && !c.ref.IsRedacted() {
			continue
		}
		path := append([]string{"sites", name}, c.path...)
		key := strings.Join(path, "\x00")
		k.literals[key] = path
		if c.ref.IsRedacted() {
			f.Redacted[key] = true
		} else {
			f.Literals[key] = true
		}
	}
}

// A credential is a reference and where in the site it stands.
type credential struct {
	ref  secret.Ref
	hash bool // the credential itself cannot be told from it
	path []string
}

func credentialsOf(s *topology.Site) []credential {
	var all []credential
	note := func(r secret.Ref, path ...string) {
		if !r.IsZero() {
			all = append(all, credential{r, path[len(path)-1] == "password_hash", path})
		}
	}
	for _, l := range s.Links {
		note(l.Password, "cluster", "links", l.Name, "password")
		note(l.PasswordHash, "cluster", "links", l.Name, "password_hash")
		note(l.SSL.Password, "cluster", "links", l.Name, "ssl", "password")
		if l.Inbound != nil {
			note(l.Inbound.Password, "cluster", "links", l.Name, "inbound", "password")
		}
	}
	for _, u := range s.Access.Users {
		note(u.Password, "access", "users", u.Name, "password")
		note(u.PasswordHash, "access", "users", u.Name, "password_hash")
	}
	for _, l := range s.Listeners {
		note(l.SSL.Password, "listeners", l.Name, "ssl", "password")
	}
	note(s.Target.Secret, "target", "emqx", "secret")
	return all
}

// What the rules made of some facts.
type ruled struct {
	digest [sha256.Size]byte // of the facts
	found  map[string][]found
}

// rules evaluates rules.cue over the facts, unless they are what they were:
// most edits, such as one of topics, give the rules nothing new.
func (k *checker) rules() (*ruled, error) {
	facts := k.facts()
	text, err := json.Marshal(facts)
	if err != nil {
		return nil, fmt.Errorf("read the facts: %w", err)
	}
	r := &ruled{digest: sha256.Sum256(text)}
	if p := k.opts.Previous; p != nil && p.ruled != nil && p.ruled.digest == r.digest {
		return p.ruled, nil
	}
	r.found, err = runRules(facts)
	return r, err
}

// runRules evaluates rules.cue over the facts.
func runRules(facts map[string]*siteFacts) (map[string][]found, error) {
	text, err := schema.FS.ReadFile("rules.cue")
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	ctx := cuecontext.New()
	rules := ctx.CompileBytes(text, cue.Filename(ownPrefix+"rules.cue"))
	v := rules.FillPath(cue.ParsePath("sites"), ctx.Encode(facts)).LookupPath(cue.ParsePath("findings"))
	if err := v.Validate(cue.Concrete(true)); err != nil {
		return nil, fmt.Errorf("evaluate the rules: %w", err)
	}
	all, ok := read(v).(object)
	if !ok {
		return nil, fmt.Errorf("evaluate the rules: no findings, not even empty ones")
	}
	result := map[string][]found{}
	for rule := range all {
		for _, x := range all.list(rule) {
			o, _ := x.(object)
			result[rule] = append(result[rule], found{
				rule: rule, site: o.string("site"), peer: o.string("peer"), other: o.string("other"),
				at: o.string("at"), from: o.string("from"), kind: o.string("kind"), field: o.string("field"),
			})
		}
	}
	return result, nil
}
