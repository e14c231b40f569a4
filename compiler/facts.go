package compiler

import (
	"fmt"
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
	Name     string                  `json:"name"`
	External bool                    `json:"external,omitempty"`
	Links    map[string]linkFacts    `json:"links"`
	Literals map[string]bool         `json:"literals,omitempty"`
	Arrivals map[string]arrivalFacts `json:"arrivals"`
	Prefixes map[string]string       `json:"prefixes"`
}

type linkFacts struct {
	Enable bool             `json:"enable,omitempty"`
	Speaks string           `json:"speaks"`
	Scheme string           `json:"scheme,omitempty"`
	Many   bool             `json:"many,omitempty"`
	Astray *map[string]bool `json:"astray,omitempty"`
	Meets  string           `json:"meets,omitempty"`
}

type arrivalFacts struct {
	Prefix   string `json:"prefix"`
	Unproven bool   `json:"unproven,omitempty"`
	Loopback bool   `json:"loopback,omitempty"`
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
				put(x.address, a.String(), name)
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
	if sites := x.address[a.String()]; sites != nil {
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
			Name: s.Name, External: s.Target.Kind == topology.External,
			Links: make(map[string]linkFacts, len(s.Links)), Literals: map[string]bool{},
			Arrivals: map[string]arrivalFacts{}, Prefixes: map[string]string{},
		}
		if declared := k.names[name]; declared != "" {
			f.Name = declared
		}
		for _, l := range s.Links {
			f.Links[l.Name] = k.linkFacts(x, name, l)
		}
		k.literalsOf(name, s, f.Literals)
		all[name] = f
	}
	for _, name := range k.t.Names() {
		k.arrivalsTo(name, all[name])
	}
	return all
}

func (k *checker) linkFacts(x endpointIndex, site string, l topology.Link) linkFacts {
	f := linkFacts{Enable: l.Enable, Speaks: speaks(l)}
	peer := k.t.Sites[l.Name]
	list, err := parseServer(l.Server)
	if err != nil || peer == nil || l.Name == site {
		return f
	}
	if len(list) > 1 {
		f.Many = true
		return f
	}
	if list[0].scheme == "mqtts" {
		f.Scheme = "mqtts"
	}
	lands := x.lands(list[0], l.Name)
	// Of a broker that clink does not run itself, no listener need be declared.
	known := len(lands) > 0 || peer.Target.Kind == topology.Embedded || len(peer.Listeners) > 0
	if known && !lands[l.Name] {
		f.Astray = &lands
	}
	if m, ok := meets(peer, l); ok {
		f.Meets = m.Type
	}
	return f
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
		if !m.Enable || !slices.ContainsFunc(endpoints(*m), func(a address) bool { return a.String() == list[0].String() }) {
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
	for _, a := range k.incoming[site] {
		name := a.grant.Peer
		if f.Prefixes[a.grant.ClientIDPrefix] == "" {
			f.Prefixes[a.grant.ClientIDPrefix] = name
		}
		f.Arrivals[name] = arrivalFacts{a.grant.ClientIDPrefix, a.proof == proofNone, a.loopback}
	}
}

// literalsOf notes the fields of a site that hold a credential itself.
func (k *checker) literalsOf(name string, s *topology.Site, set map[string]bool) {
	note := func(r secret.Ref, path ...string) {
		if !r.IsLiteral() {
			return
		}
		path = append([]string{"sites", name}, path...)
		key := strings.Join(path, "\x00")
		k.literals[key] = path
		set[key] = true
	}
	for _, l := range s.Links {
		note(l.Password, "cluster", "links", l.Name, "password")
		note(l.SSL.Password, "cluster", "links", l.Name, "ssl", "password")
		if l.Inbound != nil {
			note(l.Inbound.Password, "cluster", "links", l.Name, "inbound", "password")
		}
	}
	for _, u := range s.Access.Users {
		note(u.Password, "access", "users", u.Name, "password")
	}
	for _, l := range s.Listeners {
		note(l.SSL.Password, "listeners", l.Name, "ssl", "password")
	}
	note(s.Target.Secret, "target", "emqx", "secret")
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
