package linkengine_test

import (
	"fmt"
	"strings"
	"testing"

	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// linked is a site and the two halves of a version that is linked with it.
func linked(t testing.TB, v version, opts ...siteOption) (*site, *exporter, *importer) {
	t.Helper()
	e := v.stand(t)
	s := begin(t, v.us, []string{v.peer}, opts...)
	s.put(t, linkTo(v.peer, e.addr, "#"))
	p := v.accepted(t, s)
	s.online(t, v.peer)
	return s, e, p
}

// TestPlayedLink links with each version, and lets messages and routes go both
// ways.
func TestPlayedLink(t *testing.T) {
	each(t, nil, func(t *testing.T, v version) {
		s, e, p := linked(t, v)
		p.announce(v.plainRoute(t, true), v.sharedRoute(t, true), v.sixtyRoutes(t, true))
		s.routes(t, v.peer, 62)
		d := connect(t, s, "d")
		d.sub(t, "t/#", "$share/g/t/+", "x")
		eventually(t, "the peer knows the filters", func() bool {
			return fmt.Sprint(e.announced()) == "[t/# t/# t/+ $s/g/t/+ x x]"
		})
		for qos := byte(0); qos <= 2; qos++ {
			d.pub(t, paho.Publish{Topic: fmt.Sprint("t/plain/", qos), QoS: qos, Payload: []byte("p"), Properties: &paho.PublishProperties{ContentType: "c"}})
			eventually(t, "it crosses", func() bool { return len(e.topics()) == int(qos)+1 })
			d.next(t) // its own subscription
		}
		if got := fmt.Sprint(e.topics()); got != "[t/plain/0 t/plain/1 t/plain/2]" {
			t.Errorf("the peer got %s", got)
		}
		if r := e.records[2]; r.qos != 2 || r.payload != "p" || r.from != "d" || r.properties["'Content-Type"] != "c" || r.flags["'retain"] != "'false" {
			t.Errorf("%+v", r)
		}
		if code := v.come(t, s, "msg").forward(1, v.message(t)); code != 0 {
			t.Errorf("the peer's message is answered with %#02x", code)
		}
		if m := d.next(t); !strings.HasPrefix(m.Topic, "t/m/") || m.QoS != 1 {
			t.Errorf("%v", m)
		}
		p.announce(v.plainRoute(t, false), v.sharedRoute(t, false), v.sixtyRoutes(t, false))
		s.routes(t, v.peer, 0)
		if code := p.say(publish{topic: "$LINK/cluster/route/" + v.peer, payload: v.beat(t)}); code != 0 {
			t.Errorf("a heartbeat is answered with %#02x", code)
		}
		eventually(t, "all is counted, and nothing was dropped", func() bool {
			m := s.status(t, v.peer).Metrics
			return len(m.DroppedBy) == 0 && m.Success == 3 && m.Received == 1
		})
		s.stop()
		if got := e.announced(); len(got) != 0 {
			t.Errorf("after a clean stop the peer still has %v", got)
		}
	})
}

// message is a captured message with QoS 1 for a topic under t/m/.
func (v version) message(t testing.TB) []byte {
	return v.either(t, true, "007-msg_t_m_plain_q1_qos1", "", "019-msg_qos1", "")
}

// TestPlayedRejections has each version turn clink away with each of its
// reasons, and then think better of it.
func TestPlayedRejections(t *testing.T) {
	each(t, nil, func(t *testing.T, v version) {
		for _, reason := range reasons {
			e := v.stand(t)
			e.change(func() { e.reject = reason })
			s := begin(t, v.us, []string{v.peer})
			s.put(t, linkTo(v.peer, e.addr, "#"))
			eventually(t, "the reason is seen", func() bool {
				st := s.status(t, v.peer)
				return st.Replication.State == topology.ReplicationRejected && st.Replication.Reason == reason && st.State == topology.Connected
			})
			e.change(func() { e.reject = "" })
			eventually(t, "it heals", func() bool { return s.status(t, v.peer).Replication.State == topology.ReplicationOnline })
		}
	})
}

// TestPlayedPeerIsRejected has each version come before its link is there, is
// enabled, or while it takes clink for another. Once all is right it is let in,
// even one that stays connected and never asks again.
func TestPlayedPeerIsRejected(t *testing.T) {
	each(t, nil, func(t *testing.T, v version) {
		s := begin(t, v.us, []string{v.peer})
		l := linkTo(v.peer, "127.0.0.1:1", "#")
		wrong := instead(t, v.init(t), v.us, "clWrong")
		rejected := func(init []byte, reason string) *importer {
			t.Helper()
			p := v.come(t, s, "routesync")
			a := p.ask(init, v.actor)
			if r, _ := a["15"].(tuple); len(a) != 5 || len(r) != 2 || r[0] != "'error" || r[1] != reason || a["16"] != "'undefined" {
				t.Fatalf("answered with %v, want %s", a, reason)
			}
			if !v.sticks {
				p.Close()
			}
			return p
		}
		heals := func(p *importer) {
			t.Helper()
			if v.sticks {
				for f := p.until(); f.kind != 0; f = p.until() { // the node has to make it come anew
				}
			}
			v.accepted(t, s).announce(v.plainRoute(t, true))
			s.routes(t, v.peer, 1)
		}
		p := rejected(v.init(t), "unknown_cluster")
		s.put(t, l)
		heals(p)

		disabled := l
		disabled.Enable = false
		s.put(t, disabled)
		p = rejected(v.init(t), "cluster_link_disabled")
		s.put(t, l)
		heals(p)

		p = v.come(t, s, "routesync")
		if a := p.ask(wrong, v.actor); fmt.Sprint(a["15"]) != "['error bad_remote_cluster_link_name]" {
			t.Errorf("%v", a)
		}
		// A rejection leaves the connection usable.
		if a := p.repeat(v.init(t), v.actor); a["15"] != "'ok" {
			t.Errorf("%v", a)
		}
	})
}

// TestPlayedAgain is 5.8.0, which asks again on the same connection.
func TestPlayedAgain(t *testing.T) {
	each(t, func(v version) bool { return v.again }, func(t *testing.T, v version) {
		s := begin(t, v.us, []string{v.peer})
		s.put(t, linkTo(v.peer, "127.0.0.1:1", "#"))
		p := v.accepted(t, s)
		for range 3 {
			if a := p.repeat(v.init(t), v.actor); a["15"] != "'ok" || a["16"] != "'false" || len(a) != 5 {
				t.Fatalf("%v", a)
			}
		}
		p.announce(v.plainRoute(t, true))
		s.routes(t, v.peer, 1)
	})
}
