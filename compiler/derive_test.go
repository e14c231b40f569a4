package compiler_test

import (
	"encoding/json"
	"testing"
	"testing/fstest"

	"clink/compiler"
	"clink/diagnostic"
	"clink/topology"
)

// files are sources by name; each gets the package clause.
func files(texts map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range texts {
		m[name] = &fstest.MapFile{Data: []byte("package topology\n" + text)}
	}
	return m
}

func one(text string) fstest.MapFS { return files(map[string]string{"t.cue": text}) }

// The answer of EMQX 5.8.9's REST API for a link of which name, server,
// clientid and topics were given, without its status.
const vendorDefaults = `{"clientid":"a","enable":true,"max_inflight":32,"name":"b","pool_size":8,` +
	`"resource_opts":{"health_check_interval":"15s","inflight_window":100,"max_buffer_bytes":"256MB","request_ttl":"45s","start_timeout":"5s","worker_pool_size":16},` +
	`"retry_interval":"15s","server":"127.0.0.1:1883","ssl":{"ciphers":[],"depth":10,"enable":false,"hibernate_after":"5s","log_level":"notice",` +
	`"reuse_sessions":true,"secure_renegotiate":true,"verify":"verify_none","versions":["tlsv1.3","tlsv1.2"]},"topics":["t/#"]}`

func TestDefaultsAreTheVendors(t *testing.T) {
	r := compile(t, one(`sites: a: cluster: links: b: {server: "127.0.0.1:1883", topics: ["t/#"]}`))
	l, ok := r.Topology.Sites["a"].Link("b")
	if !ok {
		t.Fatal("no link")
	}
	got, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var want topology.Link
	if err := json.Unmarshal([]byte(vendorDefaults), &want); err != nil {
		t.Fatal(err)
	}
	canonical, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(canonical) {
		t.Errorf("a link with nothing but what is required is\n%s\nwant\n%s", got, canonical)
	}
	if len(l.Written) != 2 || l.Written[0] != "server" || l.Written[1] != "topics" {
		t.Errorf("written: %v", l.Written)
	}
}

func TestVerifyPeerWhereTLSIsOn(t *testing.T) {
	r := compile(t, one(`
sites: a: {
	listeners: {
		plain: bind: "10.0.0.1:1883"
		tls: {bind: "10.0.0.1:8883", ssl: certfile: "c.pem"}
		off: {bind: "10.0.0.1:8884", ssl: enable: false}
		wss: {bind: "10.0.0.1:8885", type: "wss"}
	}
	cluster: links: {
		b: {server: "x", topics: [], ssl: enable: true}
		c: {server: "x", topics: [], ssl: {enable: true, verify: "verify_none"}}
	}
}`))
	a := r.Topology.Sites["a"]
	for name, want := range map[string]string{"b": "verify_peer", "c": "verify_none"} {
		if l, _ := a.Link(name); l.SSL.Verify != want {
			t.Errorf("link %s: verify is %s, want %s", name, l.SSL.Verify, want)
		}
	}
	types := map[string]string{"plain": "tcp", "tls": "ssl", "off": "tcp", "wss": "wss"}
	for _, l := range a.Listeners {
		if l.Type != types[l.Name] || l.SSL.Enable != (l.Type == "ssl" || l.Type == "wss") || l.SSL.Verify != "verify_none" {
			t.Errorf("listener %s: type %s, ssl %v, verify %s", l.Name, l.Type, l.SSL.Enable, l.SSL.Verify)
		}
	}
}

func TestAddress(t *testing.T) {
	for server, want := range map[string]string{
		"Host.Example":       "host.example:1883",
		"h:99":               "h:99",
		"mqtt://h":           "h:1883",
		"mqtts://h:8883/":    "h:8883",
		"[::1]":              "[::1]:1883",
		"mqtt://[0:0::1]:99": "[::1]:99",
		"a,b":                "",
	} {
		r := compile(t, one(`sites: a: cluster: links: b: {topics: [], server: "`+server+`"}`))
		if l, _ := r.Topology.Sites["a"].Link("b"); l.Address != want || l.Server != server {
			t.Errorf("server %q is %q, address %q, want %q", server, l.Server, l.Address, want)
		}
	}
	for _, server := range []string{"1883", ":1883", "h:abc", "h:70000", "h:-1", "h:0", "ssl://h", "::1", "[::1", "[x]:1", "a:b:1"} {
		r := compile(t, one(`sites: {a: cluster: links: b: {topics: [], server: "`+server+`"}, b: {}}`))
		if !hasRule(r.Findings, "schema") {
			t.Errorf("server %q: %v", server, r.Findings)
		}
	}
}

func hasRule(l diagnostic.List, rule string) bool {
	for _, d := range l {
		if d.Rule == rule {
			return true
		}
	}
	return false
}

const grantsSource = `
sites: hub: {
	listeners: {
		mqtt: bind: "127.0.0.1:1"
		mtls: {bind: "10.0.0.9:2", ssl: {certfile: "c", keyfile: "k", cacertfile: "ca", verify: "verify_peer", fail_if_no_peer_cert: true}}
	}
	cluster: links: {
		pw: _l, hash: _l, cert: _l, bare: _l, off: _l
		known: _l & {export: ["up/#"]}
		plain: _l & {inbound: {clientid: "in", username: "u", password: "env://U"}}
		silent: _l & {export: []}
	}
}
_l: {server: "x.example.net", topics: []}
_h: cluster: links: hub: {server: string | *"127.0.0.1:1", topics: ["t/#"], ...}
sites: pw: _h & {cluster: links: hub: {username: "u", password: "env://P", clientid: "pw-"}}
sites: hash: _h & {cluster: links: hub: {username: "u", password_hash: "env://H"}}
sites: cert: _h & {cluster: links: hub: {server: "10.0.0.9:2", ssl: {enable: true, certfile: "c", keyfile: "k"}}}
sites: bare: _h
sites: off: _h & {cluster: links: hub: enable: false}
sites: known: {target: external: true, cluster: links: hub: {username: "k", password: "env://K", topics: ["up/1", "down/#"]}}
sites: plain: target: external: true
sites: silent: target: external: true
`

func TestDerive(t *testing.T) {
	r := compile(t, one(grantsSource))
	hub := r.Topology.Sites["hub"]
	want := []string{
		`{"peer":"bare","clientid":"bare","loopback":true,"publish":["$LINK/cluster/route/bare","$LINK/cluster/msg/bare"],"subscribe":["$LINK/cluster/resp/bare/+"]}`,
		`{"peer":"cert","clientid":"cert","cert_cn":"cert","publish":["$LINK/cluster/route/cert","$LINK/cluster/msg/cert"],"subscribe":["$LINK/cluster/resp/cert/+"]}`,
		`{"peer":"hash","clientid":"hash","username":"u","publish":["$LINK/cluster/route/hash","$LINK/cluster/msg/hash"],"subscribe":["$LINK/cluster/resp/hash/+"]}`,
		`{"peer":"known","clientid":"known","username":"k","password":"env://K","publish":["$LINK/cluster/route/known","$LINK/cluster/msg/known"],"subscribe":["$LINK/cluster/resp/known/+"]}`,
		`{"peer":"plain","clientid":"in","username":"u","password":"env://U","publish":["$LINK/cluster/route/plain","$LINK/cluster/msg/plain"],"subscribe":["$LINK/cluster/resp/plain/+"]}`,
		`{"peer":"pw","clientid":"pw-","username":"u","password":"env://P","publish":["$LINK/cluster/route/pw","$LINK/cluster/msg/pw"],"subscribe":["$LINK/cluster/resp/pw/+"]}`,
		`{"peer":"silent","clientid":"silent","loopback":true,"publish":["$LINK/cluster/route/silent","$LINK/cluster/msg/silent"],"subscribe":["$LINK/cluster/resp/silent/+"]}`,
	}
	if len(hub.Grants) != len(want) {
		t.Fatalf("%d grants, want %d: %+v", len(hub.Grants), len(want), hub.Grants)
	}
	for i, g := range hub.Grants {
		if b, _ := json.Marshal(g); string(b) != want[i] {
			t.Errorf("grant\n%s\nwant\n%s", b, want[i])
		}
	}
	if hub.Grants[2].PasswordHash.String() != "env://H" {
		t.Errorf("the hash is lost: %+v", hub.Grants[2])
	}
	exports, err := json.Marshal(hub.Exports)
	if err != nil {
		t.Fatal(err)
	}
	const wantExports = `{"bare":["t/#"],"cert":["t/#"],"hash":["t/#"],"known":["up/1"],"plain":["#"],"pw":["t/#"],"silent":[]}`
	if string(exports) != wantExports {
		t.Errorf("exports %s\nwant    %s", exports, wantExports)
	}
}

func TestFilesOfASite(t *testing.T) {
	r := compile(t, files(map[string]string{
		"a.cue":      `sites: a: {labels: x: _common.x, cluster: links: b: {server: sites.b.listeners.mqtt.bind, topics: []}}`,
		"a2.cue":     `sites: a: host: "h"`,
		"b.cue":      `sites: b: listeners: mqtt: bind: "127.0.0.1:1"`,
		"common.cue": `_common: x: _deep`,
		"deep.cue":   `_deep: "1"`,
		"policy.cue": `policy: {}`,
		"gen.cue":    `for s in ["c"] {sites: (s): {}}`,
		"all.cue":    `sites: [_]: labels: y: "2"`,
	}))
	for site, want := range map[string]string{
		"a": "[a.cue a2.cue all.cue b.cue common.cue deep.cue gen.cue]",
		"b": "[all.cue b.cue gen.cue]",
		"c": "[all.cue gen.cue]",
	} {
		got, _ := json.Marshal(r.Topology.Sites[site].Files)
		if s := "[" + join(r.Topology.Sites[site].Files) + "]"; s != want {
			t.Errorf("files of %s: %s, want %s", site, got, want)
		}
	}
}

func join(l []string) string {
	s := ""
	for i, x := range l {
		if i > 0 {
			s += " "
		}
		s += x
	}
	return s
}

// The rules are the same over a topology that came from elsewhere.
func TestCheckAnyTopology(t *testing.T) {
	topo := &topology.Topology{Sites: map[string]*topology.Site{
		"a": {Name: "a", Target: topology.Target{Kind: topology.Embedded}, Pos: diagnostic.Pos{File: "a.conf", Line: 1}, Links: []topology.Link{
			{Name: "b", Enable: true, Server: "b.example.lan", ClientID: "a", Pos: diagnostic.Pos{File: "a.conf", Line: 3}},
		}},
		"b": {Name: "bb", Target: topology.Target{Kind: topology.EMQX}, Pos: diagnostic.Pos{File: "b.conf", Line: 1}},
	}}
	got := wanted(compiler.Check(topo, compiler.Options{}))
	const want = `error[one-sided] a.conf:3:0-0:0 a links to b, but b has no link back
  label this link
  see b.conf:1:0-0 its other half belongs here
  help add links: "a": {...} there; clinkc explain one-sided
  sites a b
error[name-mismatch] b.conf:1:0-0:0 site b calls its cluster bb; the two must be one name
  label this name
  help leave cluster.name out, or write name: "b"
  sites b
  holds b 
`
	if got != want {
		t.Errorf("found:\n%s\nwant:\n%s", got, want)
	}
}
