package diagnostic

// flowExplanations are of the rules on what crosses which links.
var flowExplanations = map[string]Explanation{
	"nothing-flows": {
		What:   "Both halves of a link are enabled, and neither wants any topic.",
		Why:    "The link is up and carries nothing. topics is what a site wants from its peer, not what it sends.",
		EMQX:   "Both ends show a healthy link.",
		Bad:    "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}\nsites: b: cluster: links: a: {server: \"10.0.0.1:1883\", topics: []}",
		Mended: "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}\nsites: b: cluster: links: a: {server: \"10.0.0.1:1883\", topics: [\"global/#\"]}",
	},
	"no-transit": {
		What:   "A site wants a topic from its peer that, by what the sites declare in intent.publishes, only a third site behind that peer has.",
		Why:    "A message that came over one link is never sent over another: that is how loops are kept out. The two outer sites need a link with each other.",
		EMQX:   "The same; nothing tells that the topic never comes.",
		Bad:    "sites: a: {intent: publishes: [\"alarm/#\"], cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}}\nsites: b: cluster: links: {a: {server: \"10.0.0.1:1883\", topics: []}, c: {server: \"10.0.0.3:1883\", topics: []}}\nsites: c: cluster: links: b: {server: \"10.0.0.2:1883\", topics: [\"alarm/#\"]}",
		Mended: "sites: a: {intent: publishes: [\"alarm/#\"], cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}}\nsites: b: cluster: links: {a: {server: \"10.0.0.1:1883\", topics: []}, c: {server: \"10.0.0.3:1883\", topics: []}}\nsites: c: cluster: links: {\n	b: {server: \"10.0.0.2:1883\", topics: []}\n	a: {server: \"10.0.0.1:1883\", topics: [\"alarm/#\"]}\n}\nsites: a: cluster: links: c: {server: \"10.0.0.3:1883\", topics: []}",
	},
	"link-cycle": {
		What:   "Three or more sites are linked in a ring. The rule is off unless the policy of the topology gives it a severity.",
		Why:    "It is safe: a message crosses one link at most, so it neither circles nor comes twice. Some teams want a plain hub and spokes all the same.",
		EMQX:   "The same.",
		Bad:    "policy: severity: \"link-cycle\": \"info\"\nsites: a: cluster: links: {b: {server: \"10.0.0.2\", topics: []}, c: {server: \"10.0.0.3\", topics: []}}\nsites: b: cluster: links: c: {server: \"10.0.0.3\", topics: []}\nsites: c: {}",
		Mended: "policy: severity: \"link-cycle\": \"info\"\nsites: a: cluster: links: {b: {server: \"10.0.0.2\", topics: []}, c: {server: \"10.0.0.3\", topics: []}}\nsites: b: {}\nsites: c: {}",
	},
	"flow-policy": {
		What:   "Something can travel between two sites that policy.flows forbids there, or cannot although the policy demands it; the topic that proves it is named. Or the policy itself says nothing, such as for a label that no site has.",
		Why:    "Which topics reach which site follows from both halves of every link, and nobody sees both at a glance. The policy says once what must hold, whoever writes the next link. from and to choose sites by name (site) or label, a list means any of these, \"!x\" all but x, and {} every site. never: no topic of the list may travel, not even in part; always: each must, as a whole, over a link between the two sites, as no message crosses a second one.",
		EMQX:   "It has no such policy: a link carries what the peer asks for.",
		Bad:    "policy: flows: \"pii stays\": never: {topics: [\"pii/#\"], from: {region: \"eu\"}, to: {region: \"!eu\"}}\nsites: a: {labels: region: \"eu\", cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}}\nsites: b: {labels: region: \"us\", cluster: links: a: {server: \"10.0.0.1:1883\", topics: [\"+/customers\", \"status/#\"]}}",
		Mended: "policy: flows: \"pii stays\": never: {topics: [\"pii/#\"], from: {region: \"eu\"}, to: {region: \"!eu\"}}\nsites: a: {labels: region: \"eu\", cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}}\nsites: b: {labels: region: \"us\", cluster: links: a: {server: \"10.0.0.1:1883\", topics: [\"crm/customers\", \"status/#\"]}}",
	},
}
