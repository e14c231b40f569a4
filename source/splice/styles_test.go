package splice_test

import (
	"encoding/json"
	"strings"
)

// A style is a way in which people write topologies.
type style struct {
	name  string
	files map[string]string
	// of team defaults, by field
	defaults map[string]any
	// refuses: there are expressions that edits come up against.
	refuses bool
}

var styles = []style{
	{name: "nested", refuses: true, files: map[string]string{"a.cue": `package topology

import "strings"

// The machines.
let domain = "example.net"
let up = strings.ToLower("EU")

_common: username: "common"

sites: {
	// In the east.
	"site-a": {
		listeners: m: bind: "127.0.0.1:1"

		cluster: {
			links: {
				// About b.
				"site-b": { // of it
					server: "b.\(domain):1883" // interpolated
					topics: [
						// what is global
						"global/#", // all of it

						"fwd/\(up)/#",
						"x/+",
					]
					enable: false
					// a free comment
				} // behind it

				// About c, above.

				"site-c": {
					_common
					server: "c:1"
					topics: ["a", "b", "c"]
					ssl: {enable: true, cacertfile: "ca.pem"}
					resource_opts: {
						worker_pool_size: 3 // few
						request_ttl:      "infinity"
					}
				}
				// The end.
			}
		}
	}
	site_b: listeners: m: bind: "127.0.0.1:2"
}
`}},
	{name: "chains", files: map[string]string{"a.cue": `package topology
sites: "a":   listeners: m:   bind: "127.0.0.1:1"


sites:   "a": cluster:  links: "b": {server:   "b:1", topics: [  "t/#" ]}
sites: a: cluster: links: c: server: "c:1"
// more of c
sites: a: cluster: links: c: topics: ["x",
   "y"]
sites: "b": cluster: links: "a": {
     server:    "a:1" // odd
     topics:  []
  }`}},
	{name: "one line", files: map[string]string{"a.cue": `package topology

sites: {a: {listeners: m: bind: "127.0.0.1:1", cluster: links: {b: {server: "b:1", topics: []}, c: {server: "c:1", topics: ["t"], ssl: {enable: true}}}}, b: {cluster: {}}}
sites: c: {cluster: {name: "c"}} // behind
`}},
	{name: "repeated", files: map[string]string{"a.cue": `package topology

sites: "a": {
	listeners: m: bind: "127.0.0.1:1"
	cluster: {
		name: "a"
		links: "b": {
			server: "b:1"
			topics: []
		}

		// To c.
		links: "c": {
			server: "c:1"
			topics: ["t"]
		}
	}
}
sites: "b": cluster: links: "a": {server: "a:1", topics: []}
`}},
	{name: "files", files: map[string]string{"a.cue": `package topology

sites: a: {
	listeners: m: bind: "127.0.0.1:1"
	cluster: links: {
		b: {
			server: "b:1"
			topics: ["t"]
		}
		d: {
			server: "d:1"
			topics: []
		}
	}
}
`, "more.cue": `package topology

// More of a.
sites: a: cluster: links: {
	b: ssl: enable: true
	c: {server: "c:1", topics: []}
}
sites: b: cluster: links: a: {server: "a:1", topics: ["t"]}
`}},
	{name: "generated", refuses: true, files: map[string]string{"a.cue": `package topology

_peers: ["x", "y"]

sites: a: cluster: links: {
	for p in _peers {(p): {server: p + ":1", topics: ["t"]}}
	b: {
		server: "b:1"
		topics: []
	}
}
sites: b: cluster: links: "a": {
	server: "a:1"
	topics: []
	if len(_peers) > 1 {
		retained: true
	}
}
`}},
	{name: "team", defaults: map[string]any{"pool_size": json.Number("4")}, files: map[string]string{"a.cue": `package topology

sites: a: cluster: links: b: {
	server: "b:1"
	topics: []
}
sites: b: cluster: links: {
	a: {server: "a:1", topics: [], pool_size: 5}
}
`, "policy.cue": `package topology

sites: [_]: cluster: links: [_]: pool_size: *4 | int
`}},
	{name: "references", refuses: true, files: map[string]string{"a.cue": `package topology

_tls: {enable: true, cacertfile: "ca.pem"}
_base: {
	server: "base:1"
	topics: ["base/#"]
}
sites: a: {
	listeners: m: bind: "127.0.0.1:1"
	cluster: links: {
		b: _base & {
			username: "u"
		}
		c: _base
		d: {
			let t = ["x", "y"]
			server: sites.a.listeners.m.bind
			topics: t
			ssl:    _tls
		}
		e: {server: "e:1", topics: d.topics}
	}
}
`}},
	{name: "clean", files: map[string]string{"a.cue": `package topology

sites: a: {
	listeners: m: bind: "127.0.0.1:1"
	cluster: links: {
		// About b.
		"b": {
			server:   "b:1"
			username: "a-user" // of b
			topics: ["global/#", "fwd/#"]
			resource_opts: {
				worker_pool_size: 2
			}
		}

		"d": {
			server: "d:1"
			topics: [
				"one", // first
				"two",
			]
		}
	}
}

sites: b: cluster: links: "a": {server: "a:1", topics: []}
`}},
	{name: "CRLF", files: map[string]string{"a.cue": strings.ReplaceAll(`package topology

// About a.
sites: a: cluster: links: {
  b: {
    server: "b:1" // where
    topics: [
      "t",
    ]
  }

  // About c.
  c: {
    server: "c:1"
    topics: []
  }
}
sites: b: listeners: m: bind: "127.0.0.1:1"`, "\n", "\r\n")}},
}
