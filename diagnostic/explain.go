package diagnostic

// explained returns the explanation of a rule, if it is built.
func explained(rule string) (Explanation, bool) {
	for _, part := range [...]map[string]Explanation{linkExplanations, tlsExplanations, accessExplanations, flowExplanations, listenerExplanations} {
		if e, ok := part[rule]; ok {
			return e, true
		}
	}
	return Explanation{}, false
}

// linkExplanations, like those of the other parts of the catalogue, are never
// written to. A test compiles each Bad and Mended.
var linkExplanations = map[string]Explanation{
	"schema": {
		What:   "A file of the topology does not parse, or a value, type or name in it is not what the schema allows, or a field that must be there is missing.",
		Why:    "A misspelt field would otherwise be left out without a word, and the link would run with a default that nobody chose. What the fault touches stays at its last good state.",
		EMQX:   "EMQX refuses the whole configuration, or the one request, with a validation error that names a path and no line.",
		Bad:    `sites: a: cluster: links: b: {servr: "b.example.net:1883", topics: []}`,
		Mended: `sites: a: cluster: links: b: {server: "b.example.net:1883", topics: []}`,
	},
	"duplicate-link": {
		What:   "The same link is declared in two files of the topology.",
		Why:    "CUE merges the two declarations as long as they do not contradict each other, so that neither file shows the whole link, and a change in one place can surprise in the other.",
		EMQX:   "EMQX knows one list of links for each cluster and refuses a name that stands in it twice.",
		Bad:    "// one.cue\nsites: a: cluster: links: b: {server: \"b.example.net:1883\", topics: [\"x/#\"]}\n// two.cue\nsites: a: cluster: links: b: pool_size: 2",
		Mended: "// one.cue\nsites: a: cluster: links: b: {server: \"b.example.net:1883\", topics: [\"x/#\"], pool_size: 2}",
	},
	"name-mismatch": {
		What:   "cluster.name is not the key of the site, or two sites have one name.",
		Why:    "The name is the identity of a cluster on the wire. Peers link to the key; a cluster that speaks under another name is refused by all of them.",
		EMQX:   "The peer answers that the link's name is wrong and goes on refusing; the REST API still calls the link connected. With two clusters of one name, their routes are mixed without a word.",
		Bad:    `sites: "emqx-us-east": cluster: name: "emqx-us-eest"`,
		Mended: `sites: "emqx-us-east": {}`,
	},
	"name-unsafe": {
		What:   "A name of a site or of a peer cannot be a level of a topic, a folder or a place in the REST API.",
		Why:    "The name stands in the control topics of the link; a / or a wildcard in it makes other topics of them.",
		EMQX:   "EMQX's REST API refuses such names; from a configuration file it takes them, and the link then never comes up.",
		Bad:    `sites: "eu/west": {}`,
		Mended: `sites: "eu-west": {}`,
	},
	"unknown-site": {
		What:   "A link names a peer that no site of the topology is called; or the policy of flows names such a site.",
		Why:    "A link is found by the peer's cluster name. Under a wrong name it is refused, however right its address is. A policy for a site that is not there proves nothing.",
		EMQX:   "The peer refuses the handshake and logs that the link's name is wrong; at this end the REST API says connected.",
		Bad:    "sites: a: cluster: links: bb: {server: \"b.example.net:1883\", topics: []}\nsites: b: {}",
		Mended: "sites: a: cluster: links: b: {server: \"b.example.net:1883\", topics: []}\nsites: b: {}",
	},
	"self-link": {
		What:   "A site has a link whose name is its own.",
		Why:    "Such a link would bring a site's own messages back to it, a second time.",
		EMQX:   "The documentation forbids it, and nothing checks it.",
		Bad:    `sites: a: cluster: links: a: {server: "a.example.net:1883", topics: ["#"]}`,
		Mended: `sites: a: {}`,
	},
	"one-sided": {
		What:   "A site has an enabled link to a peer, and the peer has no link back.",
		Why:    "A link is two halves, one at each site: the peer only speaks with clusters that it has a link to, even if it wants nothing from them.",
		EMQX:   "The peer answers unknown_cluster and the handshake is tried again for ever; versions 5.8.0 and 5.8.1 do not answer at all when they have no link. The REST API says connected all the same.",
		Bad:    "sites: a: cluster: links: b: {server: \"b.example.net:1883\", topics: [\"x/#\"]}\nsites: b: cluster: links: {}",
		Mended: "sites: a: cluster: links: b: {server: \"b.example.net:1883\", topics: [\"x/#\"]}\nsites: b: cluster: links: a: {server: \"a.example.net:1883\", topics: []}",
	},
	"enable-mismatch": {
		What:   "A link is enabled on one side and disabled on the other.",
		Why:    "The enabled side goes on trying and is refused; the disabled side drops what still comes.",
		EMQX:   "The refusal is repeated with a warning and an alarm on the enabled side; the routes of the disabled one are forgotten after 30 seconds.",
		Bad:    "sites: a: cluster: links: b: {enable: true, server: \"b.example.net:1883\", topics: []}\nsites: b: cluster: links: a: {enable: false, server: \"a.example.net:1883\", topics: []}",
		Mended: "sites: a: cluster: links: b: {enable: false, server: \"b.example.net:1883\", topics: []}\nsites: b: cluster: links: a: {enable: false, server: \"a.example.net:1883\", topics: []}",
	},
	"server-is-self": {
		What:   "The server of a link is an endpoint of the link's own site, or a host that only this site advertises.",
		Why:    "The cluster dials itself. server is where the peer listens, not where this site does; the example in the vendor's documentation has the same slip.",
		EMQX:   "It connects to itself, is told that the cluster is unknown, and the REST API says connected.",
		Bad:    "sites: a: {listeners: mqtt: bind: \"10.0.0.1:1883\", cluster: links: b: {server: \"10.0.0.1:1883\", topics: []}}\nsites: b: listeners: mqtt: bind: \"10.0.0.2:1883\"",
		Mended: "sites: a: {listeners: mqtt: bind: \"10.0.0.1:1883\", cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}}\nsites: b: listeners: mqtt: bind: \"10.0.0.2:1883\"",
	},
	"server-is-third": {
		What:   "The server of a link is an endpoint of another site than the peer that the link names.",
		Why:    "The link arrives at the wrong cluster, which refuses it by its name.",
		EMQX:   "The other cluster refuses the handshake; the REST API says connected.",
		Bad:    "sites: a: cluster: links: b: {server: \"10.0.0.3:1883\", topics: []}\nsites: b: listeners: mqtt: bind: \"10.0.0.2:1883\"\nsites: c: listeners: mqtt: bind: \"10.0.0.3:1883\"",
		Mended: "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}\nsites: b: listeners: mqtt: bind: \"10.0.0.2:1883\"\nsites: c: listeners: mqtt: bind: \"10.0.0.3:1883\"",
	},
	"server-unknown": {
		What:   "The peer has no enabled listener that is reached at the server of the link.",
		Why:    "Nothing answers there, or something that is not in the topology. A listener's endpoints are what it advertises, else where it is bound, unless that is every address, a socket in the file system, or a place where only a proxy may speak; without a port, server means 1883.",
		EMQX:   "The connection fails and is tried again for ever; the REST API says disconnected.",
		Bad:    "sites: a: cluster: links: b: {server: \"b.example.net\", topics: []}\nsites: b: listeners: mqtt: {bind: \"0.0.0.0:2883\", advertise: [\"b.example.net:2883\"]}",
		Mended: "sites: a: cluster: links: b: {server: \"b.example.net:2883\", topics: []}\nsites: b: listeners: mqtt: {bind: \"0.0.0.0:2883\", advertise: [\"b.example.net:2883\"]}",
	},
	"server-many": {
		What: "The server of a link holds more than one address.",
		Why:  "A link has one address. For several nodes, put one name or a load balancer in front of them.",
		EMQX: "Below 6.3.0 the value is accepted and then stops the part of EMQX that manages links: no link can be made, changed or deleted any more.",
		Bad: `sites: a: cluster: links: b: {server: "b1.example.net:1883,b2.example.net:1883", topics: []}
sites: b: {}`,
		Mended: `sites: a: cluster: links: b: {server: "b.example.net:1883", topics: []}
sites: b: {}`,
	},
	"tls-mismatch": {
		What:   "The link speaks TLS and the listener that it addresses does not, or the reverse; or the listener is a WebSocket one; or server says mqtts:// while ssl.enable is false.",
		Why:    "One end waits for a greeting that the other never sends. Only ssl.enable switches TLS on, no scheme does.",
		EMQX:   "The connection fails or hangs and is tried again for ever; a scheme is ignored, or refused by older versions.",
		Bad:    "sites: a: cluster: links: b: {server: \"10.0.0.2:8883\", topics: []}\nsites: b: listeners: mqtts: {bind: \"10.0.0.2:8883\", ssl: certfile: \"b.pem\"}",
		Mended: "sites: a: cluster: links: b: {server: \"10.0.0.2:8883\", topics: [], ssl: {enable: true, cacertfile: \"ca.pem\"}}\nsites: b: listeners: mqtts: {bind: \"10.0.0.2:8883\", ssl: certfile: \"b.pem\"}",
	},
	"clientid-collision": {
		What:   "Two links come to the same broker with the same client id prefix.",
		Why:    "A broker keeps one session for a client id, so the two links throw each other out; and the prefix is what tells the broker which peer it has before it.",
		EMQX:   "Where the node names are equal too, as they are by default, the sessions take each other over without end, which is logged at level info at most.",
		Bad:    "sites: a: cluster: links: hub: {server: \"hub.example.net\", clientid: \"link\", topics: []}\nsites: b: cluster: links: hub: {server: \"hub.example.net\", clientid: \"link\", topics: []}\nsites: hub: {}",
		Mended: "sites: a: cluster: links: hub: {server: \"hub.example.net\", clientid: \"link-a\", topics: []}\nsites: b: cluster: links: hub: {server: \"hub.example.net\", clientid: \"link-b\", topics: []}\nsites: hub: {}",
	},
	"peer-unauthenticated": {
		What:   "A peer's link is let in with neither username and password nor a client certificate that the listener demands.",
		Why:    "Whoever can reach the listener and knows the client id prefix could speak as the peer: announce routes, and inject messages. On loopback only programs of the same machine could, so there it is a warning.",
		EMQX:   "With no authenticator configured everybody is let in, and the access list that EMQX came with for long allows everybody the control topics.",
		Bad:    "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}\nsites: b: listeners: mqtt: bind: \"10.0.0.2:1883\"",
		Mended: "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: [], username: \"link-a\", password: \"file://secrets/a-to-b\"}\nsites: b: listeners: mqtt: bind: \"10.0.0.2:1883\"",
	},
	"literal-secret": {
		What:   "A password or another credential is written in the source.",
		Why:    "The source is read by many and kept in history for ever. A reference says where the credential is kept; it is read where it is used and at no other place.",
		EMQX:   "EMQX takes both, and reads a password that begins with file:// from that file on each node.",
		Bad:    `sites: a: cluster: links: b: {server: "b.example.net", topics: [], username: "a", password: "hunter2"}`,
		Mended: `sites: a: cluster: links: b: {server: "b.example.net", topics: [], username: "a", password: "file://secrets/a-to-b"}`,
	},
	"topic-invalid": {
		What:   "A text in a link's topics, or in those of the policy of flows, is no topic filter (MQTT 5.0, section 4.7.1).",
		Why:    "It matches nothing. # stands alone as the last level, + alone as a level, and a filter is neither empty nor longer than 65535 bytes.",
		EMQX:   "EMQX refuses the link with invalid_topics.",
		Bad:    `sites: a: cluster: links: b: {server: "b.example.net", topics: ["fwd/#/up"]}`,
		Mended: `sites: a: cluster: links: b: {server: "b.example.net", topics: ["fwd/+/up"]}`,
	},
	"topic-reserved": {
		What:   "A topic filter of a link, or of the policy of flows, begins with $LINK, $share, $queue, $exclusive or $delayed.",
		Why:    "Such filters mean something to one broker and never match a topic that is sent over a link.",
		EMQX:   "EMQX refuses filters under $LINK/cluster/; the others it takes, and they carry nothing.",
		Bad:    `sites: a: cluster: links: b: {server: "b.example.net", topics: ["$share/workers/jobs/#"]}`,
		Mended: `sites: a: cluster: links: b: {server: "b.example.net", topics: ["jobs/#"]}`,
	},
	"topic-redundant": {
		What:   "A topic filter of a link is covered by another one of the same link.",
		Why:    "It adds nothing, and hides from the reader that the wider one is there.",
		EMQX:   "EMQX refuses the link with redundant_topics from version 5.8.2 on.",
		Bad:    `sites: a: cluster: links: b: {server: "b.example.net", topics: ["fwd/#", "fwd/alarm"]}`,
		Mended: `sites: a: cluster: links: b: {server: "b.example.net", topics: ["fwd/#"]}`,
	},
}
