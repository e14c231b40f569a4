package linkengine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"clink/linkengine"
	"clink/linkengine/client"
	"clink/linkengine/wire"
	"clink/topic"
	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

func (s *site) trace(t testing.TB, p topology.Probing) topology.Trace {
	t.Helper()
	if p.Timeout == 0 {
		p.Timeout = 30 * time.Second // the longest there is
	}
	out, err := s.engine.Trace(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// only is the one hop of a trace.
func only(t testing.TB, tr topology.Trace) topology.TracedHop {
	t.Helper()
	if len(tr.Links) != 1 {
		t.Fatalf("%d links", len(tr.Links))
	}
	return tr.Links[0]
}

// A probe is followed to whoever would get it, and gets to nobody.
func TestTrace(t *testing.T) {
	a, b := pair(t, "t/#")
	local, far, away := connect(t, a, "local"), connect(t, b, "far"), resume(t, b, "away")
	local.sub(t, "#")
	far.sub(t, "#", "t/+", "$share/g/t/x")
	away.subscribe(t, paho.SubscribeOptions{Topic: "t/x", QoS: 1})
	away.Disconnect(&paho.Disconnect{})
	a.routes(t, "b", 4)
	eventually(t, "away is away", func() bool { return b.node.Stats().Sessions == 1 })
	for qos := byte(0); qos <= 2; qos++ {
		tr := a.trace(t, topology.Probing{Topic: "t/x", QoS: qos, Payload: []byte("p")})
		h := only(t, tr)
		sessions := min(int(qos), 1)
		if want := (topology.TracedSite{Name: "a", Subscribers: 1}); tr.Site != want {
			t.Errorf("QoS %d: %+v here", qos, tr.Site)
		}
		if h.State != topology.TraceArrived || h.Reason != "" || fmt.Sprint(h.Routes) != "[t/# t/+ t/x]" || h.Site == nil ||
			*h.Site != (topology.TracedSite{Name: "b", Subscribers: 1, Sessions: sessions, Groups: 1}) {
			t.Errorf("QoS %d: %+v, %+v", qos, h, h.Site)
		}
		if h.Queued == nil || h.Sent == nil || h.Told == nil || *h.Queued > *h.Sent || *h.Sent > *h.Told || (h.Acked != nil) != (qos > 0) || qos > 0 && *h.Code != 0 {
			t.Errorf("QoS %d: %+v", qos, h)
		}
	}
	h := only(t, a.trace(t, topology.Probing{Topic: "t/x/y", QoS: 1}))
	if h.State != topology.TraceArrived || h.Site.Subscribers != 1 || h.Site.Groups != 0 || *h.Code != 0 {
		t.Errorf("%+v", h)
	}
	local.quiet(t, a)
	far.quiet(t, b)
	if n := b.status(t, "a").Metrics.Received; n != 0 {
		t.Errorf("%d probes count as received", n)
	}
}

// Asked for, a probe is delivered, here and there, once.
func TestTraceDelivers(t *testing.T) {
	a, b := pair(t, "t/#")
	local, far := connect(t, a, "local"), connect(t, b, "far")
	local.sub(t, "#")
	far.sub(t, "#")
	a.routes(t, "b", 1)
	tr := a.trace(t, topology.Probing{Topic: "t/x", QoS: 1, Payload: []byte("probe"), Deliver: true})
	if h := only(t, tr); !tr.Site.Delivered || h.State != topology.TraceArrived || !h.Site.Delivered {
		t.Errorf("%+v", tr)
	}
	for _, d := range []*device{local, far} {
		if m := d.next(t); m.Topic != "t/x" || string(m.Payload) != "probe" || m.Retain || len(m.Properties.User) > 0 {
			t.Errorf("%v %v", m, m.Properties)
		}
	}
	local.quiet(t, a)
	far.quiet(t, b)
}

// Each reason for which a probe does not get there is told.
func TestTraceSaysWhyNot(t *testing.T) {
	a, b := pair(t, "t/#")
	far := connect(t, b, "far")
	far.sub(t, "t/+")
	a.routes(t, "b", 1)
	check := func(what, topic, state, reason, detail string) {
		t.Helper()
		h := only(t, a.trace(t, topology.Probing{Topic: topic, QoS: 1}))
		if h.State != state || h.Reason != reason || !strings.Contains(h.Detail, detail) || h.State == topology.TraceWithheld && (h.Queued != nil || h.Sent != nil) {
			t.Errorf("%s: %s, %s: %s", what, h.State, h.Reason, h.Detail)
		}
	}
	check("nobody there", "t/x/y", topology.TraceWithheld, "not-announced", "nobody at b subscribes")
	a.engine.SetExports(map[string][]topic.Filter{"b": {"u/#"}})
	check("announced beyond the exports", "t/x", topology.TraceWithheld, "not-exported", "[u/#]")
	check("not asked for", "v/x", topology.TraceWithheld, "not-declared", "its topics are [u/#]")
	a.engine.SetExports(map[string][]topic.Filter{"b": {"#"}})

	narrow := linkTo("a", a.addr, "t/#")
	b.put(t, narrow)
	disabled := linkTo("b", b.addr, "t/#")
	disabled.Enable = false
	a.put(t, disabled)
	check("disabled", "t/x", topology.TraceWithheld, "link-disabled", "disabled here")
	a.put(t, linkTo("b", b.addr, "t/#"))
	a.online(t, "b")
	a.routes(t, "b", 1)
	check("well again", "t/x", topology.TraceArrived, "", "")
	nowhere := linkTo("b", "127.0.0.1:1", "t/#")
	nowhere.PoolSize = 1 // so that the probe takes the connection that has failed
	change := topology.Change{Op: topology.Update, Peer: "b", Link: nowhere, Hold: true}
	if err := a.engine.Prepare(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	check("held", "t/x", topology.TraceWithheld, "link-held", "waits until both ends")
	a.put(t, change.Link)
	eventually(t, "the link is down", func() bool { return a.status(t, "b").State == topology.Disconnected })
	check("no connection", "t/x", topology.TraceWithheld, "link-down", "refused")
	b.stop() // first, or it may come once more
	if err := a.engine.Remove(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	a.put(t, linkTo("b", b.addr, "t/#"))
	check("the peer is gone", "t/x", topology.TraceWithheld, "not-announced", "b announces nothing here: its half of the link is")
}

// A peer that would deliver a probe gets none, unless it is to; and what it
// answers is told.
func TestTraceToEMQX(t *testing.T) {
	a := begin(t, "a", []string{"b"})
	emqx := begin(t, "b", []string{"a"}) // whose engine does not run links: so it takes what comes as EMQX does
	a.put(t, linkTo("b", emqx.addr))
	peer := foreignPeer(t, a, "b", "routesync")
	peer.init(t, 1, "a")
	peer.announce(t, "t/#")
	eventually(t, "the connections stand", func() bool {
		st := a.status(t, "b")
		return st.State == topology.Connected && st.Replication.State == topology.ReplicationRejected
	})
	h := only(t, a.trace(t, topology.Probing{Topic: "t/x", QoS: 1}))
	if h.State != topology.TraceWithheld || h.Reason != "not-clink" || h.Sent != nil || !strings.Contains(h.Detail, "route replication to it is rejected (unknown_cluster)") {
		t.Errorf("%+v", h)
	}
	h = only(t, a.trace(t, topology.Probing{Topic: "t/x", QoS: 1, Deliver: true}))
	if h.State != topology.TraceAcked || h.Reason != "" || h.Site != nil || h.Code == nil || *h.Code != 0x10 {
		t.Errorf("%+v", h)
	}
}

// Of a connection that is not there yet, and has not failed, that is told.
func TestTraceBeforeTheFirstConnection(t *testing.T) {
	a := begin(t, "a", []string{"b"})
	mute, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts, and nothing is refused
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	a.put(t, linkTo("b", mute.Addr().String()))
	peer := foreignPeer(t, a, "b", "routesync")
	peer.init(t, 1, "a")
	peer.announce(t, "t/#")
	h := only(t, a.trace(t, topology.Probing{Topic: "t/x", QoS: 1}))
	if h.State != topology.TraceWithheld || h.Reason != "link-down" || strings.HasSuffix(h.Detail, ": ") {
		t.Errorf("%+v", h)
	}
}

// A probe waits where a message would: behind a lost connection, until the peer
// has announced its routes again.
func TestTraceIsHeld(t *testing.T) {
	a := begin(t, "a", []string{"b"})
	emqx := begin(t, "b", []string{"a"}) // see TestTraceToEMQX
	road := newProxy(t, emqx.addr)
	a.put(t, linkTo("b", road.addr))
	peer := foreignPeer(t, a, "b", "routesync")
	peer.init(t, 1, "a")
	peer.announce(t, "t/#")
	connected := func() bool { return a.status(t, "b").State == topology.Connected }
	eventually(t, "the connections stand", connected)
	road.cut()
	eventually(t, "the connections are lost", func() bool { return !connected() })
	road.mend("")
	eventually(t, "the connections stand again", connected)
	h := only(t, a.trace(t, topology.Probing{Topic: "t/x", QoS: 1, Deliver: true, Timeout: 100 * time.Millisecond}))
	if h.State != topology.TraceQueued || h.Reason != "held" || h.Sent != nil || !strings.Contains(h.Detail, "0 messages wait with it") {
		t.Errorf("%+v", h)
	}
}

// A probe pushes nothing out of a full queue.
func TestTraceBeforeAFullQueue(t *testing.T) {
	a, b := unlinked(t)
	small := linkTo("b", b.addr)
	small.ResourceOpts.MaxBufferBytes.Bytes = 600
	a.put(t, small)
	b.put(t, linkTo("a", a.addr, "t/#"))
	a.online(t, "b")
	connect(t, b, "sub").sub(t, "t/#")
	a.routes(t, "b", 1)
	h := only(t, a.trace(t, topology.Probing{Topic: "t/x", QoS: 1, Payload: make([]byte, 1000)}))
	if h.State != topology.TraceWithheld || h.Reason != "queue-full" || h.Queued != nil {
		t.Errorf("%+v", h)
	}
	if h = only(t, a.trace(t, topology.Probing{Topic: "t/x", QoS: 1})); h.State != topology.TraceArrived {
		t.Errorf("%+v", h)
	}
}

func TestTraceRefuses(t *testing.T) {
	a := begin(t, "a", nil)
	for _, p := range []topology.Probing{
		{}, {Topic: "t/+"}, {Topic: "#"}, {Topic: "$LINK/cluster/msg/b"}, {Topic: "$LINK"}, {Topic: "$SYS/x"}, {Topic: "a\x00"}, {Topic: "t", QoS: 3},
		{Topic: "t", Timeout: time.Hour}, {Topic: "t", Timeout: -1}, {Topic: "t", Payload: make([]byte, 1<<20+1)},
	} {
		if _, err := a.engine.Trace(t.Context(), p); !errors.Is(err, linkengine.ErrProbe) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if tr := a.trace(t, topology.Probing{Topic: "t"}); len(tr.Links) != 0 || tr.Site.Receivers() != 0 {
		t.Errorf("%+v", tr)
	}
}

// The mark of a probe cannot be made by a client, and a report counts only from
// the peer, for a probe that is under way.
func TestTraceAndHostileClients(t *testing.T) {
	a, b := pair(t, "t/#")
	far := connect(t, b, "far")
	far.sub(t, "t/#")
	a.routes(t, "b", 1)
	pub := connect(t, a, "pub")
	pub.pub(t, paho.Publish{Topic: "t/x", QoS: 1, Properties: &paho.PublishProperties{
		CorrelationData: []byte("trace:00"), User: paho.UserProperties{{Key: "trace", Value: "00"}, {Key: "25454", Value: "00"}},
	}})
	if m := far.next(t); m.Topic != "t/x" || len(m.Properties.User) != 2 {
		t.Errorf("%v", m)
	}
	// A peer that marks what it likes is answered, and gets nothing else.
	peer := foreignPeer(t, b, "a", "msg:extra")
	for _, id := range [][]byte{[]byte("x"), []byte(strings.Repeat("y", 64)), {0xff, 0}} {
		r := wire.Forward{Topic: "t/x", Timestamp: 1, Aside: &wire.Aside{Trace: id}}
		if code, err := peer.send(t, client.Message{Topic: wire.MsgTopic("a"), Payload: r.Append(nil)}); code != 0 || err != nil {
			t.Errorf("%#02x, %v", code, err)
		}
	}
	if h := only(t, a.trace(t, topology.Probing{Topic: "t/y", QoS: 1})); h.State != topology.TraceArrived {
		t.Errorf("%+v", h)
	}
	a.online(t, "b")
}

// What a trace says is JSON without gaps.
func TestTraceAsJSON(t *testing.T) {
	a, _ := pair(t, "t/#")
	text, err := json.Marshal(a.trace(t, topology.Probing{Topic: "t/x"}))
	want := `{"topic":"t/x","qos":0,"deliver":false,"site":{"name":"a","subscribers":0,"sessions":0,"share_groups":0,"delivered":false},` +
		`"links":[{"peer":"b","state":"withheld","reason":"not-announced","detail":"nobody at b subscribes to it","routes":[],` +
		`"queued_ms":null,"sent_ms":null,"acknowledged_ms":null,"reported_ms":null,"puback":null,"site":null}]}`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}
