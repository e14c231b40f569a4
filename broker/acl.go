package broker

import (
	"fmt"
	"strings"

	"clink/topic"
	"clink/topology"
)

// The actions of a rule.
const (
	mayPublish = 1 << iota
	maySubscribe
)

// A rule is a topology.Rule made ready: of the access as a whole (topics are
// templates), or bound to one client.
type rule struct {
	order  int // its place among all rules
	allow  bool
	action byte
	qos    byte // bit n: QoS n; 0: any
	retain int8 // 0: any, 1: retained only, -1: others only
	user   string
	id     string
	topics []string       // with placeholders, in order; nil if there are none
	any    bool           // matches every topic
	fixed  []topic.Filter // without placeholders
}

func compileRule(r topology.Rule) (rule, error) {
	out := rule{allow: r.Permit == "allow", user: r.User, id: r.ClientID, any: len(r.Topics) == 0}
	if !out.allow && r.Permit != "deny" {
		return out, fmt.Errorf("permit %q is neither allow nor deny", r.Permit)
	}
	switch r.Action {
	case "publish":
		out.action = mayPublish
	case "subscribe":
		out.action = maySubscribe
	case "all", "":
		out.action = mayPublish | maySubscribe
	default:
		return out, fmt.Errorf("action %q is none of publish, subscribe and all", r.Action)
	}
	for _, q := range r.QoS {
		if q < 0 || q > 2 {
			return out, fmt.Errorf("QoS %d is not 0, 1 or 2", q)
		}
		out.qos |= 1 << q
	}
	if r.Retain != nil {
		out.retain = -1
		if *r.Retain {
			out.retain = 1
		}
	}
	for _, t := range r.Topics {
		f, err := topic.Parse(t)
		if err != nil {
			return out, err
		}
		if strings.Contains(t, "${") {
			out.topics = append(out.topics, t)
		} else {
			out.fixed = append(out.fixed, f)
		}
	}
	return out, nil
}

// bind returns the rules that concern one client, placeholders filled in.
func bind(rules []rule, username, id string) []rule {
	var out []rule
	for _, r := range rules {
		if r.user != "" && r.user != username || r.id != "" && r.id != id {
			continue
		}
		if r.topics != nil {
			r.fixed = r.fixed[:len(r.fixed):len(r.fixed)]
			for _, t := range r.topics {
				if f, ok := fill(t, r.allow, username, id); ok {
					r.fixed = append(r.fixed, f)
				}
			}
		}
		out = append(out, r)
	}
	return out
}

// fill puts a client's names into a template. A name that would change the
// meaning of the filter (empty, with a wildcard or a level of its own) makes
// an allow rule match nothing, and a deny rule match every name in that level.
func fill(template string, allow bool, username, id string) (topic.Filter, bool) {
	levels := strings.Split(template, "/")
	for i, l := range levels {
		for _, p := range [...]struct{ name, value string }{{"${clientid}", id}, {"${username}", username}} {
			if !strings.Contains(l, p.name) {
				continue
			}
			if p.value != "" && !strings.ContainsAny(p.value, "+#/\x00") {
				l = strings.ReplaceAll(l, p.name, p.value)
			} else if allow {
				return "", false
			} else {
				l = "+"
			}
		}
		levels[i] = l
	}
	f, err := topic.Parse(strings.Join(levels, "/"))
	return f, err == nil
}

// A right is what a client may do: as grants open it, or by rules.
type right struct {
	grant  *grant
	rules  []rule       // those for this client alone, in order; the first that matches decides,
	shared *sharedRules // or the first of these, if that comes before
	open   bool         // there are no rules: everything is allowed
}

// judged reports whether somebody has looked what the client may do: that of a
// restored session is not known before the configuration is, nor while its
// credential cannot be read.
func (r *right) judged() bool { return r.grant != nil || r.open || r.shared != nil }

// publish reports whether a message may be published. It does not allocate.
func (r *right) publish(name string, qos byte, retain bool) bool {
	const sys = "$SYS"
	if len(name) >= len(sys) && strings.EqualFold(name[:len(sys)], sys) {
		return false // the engine drops it without an acknowledgement
	}
	if r.grant != nil {
		return matches(r.grant.publish, name)
	}
	if underLink(name) {
		return false
	}
	if r.open {
		return true
	}
	best := noRule
	for i := range r.rules {
		if u := &r.rules[i]; u.action&mayPublish != 0 && u.conditions(qos, retain) && (u.any || matches(u.fixed, name)) {
			best = u
			break
		}
	}
	return r.shared.publish(name, qos, retain, best).allow
}

// subscribe reports whether a filter may be subscribed to: every name it
// matches must be allowed. So an allow rule decides if it covers the filter,
// and a deny rule if it meets it at all; deliveries are not checked again.
func (r *right) subscribe(f topic.Filter, qos byte) bool {
	if r.grant != nil {
		return covered(r.grant.subscribe, f)
	}
	if _, meets := topic.Intersect(f, linkPrefix+"#"); meets {
		return false
	}
	if r.open {
		return true
	}
	best := noRule
	for _, rules := range [...][]rule{r.rules, r.shared.rules} {
		for i := range rules {
			u := &rules[i]
			if u.order > best.order {
				break
			}
			if u.action&maySubscribe == 0 || u.qos != 0 && u.qos&(1<<qos) == 0 {
				continue
			}
			if u.any || u.allow && covered(u.fixed, f) || !u.allow && meetsAny(u.fixed, f) {
				best = u
				break
			}
		}
	}
	return best.allow
}

func (u *rule) conditions(qos byte, retain bool) bool {
	return (u.qos == 0 || u.qos&(1<<qos) != 0) && (u.retain == 0 || (u.retain > 0) == retain)
}

func matches(filters []topic.Filter, name string) bool {
	for _, f := range filters {
		if f.Match(name) {
			return true
		}
	}
	return false
}

func covered(filters []topic.Filter, f topic.Filter) bool {
	for _, g := range filters {
		if g.Covers(f) {
			return true
		}
	}
	return false
}

func meetsAny(filters []topic.Filter, f topic.Filter) bool {
	for _, g := range filters {
		if _, ok := topic.Intersect(g, f); ok {
			return true
		}
	}
	return false
}
