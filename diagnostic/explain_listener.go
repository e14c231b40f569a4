package diagnostic

// listenerExplanations are of the rules on listeners that links come to, and on
// what links take.
var listenerExplanations = map[string]Explanation{
	"listener-loopback": {
		What:   "A link leads to a listener on loopback, and the two sites have different hosts (host is given for both).",
		Why:    "127.0.0.1 is another machine at each end: the link dials its own host.",
		EMQX:   "The connection is refused, or reaches something else that listens there.",
		Bad:    "sites: a: {host: \"one\", cluster: links: b: {server: \"127.0.0.1:1883\", topics: []}}\nsites: b: {host: \"two\", listeners: mqtt: bind: \"127.0.0.1:1883\"}",
		Mended: "sites: a: {host: \"one\", cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}}\nsites: b: {host: \"two\", listeners: mqtt: bind: \"10.0.0.2:1883\"}",
	},
	"listener-mountpoint": {
		What:   "A listener that a link comes to has a mount point.",
		Why:    "The mount point is put before every topic, so that the link's control topics are not known any more.",
		EMQX:   "The handshake goes unanswered and is tried again for ever.",
		Bad:    "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}\nsites: b: listeners: mqtt: {bind: \"10.0.0.2:1883\", mountpoint: \"plant/\"}",
		Mended: "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}\nsites: b: listeners: mqtt: {bind: \"10.0.0.2:1883\"}",
	},
	"packet-size": {
		What:   "The listener that a link comes to takes no larger packets than the clients of the site it comes from may send. Where both have the default of 1 MB nothing is said.",
		Why:    "On a link a message travels inside another one, with its topic and properties, and is a little larger than it was: the largest ones are refused.",
		EMQX:   "The peer closes the connection, and the message is sent again until its time is over, holding up those behind it.",
		Bad:    "sites: a: {listeners: mqtt: bind: \"10.0.0.1:1883\", cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}}\nsites: b: listeners: mqtt: {bind: \"10.0.0.2:1883\", max_packet_size: \"512KB\"}",
		Mended: "sites: a: {listeners: mqtt: bind: \"10.0.0.1:1883\", cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}}\nsites: b: listeners: mqtt: {bind: \"10.0.0.2:1883\", max_packet_size: \"1100KB\"}",
	},
	"connection-budget": {
		What:   "The links that come to a listener may open more connections than its max_connections: pool_size of each of their nodes, and one or two a node for the routes.",
		Why:    "The last ones are refused, and with them a part of the messages or all routes.",
		EMQX:   "A pool that is not complete makes the link disconnected.",
		Bad:    "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}\nsites: b: listeners: mqtt: {bind: \"10.0.0.2:1883\", max_connections: 5}",
		Mended: "sites: a: cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}\nsites: b: listeners: mqtt: {bind: \"10.0.0.2:1883\", max_connections: 500}",
	},
	"buffer-budget": {
		What:   "The buffers of a site's links (worker_pool_size times max_buffer_bytes each) may grow beyond the memory named for the site.",
		Why:    "While a peer is away the buffers fill. With the defaults one link may take 4 GB.",
		EMQX:   "The same; there is no warning and no alarm for it.",
		Bad:    "sites: a: {memory: \"2GB\", cluster: links: b: {server: \"10.0.0.2:1883\", topics: []}}\nsites: b: {}",
		Mended: "sites: a: {memory: \"2GB\", cluster: links: b: {server: \"10.0.0.2:1883\", topics: [], resource_opts: max_buffer_bytes: \"64MB\"}}\nsites: b: {}",
	},
}
