package broker

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A restored session lives as long as the source said when it was left, not as
// long as it would where the source says nothing; and no longer than the
// source says now.
func TestRestoredSessionLivesAsTheSourceSays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	week := anyone()
	week.MQTT = topology.MQTT{SessionExpiryInterval: topology.Duration{Value: 7 * 24 * time.Hour}}
	n, end := once(t, dir)
	if err := n.Apply(context.Background(), week); err != nil {
		t.Fatal(err)
	}
	s := connect(t, n, "sub", keepSession(3*24*3600))
	s.drop(t, n, "sub")
	end()

	left := func(cfg Config) time.Duration {
		t.Helper()
		n, err := New(Options{Store: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Apply(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		n.mu.Lock()
		is := n.idle["sub"]
		n.mu.Unlock()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := n.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if is == nil {
			t.Fatal("the session is gone")
		}
		return time.Until(is.until)
	}
	if d := left(week); d < 71*time.Hour || d > 72*time.Hour {
		t.Errorf("it lives for another %v, want 72h", d)
	}
	hour := anyone()
	hour.MQTT = topology.MQTT{SessionExpiryInterval: topology.Duration{Value: time.Hour}}
	if d := left(hour); d < 50*time.Minute || d > time.Hour {
		t.Errorf("it lives for another %v, want 1h", d)
	}
}

// A message that found no place in the engine's queue leaves nothing in the
// accounts, or its client would stay on the long road for ever.
func TestOverrunLeavesNoAccount(t *testing.T) {
	n := start(t, Options{}, nil, Config{
		Listeners: anyone().Listeners, Access: anyone().Access,
		MQTT: topology.MQTT{MaxQueueBytes: topology.Size{Bytes: 1 << 20}},
	})
	r, _ := connectRaw(t, n, "r", nil)
	r.subscribe(1, "a/b", 1)
	c := n.connected("r")
	h := &hook{n: n}
	for qos := range byte(2) {
		pk := packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, TopicName: "a/b", Payload: make([]byte, 4096),
			Created: 1 << 40, PacketID: 700,
		}
		n.large.enter(pk.TopicName, publishing{size: sizeOf(&pk)})
		if !h.OnACLCheck(c.cl, pk.TopicName, false) {
			t.Fatal("there is no room")
		}
		if qos > 0 {
			c.cl.State.Inflight.Set(pk)
			h.OnQosPublish(c.cl, pk, 0, 0)
			if c.held.bytes.Load() == 0 {
				t.Fatal("the message is not booked")
			}
		}
		h.OnPublishDropped(c.cl, pk)
		c.cl.State.Inflight.Delete(pk.PacketID)
		n.large.leave(pk.TopicName)
		if q, a, w, k := c.queued.Load(), c.overflow.aboard.Load(), c.waiting.Load(), c.held.bytes.Load(); q != 0 || a != 0 || w != 0 || k != 0 {
			t.Errorf("QoS %d: queued %d, aboard %d, waiting %d, held %d are left", qos, q, a, w, k)
		}
	}
}

// Rights that change while a SUBSCRIBE is taken in hold for it too.
func TestAccessChangesDuringSubscribe(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	d := connect(t, n, "s")
	c := n.connected("s")
	h := &hook{n: n}
	sub := packets.Subscription{Filter: "secret/x", Qos: 1}
	pk := h.OnSubscribe(c.cl, packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, ProtocolVersion: 5, PacketID: 1, Filters: packets.Subscriptions{sub},
	})
	cfg := anyone()
	cfg.Access.HasACL = true
	cfg.Access.ACL = []topology.Rule{{Permit: "deny", Action: "subscribe", Topics: []string{"secret/#"}}, {Permit: "allow"}}
	if err := n.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	n.server.Topics.Subscribe("s", sub)
	c.cl.State.Subscriptions.Add(sub.Filter, sub)
	h.OnSubscribed(c.cl, pk, []byte{1})
	if s := n.server.Topics.Subscribers("secret/x"); len(s.Subscriptions) != 0 {
		t.Error("it receives what it may not")
	}
	if code := <-d.gone; code != packets.ErrAdministrativeAction.Code {
		t.Errorf("it was told %#x", code)
	}
}

// What is remembered of a topic ends with every change of subscriptions, those
// of filters x/+/# and their parent level included.
func TestSpreadFollowsTwins(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	s, p := connect(t, n, "s"), connect(t, n, "p")
	learn := func() {
		for range 3 { // seen, known, used
			p.pub(t, &paho.Publish{Topic: "x/b", Payload: []byte("0")})
		}
		p.pub(t, &paho.Publish{Topic: "done/p", QoS: 1, Payload: []byte("end")})
	}
	want := func(what string, zeros int) {
		t.Helper()
		learn()
		for range zeros {
			if m := s.next(t); m.Topic != "x/b" {
				t.Fatalf("%s: %s came", what, m.Topic)
			}
		}
		if m := s.next(t); m.Topic != "done/p" {
			t.Fatalf("%s: %s came, want done/p", what, m.Topic)
		}
	}
	sub := func(f string) { s.subOpts(t, paho.SubscribeOptions{Topic: f}) }
	un := func(f string) {
		if _, err := s.Unsubscribe(context.Background(), &paho.Unsubscribe{Topics: []string{f}}); err != nil {
			t.Fatal(err)
		}
	}
	sub("done/p")
	want("nothing", 0)
	sub("x/+/#")
	want("twin", 3)
	sub("x/+")
	want("both", 3)
	un("x/+/#")
	want("own", 3)
	sub("x/+/#")
	un("x/+")
	want("twin again", 3)
	un("x/+/#")
	want("nothing again", 0)
}
