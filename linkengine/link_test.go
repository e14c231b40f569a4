package linkengine_test

import (
	"fmt"
	"sync"
	"testing"

	"clink/linkengine/wire"
	"clink/topic"
	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

func TestMessagesCrossBothWays(t *testing.T) {
	a, b := pair(t, "global/#")
	for _, way := range [][2]*site{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		before := from.status(t, to.name).Replication.PeerRoutes
		sub := connect(t, to, "sub-"+to.name)
		sub.sub(t, "global/"+to.name+"/+")
		from.routes(t, to.name, before+1)
		pub := connect(t, from, "pub-"+from.name)
		for qos := byte(0); qos <= 2; qos++ {
			pub.pub(t, paho.Publish{Topic: "global/" + to.name + "/x", QoS: qos, Payload: []byte{'0' + qos}})
			if m := sub.next(t); m.QoS != qos || string(m.Payload) != string([]byte{'0' + qos}) {
				t.Errorf("%s to %s at QoS %d: %v", from.name, to.name, qos, m)
			}
		}
		eventually(t, "all are counted", func() bool {
			s := from.status(t, to.name).Metrics
			return s.Matched == 3 && s.Success == 3 && s.Inflight == 0 && s.Queuing == 0 && s.QueueBytes == 0
		})
		if got := to.status(t, from.name).Metrics.Received; got != 3 {
			t.Errorf("%s received %d", to.name, got)
		}
	}
}

func TestPropertiesCross(t *testing.T) {
	a, b := pair(t, "t/#")
	sub := connect(t, b, "sub")
	sub.subscribe(t, paho.SubscribeOptions{Topic: "t/plain", QoS: 1}, paho.SubscribeOptions{Topic: "t/rap", QoS: 1, RetainAsPublished: true})
	a.routes(t, "b", 2)
	pub := connect(t, a, "pub")
	format, expiry := byte(1), uint32(60)
	sent := paho.PublishProperties{
		PayloadFormat: &format, MessageExpiry: &expiry, ContentType: "text/plain", ResponseTopic: "t/answer", CorrelationData: []byte{0, 255},
		User: paho.UserProperties{{Key: "k", Value: "1"}, {Key: "k", Value: "2"}, {Key: "ü", Value: ""}},
	}
	for _, name := range []string{"t/plain", "t/rap"} {
		pub.pub(t, paho.Publish{Topic: name, QoS: 1, Retain: true, Payload: []byte("hi"), Properties: &sent})
		m := sub.next(t)
		p := m.Properties
		if string(m.Payload) != "hi" || m.Retain != (name == "t/rap") || p.PayloadFormat == nil || *p.PayloadFormat != 1 ||
			p.MessageExpiry == nil || *p.MessageExpiry > 60 || *p.MessageExpiry < 50 || p.ContentType != "text/plain" ||
			p.ResponseTopic != "t/answer" || string(p.CorrelationData) != "\x00\xff" || fmt.Sprint(p.User) != fmt.Sprint(sent.User) {
			t.Errorf("%s: %v %v", name, m, p)
		}
	}
	late := connect(t, b, "late")
	late.sub(t, "t/#")
	connect(t, b, "local").pub(t, paho.Publish{Topic: "t/marker", QoS: 1})
	if m := late.next(t); m.Topic != "t/marker" {
		t.Errorf("a forwarded message was retained: %v", m)
	}
}

// TestFlowFollowsSubscriptions has filters that cross the link's topics in all
// ways, and then go.
func TestFlowFollowsSubscriptions(t *testing.T) {
	a, b := pair(t, "global/#", "x/+/y")
	sub := connect(t, b, "sub")
	pub := connect(t, a, "pub")
	tests := []struct {
		filter string
		routes int
		cross  []string
		stay   []string
	}{
		{"global/a", 1, []string{"global/a"}, []string{"global/b"}},
		{"#", 2, []string{"global/b", "x/1/y"}, []string{"local/a", "x/1/z"}},
		{"+/1/+", 2, []string{"global/1/q", "x/1/y"}, []string{"x/1/q", "other/1/y"}},
		{"$share/g/global/#", 1, []string{"global/s"}, []string{"local/s"}},
		{"local/#", 0, nil, []string{"local/l"}},
	}
	for _, tt := range tests {
		sub.sub(t, tt.filter)
		a.routes(t, "b", tt.routes)
		for _, name := range append(tt.stay, tt.cross...) {
			pub.pub(t, paho.Publish{Topic: name, QoS: 1, Payload: []byte(tt.filter)})
		}
		got := make(map[string]bool)
		for range tt.cross {
			got[sub.next(t).Topic] = true
		}
		for _, name := range tt.cross {
			if !got[name] {
				t.Errorf("%s: %s did not cross", tt.filter, name)
			}
		}
		sub.unsub(t, tt.filter)
		a.routes(t, "b", 0)
		before := a.status(t, "b").Metrics.Matched
		for _, name := range tt.cross {
			pub.pub(t, paho.Publish{Topic: name, QoS: 1})
		}
		if n := a.status(t, "b").Metrics.Matched - before; n != 0 {
			t.Errorf("%s: %d messages crossed after the end of the subscription", tt.filter, n)
		}
	}
	if len(sub.got) != 0 {
		t.Errorf("%d messages too many, the first %v", len(sub.got), <-sub.got)
	}
	sub.sub(t, "global/same")
	connect(t, b, "other").sub(t, "global/same", "$share/g/global/same")
	a.routes(t, "b", 2) // a plain and a shared one
}

// A peer that has announced all it wants before the link runs here leaves no doubt:
// what it does not want is not held back for it.
func TestPeerIsQuickerThanTheEngine(t *testing.T) {
	start := make(chan struct{})
	begun := sync.OnceFunc(func() { close(start) })
	defer begun()
	a := begin(t, "a", []string{"b"}, startedBy(start))
	a.put(t, linkTo("b", "127.0.0.1:1", "t/#"))
	peer := foreignPeer(t, a, "b", "routesync")
	peer.init(t, 1, "a")
	if code, err := peer.control(t, wire.Heartbeat{Actor: "n1", Incarnation: 1}.Append(nil)); err != nil || code != 0x10 {
		t.Fatalf("heartbeat: %#02x, %v", code, err)
	}
	begun()
	eventually(t, "the link runs", func() bool { return a.status(t, "b").Replication.Reason != "not started" })
	connect(t, a, "pub").pub(t, paho.Publish{Topic: "t/1", QoS: 1})
	if m := a.status(t, "b").Metrics; m.Queuing != 0 {
		t.Errorf("%d messages wait for a peer that wants none", m.Queuing)
	}
}

// TestNoGossip lets a message published at one corner of a triangle reach the
// others once each.
func TestNoGossip(t *testing.T) {
	names := []string{"a", "b", "c"}
	sites := make(map[string]*site)
	for _, n := range names {
		sites[n] = begin(t, n, names)
	}
	subs := make(map[string]*device)
	for _, n := range names {
		for _, m := range names {
			if n != m {
				sites[n].put(t, linkTo(m, sites[m].addr, "#"))
			}
		}
		subs[n] = connect(t, sites[n], "sub-"+n)
		subs[n].sub(t, "t/#")
	}
	for _, n := range names {
		for _, m := range names {
			if n != m {
				sites[n].online(t, m)
				sites[n].routes(t, m, 1)
			}
		}
	}
	for _, n := range names {
		connect(t, sites[n], "pub-"+n).pub(t, paho.Publish{Topic: "t/" + n, QoS: 1})
		for _, m := range names {
			if got := subs[m].next(t); got.Topic != "t/"+n {
				t.Errorf("%s got %v", m, got)
			}
		}
	}
	for _, n := range names {
		for _, m := range names {
			if n != m {
				if got := sites[n].status(t, m).Metrics.Matched; got != 1 {
					t.Errorf("%s forwarded %d messages to %s, want its own 1", n, got, m)
				}
			}
		}
		if len(subs[n].got) != 0 {
			t.Errorf("%s got a message twice: %v", n, <-subs[n].got)
		}
	}
}

func TestExports(t *testing.T) {
	a, b := pair(t, "#")
	a.engine.SetExports(map[string][]topic.Filter{"b": {"open/#"}})
	sub := connect(t, b, "sub")
	sub.sub(t, "open/1", "closed/1")
	a.routes(t, "b", 2) // kept, though one is not served
	pub := connect(t, a, "pub")
	both := func() {
		pub.pub(t, paho.Publish{Topic: "closed/1", QoS: 1})
		pub.pub(t, paho.Publish{Topic: "open/1", QoS: 1})
	}
	both()
	if m := sub.next(t); m.Topic != "open/1" {
		t.Errorf("%s was sent", m.Topic)
	}
	if n := a.status(t, "b").Metrics.DroppedBy["not-exported"]; n != 1 {
		t.Errorf("%d not exported", n)
	}
	before := a.status(t, "b").Metrics.Reconnects
	a.engine.SetExports(map[string][]topic.Filter{"b": {"#"}})
	both()
	if m := sub.next(t); m.Topic != "closed/1" {
		t.Errorf("%s came first", m.Topic)
	}
	sub.next(t)
	a.engine.SetExports(nil)
	both()
	if s := a.status(t, "b"); s.Metrics.Matched != 3 || s.Metrics.Reconnects != before || s.State != topology.Connected {
		t.Errorf("%+v", s)
	}
}
