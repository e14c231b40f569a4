package compiler

import (
	"cmp"
	"fmt"
	"slices"

	"clink/diagnostic"
	"clink/flow"
	"clink/topology"
)

// policies are those of now, and of last what cannot be read any more: nobody
// has said that it holds no longer.
func (h *holder) policies() []topology.Policy {
	all := slices.Clone(h.now.Topology.Policies)
	for _, p := range h.last.Policies {
		if h.policyUnread(&p) {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b topology.Policy) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// policyUnread reports whether a policy of last is not among those of now only
// because it cannot be read.
func (h *holder) policyUnread(p *topology.Policy) bool {
	there := slices.ContainsFunc(h.now.Topology.Policies, func(q topology.Policy) bool { return q.Name == p.Name && q.Always == p.Always })
	if there {
		return false
	}
	_, lost := h.lost[p.Pos.File]
	return lost || h.now.bad.touches("policy", "flows", p.Name)
}

// breaches adds reasons to hold what would carry, of what is known of now and
// last together, what the policy forbids; and what would break a policy that
// cannot be read. It reports whether there are any that were not known. What
// breaks the policy of now by itself is told, and held for that.
func (h *holder) breaches(out *topology.Topology) bool {
	if len(out.Policies) == 0 || isOff(out) {
		return false
	}
	waived, more := h.waived(), false
	for b := range flow.Breaches(out) {
		unread := h.policyUnread(b.Policy)
		if b.Policy.Always && !unread || unread && isOff(h.last) {
			continue
		}
		for _, scope := range [...]diagnostic.Scope{{Site: b.To, Peer: b.From}, {Site: b.From, Peer: b.To}} {
			if _, held := h.scopes[scope]; !held && !waived[scope] {
				h.scopes[scope], more = reason{ruleFlow, wouldBreak(b)}, true
			}
		}
	}
	return more
}

func isOff(t *topology.Topology) bool {
	s, said := t.Severity[ruleFlow]
	return said && s == diagnostic.Off
}

func wouldBreak(b flow.Breach) string {
	travels, deems := "would travel", "forbids"
	if b.Policy.Always {
		travels, deems = "would not travel", "demands"
	}
	return fmt.Sprintf("%s: %s %s from %s to %s, which %s %s", b.Policy.Pos, quoted(b.Proof), travels, b.From, b.To, named(b.Policy), deems)
}

// waived are the links with which somebody has accepted that the policy is
// broken.
func (h *holder) waived() map[diagnostic.Scope]bool {
	m := map[diagnostic.Scope]bool{}
	for _, d := range h.now.Waived {
		if d.Rule == ruleFlow {
			for _, scope := range d.Holds {
				m[scope] = true
			}
		}
	}
	return m
}
