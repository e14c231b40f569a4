package diagnostic

// accessExplanations are of the rules on who may do what, and on waivers. When they are tested,
// file://secrets/a-to-b can be resolved and nothing else.
var accessExplanations = map[string]Explanation{
	"clientid-overlap": {
		What:   "The client id prefix of one link is the beginning of another one's at the same broker.",
		Why:    "A rule of an ACL that lets in whatever begins with the shorter prefix lets in the other peer too. clink's own nodes compare the whole prefix.",
		EMQX:   "ACL rules match client ids by a regular expression; without an anchor behind the prefix they match too much.",
		Bad:    "sites: a: cluster: links: hub: {server: \"10.0.0.9:1883\", topics: [], clientid: \"plant-1\"}\nsites: b: cluster: links: hub: {server: \"10.0.0.9:1883\", topics: [], clientid: \"plant-10\"}\nsites: hub: listeners: mqtt: bind: \"10.0.0.9:1883\"",
		Mended: "sites: a: cluster: links: hub: {server: \"10.0.0.9:1883\", topics: [], clientid: \"plant-1-\"}\nsites: b: cluster: links: hub: {server: \"10.0.0.9:1883\", topics: [], clientid: \"plant-10-\"}\nsites: hub: listeners: mqtt: bind: \"10.0.0.9:1883\"",
	},
	"shared-credentials": {
		What:   "Two peers come to one broker with one username.",
		Why:    "Whoever has the one password can pass for either peer, and neither can be locked out without the other.",
		EMQX:   "EMQX does not care.",
		Bad:    "sites: a: cluster: links: hub: {server: \"10.0.0.9:1883\", topics: [], username: \"link\", password: \"file://secrets/x\"}\nsites: b: cluster: links: hub: {server: \"10.0.0.9:1883\", topics: [], username: \"link\", password: \"file://secrets/x\"}\nsites: hub: listeners: mqtt: bind: \"10.0.0.9:1883\"",
		Mended: "sites: a: cluster: links: hub: {server: \"10.0.0.9:1883\", topics: [], username: \"link-a\", password: \"file://secrets/x\"}\nsites: b: cluster: links: hub: {server: \"10.0.0.9:1883\", topics: [], username: \"link-b\", password: \"file://secrets/y\"}\nsites: hub: listeners: mqtt: bind: \"10.0.0.9:1883\"",
	},
	"missing-credentials": {
		What:   "A peer that clink does not run declares access without anonymous clients, and the link to it gives no username.",
		Why:    "The peer refuses the connection.",
		EMQX:   "CONNACK says bad username or password or not authorized; the log repeats it every few seconds.",
		Bad:    "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}\nsites: b: {target: external: true, access: anonymous: false}",
		Mended: "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: [], username: \"link-a\", password: \"file://secrets/a-to-b\"}\nsites: b: {target: external: true, access: anonymous: false}",
	},
	"secret-unreadable": {
		What:   "A reference to a credential cannot be resolved on this host: the file is not there or may not be read, or the environment variable is not set. It is tried for the sites that this host runs, by clinkd and by vet --secrets; a host needs the credentials of its links and of those that come to it.",
		Why:    "The link cannot connect, or the peer cannot be let in.",
		EMQX:   "EMQX keeps credentials in its own configuration, and finds a missing file when it connects.",
		Bad:    "// On this host there is secrets/a-to-b and no other.\nsites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: [], username: \"link-a\", password: \"file://secrets/a-to-bb\"}\nsites: b: listeners: mqtt: bind: \"10.0.0.2:1883\"",
		Mended: "// On this host there is secrets/a-to-b and no other.\nsites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: [], username: \"link-a\", password: \"file://secrets/a-to-b\"}\nsites: b: listeners: mqtt: bind: \"10.0.0.2:1883\"",
	},
	"redacted-secret": {
		What:   "A credential in the source is ******, which is how credentials are shown.",
		Why:    "Somebody copied an answer of the REST API or a page back into the source. The asterisks are not the password.",
		EMQX:   "On create EMQX takes them for the password, and the link is refused from then on.",
		Bad:    `sites: a: cluster: links: b: {server: "10.0.0.2:1883", topics: [], username: "link-a", password: "******"}`,
		Mended: `sites: a: cluster: links: b: {server: "10.0.0.2:1883", topics: [], username: "link-a", password: "file://secrets/a-to-b"}`,
	},
	"acl-missing": {
		What:   "The ACL declared for a peer that clink does not run keeps the link from one of the things that every link does: publish its routes (at QoS 1, and heartbeats at QoS 0), publish messages, and subscribe to the answers.",
		Why:    "Without one of them the link never comes up, loses its routes every 30 seconds, or loses messages.",
		EMQX:   "A denied route or subscription ends in a time-out while the REST API says connected; a denied message is lost and counted.",
		Bad:    "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", username: \"link-a\", topics: []}\nsites: b: {target: external: true, access: acl: [\n	{permit: \"allow\", user: \"link-a\", action: \"publish\", topics: [\"$LINK/cluster/route/a\", \"$LINK/cluster/msg/a\"]},\n	{permit: \"deny\", action: \"all\", topics: [\"$LINK/#\"]},\n	{permit: \"allow\", action: \"all\"},\n]}",
		Mended: "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", username: \"link-a\", topics: []}\nsites: b: {target: external: true, access: acl: [\n	{permit: \"allow\", user: \"link-a\", action: \"publish\", topics: [\"$LINK/cluster/route/a\", \"$LINK/cluster/msg/a\"]},\n	{permit: \"allow\", user: \"link-a\", action: \"subscribe\", topics: [\"$LINK/cluster/resp/a/+\"]},\n	{permit: \"deny\", action: \"all\", topics: [\"$LINK/#\"]},\n	{permit: \"allow\", action: \"all\"},\n]}",
	},
	"acl-open": {
		What:   "A declared ACL lets every client publish or subscribe under $LINK/cluster.",
		Why:    "Any client can then speak as a peer: announce routes, and inject messages into topics that it may not publish to itself. A rule for # does not open these topics; one without topics does, except on clink's own nodes.",
		EMQX:   "The ACL that EMQX comes with lets everybody do everything, up to and including 6.2.1.",
		Bad:    "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", username: \"link-a\", topics: []}\nsites: b: {target: external: true, access: acl: [\n	{permit: \"allow\", user: \"link-a\", action: \"publish\", topics: [\"$LINK/cluster/route/a\", \"$LINK/cluster/msg/a\"]},\n	{permit: \"allow\", user: \"link-a\", action: \"subscribe\", topics: [\"$LINK/cluster/resp/a/+\"]},\n	{permit: \"allow\", action: \"all\"},\n]}",
		Mended: "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", username: \"link-a\", topics: []}\nsites: b: {target: external: true, access: acl: [\n	{permit: \"allow\", user: \"link-a\", action: \"publish\", topics: [\"$LINK/cluster/route/a\", \"$LINK/cluster/msg/a\"]},\n	{permit: \"allow\", user: \"link-a\", action: \"subscribe\", topics: [\"$LINK/cluster/resp/a/+\"]},\n	{permit: \"deny\", action: \"all\", topics: [\"$LINK/#\"]},\n	{permit: \"allow\", action: \"all\"},\n]}",
	},
	"waiver-expired": {
		What:   "A waiver, @clink(ignore=\"rule\",reason=\"...\",until=\"2027-01-01\"), is past its date, or there is nothing that it waives. It stands on a field and holds for all in it, or stands inside of a struct. The day of until is the last; without one it holds for ever. A waived rule does not hold anything back either.",
		Why:    "A waiver that nobody needs any more would hide the next fault of its kind.",
		EMQX:   "EMQX knows nothing of it.",
		Bad:    `sites: a: access: users: u: password: "x" @clink(ignore="literal-secret",reason="a lab",until="2020-01-01")`,
		Mended: `sites: a: access: users: u: password: "x" @clink(ignore="literal-secret",reason="a lab")`,
	},
}
