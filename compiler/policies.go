package compiler

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"clink/diagnostic"
	"clink/topic"
	"clink/topology"
)

const (
	ruleFlow = "flow-policy"
	never    = "never"
	always   = "always"
)

func policyPath(p *topology.Policy, rest ...string) []string {
	kind := never
	if p.Always {
		kind = always
	}
	return append([]string{"policy", "flows", p.Name, kind}, rest...)
}

// policyPos is where a value, or with label a label, of a policy stands; else
// the policy.
func (k *checker) policyPos(p *topology.Policy, label bool, rest ...string) diagnostic.Pos {
	if k.at != nil {
		if pos, ok := k.at(policyPath(p, rest...), label); ok {
			return pos
		}
	}
	return p.Pos
}

// named is the policy in a message.
func named(p *topology.Policy) string { return "the policy " + quoted(p.Name) }

// policies tells where a policy of flows does not say what its author means: it
// would be held for proved, and proves nothing.
func (k *checker) policies() {
	if len(k.t.Policies) == 0 {
		return
	}
	values := k.labelValues()
	for i := range k.t.Policies {
		p := &k.t.Policies[i]
		k.policyTopics(p)
		k.policySelector(p, "from", p.From, values)
		k.policySelector(p, "to", p.To, values)
		if from, to := single(p.From), single(p.To); from != "" && from == to {
			k.idle(p, p.Pos, "this policy", fmt.Sprintf("%s is about flows from %s to itself, which no link carries", named(p), from),
				"name two sites, or give from or to a label")
		}
	}
}

// single is the site that a selector names alone, "" for any other.
func single(s topology.Selector) string {
	for _, c := range s {
		if c.Label == topology.SelectSite && len(c.Values) == 1 && !strings.HasPrefix(c.Values[0], "!") {
			return c.Values[0]
		}
	}
	return ""
}

// idle tells of a policy that says nothing. There is nothing to hold back.
func (k *checker) idle(p *topology.Policy, pos diagnostic.Pos, label, message, help string) {
	k.add(diagnostic.Diagnostic{Rule: ruleFlow, Severity: diagnostic.Warning, Pos: pos, Label: label, Message: message, Help: help})
}

func (k *checker) policyTopics(p *topology.Policy) {
	if len(p.Topics) == 0 {
		k.idle(p, k.policyPos(p, false, "topics"), "no topic", named(p)+" has no topics, so that it says nothing", `name topic filters: topics: ["#"]`)
	}
	for i, t := range p.Topics {
		f, err := topic.Parse(string(t))
		d := diagnostic.Diagnostic{Severity: diagnostic.Error, Pos: k.policyPos(p, false, "topics", strconv.Itoa(i))}
		switch {
		case err != nil:
			d.Rule, d.Message, d.Label = "topic-invalid", err.Error(), "no topic filter"
			d.Help = "# stands alone as the last level, + alone as a level; clinkc explain topic-invalid"
		case f.Reserved() != "":
			d.Rule, d.Label, d.Help = "topic-reserved", "this filter", reservedHelp(f)
			d.Message = fmt.Sprintf("%s in %s: topics under %s are never carried by a link", quoted(string(t)), named(p), strings.TrimSuffix(f.Reserved(), "/"))
		default:
			continue
		}
		k.add(d)
	}
}

// labelValues are the values of each label that any site has, and of the sites
// their names.
func (k *checker) labelValues() map[string]map[string]bool {
	all := map[string]map[string]bool{topology.SelectSite: {}}
	for name, s := range k.t.Sites {
		for label, value := range s.Labels {
			if label == topology.SelectSite {
				continue // the name is meant
			}
			if all[label] == nil {
				all[label] = map[string]bool{}
			}
			all[label][value] = true
		}
		all[topology.SelectSite][name] = true
	}
	return all
}

// policySelector tells what no site is called or has. What a file that was left
// out may say counts as there.
func (k *checker) policySelector(p *topology.Policy, side string, s topology.Selector, values map[string]map[string]bool) {
	for _, c := range s {
		if c.Label == topology.SelectSite {
			k.policyNames(p, side, c)
		} else if k.lost || k.labelsUnread() {
			continue
		} else if values[c.Label] == nil {
			label := k.policyPos(p, true, side, c.Label)
			d := diagnostic.Diagnostic{Rule: ruleFlow, Severity: diagnostic.Error, Pos: label, Label: "this label",
				Message: fmt.Sprintf("%s asks for the label %s, which no site has", named(p), quoted(c.Label))}
			d.Help = "give the label to the sites that are meant: labels: " + quoted(c.Label) + `: "..."`
			if meant := suggest(c.Label, slices.Sorted(maps.Keys(values))); meant != "" {
				d.Message += "; did you mean " + quoted(meant) + "?"
				d.Help = "write " + quoted(meant)
			}
			k.add(d)
			continue
		}
		if len(c.Values) == 0 {
			k.idle(p, k.policyPos(p, false, side, c.Label), "no value", named(p)+" chooses no site here, so that it says nothing", side+": {} means every site")
			continue
		}
		if wanted := positive(c.Values); c.Label != topology.SelectSite && len(wanted) > 0 && !slices.ContainsFunc(wanted, func(v string) bool { return v == "" || values[c.Label][v] }) {
			k.idle(p, k.policyPos(p, false, side, c.Label), "no site has it",
				fmt.Sprintf("%s chooses sites whose label %s is %s, and there are none, so that it says nothing", named(p), quoted(c.Label), quoted(wanted[0])),
				"sites have "+someOf(slices.Sorted(maps.Keys(values[c.Label]))))
		}
	}
}

// positive are the values that a label may have, of those that are written.
func positive(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return strings.HasPrefix(v, "!") })
}

// someOf lists a few of many names.
func someOf(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// labelsUnread reports whether some site's labels are not known.
func (k *checker) labelsUnread() bool {
	for name := range k.t.Sites {
		if k.bad.touches("sites", name, "labels") {
			return true
		}
	}
	return k.bad.at[pathKey([]string{"sites"})]
}

// policyNames tells the names that no site has.
func (k *checker) policyNames(p *topology.Policy, side string, c topology.Choice) {
	for i, v := range c.Values {
		name := strings.TrimPrefix(v, "!")
		if k.t.Sites[name] != nil || k.bad.touches("sites", name) || k.hidden != nil && k.hidden(name) {
			continue
		}
		d := diagnostic.Diagnostic{Rule: "unknown-site", Severity: diagnostic.Error, Label: "this name", Pos: k.policyPos(p, false, side, c.Label)}
		if k.at != nil {
			if pos, ok := k.at(policyPath(p, side, c.Label, strconv.Itoa(i)), false); ok {
				d.Pos = pos
			}
		}
		d.Message = fmt.Sprintf("%s names %s, but no site has that name", named(p), quoted(name))
		d.Help = "there are " + someOf(k.t.Names())
		if meant := suggest(name, k.t.Names()); meant != "" {
			d.Message += "; did you mean " + meant + "?"
			d.Related = related(meant+" is here", k.t.Sites[meant].Pos)
			d.Help = "write " + strconv.Quote(strings.TrimSuffix(v, name)+meant)
		}
		k.add(d)
	}
}
