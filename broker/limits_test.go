package broker

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/mochi-mqtt/server/v2/packets"
	"pgregory.net/rapid"
)

// limited is a node with limits for everybody.
func limited(m topology.MQTT) Config {
	cfg := anyone()
	cfg.MQTT = m
	return cfg
}

func TestTopicLimits(t *testing.T) {
	cfg := limited(topology.MQTT{MaxTopicLevels: 3, MaxTopicLength: 20})
	n := start(t, Options{}, nil, cfg)
	r, _ := connectRaw(t, n, "c", nil)
	long := strings.Repeat("x", 21)
	for filter, want := range map[string]byte{"a/b/c": 0, "a/b/c/d": 0x8f, "a/b/#": 0, "a/b/c/#": 0x8f, long: 0x8f, long[1:]: 0} {
		if got := r.subscribe(1, filter, 0); got != want {
			t.Errorf("subscribe to %s: %#02x, want %#02x", filter, got, want)
		}
	}
	for _, name := range []string{"a/b/c/d", long} {
		r.publish(name, 1, 7, nil)
		if p, ok := r.read().Content.(*packets.Puback); !ok || p.ReasonCode != 0x90 || p.PacketID != 7 {
			t.Errorf("publish to %s with QoS 1: %+v", name, p)
		}
		r.publish(name, 2, 8, nil)
		if p, ok := r.read().Content.(*packets.Pubrec); !ok || p.ReasonCode != 0x90 || p.PacketID != 8 {
			t.Errorf("publish to %s with QoS 2: %+v", name, p)
		}
		r.publish(name, 0, 0, nil)
		r.silent("QoS 0 beyond the limits is dropped")
	}
	if got := n.Stats().Dropped["topic_invalid"]; got != 6 {
		t.Errorf("%d drops counted, want 6", got)
	}
	// The limits in force are those of the last Apply.
	cfg.MQTT.MaxTopicLevels = 4
	if err := n.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	if got := r.subscribe(1, "a/b/c/d", 1); got != 1 {
		t.Errorf("after the change: %#02x", got)
	}
}

func TestTopicLimitsOf311(t *testing.T) {
	n := start(t, Options{}, nil, limited(topology.MQTT{MaxTopicLevels: 2}))
	r := dialRaw(t, addr(t, n, "tcp"))
	r.exchange311([]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 1, 'c'}, []byte{0x20, 2, 0, 0})
	r.exchange311([]byte{0x82, 10, 0, 1, 0, 5, 'a', '/', 'b', '/', 'c', 0}, []byte{0x90, 3, 0, 1, 0x80})
	r.exchange311([]byte{0x30, 7, 0, 5, 'a', '/', 'b', '/', 'c'}, nil)
	if _, told := r.ended(); told {
		t.Error("a DISCONNECT was sent to a client of MQTT 3.1.1")
	}
}

func (r *rawClient) exchange311(send, want []byte) {
	r.t.Helper()
	if _, err := r.Write(send); err != nil {
		r.t.Fatal(err)
	}
	got := make([]byte, len(want))
	r.SetReadDeadline(time.Now().Add(patience))
	if _, err := readFull(r, got); err != nil || string(got) != string(want) {
		r.t.Fatalf("% x is answered with % x (%v), want % x", send, got, err, want)
	}
}

func TestClientLimits(t *testing.T) {
	n := start(t, Options{}, nil, limited(topology.MQTT{MaxClientIDLength: 8, MaxSessions: 2, MaxSubscriptions: 2}))
	if _, err := dial(addr(t, n, "tcp"), "ninechars"); err == nil || err.Error() != "refused with 0x85" {
		t.Errorf("long client id: %v", err)
	}
	a := connect(t, n, "a", keepSession(60))
	b := connect(t, n, "b")
	if _, err := dial(addr(t, n, "tcp"), "c"); err == nil || err.Error() != "refused with 0x97" {
		t.Errorf("a third session: %v", err)
	}
	r := dialRaw(t, addr(t, n, "tcp"))
	r.exchange311([]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 1, 'c'}, []byte{0x20, 2, 0, 3})
	r.ended()
	a.drop(t, n, "a")
	if _, err := dial(addr(t, n, "tcp"), "c"); err == nil {
		t.Error("a session without a connection does not count")
	}
	connect(t, n, "a", keepSession(60)) // continues its own
	connect(t, n, "b").Disconnect(&paho.Disconnect{})
	<-b.Done()
	awaitGone(t, n, "b")
	c, _ := connectRaw(t, n, "c", nil)
	for i, want := range []byte{0, 0, 0x97} {
		if got := c.subscribe(uint16(i+1), fmt.Sprint("f/", i), 0); got != want {
			t.Errorf("subscription %d: %#02x, want %#02x", i+1, got, want)
		}
	}
	if got := c.subscribe(4, "f/0", 1); got != 1 {
		t.Errorf("the same filter again: %#02x", got)
	}
	if got := n.Stats().Subscriptions; got != 2 {
		t.Errorf("%d subscriptions, want 2", got)
	}
}

func TestRetainedLimits(t *testing.T) {
	n := start(t, Options{}, nil, limited(topology.MQTT{MaxRetained: 2, MaxRetainedBytes: topology.Size{Bytes: 10}}))
	s := connect(t, n, "s")
	s.subOpts(t, paho.SubscribeOptions{Topic: "r/#", QoS: 1, RetainAsPublished: true})
	p, _ := connectRaw(t, n, "p", nil)
	publish := func(name, payload string, want byte) {
		t.Helper()
		p.publish(name, 1, 1, func(p *packets.Publish) { p.Retain, p.Payload = true, []byte(payload) })
		if ack := p.read().Content.(*packets.Puback); ack.ReasonCode != want {
			t.Errorf("%s: answered with %#02x, want %#02x", name, ack.ReasonCode, want)
		}
		if m := s.next(t); m.Topic != name || !m.Retain {
			t.Errorf("came as %+v, want %s retained", m, name)
		}
	}
	publish("r/1", "12345", 0)
	publish("r/2", "1234567", 0x97) // 12 bytes
	publish("r/2", "12345", 0)
	publish("r/3", "", 0)
	publish("r/3", "x", 0x97) // a third
	publish("r/1", "1234", 0)
	publish("r/1", "", 0)
	publish("r/3", "x", 0)
	if st := n.Stats(); st.Retained != 2 || st.Dropped["retained_full"] != 2 {
		t.Errorf("%d retained, %d refused", st.Retained, st.Dropped["retained_full"])
	}
	if count, bytes := n.kept.totals(); count != 2 || bytes != 6 {
		t.Errorf("%d messages of %d bytes are retained, want 2 of 6", count, bytes)
	}
}

// More retained messages than a queue holds reach a new subscription.
func TestRetainedWaitForRoom(t *testing.T) {
	n := start(t, Options{QueueLength: 8}, nil, anyone())
	const count = 500
	for i := range count {
		if err := n.Publish(Message{Topic: fmt.Sprint("r/", i), Retain: true, Payload: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	s := connect(t, n, "s")
	s.subOpts(t, paho.SubscribeOptions{Topic: "r/#", QoS: 1})
	seen := map[string]bool{}
	for len(seen) < count {
		seen[s.next(t).Topic] = true
	}
	if got := n.Stats().Dropped["queue_full"]; got != 0 {
		t.Errorf("%d were dropped", got)
	}
}

// A client that acknowledges nothing must not make its reader wait for its own
// acknowledgements.
func TestRetainedDoNotWaitForAcknowledgements(t *testing.T) {
	n := start(t, Options{QueueLength: 4}, nil, anyone())
	for i := range 50 {
		if err := n.Publish(Message{Topic: fmt.Sprint("r/", i), QoS: 1, Retain: true, Payload: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	r, _ := connectRaw(t, n, "r", func(c *packets.Connect) { one := uint16(1); c.Properties.ReceiveMaximum = &one })
	if got := r.subscribe(1, "r/#", 1); got != 1 {
		t.Fatalf("SUBACK %#02x", got)
	}
	if m := r.read(); m.Type != packets.PUBLISH {
		t.Fatalf("got %s", m.PacketType())
	}
	r.silent("beyond the Receive Maximum")
}

const mib = 1 << 20

// A subscriber that never reads, 1,000 messages of 1 MiB.
func TestQueueBytes(t *testing.T) {
	for qos := byte(0); qos <= 2; qos++ {
		for _, online := range []bool{true, false} {
			t.Run(fmt.Sprintf("qos=%d,online=%v", qos, online), func(t *testing.T) { testQueueBytes(t, qos, online) })
		}
	}
}

func testQueueBytes(t *testing.T, qos byte, online bool) {
	const limit = 16 * mib
	n := start(t, Options{}, nil, limited(topology.MQTT{MaxQueueBytes: topology.Size{Bytes: limit}}))
	r, _ := connectRaw(t, n, "r", func(c *packets.Connect) { hour := uint32(3600); c.Properties.SessionExpiryInterval = &hour })
	if got := r.subscribe(1, "big", qos); got != qos {
		t.Fatalf("SUBACK %#02x", got)
	}
	if !online {
		r.Close()
		awaitGone(t, n, "r")
	}
	messages := 1000
	if testing.Short() {
		messages = 100 // far more than the limit, too
	}
	payload := make([]byte, mib)
	before := heap()
	for range messages {
		if err := n.Publish(Message{Topic: "big", QoS: qos, Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	// The limit, what the connection is writing, and what else there is.
	const most = limit + 4*mib + 4*mib
	if grown := heap() - before; grown > most {
		t.Errorf("the heap grew by %d MiB, the limit is %d", grown/mib, limit/mib)
	}
	dropped := n.Stats().Dropped["queue_full"]
	if want := uint64(messages - most/mib); dropped < want && (qos > 0 || online) {
		t.Errorf("%d drops counted, want %d at least", dropped, want)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// checkAccounts compares each session's account with the engine's store.
func checkAccounts(n *Node) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[string]*client{}
	for id, s := range n.idle {
		all[id] = s.c
	}
	for id, c := range n.live {
		all[id] = c
	}
	for id, c := range all {
		want := int64(0)
		for _, pk := range c.cl.State.Inflight.GetAll(false) {
			if size := sizeOf(&pk); pk.FixedHeader.Type == mqtt.Publish && size > n.bounds.Load().small {
				want += size
			}
		}
		if got := c.held.bytes.Load(); got != want {
			return fmt.Errorf("the account of %s says %d bytes, the engine holds %d", id, got, want)
		}
		if waiting, queued := c.waiting.Load(), c.queued.Load(); !c.conn.ended() && (waiting != 0 || queued != 0) {
			return fmt.Errorf("of %s, %d messages and %d bytes wait", id, queued, waiting)
		}
	}
	return nil
}

// Whatever happens to sessions, the account equals what the engine holds.
func TestAccountProperty(t *testing.T) {
	n := start(t, Options{QueueLength: 64}, nil, limited(topology.MQTT{MaxQueueBytes: topology.Size{Bytes: 40_000}, MaxQueueLength: 100}))
	if err := n.Publish(Message{Topic: "t/kept", QoS: 1, Retain: true, Payload: make([]byte, 5000)}); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		devices := map[string]*device{}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			id := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "id")
			d := devices[id]
			switch step := rapid.IntRange(0, 9).Draw(rt, "step"); {
			case step < 5:
				m := Message{Topic: "t/x", QoS: rapid.SampledFrom([]byte{0, 1, 2}).Draw(rt, "qos"), Payload: make([]byte, rapid.IntRange(0, 5000).Draw(rt, "size"))}
				if err := n.Publish(m); err != nil {
					rt.Fatal(err)
				}
			case step < 7 && d != nil:
				d.raw.Close()
				awaitGone(t, n, id)
				delete(devices, id)
			case step == 7:
				devices[id] = connect(t, n, id) // takes over, and ends the session
			default:
				devices[id] = connect(t, n, id, keepSession(60))
				if !devices[id].ack.SessionPresent {
					devices[id].sub(t, "t/#")
				}
			}
		}
		var err error
		eventually(t, "the accounts are even", func() bool { err = checkAccounts(n); return err == nil || t.Failed() })
		for _, d := range devices {
			d.raw.Close()
		}
	})
}

func BenchmarkRoom(b *testing.B) {
	n := start(b, Options{}, nil, anyone())
	connect(b, n, "c")
	n.mu.Lock()
	c := n.live["c"]
	n.mu.Unlock()
	pk := mqtt.Packet{}
	b.ReportAllocs()
	for b.Loop() {
		if !c.room("some/topic") {
			b.Fatal("no room")
		}
		c.taken(&pk)
	}
}
