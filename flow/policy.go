package flow

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"clink/topic"
	"clink/topology"
)

// A Breach is where the flows of a topology are not as its policy says: between
// two sites a message travels that never must, or one that always must does not.
type Breach struct {
	Policy   *topology.Policy
	From, To string
	Topics   []topic.Filter // of the policy: what is forbidden here, or not carried as a whole
	Crossing topic.Filter   // of what is forbidden: the filter of the flow that carries it
	Proof    string         // the topic of a message that travels, or does not
}

// Breaches goes over what of the policy of t does not hold, in its order and
// then in order of the sites. Of what is forbidden there is one for each filter
// of a flow, of what is missing one for two sites. Exports must have been
// derived. What is no topic filter, or never carried by a link, counts for
// nothing, as does a flow within one site.
func Breaches(t *topology.Topology) iter.Seq[Breach] {
	return func(yield func(Breach) bool) {
		if t == nil || len(t.Policies) == 0 {
			return
		}
		flows := Flows(t)
		carried := make(map[pair][]topic.Filter, len(flows))
		for _, f := range flows {
			carried[pair{f.From, f.To}] = f.Topics
		}
		for i := range t.Policies {
			c := holding{policy: &t.Policies[i], from: chosen(t, t.Policies[i].From), to: chosen(t, t.Policies[i].To)}
			c.topics = usable(c.policy.Topics)
			on := true
			if len(c.topics) == 0 {
				continue
			}
			if c.policy.Always {
				on = c.missing(carried, yield)
			} else {
				on = c.forbidden(flows, yield)
			}
			if !on {
				return
			}
		}
	}
}

// A holding is one policy that flows are held against.
type holding struct {
	policy   *topology.Policy
	topics   []topic.Filter
	from, to map[string]bool
}

func chosen(t *topology.Topology, s topology.Selector) map[string]bool {
	m := map[string]bool{}
	for name, site := range t.Sites {
		if s.Chooses(site) {
			m[name] = true
		}
	}
	return m
}

// forbidden reports whether to go on.
func (h holding) forbidden(flows []Flow, yield func(Breach) bool) bool {
	for _, f := range flows {
		if !h.from[f.From] || !h.to[f.To] {
			continue
		}
		for _, crossing := range f.Topics {
			var met []topic.Filter
			for _, t := range h.topics {
				if crossing.Meets(t) && !nameless(crossing, t) {
					met = append(met, t)
				}
			}
			if len(met) == 0 {
				continue
			}
			both, _ := topic.Intersect(crossing, met[0])
			proof, _ := example(both, nil)
			if !yield(Breach{h.policy, f.From, f.To, met, crossing, proof}) {
				return false
			}
		}
	}
	return true
}

// nameless reports whether all that two filters have in common is the empty
// text, which is no topic's name: /# and + do.
func nameless(a, b topic.Filter) bool {
	if a != "/#" && b != "/#" {
		return false
	}
	both, _ := topic.Intersect(a, b)
	return both == ""
}

// missing reports whether to go on.
func (h holding) missing(carried map[pair][]topic.Filter, yield func(Breach) bool) bool {
	senders, receivers := slices.Sorted(maps.Keys(h.from)), slices.Sorted(maps.Keys(h.to))
	for _, from := range senders {
		for _, to := range receivers {
			if from == to {
				continue
			}
			b := Breach{Policy: h.policy, From: from, To: to}
			have := carried[pair{from, to}]
			for _, t := range h.topics {
				if slices.Contains(have, t) {
					continue
				}
				proof, lacks := example(t, have)
				if !lacks {
					continue
				}
				if b.Topics = append(b.Topics, t); len(b.Topics) == 1 {
					b.Proof = proof
				}
			}
			if len(b.Topics) > 0 && !yield(b) {
				return false
			}
		}
	}
	return true
}

// example is [topic.Example], of a/# if possible one below a: that it matches
// its parent too is not in everybody's mind. Of many others, most have nothing
// to do with f.
func example(f topic.Filter, all []topic.Filter) (string, bool) {
	var others []topic.Filter
	for _, g := range all {
		if f.Meets(g) {
			others = append(others, g)
		}
	}
	if above, ok := strings.CutSuffix(string(f), "/#"); ok {
		if name, ok := topic.Example(topic.Filter(above+"/+"), others); ok {
			return name, true
		}
	}
	return topic.Example(f, others)
}
