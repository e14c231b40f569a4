package linkengine_test

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// An exporter plays the side of a version that clink dials: it answers what
// clink announces, and takes what clink forwards. What it does besides is set
// by change; mu guards everything below it.
type exporter struct {
	version
	t    testing.TB
	addr string

	mu      sync.Mutex
	booting bool   // its listener is there before its link application is
	refuse  int    // reason code for CONNECT
	reject  string // reason for actor_init
	connack [][]byte
	codes   func(p publish) int // of PUBACKs to what is in order; below 0 there is none, from 0x100 on a DISCONNECT instead

	known   map[string]int64 // actors, and their incarnation
	routes  map[string]bool  // "filter id"
	seen    []string
	records []record
	lines   map[*line]string // client ids
}

// emqxLimits are the properties of EMQX's CONNACK.
func emqxLimits(receive, size int) [][]byte {
	return [][]byte{append([]byte{0x21}, u16(receive)...), append([]byte{0x27}, u32(size)...), {0x22, 0xff, 0xff}, {0x25, 1}, {0x28, 1}, {0x29, 1}, {0x2a, 1}}
}

// stand runs an exporter.
func (v version) stand(t testing.TB) *exporter {
	t.Helper()
	e := &exporter{
		version: v, t: t, connack: emqxLimits(32, 1<<20),
		known: make(map[string]int64), routes: make(map[string]bool), lines: make(map[*line]string),
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = ln.Addr().String()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { e.serve(newLine(c)) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		e.cut("")
		running.Wait()
	})
	return e
}

func (e *exporter) change(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func (e *exporter) note(format string, args ...any) {
	e.seen = append(e.seen, fmt.Sprintf(format, args...))
}

// cut ends the connections of a kind without a word, or all of them.
func (e *exporter) cut(kind string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l, id := range e.lines {
		if strings.Contains(id, kind) {
			l.Close()
		}
	}
}

// hangUp sends DISCONNECT on the connections of a kind.
func (e *exporter) hangUp(kind string, code byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l, id := range e.lines {
		if strings.Contains(id, kind) {
			l.send(kDisconnect<<4, []byte{code})
			l.Close()
		}
	}
}

// crash forgets everything, as a restart does.
func (e *exporter) crash() {
	e.change(func() { clear(e.known); clear(e.routes) })
	e.cut("")
}

// take returns what came since the last time.
func (e *exporter) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := e.seen
	e.seen = nil
	return seen
}

// count is how many of what came begin so.
func (e *exporter) count(prefix string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, s := range e.seen {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// announced are the routes that it was told of, as "filter id".
func (e *exporter) announced() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for r := range e.routes {
		all = append(all, r)
	}
	slices.Sort(all)
	return all
}

func (e *exporter) topics() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for _, r := range e.records {
		all = append(all, r.topic)
	}
	return all
}

func (e *exporter) serve(l *line) {
	defer l.Close()
	f, err := l.read()
	if err != nil || f.kind != kConnect {
		return
	}
	id, ok := e.connected(l, f)
	if !ok {
		return
	}
	defer e.change(func() { delete(e.lines, l) })
	v := &visit{exporter: e, line: l, id: id}
	for {
		f, err := l.read()
		if err != nil || !v.handle(f) {
			return
		}
	}
}

var ourIDs = regexp.MustCompile(`^(routesync:[0-9a-f]{8}|msg:[0-9a-f]{8}:[1-9]\d*)$`)

// connected answers a CONNECT, of which it demands what the protocol does.
func (e *exporter) connected(l *line, f frame) (id string, ok bool) {
	b := f.body
	if len(b) < 12 || string(b[2:6]) != "MQTT" || b[6] != 5 || b[7]&0x3c != 0 {
		e.t.Errorf("CONNECT % x", b)
		return "", false
	}
	skip := 11 + int(b[10])
	n := int(b[skip])<<8 | int(b[skip+1])
	id = string(b[skip+2 : skip+2+n])
	if rest, own := strings.CutPrefix(id, e.us+":"); !own || !ourIDs.MatchString(rest) {
		e.t.Errorf("client id %q", id)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	kind := strings.Split(id, ":")[1]
	e.note("connect %s", kind)
	if e.refuse != 0 {
		l.send(kConnack<<4, []byte{0, byte(e.refuse)}, sized())
		return "", false
	}
	for other, known := range e.lines {
		if known == id { // taken over
			other.send(kDisconnect<<4, []byte{0x8e})
			other.Close()
		}
	}
	e.lines[l] = id
	return id, l.send(kConnack<<4, []byte{0, 0}, sized(e.connack...)) == nil
}

// A visit is one connection to an exporter.
type visit struct {
	*exporter
	*line
	id    string
	actor string
	inbox string
}

func (v *visit) handle(f frame) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch f.kind {
	case kPublish:
		p, err := f.publish()
		if err != nil || p.otherProps > 0 || p.retain {
			v.t.Errorf("%v: %v", f, err)
			return false
		}
		return v.published(p)
	case kSubscribe:
		v.inbox = string(f.body[5 : len(f.body)-1])
		if want := "$LINK/cluster/resp/" + v.us + "/clink@" + v.us; v.inbox != want {
			v.t.Errorf("SUBSCRIBE %s, want %s", v.inbox, want)
		}
		return v.line.send(kSuback<<4, u16(f.id()), sized(), []byte{1}) == nil
	case kPingreq:
		return v.line.send(kPingresp<<4) == nil
	case kPuback:
		return true
	}
	return false // DISCONNECT, or what has no place here
}

func (v *visit) published(p publish) bool {
	switch p.topic {
	case "$LINK/cluster/msg/" + v.us:
		return v.forwarded(p)
	case "$LINK/cluster/route/" + v.us:
	default:
		v.t.Errorf("PUBLISH to %s", p.topic)
		return false
	}
	if v.booting {
		return v.line.ack(p, 0x10) == nil
	}
	what, err := readTerm(p.payload)
	m, ok := what.(terms)
	if err != nil || !ok {
		v.t.Errorf("%v, %v", what, err)
		return v.fault(p)
	}
	switch m["'$op"] {
	case "actor_init":
		return v.asked(p, m)
	case "route":
		return v.told(p, m)
	case "heartbeat":
		v.note("heartbeat %v", m["10"])
		return v.line.ack(p, 0x10) == nil
	}
	v.t.Errorf("%v", m)
	return v.fault(p)
}

// fault is what a version does when its own rules are broken.
func (v *visit) fault(p publish) bool {
	v.note("fault")
	if v.swallows {
		return v.line.ack(p, 0x10) == nil
	}
	v.line.send(kDisconnect<<4, []byte{0x83})
	return false
}

// allow acknowledges as the test wants it.
func (v *visit) allow(p publish, code int) bool {
	if v.codes != nil {
		code = v.codes(p)
	}
	switch {
	case code < 0:
		return true
	case code >= 0x100:
		v.line.send(kDisconnect<<4, []byte{byte(code)})
		return false
	}
	return v.line.ack(p, code) == nil
}

var sixteenHex = regexp.MustCompile(`^[0-9a-f]{16}$`)

func (v *visit) asked(p publish, m terms) bool {
	actor, _ := m["10"].(string)
	incarnation, isInt := m["11"].(int64)
	v.note("init %s %d", actor, incarnation)
	if p.qos != 1 || p.reply != v.inbox || !sixteenHex.Match(p.correlation) || !isInt || m["13"] != v.peer || m["14"] != int64(1) {
		v.t.Errorf("actor_init %v in %+v", m, p)
	}
	if v.reject != "" {
		return v.answer(p, v.version.rejection(v.t, actor, v.reject))
	}
	before, known := v.known[actor]
	if v.actor != "" || known && incarnation < before {
		return v.fault(p)
	}
	if incarnation > before {
		clear(v.routes)
	}
	v.actor, v.known[actor] = actor, incarnation
	return v.answer(p, v.version.ack(v.t, actor, !v.forgets && incarnation > before))
}

// answer acknowledges and replies, in this order or the other.
func (v *visit) answer(p publish, payload []byte) bool {
	reply := publish{topic: p.reply, qos: 1, id: 1, correlation: p.correlation, payload: payload}
	if v.dir == fives.dir {
		return v.allow(p, 0x10) && v.line.publish(reply) == nil
	}
	return v.line.publish(reply) == nil && v.allow(p, 0x10)
}

func (v *visit) told(p publish, m terms) bool {
	if _, known := v.known[v.actor]; !known || m["10"] != v.actor {
		return v.fault(p)
	}
	ops, _ := m["12"].(tuple)
	v.note("route %d operations, %d bytes", len(ops), p.bytes)
	for _, op := range ops {
		switch o := op.(tuple); {
		case len(o) == 2:
			v.routes[fmt.Sprint(o[0], " ", o[1])] = true
		case len(o) == 3 && o[0] == int64(100):
			delete(v.routes, fmt.Sprint(o[1], " ", o[2]))
		default:
			v.t.Errorf("route operation %v", o)
		}
	}
	return v.allow(p, 0x10)
}

func (v *visit) forwarded(p publish) bool {
	if v.booting {
		v.note("lost")
		return v.line.ack(p, 0x10) == nil
	}
	r, err := readRecord(p.payload)
	if err != nil || p.qos != min(byte(r.qos), 1) {
		v.t.Errorf("%v at QoS %d: %v", r, p.qos, err)
	}
	v.records = append(v.records, r)
	return v.allow(p, 0)
}
