package compiler

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"clink/diagnostic"
	"clink/internal/secret"
	"clink/schema"
	"clink/topic"
	"clink/topology"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
)

// topology validates the root and returns it as plain data, every default
// filled in.
func (c *compilation) topology() *topology.Topology {
	c.validate()
	t := &topology.Topology{Sites: map[string]*topology.Site{}, Severity: map[string]diagnostic.Severity{}}
	c.policy(t)
	it, err := c.root.LookupPath(cue.ParsePath("sites")).Fields()
	if err != nil {
		return t // no sites at all
	}
	for it.Next() {
		name := it.Selector().Unquoted()
		// The schema adds no values, and without it reading is much cheaper.
		v := it.Value()
		if u, ok := c.fit("#Site", "", v, c.shape.step("sites").any, []string{"sites", name}); !ok {
			v = u
		}
		stop := c.watch.start("read")
		if o, ok := read(v).(object); ok {
			c.decode(t, name, o)
			c.origins(it.Value(), []string{"sites", name})
		}
		stop()
	}
	c.vanished(t)
	c.mask()
	return t
}

func (c *compilation) decode(t *topology.Topology, name string, o object) {
	d := decoder{c: c, defaults: c.defaults, site: name}
	declared := o.object("cluster").string("name")
	t.Sites[name] = d.decodeSite(o)
	if declared != "" {
		c.names[name] = declared
	}
}

// mask notes what a comprehension makes beside a fault: CUE then does not say
// whether the comprehension itself could be evaluated.
func (c *compilation) mask() {
	if c.root.Err() == nil {
		return
	}
	sites := c.index.find("sites")
	for _, p := range []*place{c.index.root, sites} {
		if p != nil {
			for _, f := range p.wildIn {
				c.masked[f] = true
			}
		}
	}
	for site := range sites.written() {
		if c.root.LookupPath(makePath([]string{"sites", site})).Err() == nil {
			continue
		}
		path := linkPath(site, "")
		for n := 2; n <= 4; n++ {
			p := c.index.find(path[:n]...)
			if p == nil {
				continue
			}
			if p.expand(); len(p.wildIn) > 0 {
				c.masked[pathKey(path[:2])] = true
			}
		}
	}
}

// vanished tells sites and links that the source writes out and that CUE has
// no value for, such as one that refers to itself: nobody may take them for
// deleted.
func (c *compilation) vanished(t *topology.Topology) {
	for site := range c.index.find("sites").written() {
		s, path := t.Sites[site], []string{"sites", site}
		if s == nil {
			c.lackValue(path)
			continue
		}
		for peer := range c.index.find(linkPath(site, "")[:4]...).written() {
			if _, ok := s.Link(peer); !ok {
				c.lackValue(linkPath(site, peer))
			}
		}
	}
}

func (c *compilation) lackValue(path []string) {
	if c.bad.touches(path...) {
		return
	}
	c.fault(schemaFinding(c.index.labelPos(path...), shortPath(path)+" has no value; does it refer to itself?"), path)
}

func readDefaults() (object, error) {
	text, err := schema.FS.ReadFile("defaults.cue")
	if err != nil {
		return nil, fmt.Errorf("read the defaults: %w", err)
	}
	v := cuecontext.New().CompileBytes(text, cue.Filename(ownPrefix+"defaults.cue"))
	if err := v.Validate(cue.Concrete(true)); err != nil {
		return nil, fmt.Errorf("evaluate the defaults: %w", err)
	}
	o, _ := read(v).(object)
	return o, nil
}

// policy reads what the team says of rules.
func (c *compilation) policy(t *topology.Topology) {
	o, _ := read(c.root.LookupPath(cue.ParsePath("policy.severity"))).(object)
	for rule := range o {
		if s, err := diagnostic.ParseSeverity(o.string(rule)); err == nil {
			t.Severity[rule] = s
		}
	}
	flows, _ := read(c.root.LookupPath(cue.ParsePath("policy.flows"))).(object)
	for _, name := range slices.Sorted(maps.Keys(flows)) {
		if o := flows.object(name); o != nil && len(o) == 0 && !c.bad.touches("policy", "flows", name) {
			c.findings = append(c.findings, diagnostic.Diagnostic{
				Rule: ruleFlow, Severity: diagnostic.Warning, Pos: c.index.labelPos("policy", "flows", name), Label: "this policy",
				Message: "the policy " + quoted(name) + " says nothing", Help: "give it never or always: {topics: [...], from: {...}, to: {...}}",
			})
		}
		for _, kind := range [...]string{never, always} {
			path := []string{"policy", "flows", name, kind}
			o, ok := flows.object(name)[kind].(object)
			if !ok || c.bad.touches(path[:3]...) {
				continue
			}
			pos := c.index.labelPos(path...)
			if c.index.find(path...) == nil {
				pos = c.placeOf(c.root.LookupPath(makePath(path)), nil, path, true)
			}
			t.Policies = append(t.Policies, topology.Policy{
				Name: name, Always: kind == always, Topics: filters(o.strings("topics")),
				From: selector(o.object("from")), To: selector(o.object("to")), Pos: pos,
			})
		}
	}
}

func selector(o object) topology.Selector {
	var s topology.Selector
	for _, label := range slices.Sorted(maps.Keys(o)) {
		s = append(s, topology.Choice{Label: label, Values: o.strings(label)})
	}
	return s
}

func makePath(path []string) cue.Path {
	sels := make([]cue.Selector, len(path))
	for i, p := range path {
		sels[i] = cue.Str(p)
	}
	return cue.MakePath(sels...)
}

// A decoder turns the plain data of one site into its types. What the types
// refuse and the schema cannot say is a schema finding as well.
type decoder struct {
	c        *compilation
	defaults object
	site     string
}

func (d decoder) path(rest ...string) []string {
	return append([]string{"sites", d.site}, rest...)
}

func (d decoder) fault(err error, path []string) {
	if d.c.bad.above(path...) {
		return
	}
	f := schemaFinding(d.c.placeOf(d.c.root.LookupPath(makePath(path)), nil, path, false), shortPath(path)+": "+err.Error())
	f.Label = "this value"
	d.c.fault(f, path)
}

// pos is where the label at the path stands, or what made it.
func (d decoder) pos(path []string) diagnostic.Pos {
	if p := d.c.index.find(path...); p != nil {
		return d.c.index.labelPos(path...)
	}
	return d.c.placeOf(d.c.root.LookupPath(makePath(path)), nil, path, true)
}

func (d decoder) decodeSite(o object) *topology.Site {
	s := &topology.Site{
		Name:   d.site,
		Labels: map[string]string{},
		Host:   o.string("host"),
		Memory: d.size(o, "memory", d.path()),
		Target: d.target(o.object("target")),
		Intent: topology.Intent{
			Publishes:  filters(o.object("intent").strings("publishes")),
			Subscribes: filters(o.object("intent").strings("subscribes")),
		},
		Access: d.access(o.object("access")),
		Pos:    d.pos(d.path()),
		Files:  d.c.index.filesOf(d.site),

		Listeners: []topology.Listener{}, Links: []topology.Link{},
	}
	for k := range o.object("labels") {
		s.Labels[k] = o.object("labels").string(k)
	}
	listeners := o.object("listeners")
	for _, name := range slices.Sorted(maps.Keys(listeners)) {
		if l, ok := listeners[name].(object); ok {
			s.Listeners = append(s.Listeners, d.listener(name, l))
		}
	}
	s.MQTT = d.mqtt(o.object("mqtt"))
	links := o.object("cluster").object("links")
	for _, peer := range slices.Sorted(maps.Keys(links)) {
		if l, ok := links[peer].(object); ok {
			s.Links = append(s.Links, d.link(peer, l))
		}
	}
	return s
}

func (d decoder) target(o object) topology.Target {
	e := o.object("emqx")
	switch {
	case o.bool("external") && e != nil:
		d.fault(errors.New("a site is either external or driven through EMQX's API, not both"), d.path("target"))
		return topology.Target{Kind: topology.External}
	case o.bool("external"):
		return topology.Target{Kind: topology.External}
	case e == nil:
		return topology.Target{Kind: topology.Embedded}
	}
	return topology.Target{
		Kind: topology.EMQX,
		API:  e.string("api"), Key: e.string("key"),
		Secret:  d.secret(e, "secret", d.path("target", "emqx")),
		Version: e.string("version"), Nodes: e.int("nodes"), Licence: e.string("licence"),
	}
}

func (d decoder) access(o object) topology.Access {
	declared := o != nil
	if !declared {
		o = object{}
	}
	o.under(d.defaults.object("access"))
	a := topology.Access{Anonymous: o.bool("anonymous"), Declared: declared}
	users := o.object("users")
	for _, name := range slices.Sorted(maps.Keys(users)) {
		u := users.object(name)
		path := d.path("access", "users", name)
		a.Users = append(a.Users, topology.User{
			Name: name, Password: d.secret(u, "password", path), PasswordHash: d.secret(u, "password_hash", path),
		})
	}
	_, a.HasACL = o["acl"]
	for i, x := range o.list("acl") {
		if r, ok := x.(object); ok {
			a.ACL = append(a.ACL, d.rule(r, d.path("access", "acl", fmt.Sprint(i))))
		}
	}
	return a
}

func (d decoder) rule(o object, path []string) topology.Rule {
	r := topology.Rule{
		Permit: o.string("permit"), Action: cmp.Or(o.string("action"), "all"), Topics: o.strings("topics"),
		User: o.string("user"), ClientID: o.string("clientid"), Retain: o.boolPtr("retain"),
	}
	if n := o.intPtr("qos"); n != nil {
		r.QoS = []int{*n}
	}
	for _, x := range o.list("qos") {
		if n, ok := x.(int64); ok {
			r.QoS = append(r.QoS, int(n))
		}
	}
	for i, t := range r.Topics {
		if _, err := topic.Parse(t); err != nil {
			d.fault(err, append(path, "topics", fmt.Sprint(i)))
		}
	}
	return r
}

// secret reads where a credential is kept.
func (d decoder) secret(o object, name string, above []string) secret.Ref {
	r, err := secret.Parse(o.string(name))
	if err != nil {
		d.fault(err, append(slices.Clone(above), name))
	}
	return r
}

// duration reads EMQX's text form or a number of milliseconds.
func (d decoder) duration(o object, name string, above []string) topology.Duration {
	var v topology.Duration
	var err error
	switch x := o[name].(type) {
	case string:
		v, err = topology.ParseDuration(x)
	case int64:
		err = v.UnmarshalJSON(fmt.Append(nil, x))
	}
	if err != nil {
		d.fault(err, append(slices.Clone(above), name))
	}
	return v
}

func (d decoder) size(o object, name string, above []string) topology.Size {
	var v topology.Size
	var err error
	switch x := o[name].(type) {
	case string:
		v, err = topology.ParseSize(x)
	case int64:
		v.Bytes = x
	}
	if err != nil {
		d.fault(err, append(slices.Clone(above), name))
	}
	return v
}

func filters(texts []string) []topic.Filter {
	l := make([]topic.Filter, len(texts))
	for i, t := range texts {
		l[i] = topic.Filter(t)
	}
	return l
}
