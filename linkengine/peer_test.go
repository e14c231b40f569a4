package linkengine_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"clink/broker"
	"clink/linkengine/client"
	"clink/linkengine/wire"
	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// A foreign peer is one that says whatever a test wants: a link connection of
// its own, without an engine.
type foreign struct {
	*client.Conn
	name    string
	answers chan wire.ActorInitAck
}

func foreignPeer(t testing.TB, to *site, name, kind string) *foreign {
	t.Helper()
	f := &foreign{name: name, answers: make(chan wire.ActorInitAck, 16)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := client.Dial(ctx, client.Options{Address: to.addr, ClientID: name + ":" + kind + ":1", Received: func(m client.Message) {
		if ack, err := wire.DecodeControl(m.Payload, wire.DefaultLimits(0)); err == nil {
			f.answers <- ack.(wire.ActorInitAck)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.Conn = conn
	t.Cleanup(conn.Close)
	if kind == "routesync" {
		if err := conn.Subscribe(ctx, wire.RespTopic(name, "n1")); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// send publishes under $LINK/ and returns the code of the PUBACK, or why there
// was none.
func (f *foreign) send(t testing.TB, m client.Message) (byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return f.Publish(ctx, m)
}

func (f *foreign) control(t testing.TB, payload []byte) (byte, error) {
	t.Helper()
	return f.send(t, client.Message{Topic: wire.RouteTopic(f.name), Payload: payload})
}

func (f *foreign) init(t testing.TB, incarnation int64, target string) wire.ActorInitAck {
	t.Helper()
	p := wire.ActorInit{Actor: "n1", Incarnation: incarnation, Target: target}
	_, err := f.send(t, client.Message{
		Topic: wire.RouteTopic(f.name), Payload: p.Append(nil), ResponseTopic: wire.RespTopic(f.name, "n1"), Correlation: []byte("0123456789abcdef"),
	})
	if err != nil {
		t.Fatalf("actor_init: %v", err)
	}
	return <-f.answers
}

func (f *foreign) announce(t testing.TB, filters ...string) {
	t.Helper()
	p := wire.Routes{Actor: "n1", Incarnation: 1}
	for _, filter := range filters {
		p.Ops = append(p.Ops, wire.RouteOp{Filter: filter, ID: filter})
	}
	if code, err := f.control(t, p.Append(nil)); err != nil || code != 0x10 {
		t.Fatalf("route: %#02x, %v", code, err)
	}
}

// lonely is a site with a link to a peer that cannot be reached, but may come.
func lonely(t testing.TB) *site {
	s := begin(t, "a", []string{"b"})
	s.put(t, linkTo("b", "127.0.0.1:1", "t/#", "$SYS/allowed/#"))
	return s
}

func TestAnswers(t *testing.T) {
	s := begin(t, "a", []string{"b", "stranger"})
	disabled := linkTo("b", "127.0.0.1:1", "#")
	disabled.Enable = false
	stranger := foreignPeer(t, s, "stranger", "routesync")
	if ack := stranger.init(t, 1, "a"); ack.Error != "unknown_cluster" {
		t.Errorf("without a link: %+v", ack)
	}
	b := foreignPeer(t, s, "b", "routesync")
	s.put(t, disabled)
	for _, target := range []string{"a", "wrong"} {
		if ack := b.init(t, 1, target); ack.Error != "cluster_link_disabled" {
			t.Errorf("disabled, target %s: %+v", target, ack)
		}
	}
	s.put(t, linkTo("b", "127.0.0.1:1", "#"))
	if ack := b.init(t, 1, "wrong"); ack.Error != "bad_remote_cluster_link_name" {
		t.Errorf("wrong target: %+v", ack)
	}
	if st := s.status(t, "b").Inbound; st.State != topology.InboundRejected || st.Reason != "bad_remote_cluster_link_name" {
		t.Errorf("%+v", st)
	}
	for i, want := range []wire.ActorInitAck{{Actor: "n1", Version: 1, NeedBootstrap: true}, {Actor: "n1", Version: 1}} {
		if ack := b.init(t, 1, "a"); ack != want {
			t.Errorf("init %d: %+v", i, ack)
		}
	}
	if st := s.status(t, "b").Inbound; st.State != topology.InboundOnline {
		t.Errorf("%+v", st)
	}
	b.announce(t, "t/#")
	s.routes(t, "b", 1)
	s.put(t, disabled)
	<-b.Done()
	if st := s.status(t, "b"); st.Replication.PeerRoutes != 0 || st.Replication.Reason != "disabled" || st.State != topology.Disconnected {
		t.Errorf("disabled: %+v", st)
	}
}

// TestFaultyControl lists what a peer may do wrong, and how it is answered.
func TestFaultyControl(t *testing.T) {
	s := lonely(t)
	init := func(actor string, incarnation int64) []byte {
		return wire.ActorInit{Actor: actor, Incarnation: incarnation, Target: "a"}.Append(nil)
	}
	routes := func(actor string, ops ...wire.RouteOp) []byte { return wire.Routes{Actor: actor, Ops: ops}.Append(nil) }
	beat := func(actor string) []byte { return wire.Heartbeat{Actor: actor}.Append(nil) }
	asked := func(payload []byte) client.Message {
		return client.Message{Payload: payload, ResponseTopic: wire.RespTopic("b", "n1"), Correlation: []byte("x")}
	}
	plain := func(payload []byte) client.Message { return client.Message{Payload: payload} }
	tests := []struct {
		name  string
		ready bool // an actor n1 of incarnation 5 is initialised
		m     client.Message
		hangs bool // the answer is a DISCONNECT; otherwise PUBACK 0x10
	}{
		{"garbage", true, plain([]byte("garbage")), true},
		{"empty", true, plain(nil), true},
		{"a bomb", true, plain(append([]byte{131, 80, 255, 255, 255, 255}, make([]byte, 100)...)), true},
		{"no Response-Topic", false, client.Message{Payload: init("n1", 1), Correlation: []byte("x")}, true},
		{"no Correlation-Data", false, client.Message{Payload: init("n1", 1), ResponseTopic: "x"}, true},
		{"a reply nobody is subscribed to", false, client.Message{Payload: init("n1", 5), ResponseTopic: "x", Correlation: []byte("x")}, false},
		{"route before init", false, plain(routes("n1")), true},
		{"heartbeat before init", false, plain(beat("n1")), false},
		{"route of another actor", true, plain(routes("n2")), true},
		{"heartbeat of another actor", true, plain(beat("n2")), true},
		{"a lower incarnation", true, asked(init("n1", 4)), true},
		{"another actor on the connection", true, asked(init("n2", 5)), true},
		{"unknown operation", true, plain([]byte{131, 116, 0, 0, 0, 1, 119, 3, '$', 'o', 'p', 109, 0, 0, 0, 1, 'x'}), false},
		{"not a map", true, plain([]byte{131, 106}), false},
		{"faulty filters", true, plain(routes("n1", wire.RouteOp{Filter: "a/#/b", ID: "x"}, wire.RouteOp{Filter: "t/ok", ID: "t/ok"})), false},
		{"delete of a missing route", true, plain(routes("n1", wire.RouteOp{Delete: true, Filter: "t/no", ID: "x"})), false},
		{"no operations", true, plain(routes("n1")), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := foreignPeer(t, s, "b", "routesync")
			if tt.ready {
				b.init(t, 5, "a")
			}
			tt.m.Topic = wire.RouteTopic("b")
			code, err := b.send(t, tt.m)
			switch {
			case tt.hangs && err == nil:
				t.Errorf("acknowledged with %#02x", code)
			case tt.hangs && !strings.Contains(err.Error(), "0x83"):
				t.Errorf("ended with %v", err)
			case !tt.hangs && (err != nil || code != 0x10):
				t.Errorf("%#02x, %v", code, err)
			}
		})
	}
	s.routes(t, "b", 1) // of all this, one good filter
	if m := s.status(t, "b").Metrics.DroppedBy; m["bad-control"] == 0 || m["route-refused"] != 1 {
		t.Errorf("%v", m)
	}
}

// A peer whose session is ended here while its handshake is on its way has done
// nothing wrong.
func TestAnswerToAnEndedSession(t *testing.T) {
	log := &buffer{}
	s := begin(t, "a", []string{"b"}, logTo(log), beforeControl(func(s *broker.Session) { s.Disconnect(0x87) }))
	s.put(t, linkTo("b", "127.0.0.1:1", "t/#"))
	b := foreignPeer(t, s, "b", "routesync")
	p := wire.ActorInit{Actor: "n1", Incarnation: 1, Target: "a"}
	if _, err := b.send(t, client.Message{
		Topic: wire.RouteTopic("b"), Payload: p.Append(nil), ResponseTopic: wire.RespTopic("b", "n1"), Correlation: []byte("0123456789abcdef"),
	}); err == nil {
		t.Error("it is acknowledged")
	}
	eventually(t, "the session is forgotten", func() bool { return s.engine.Actors("b") == 1 && s.engine.Visits() == 0 })
	if got, n := log.String(), s.status(t, "b").Metrics.DroppedBy["bad-control"]; strings.Contains(got, "faulty") || n != 0 {
		t.Errorf("%d faulty packets are counted, and the log says %s", n, got)
	}
}

// What a peer sends while its link is disabled or removed refers to what is
// forgotten. That is no fault of its own either.
func TestWhatComesWhileALinkGoes(t *testing.T) {
	routes := wire.Routes{Actor: "n1", Incarnation: 1, Ops: []wire.RouteOp{{Filter: "t/1", ID: "t/1"}}}
	for name, payload := range map[string][]byte{
		"routes":    routes.Append(nil),
		"heartbeat": wire.Heartbeat{Actor: "n1", Incarnation: 1}.Append(nil),
	} {
		for _, removed := range []bool{false, true} {
			log, packets := &buffer{}, 0
			l := linkTo("b", "127.0.0.1:1", "t/#")
			var s *site
			s = begin(t, "a", []string{"b"}, logTo(log), beforeControl(func(*broker.Session) {
				if packets++; packets == 1 {
					return
				}
				if removed {
					s.remove(t, "b")
				}
				l.Enable = false
				s.put(t, l)
			}))
			s.put(t, l)
			b := foreignPeer(t, s, "b", "routesync")
			b.init(t, 1, "a")
			b.control(t, payload)
			<-b.Done()
			eventually(t, "the session is forgotten", func() bool { return s.engine.Visits() == 0 })
			if got, n := log.String(), s.status(t, "b").Metrics.DroppedBy["bad-control"]; strings.Contains(got, "faulty") || n != 0 {
				t.Errorf("%s, removed %v: %d faulty packets are counted, and the log says %s", name, removed, n, got)
			}
		}
	}
}

// TestReceiverFilter sends records as peers of all kinds do.
func TestReceiverFilter(t *testing.T) {
	s := lonely(t)
	sub := connect(t, s, "sub")
	sub.sub(t, "t/#", "other/#")
	b := foreignPeer(t, s, "b", "msg")
	ids := byte(0)
	rec := func(topic string, qos byte) wire.Forward {
		ids++
		return wire.Forward{ID: [16]byte{15: ids}, QoS: qos, From: "c", Topic: topic, Payload: []byte(topic)}
	}
	twice := rec("t/twice", 2)
	tests := []struct {
		name    string
		payload []byte
		code    byte
		reason  string
	}{
		{"within the topics", rec("t/1", 1).Append(nil), 0, ""},
		{"outside the topics", rec("other/1", 1).Append(nil), 0x10, "not-wanted"},
		{"system topic not declared", rec("$SYS/x", 1).Append(nil), 0x10, "not-wanted"},
		{"link topic", rec("$LINK/cluster/msg/b", 1).Append(nil), 0x10, "not-wanted"},
		{"wildcard topic", rec("t/+", 1).Append(nil), 0x10, "bad-record"},
		{"empty topic", rec("", 1).Append(nil), 0x10, "bad-record"},
		{"garbage", []byte("garbage"), 0x10, "bad-record"},
		{"nothing", nil, 0x10, "bad-record"},
		{"QoS 2", twice.Append(nil), 0, ""},
		{"QoS 2 again", twice.Append(nil), 0x10, "repeated"},
		{"what the broker keeps to itself", rec("$SYS/allowed/x", 1).Append(nil), 0x10, "not-delivered"},
	}
	for _, tt := range tests {
		before := s.status(t, "b").Metrics
		code, err := b.send(t, client.Message{Topic: wire.MsgTopic("b"), Payload: tt.payload})
		if err != nil || code != tt.code {
			t.Fatalf("%s: %#02x, %v", tt.name, code, err)
		}
		after := s.status(t, "b").Metrics
		if tt.reason != "" && after.DroppedBy[tt.reason] != before.DroppedBy[tt.reason]+1 || tt.reason == "" && after.Received != before.Received+1 {
			t.Errorf("%s: not counted under %q: %+v", tt.name, tt.reason, after)
		}
	}
	for _, want := range []string{"t/1", "t/twice"} {
		if m := sub.next(t); m.Topic != want {
			t.Errorf("%s instead of %s", m.Topic, want)
		}
	}
	narrow := linkTo("b", "127.0.0.1:1", "other/#")
	s.put(t, narrow)
	b.send(t, client.Message{Topic: wire.MsgTopic("b"), Payload: rec("t/2", 1).Append(nil)})
	b.send(t, client.Message{Topic: wire.MsgTopic("b"), Payload: rec("other/2", 1).Append(nil)})
	narrow.Enable = false
	s.put(t, narrow)
	b.send(t, client.Message{Topic: wire.MsgTopic("b"), Payload: rec("other/3", 1).Append(nil)})
	if m := sub.next(t); m.Topic != "other/2" || len(sub.got) != 0 {
		t.Errorf("%s was delivered, and %d more", m.Topic, len(sub.got))
	}
	if n := s.status(t, "b").Metrics.DroppedBy["link-disabled"]; n != 1 {
		t.Errorf("%d dropped while disabled", n)
	}
}

// TestRecordsOfEMQX delivers records that EMQX 5.8.9 and 6.0 made, compressed
// ones among them.
func TestRecordsOfEMQX(t *testing.T) {
	files, err := filepath.Glob("wire/testdata/emqx-*/*-msg_*.hex")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	s := begin(t, "a", []string{"b"})
	s.put(t, linkTo("b", "127.0.0.1:1", "#"))
	sub := connect(t, s, "sub")
	sub.sub(t, "#")
	b := foreignPeer(t, s, "b", "msg")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		want, err := wire.DecodeForward(payload, wire.DefaultLimits(0))
		if err != nil {
			t.Fatal(err)
		}
		if want.Properties.HasMessageExpiry {
			continue // has expired since
		}
		if code, err := b.send(t, client.Message{Topic: wire.MsgTopic("b"), Payload: payload}); err != nil || code != 0 {
			t.Errorf("%s: %#02x, %v: %v", file, code, err, s.status(t, "b").Metrics.DroppedBy)
			continue
		}
		if m := sub.next(t); m.Topic != want.Topic || string(m.Payload) != string(want.Payload) || m.QoS != want.QoS {
			t.Errorf("%s: %v", file, m)
		}
	}
}

// TestQoS2Hop is how EMQX up to 6.0.2 forwards QoS 2 messages, with a repeated
// packet among them.
func TestQoS2Hop(t *testing.T) {
	s := lonely(t)
	sub := connect(t, s, "sub")
	sub.sub(t, "t/#")
	c, got := linkDevice(t, s, "b:msg:2")
	for i := range 3 {
		r := wire.Forward{ID: [16]byte{0: byte(i)}, QoS: 2, From: "c", Topic: fmt.Sprint("t/", i)}
		for range 2 {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			_, err := c.Publish(ctx, &paho.Publish{Topic: wire.MsgTopic("b"), QoS: 2, Payload: r.Append(nil)})
			cancel()
			if err != nil {
				t.Fatal(err)
			}
		}
		if m := sub.next(t); m.Topic != r.Topic || m.QoS != 2 {
			t.Errorf("%v", m)
		}
	}
	if len(sub.got) != 0 || len(got) != 0 {
		t.Errorf("%d messages too many", len(sub.got)+len(got))
	}
}

// linkDevice is a paho client with a client id of a link peer.
func linkDevice(t testing.TB, s *site, id string) (*paho.Client, chan *paho.Publish) {
	t.Helper()
	d := connect(t, s, id)
	return d.Client, d.got
}

// A bystander is a broker that lets link peers in and has no link engine, as
// EMQX is for a moment when it starts: it acknowledges, and that is all. Unless
// a test says otherwise.
type bystander struct {
	mu       sync.Mutex
	answer   func(s *broker.Session, m *broker.Message) broker.Verdict
	messages []string // topics of the records that came
}

func (b *bystander) Published(*broker.Message)   {}
func (b *bystander) Closed(*broker.Session)      {}
func (b *bystander) Refused(peer, reason string) {}

func (b *bystander) Control(s *broker.Session, m *broker.Message) broker.Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	if kind, _, _, _ := wire.ParseTopic(m.Topic); kind == wire.Msg {
		if r, err := wire.DecodeForward(m.Payload, wire.DefaultLimits(0)); err == nil {
			b.messages = append(b.messages, r.Topic)
		}
		return broker.Ack
	}
	if b.answer != nil {
		return b.answer(s, m)
	}
	return broker.AckNoMatch
}

func (b *bystander) say(answer func(s *broker.Session, m *broker.Message) broker.Verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

func (b *bystander) got() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.messages...)
}

// accepts answers every actor_init as a peer does that remembers nothing.
func accepts(s *broker.Session, m *broker.Message) broker.Verdict {
	if p, err := wire.DecodeControl(m.Payload, wire.DefaultLimits(0)); err == nil {
		if init, ok := p.(wire.ActorInit); ok {
			s.Reply(m.ResponseTopic, wire.ActorInitAck{Actor: init.Actor, NeedBootstrap: true}.Append(nil), m.CorrelationData)
		}
	}
	return broker.AckNoMatch
}

// stand runs a bystander and returns its address.
func (b *bystander) stand(t testing.TB, peers ...string) (addr string, stop func()) {
	t.Helper()
	node, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	node.Intercept(b)
	cfg := broker.Config{Listeners: []topology.Listener{{Name: "tcp", Type: topology.TCP, Enable: true, Bind: "127.0.0.1:0"}}}
	for _, p := range peers {
		cfg.Grants = append(cfg.Grants, grant(p))
	}
	if err := node.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { node.Run(ctx) })
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); running.Wait() }) }
	t.Cleanup(stop)
	eventually(t, "the listener opens", func() bool {
		if l := node.Listeners(); len(l) == 1 && l[0].Addr != nil {
			addr = l[0].Addr.String()
		}
		return addr != ""
	})
	return addr, stop
}
