package compiler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"clink/diagnostic"
	"clink/flow"
	"clink/topic"
	"clink/topology"
)

// maxFlowFindings bounds what the policy of flows finds: of one that every link
// breaks, nobody reads more.
const maxFlowFindings = 10_000

// flows tells where the flows of all sites together are not as the policy says.
func (k *checker) flows() {
	if s, ok := k.t.Severity[ruleFlow]; len(k.t.Policies) == 0 || ok && s == diagnostic.Off {
		return
	}
	told := 0
	for b := range flow.Breaches(withExports(k.t)) {
		if k.uncertain(b) {
			continue
		}
		if told++; told > maxFlowFindings {
			k.add(diagnostic.Diagnostic{
				Rule: ruleFlow, Severity: diagnostic.Error, Pos: b.Policy.Pos, Label: "this policy",
				Message: fmt.Sprintf("the policy of flows is broken in more than %d places; the rest is left out", maxFlowFindings),
				Help:    "mend what is told, or say less in the policy",
			})
			return
		}
		if b.Policy.Always {
			k.add(k.wordMissingFlow(b))
		} else {
			k.add(k.wordForbidden(b))
		}
	}
}

// withExports is the topology with what each peer may be sent, which is derived
// for the caller only once all is checked.
func withExports(t *topology.Topology) *topology.Topology {
	exported := exports(t)
	derived := *t
	derived.Sites = make(map[string]*topology.Site, len(t.Sites))
	for name, s := range t.Sites {
		copied := *s
		copied.Exports = exported[name]
		derived.Sites[name] = &copied
	}
	return &derived
}

// uncertain reports whether something that the flow between two sites rests on
// is itself at fault, or may stand in a file that was left out.
func (k *checker) uncertain(b flow.Breach) bool {
	for _, ends := range [...][2]string{{b.From, b.To}, {b.To, b.From}} {
		site, peer := ends[0], ends[1]
		if k.unknown(site) || k.bad.above(linkPath(site, peer)...) {
			return true
		}
		for _, field := range [...]string{"enable", "topics", "export"} {
			if k.bad.touches(linkPath(site, peer, field)...) {
				return true
			}
		}
		// A link that is missing under this name is told under the one it has.
		_, there := k.t.Sites[site].Link(peer)
		if b.Policy.Always && !there && k.explained(found{site: peer, peer: site}) {
			return true
		}
	}
	return false
}

// unknown reports whether it is not sure what a site is, or which links it has.
func (k *checker) unknown(site string) bool {
	if why, ok := k.unsure[site]; ok {
		return why
	}
	if k.unsure == nil {
		k.unsure = map[string]bool{}
	}
	path := []string{"sites", site}
	k.unsure[site] = k.hidden != nil && k.hidden(site) || k.masked[pathKey(path)] || k.bad.above(path...) ||
		k.bad.touches("sites", site, "labels") || k.bad.touches("sites", site, "target")
	return k.unsure[site]
}

// breach is the finding of a breach, without its words: at the half at site,
// and about the other one too. What is demanded and lacking is the same fault,
// whatever the links carry of it and wherever it stands.
func (k *checker) breach(b flow.Breach, site, peer string) diagnostic.Diagnostic {
	d := diagnostic.Diagnostic{Rule: ruleFlow, Severity: diagnostic.Error, Sites: []string{site, peer}, Pos: k.link(site, peer), Label: "this link"}
	for _, scope := range [...]diagnostic.Scope{{Site: site, Peer: peer}, {Site: peer, Peer: site}} {
		d.Holds = append(d.Holds, scope)
		if _, there := k.t.Sites[scope.Site].Link(scope.Peer); there {
			d.Links = append(d.Links, scope)
		}
	}
	if b.Policy.Always {
		d.Sites, d.Key = []string{b.To, b.From}, b.Policy.Name
	}
	return d
}

// said is the place in the policy that a finding follows from.
func (k *checker) said(message string, b flow.Breach) []diagnostic.Related {
	for i, t := range b.Policy.Topics {
		if t == b.Topics[0] {
			return related(message, k.policyPos(b.Policy, false, "topics", strconv.Itoa(i)))
		}
	}
	return related(message, b.Policy.Pos)
}

// wordForbidden puts a finding where what crosses is asked for; or, where that
// is not known, where it is let go.
func (k *checker) wordForbidden(b flow.Breach) diagnostic.Diagnostic {
	wanted, asks := k.t.Sites[b.To].Link(b.From)
	sent, sends := k.t.Sites[b.From].Link(b.To)
	var d diagnostic.Diagnostic
	if asks {
		d = k.breach(b, b.To, b.From)
		k.pointAt(&d, b.To, wanted, "topics", wanted.Topics, b.Crossing)
		d.Help = "ask for less here, or change the policy"
	} else {
		d = k.breach(b, b.From, b.To)
		k.pointAt(&d, b.From, sent, "export", sent.Export, b.Crossing)
		d.Help = fmt.Sprintf("say in export what %s may be sent, and nothing that the policy forbids", b.To)
	}
	d.Message = fmt.Sprintf("%s travels from %s to %s, which %s forbids", quoted(b.Proof), b.From, b.To, named(b.Policy))
	d.Related = k.said("forbidden here", b)
	if asks && sends {
		d.Related = append(d.Related, related("sent over this link", sent.Pos)...)
	}
	d.Help += "; clinkc explain " + ruleFlow
	return d
}

// pointAt puts a finding at the filter of a list that lets a flow through.
func (k *checker) pointAt(d *diagnostic.Diagnostic, site string, l topology.Link, field string, filters []topic.Filter, crossing topic.Filter) {
	for i, f := range filters {
		if f.Covers(crossing) {
			d.Pos, d.Label = k.element(site, l, field, i), "let through here"
			return
		}
	}
}

// wordMissingFlow puts a finding where the flow stops: at the half that is
// lacking, disabled, or too narrow.
func (k *checker) wordMissingFlow(b flow.Breach) diagnostic.Diagnostic {
	const half = "the link that belongs to it would stand here"
	wanted, asks := k.t.Sites[b.To].Link(b.From)
	sent, sends := k.t.Sites[b.From].Link(b.To)
	external := func(site string) bool { return k.t.Sites[site].Target.Kind == topology.External }
	var d diagnostic.Diagnostic
	var why string
	var beside []diagnostic.Related
	switch {
	case !asks && !sends:
		d = k.breach(b, b.To, b.From)
		d.Pos, d.Label = k.t.Sites[b.To].Pos, "no link to "+b.From
		why, d.Help = "the two have no link", fmt.Sprintf("link %s with %s: what came over one link is never sent over another", b.To, b.From)
		beside = related(b.From+" is here", k.t.Sites[b.From].Pos)
	case asks && !wanted.Enable:
		d = k.breach(b, b.To, b.From)
		d.Pos, d.Label = k.link(b.To, b.From, "enable"), "disabled here"
		why, d.Help = b.To+"'s link is disabled", "enable both halves of the link"
		if sends && !sent.Enable {
			beside = related("and here", k.link(b.From, b.To, "enable"))
		}
	case sends && !sent.Enable:
		d = k.breach(b, b.From, b.To)
		d.Pos, d.Label = k.link(b.From, b.To, "enable"), "disabled here"
		why, d.Help = b.From+"'s link is disabled", "enable both halves of the link"
	case !asks && (!external(b.To) || external(b.From)):
		d = k.breach(b, b.From, b.To)
		why, d.Help = b.To+" has no link back", fmt.Sprintf("add links: %q: {...} there, with topics: [%s]", b.From, quoted(string(b.Topics[0])))
		beside = related(half, k.half(b.To))
	case !sends && (!external(b.From) || external(b.To)):
		d = k.breach(b, b.To, b.From)
		why, d.Help = b.From+" has no link back", fmt.Sprintf("add links: %q: {...} there", b.To)
		beside = related(half, k.half(b.From))
	case !asks || sent.HasExport && external(b.To) && covered(b.Topics, wanted.Topics):
		d = k.breach(b, b.From, b.To)
		d.Pos, d.Label = k.link(b.From, b.To, "export"), "not exported here"
		why, d.Help = b.From+" does not export it", "add "+list(b.Topics)+" to export"+instead(b.Topics, sent.Export)
	default:
		d = k.breach(b, b.To, b.From)
		d.Pos, d.Label = k.link(b.To, b.From, "topics"), "not asked for here"
		why, d.Help = b.To+" does not ask for it", "add "+list(b.Topics)+" to topics"+instead(b.Topics, wanted.Topics)
		if sends {
			beside = related("the link that would send it", sent.Pos)
		}
	}
	d.Message = fmt.Sprintf("%s does not travel from %s to %s, which %s demands: %s", quoted(b.Proof), b.From, b.To, named(b.Policy), why)
	d.Related = append(k.said("demanded here", b), beside...)
	d.Help += "; clinkc explain " + ruleFlow
	return d
}

// covered reports whether the filters let everything through that the topics
// match.
func covered(topics, filters []topic.Filter) bool {
	for _, t := range topics {
		if _, more := topic.Example(t, valid(filters)); more {
			return false
		}
	}
	return true
}

// instead names the filters that those to be added make redundant.
func instead(added, filters []topic.Filter) string {
	narrower := slices.DeleteFunc(slices.Clone(filters), func(f topic.Filter) bool {
		return !slices.ContainsFunc(added, func(a topic.Filter) bool { return a.Covers(f) })
	})
	if len(narrower) == 0 {
		return ""
	}
	return " in place of " + list(narrower)
}

// list are a few filters in a sentence.
func list(filters []topic.Filter) string {
	const most = 5
	var l []string
	for _, f := range filters[:min(len(filters), most)] {
		l = append(l, quoted(string(f)))
	}
	if more := len(filters) - most; more > 0 {
		l = append(l, fmt.Sprintf("%d more", more))
	}
	return strings.Join(l, " and ")
}
