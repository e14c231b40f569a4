package broker

import (
	"math"
	"strings"
)

// noRule is what holds when no rule matches.
var noRule = &rule{order: math.MaxInt}

// Rules that are the same for every client are kept once, as a tree over the
// levels of their topics: with a thousand rules, a publish is not held against
// each of them.
type sharedRules struct {
	rules []rule // in order
	all   []int  // those for every topic, as places in rules
	root  ruleNode
}

// A ruleNode is a level of topics; lists hold places in rules, in order.
type ruleNode struct {
	kids  map[string]*ruleNode
	plus  *ruleNode
	here  []int // filters that end here
	below []int // filters that end with # after here
}

func shareRules(rules []rule) *sharedRules {
	s := &sharedRules{rules: rules}
	for i, u := range rules {
		if u.any {
			s.all = append(s.all, i)
		}
		for _, f := range u.fixed {
			s.root.add(string(f), i)
		}
	}
	return s
}

func (n *ruleNode) add(filter string, i int) {
	level, rest, more := strings.Cut(filter, "/")
	var kid *ruleNode
	switch level {
	case "#":
		n.below = append(n.below, i)
		return
	case "+":
		if n.plus == nil {
			n.plus = &ruleNode{}
		}
		kid = n.plus
	default:
		if n.kids == nil {
			n.kids = make(map[string]*ruleNode)
		}
		if kid = n.kids[level]; kid == nil {
			kid = &ruleNode{}
			n.kids[level] = kid
		}
	}
	if more {
		kid.add(rest, i)
	} else {
		kid.here = append(kid.here, i)
	}
}

// A ruleSearch looks for the first rule for a message.
type ruleSearch struct {
	rules  []rule
	qos    byte
	retain bool
	best   *rule
}

// publish returns the first rule for a message that comes before best, else
// best. It does not allocate.
func (s *sharedRules) publish(name string, qos byte, retain bool, best *rule) *rule {
	x := ruleSearch{s.rules, qos, retain, best}
	x.look(s.all)
	x.walk(&s.root, name, strings.HasPrefix(name, "$"))
	return x.best
}

func (x *ruleSearch) look(list []int) {
	for _, i := range list {
		u := &x.rules[i]
		if u.order >= x.best.order {
			return
		}
		if u.action&mayPublish != 0 && u.conditions(x.qos, x.retain) {
			x.best = u
			return
		}
	}
}

// walk goes on below n with what is left of a name. Wildcards in the first
// level do not match a name that begins with $ (MQTT 5.0 §4.7.2).
func (x *ruleSearch) walk(n *ruleNode, rest string, dollar bool) {
	if !dollar {
		x.look(n.below)
	}
	level, rest, more := strings.Cut(rest, "/")
	for _, kid := range [...]*ruleNode{n.kids[level], n.plus} {
		switch {
		case kid == nil || kid == n.plus && dollar:
		case more:
			x.walk(kid, rest, false)
		default:
			x.look(kid.below)
			x.look(kid.here)
		}
	}
}
