package diagnostic

// tlsExplanations are of the rules on TLS; what they name under certs/ is there
// when they are tested, for b.lan, of an authority ca.
var tlsExplanations = map[string]Explanation{
	"tls-no-port": {
		What:   "A link speaks TLS, and its server gives no port.",
		Why:    "The port is 1883 then, with TLS too; listeners with TLS are mostly at 8883, so the link dials a plain listener or none.",
		EMQX:   "EMQX dials 1883 whatever ssl.enable says, fails or hangs in the handshake, and tries again for ever.",
		Bad:    "sites: a: cluster: links: b: {server: \"10.0.0.2\", topics: [], ssl: {enable: true, cacertfile: \"certs/ca.pem\"}}\nsites: b: target: external: true",
		Mended: "sites: a: cluster: links: b: {server: \"10.0.0.2:8883\", topics: [], ssl: {enable: true, cacertfile: \"certs/ca.pem\"}}\nsites: b: target: external: true",
	},
	"tls-no-verify": {
		What:   "A link speaks TLS with verify_none.",
		Why:    "The connection is encrypted, but nobody looks with whom: whoever stands in between can answer in the peer's place, read the password and all messages.",
		EMQX:   "verify_none is EMQX's default for a link; nothing warns of it. clink's default is verify_peer.",
		Bad:    "sites: a: cluster: links: b: {server: \"10.0.0.2:8883\", topics: [], ssl: {enable: true, verify: \"verify_none\"}}\nsites: b: target: external: true",
		Mended: "sites: a: cluster: links: b: {server: \"10.0.0.2:8883\", topics: [], ssl: {enable: true, cacertfile: \"certs/ca.pem\"}}\nsites: b: target: external: true",
	},
	"tls-files": {
		What:   "A certificate, key or CA file that an ssl block needs is not named, not there, not readable, not PEM, or the key is not that of the certificate. File names are relative to the topology directory; one with an absolute name is looked for only with vet --secrets, because it is of the host that runs the site.",
		Why:    "The listener cannot start, or the link cannot connect.",
		EMQX:   "The paths are read on each node. A missing file stops the listener or the link at start, with an error in the log of that node alone.",
		Bad:    "// certs/ca.pem signed certs/b.pem, which is for b.lan and has its key in certs/b.key.\nsites: a: cluster: links: b: {server: \"10.0.0.2:8883\", topics: [], ssl: enable: true}\nsites: b: listeners: mqtts: {bind: \"10.0.0.2:8883\", ssl: {certfile: \"certs/b.pem\", keyfile: \"certs/b.key\"}}",
		Mended: "// certs/ca.pem signed certs/b.pem, which is for b.lan and has its key in certs/b.key.\nsites: a: cluster: links: b: {server: \"10.0.0.2:8883\", topics: [], ssl: {enable: true, cacertfile: \"certs/ca.pem\"}}\nsites: b: listeners: mqtts: {bind: \"10.0.0.2:8883\", ssl: {certfile: \"certs/b.pem\", keyfile: \"certs/b.key\"}}",
	},
	"tls-cert": {
		What:   "The certificate that the peer's listener shows does not name the host in server (or in server_name_indication), was not signed by an authority in the link's cacertfile, or is out of its time; or the link's own certificate is not one that the peer's listener takes. Within 30 days of its end it is a warning.",
		Why:    "With verify_peer the handshake fails, and goes on failing until somebody looks at both files.",
		EMQX:   "The link is refused in the handshake with an alert such as unknown_ca or hostname_check_failed in the log; the REST API says disconnected and no more.",
		Bad:    "// certs/ca.pem signed certs/b.pem, which is for b.lan and has its key in certs/b.key.\nsites: a: cluster: links: b: {server: \"c.lan:8883\", topics: [], ssl: {enable: true, cacertfile: \"certs/ca.pem\"}}\nsites: b: listeners: mqtts: {bind: \"0.0.0.0:8883\", advertise: [\"b.lan:8883\", \"c.lan:8883\"], ssl: {certfile: \"certs/b.pem\", keyfile: \"certs/b.key\"}}",
		Mended: "// certs/ca.pem signed certs/b.pem, which is for b.lan and has its key in certs/b.key.\nsites: a: cluster: links: b: {server: \"b.lan:8883\", topics: [], ssl: {enable: true, cacertfile: \"certs/ca.pem\"}}\nsites: b: listeners: mqtts: {bind: \"0.0.0.0:8883\", advertise: [\"b.lan:8883\", \"c.lan:8883\"], ssl: {certfile: \"certs/b.pem\", keyfile: \"certs/b.key\"}}",
	},
	"tls-client-cert": {
		What:   "The peer's listener demands a client certificate (verify_peer and fail_if_no_peer_cert), and the link shows none.",
		Why:    "The listener ends the handshake.",
		EMQX:   "With TLS 1.3 the refusal comes after the connection looked fine, so that the log at this end says closed and not why.",
		Bad:    "// certs/ca.pem signed certs/b.pem, which is for b.lan and has its key in certs/b.key.\nsites: a: cluster: links: b: {server: \"10.0.0.2:8883\", topics: [], ssl: {enable: true, cacertfile: \"certs/ca.pem\"}}\nsites: b: listeners: mqtts: {bind: \"10.0.0.2:8883\", ssl: {certfile: \"certs/b.pem\", keyfile: \"certs/b.key\", cacertfile: \"certs/ca.pem\", verify: \"verify_peer\", fail_if_no_peer_cert: true}}",
		Mended: "// certs/ca.pem signed certs/b.pem, which is for b.lan and has its key in certs/b.key.\nsites: a: cluster: links: b: {server: \"10.0.0.2:8883\", topics: [], ssl: {enable: true, cacertfile: \"certs/ca.pem\", certfile: \"certs/b.pem\", keyfile: \"certs/b.key\"}}\nsites: b: listeners: mqtts: {bind: \"10.0.0.2:8883\", ssl: {certfile: \"certs/b.pem\", keyfile: \"certs/b.key\", cacertfile: \"certs/ca.pem\", verify: \"verify_peer\", fail_if_no_peer_cert: true}}",
	},
	"plaintext-public": {
		What:   "A link without TLS goes to an address that is neither private nor loopback. A name counts as public unless it has one level, or ends in a domain that the public DNS does not have, such as .local, .internal or .lan, or the peer's listener is bound to a private address.",
		Why:    "Messages, and the link's password, cross networks of others in clear.",
		EMQX:   "Nothing warns of it.",
		Bad:    "sites: a: cluster: links: b: {server: \"mqtt.example.net:1883\", topics: []}\nsites: b: target: external: true",
		Mended: "sites: a: cluster: links: b: {server: \"mqtt.example.net:8883\", topics: [], ssl: {enable: true, cacertfile: \"certs/ca.pem\"}}\nsites: b: target: external: true",
	},
}
