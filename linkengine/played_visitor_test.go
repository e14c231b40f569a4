package linkengine_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"clink/topology"
)

// quiet fails if a site has noted a fault of the peer, or logged one.
func (s *site) quiet(t testing.TB, peer string, log *buffer) {
	t.Helper()
	if m := s.status(t, peer).Metrics; len(m.DroppedBy) > 0 {
		t.Errorf("faults are counted: %+v", m.DroppedBy)
	}
	for l := range strings.Lines(log.String()) {
		if strings.Contains(l, "level=WARN") || strings.Contains(l, "level=ERROR") {
			t.Errorf("logged: %s", l)
		}
	}
}

// waiting is a site with a link to a version that has not come yet, and cannot
// be reached.
func waiting(t testing.TB, v version) (*site, *buffer) {
	t.Helper()
	log := new(buffer)
	s := begin(t, v.us, []string{v.peer}, logTo(log))
	s.put(t, linkTo(v.peer, v.stand(t).addr, "#"))
	s.announced(t, v.peer)
	return s, log
}

// TestPlayedTakeover has each version come again under the client id that it
// has, before its former connection is gone: no fault, no route is lost.
func TestPlayedTakeover(t *testing.T) {
	each(t, nil, func(t *testing.T, v version) {
		s, log := waiting(t, v)
		p := v.accepted(t, s)
		p.announce(v.plainRoute(t, true), v.sharedRoute(t, true))
		for i := range 4 {
			again := v.come(t, s, "routesync")
			if again.present != v.resumes {
				t.Errorf("connection %d: session present %v", i, again.present)
			}
			if f := p.until(); f.kind != kDisconnect || f.code() != 0x8e {
				t.Errorf("the former connection gets %v", f)
			}
			if st := s.status(t, v.peer); st.Replication.PeerRoutes != 2 || st.Inbound.State != topology.InboundOnline {
				t.Errorf("connection %d: %+v", i, st)
			}
			if a := again.ask(v.init(t), v.actor); a["15"] != "'ok" || a["16"] != "'false" {
				t.Fatalf("connection %d: %v", i, a)
			}
			p = again
		}
		p.announce(v.plainRoute(t, false))
		s.routes(t, v.peer, 1)
		if n := s.engine.Actors(v.peer); n != 1 {
			t.Errorf("%d actors", n)
		}
		s.quiet(t, v.peer, log)
	})
}

// TestPlayedResumedSession leaves an answer unacknowledged, as 5.8 may when it
// loses the connection: it comes again with the session, and confuses nobody.
func TestPlayedResumedSession(t *testing.T) {
	each(t, func(v version) bool { return v.resumes }, func(t *testing.T, v version) {
		s, log := waiting(t, v)
		p := v.come(t, s, "routesync")
		p.lazy = true
		p.ask(v.init(t), v.actor)
		p.Close()
		p = v.come(t, s, "routesync")
		if !p.present {
			t.Error("the session is gone")
		}
		f := p.next()
		if m, err := f.publish(); err != nil || !m.dup || !strings.HasPrefix(m.topic, "$LINK/cluster/resp/") {
			t.Errorf("%v, %v", f, err)
		}
		if a := p.ask(v.init(t), v.actor); a["15"] != "'ok" {
			t.Errorf("%v", a)
		}
		p.announce(v.plainRoute(t, true))
		s.routes(t, v.peer, 1)
		s.quiet(t, v.peer, log)
	})
}

// TestPlayedDurableBurst is how 6.0 starts: the actor of its durable sessions
// comes three times at once with a counter for an incarnation. Its routes are
// kept apart from the node's, and have ids that are no text.
func TestPlayedDurableBurst(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		s, log := waiting(t, v)
		var p *importer
		for i := range 3 {
			p = v.come(t, s, "routesync-ps")
			if a := p.ask(v.durableInit(t), durableActor); a["15"] != "'ok" || a["16"] != map[bool]string{true: "'true", false: "'false"}[i == 0] {
				t.Fatalf("%v", a)
			}
		}
		p.announce(v.durableRoute(t, true), v.sharedDurableRoute(t))
		node := v.accepted(t, s)
		node.announce(v.plainRoute(t, true))
		s.routes(t, v.peer, 3)
		if n := s.engine.Actors(v.peer); n != 2 {
			t.Errorf("%d actors", n)
		}
		p.announce(v.durableRoute(t, false))
		s.routes(t, v.peer, 2)
		// A node that starts anew does not take the sessions' routes with it.
		again := v.come(t, s, "routesync")
		if a := again.ask(reborn(t, v.init(t), 1795399999999), v.actor); a["16"] != "'true" {
			t.Errorf("%v", a)
		}
		s.routes(t, v.peer, 1)
		s.quiet(t, v.peer, log)
	})
}

// TestPlayedTwoNodes is a cluster of two nodes, which announce the same.
func TestPlayedTwoNodes(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		s, log := waiting(t, v)
		first := v.accepted(t, s)
		second := v
		second.actor = "B2@127.0.0.1"
		p := second.come(t, s, "routesync")
		if a := p.ask(instead(t, v.init(t), v.actor, second.actor), second.actor); a["16"] != "'true" {
			t.Fatalf("%v", a)
		}
		route := func(add bool) []byte { return instead(t, v.sixtyRoutes(t, add), v.actor, second.actor) }
		first.announce(v.sixtyRoutes(t, true))
		p.announce(route(true))
		s.routes(t, v.peer, 60)
		first.announce(v.sixtyRoutes(t, false))
		s.routes(t, v.peer, 60)
		p.announce(route(false))
		s.routes(t, v.peer, 0)
		if n := s.engine.Actors(v.peer); n != 2 {
			t.Errorf("%d actors", n)
		}
		s.quiet(t, v.peer, log)
	})
}

// TestPlayedOldIncarnation has a peer whose clock stepped back: it is hung up on,
// and what its former life announced stays until it expires.
func TestPlayedOldIncarnation(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		s, _ := waiting(t, v)
		v.accepted(t, s).announce(v.plainRoute(t, true))
		p := v.come(t, s, "routesync")
		if a := p.ask(reborn(t, v.init(t), 1), v.actor); a != nil {
			t.Errorf("answered with %v", a)
		}
		s.routes(t, v.peer, 1)
		if n := s.status(t, v.peer).Metrics.DroppedBy["bad-control"]; n != 1 {
			t.Errorf("%d faults", n)
		}
	})
}

// TestSynthControlOverTheWire sends the control payloads with which a real
// 5.8.9 was tried, and wants its answers; nobody looks at the protocol's version.
func TestSynthControlOverTheWire(t *testing.T) {
	v := versions[2]
	s, _ := waiting(t, v)
	for name, want := range map[string]int{
		"r1_heartbeat_without_init": 0x10,
		"r2_route_without_init":     hung + 0x83,
		"r3_init_no_resp_topic":     hung + 0x83,
		"r5_unknown_op":             0x10,
	} {
		if code := v.come(t, s, "routesync").control(v.load(t, "synth_"+name)); code != want {
			t.Errorf("%s is answered with %#02x, want %#02x", name, code, want)
		}
	}
	if a := v.come(t, s, "routesync").ask(v.load(t, "synth_r4_init_proto2"), "X@h"); a["15"] != "'ok" {
		t.Errorf("protocol version 2: %v", a)
	}
}

// TestPlayedImpostor has a peer that speaks for another cluster, and asks for
// the answers to others.
func TestPlayedImpostor(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		s := begin(t, v.us, []string{v.peer, "other"})
		s.put(t, linkTo(v.peer, v.stand(t).addr, "#"))
		s.put(t, linkTo("other", "127.0.0.1:1", "#"))
		d := connect(t, s, "d")
		d.sub(t, "t/#")
		for _, kind := range []string{"route", "msg"} {
			p := v.accepted(t, s)
			payload := v.plainRoute(t, true)
			if kind == "msg" {
				payload = v.message(t)
			}
			if code := p.say(publish{topic: "$LINK/cluster/" + kind + "/other", qos: 1, payload: payload}); code != 0x87 && code < hung {
				t.Errorf("%s as another is answered with %#02x", kind, code)
			}
		}
		p := v.come(t, s, "routesync")
		p.send(kSubscribe<<4|2, u16(1), sized(), text("$LINK/cluster/resp/other/n"), []byte{1})
		if f := p.until(); f.kind != kSuback || f.code() < 0x80 {
			t.Errorf("SUBSCRIBE to another's answers is answered with %v", f)
		}
		if m := s.status(t, "other"); m.Replication.PeerRoutes != 0 || m.Metrics.Received != 0 || m.Inbound.State != topology.InboundAbsent {
			t.Errorf("%+v", m)
		}
		if n := len(d.got); n != 0 {
			t.Errorf("%d messages: %v", n, fmt.Sprint(<-d.got))
		}
	})
}

// TestPlayedSilence has a peer that sends nothing for almost twice the keep-alive
// it announced, as EMQX's client may: it is allowed three times as much.
func TestPlayedSilence(t *testing.T) {
	t.Parallel()
	v := versions[2]
	s, _ := waiting(t, v)
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := &importer{version: v, line: newLine(c), t: t}
	before := time.Now()
	p.send(kConnect<<4, connectBody(v.clientID("msg"), true, 1))
	if f := p.next(); f.kind != kConnack || f.code() != 0 {
		t.Fatalf("%v", f)
	}
	if f := p.next(); f.kind != kDisconnect || f.code() != 0x8d {
		t.Errorf("the end is %v", f)
	}
	if silent := time.Since(before); silent < 3*time.Second {
		t.Errorf("hung up on after %v", silent)
	}
}
