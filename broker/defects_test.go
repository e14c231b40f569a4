package broker

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	enginePackets "github.com/mochi-mqtt/server/v2/packets"
)

// Each test here fails on the bare engine: it is a check to run again when the
// engine changes.

func number(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

func publishNumbers(t testing.TB, n *Node, name string, from, to int, qos byte) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := n.Publish(Message{Topic: name, Payload: number(i), QoS: qos}); err != nil {
			t.Fatal(err)
		}
	}
}

func expectNumbers(t testing.TB, d *device, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if p := d.next(t); binary.BigEndian.Uint64(p.Payload) != uint64(i) {
			t.Fatalf("message %d came as number %d", binary.BigEndian.Uint64(p.Payload), i)
		}
	}
}

func TestReceiveMaximumNeitherStallsNorLocks(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			many := 4000
			if testing.Short() {
				many = 1000
			}
			n := start(t, Options{QueueLength: 8192}, nil, anyone())
			d := connect(t, n, "slow", receiveMax(10))
			d.sub(t, "a/#")
			publishNumbers(t, n, "a/b", 0, many, qos)
			expectNumbers(t, d, 0, many)
			eventually(t, "all is acknowledged", func() bool { return n.server.Info.Clone().Inflight == 0 })
		})
	}
}

func TestReceiveMaximumIsKept(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	r, _ := connectRaw(t, n, "few", func(c *packets.Connect) {
		three, long := uint16(3), uint32(60)
		c.Properties.ReceiveMaximum, c.Properties.SessionExpiryInterval = &three, &long
	})
	r.subscribe(1000, "a", 1)
	publishNumbers(t, n, "a", 0, 100, 1)
	var ids []uint16
	for range 3 {
		ids = append(ids, r.read().Content.(*packets.Publish).PacketID)
	}
	r.silent("three unacknowledged")
	r.puback(ids[0])
	ids = append(ids[1:], r.read().Content.(*packets.Publish).PacketID)
	r.silent("three unacknowledged")
	r.puback(4711) // one that was never sent
	r.silent("a stray acknowledgement")

	// The same holds when the session is continued: three, the oldest first.
	r.Close()
	awaitGone(t, n, "few")
	r, ack := connectRaw(t, n, "few", func(c *packets.Connect) {
		three, long := uint16(3), uint32(60)
		c.CleanStart = false
		c.Properties.ReceiveMaximum, c.Properties.SessionExpiryInterval = &three, &long
	})
	if !ack.SessionPresent {
		t.Fatal("the session is lost")
	}
	for i := 1; i < 100; i++ {
		if i > 3 {
			r.silent("three unacknowledged after a reconnect")
			r.puback(ids[0])
			ids = ids[1:]
		} else if i == 1 {
			ids = nil
		}
		p := r.read().Content.(*packets.Publish)
		if got := binary.BigEndian.Uint64(p.Payload); got != uint64(i) {
			t.Fatalf("number %d came where %d was due", got, i)
		}
		ids = append(ids, p.PacketID)
	}
	publishNumbers(t, n, "a", 100, 150, 1)
	for i := 100; i < 150; i++ {
		r.puback(ids[0])
		p := r.read().Content.(*packets.Publish)
		if got := binary.BigEndian.Uint64(p.Payload); got != uint64(i) {
			t.Fatalf("number %d came where %d was due", got, i)
		}
		ids = append(ids[1:], p.PacketID)
	}
}

// Within one connection no message is missing, comes twice or out of order,
// however the reconnect falls between those that are being published.
func TestReconnectUnderLoad(t *testing.T) {
	const round = 200
	n := start(t, Options{}, nil, anyone())
	d := connect(t, n, "d", keepSession(60))
	d.sub(t, "x")
	rounds := 30
	if testing.Short() {
		rounds = 8
	}
	for r := range rounds {
		d.drop(t, n, "d")
		publishNumbers(t, n, "x", r*round, r*round+round/2, 1)
		var wg sync.WaitGroup
		wg.Go(func() { publishNumbers(t, n, "x", r*round+round/2, (r+1)*round-1, 1) })
		d = connect(t, n, "d", keepSession(60))
		wg.Wait()
		end := (r+1)*round - 1
		publishNumbers(t, n, "x", end, end+1, 1)
		for last := -1; last < end; {
			i := int(binary.BigEndian.Uint64(d.next(t).Payload))
			if last < 0 && i > r*round || last >= 0 && i != last+1 {
				t.Fatalf("round %d: number %d came after %d", r, i, last)
			}
			last = i
		}
	}
}

// A message that is both stored and queued when its session is continued is
// sent once.
func TestStoredAndQueuedIsSentOnce(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	connect(t, n, "d")
	n.mu.Lock()
	c := n.live["d"]
	n.mu.Unlock()
	twin := &client{node: n, conn: c.conn, cl: c.cl, proto: 5, ready: make(chan struct{})}
	twin.resent.note(&enginePackets.Packet{PacketID: 5, Created: 70})
	close(twin.ready)
	for created, want := range map[int64]bool{70: false, 71: true} {
		pk := enginePackets.Packet{FixedHeader: enginePackets.FixedHeader{Type: enginePackets.Publish, Qos: 1}, PacketID: 5, Created: created}
		if got := twin.encodePublish(&pk); got != want {
			t.Errorf("created %d is sent: %v, want %v", created, got, want)
		}
	}
}

func TestStoredMessagesComeInOrder(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	d := connect(t, n, "away", keepSession(60))
	d.sub(t, "o/#")
	d.drop(t, n, "away")
	publishNumbers(t, n, "o/1", 0, 3000, 1)
	d = connect(t, n, "away", keepSession(60))
	publishNumbers(t, n, "o/1", 3000, 3100, 1)
	expectNumbers(t, d, 0, 3100)
	select {
	case p := <-d.got:
		t.Errorf("%x came twice", p.Payload)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestExpiredSessionLeavesNothing(t *testing.T) {
	t.Parallel() // it waits more than it works
	n := start(t, Options{}, nil, anyone())
	d := connect(t, n, "brief", keepSession(1))
	d.sub(t, "y/1", "$share/g/y/2")
	if got := n.Routes().Len(); got != 2 {
		t.Fatalf("%d routes, want 2", got)
	}
	left := time.Now()
	d.drop(t, n, "brief")
	if got := n.Routes().Len(); got != 2 && time.Since(left) < time.Second {
		t.Fatalf("%d routes while the session lives, want 2", got)
	}
	eventually(t, "the session expires", func() bool { return n.Stats().Sessions == 0 && n.Routes().Len() == 0 })
	eventually(t, "the client is no longer known", func() bool {
		_, known := n.server.Clients.Get("brief")
		return !known
	})
	for _, name := range []string{"y/1", "y/2"} {
		if s := n.server.Topics.Subscribers(name); len(s.Subscriptions)+len(s.Shared) != 0 {
			t.Errorf("%s still has subscribers", name)
		}
	}
}

func TestSharedWildcardGetsNoDollarTopics(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	d, p := connect(t, n, "d"), connect(t, n, "p")
	d.sub(t, "$share/g/#", "$share/g/+/x", "$share/g/$foo/y")
	for _, name := range []string{"$foo/x", "$foo/y", "plain"} {
		p.pub(t, &paho.Publish{Topic: name, QoS: 1})
	}
	for _, want := range []string{"$foo/y", "plain"} {
		if got := d.next(t); got.Topic != want {
			t.Fatalf("got %s, want %s", got.Topic, want)
		}
	}
}

func TestSharedGroupPrefersConnectedMembers(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	away, here := connect(t, n, "away", keepSession(60)), connect(t, n, "here")
	away.sub(t, "$share/g/t")
	here.sub(t, "$share/g/t")
	away.drop(t, n, "away")
	publishNumbers(t, n, "t", 0, 50, 1)
	expectNumbers(t, here, 0, 50)
}

// A subscriber that does not read must not hold up those who publish to it.
func TestDeadSubscriberHoldsNobodyUp(t *testing.T) {
	n := start(t, Options{QueueLength: 16}, nil, anyone())
	r, _ := connectRaw(t, n, "dead", nil)
	r.subscribe(1, "big", 1)
	p := connect(t, n, "p")
	for range 200 { // each of which would wait longer than the test has patience
		p.pub(t, &paho.Publish{Topic: "big", QoS: 1, Payload: make([]byte, 128<<10)})
	}
	if n.Stats().Dropped["queue_full"] == 0 {
		t.Error("nothing was dropped: the subscriber was not full")
	}
	next := connect(t, n, "dead") // taking over must not wait for it either
	next.sub(t, "fine")
	p.pub(t, &paho.Publish{Topic: "fine", QoS: 1})
	next.next(t)
}

// Many connections with one client id: one stays, and works.
func TestTakeOverStorm(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if d, err := dial(address, "one"); err == nil {
				t.Cleanup(func() { d.raw.Close() })
				d.trySub(paho.SubscribeOptions{Topic: "x", QoS: 1})
			}
		})
	}
	wg.Wait()
	d := connect(t, n, "one")
	d.sub(t, "x")
	eventually(t, "one connection is left", func() bool { return n.server.Info.Clone().ClientsConnected == 1 })
	if cl, ok := n.server.Clients.Get("one"); !ok || cl.Closed() {
		t.Error("the client that is left is not registered")
	}
	publishNumbers(t, n, "x", 0, 10, 1)
	expectNumbers(t, d, 0, 10)
	if got := n.Routes().Len(); got != 1 {
		t.Errorf("%d routes, want 1", got)
	}
}

func TestSessionWithoutExpiryEndsWhenTakenOver(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	a := connect(t, n, "a")
	a.sub(t, "x")
	b := connect(t, n, "a", func(c *paho.Connect) { c.CleanStart = false })
	if b.ack.SessionPresent {
		t.Error("a session that ends with its connection (MQTT 5.0 §3.1.2.11.2) was continued")
	}
	if got := n.Routes().Len(); got != 0 {
		t.Errorf("%d routes, want none", got)
	}
	select {
	case code := <-a.gone:
		if code != 0x8e {
			t.Errorf("the old connection was told %#x, want 0x8e", code)
		}
	case <-time.After(patience):
		t.Error("the old connection lives on")
	}
}

func TestTopicAliasEvadesNoRule(t *testing.T) {
	cfg := anyone()
	cfg.Access.ACL = []topology.Rule{{Permit: "allow", Action: "publish", Topics: []string{"open"}}, {Permit: "allow", Action: "subscribe"}}
	n := start(t, Options{}, nil, cfg)
	d := connect(t, n, "d")
	d.sub(t, "#")
	r, _ := connectRaw(t, n, "r", nil)
	alias := func(a uint16) func(*packets.Publish) {
		return func(p *packets.Publish) { p.Properties.TopicAlias = &a }
	}
	for i, s := range []struct {
		topic string
		alias uint16
		code  byte
	}{{"secret", 1, 0x87}, {"", 1, 0x87}, {"open", 2, 0}, {"", 2, 0}, {"secret", 2, 0x87}, {"", 2, 0x87}} {
		r.publish(s.topic, 1, uint16(100+i), alias(s.alias))
		if ack := r.read().Content.(*packets.Puback); ack.ReasonCode != s.code {
			t.Errorf("%q with alias %d is answered with %#x, want %#x", s.topic, s.alias, ack.ReasonCode, s.code)
		}
	}
	for range 2 {
		if p := d.next(t); p.Topic != "open" {
			t.Errorf("%s was published", p.Topic)
		}
	}
	r.publish("", 0, 0, alias(3)) // never set
	if code, _ := r.ended(); code != 0x82 {
		t.Errorf("an unknown alias is answered with %#x, want 0x82", code)
	}
}

// An alias ends with its connection; stored messages carry topics.
func TestServerAliasesAcrossReconnect(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	withAlias := func(c *packets.Connect) {
		ten, long := uint16(10), uint32(60)
		c.CleanStart = false
		c.Properties.TopicAliasMaximum, c.Properties.SessionExpiryInterval = &ten, &long
	}
	r, _ := connectRaw(t, n, "r", withAlias)
	r.subscribe(1000, "a/b", 1)
	publishNumbers(t, n, "a/b", 0, 3, 1)
	for i := range 3 {
		p := r.read().Content.(*packets.Publish)
		if a := p.Properties.TopicAlias; a == nil || *a != 1 || (p.Topic == "") != (i > 0) {
			t.Errorf("message %d: topic %q, alias %v", i, p.Topic, a)
		}
	}
	r.Close()
	awaitGone(t, n, "r")
	publishNumbers(t, n, "a/b", 3, 5, 1)
	r, _ = connectRaw(t, n, "r", withAlias)
	for range 5 {
		if p := r.read().Content.(*packets.Publish); p.Topic != "a/b" {
			t.Errorf("stored message has topic %q", p.Topic)
		}
	}
}

func TestAcknowledgements(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	r, _ := connectRaw(t, n, "r", nil)
	user := func(p *packets.Publish) { p.Properties.User = []packets.User{{Key: "k", Value: "v"}} }
	r.publish("a", 1, 1, user)
	if ack := r.read().Content.(*packets.Puback); ack.ReasonCode != 0 || len(ack.Properties.User) != 0 {
		t.Errorf("PUBACK %+v", ack)
	}
	r.publish("a", 2, 2, user)
	if ack := r.read().Content.(*packets.Pubrec); ack.ReasonCode != 0 || len(ack.Properties.User) != 0 {
		t.Errorf("PUBREC %+v", ack)
	}
	r.publish("a", 2, 2, func(p *packets.Publish) { p.Duplicate = true })
	if ack := r.read().Content.(*packets.Pubrec); ack.ReasonCode != 0 {
		t.Errorf("repeated publish: PUBREC %+v", ack)
	}
	r.publish("$SYS/x", 1, 3, nil)
	if ack := r.read().Content.(*packets.Puback); ack.ReasonCode != 0x87 {
		t.Errorf("publish to $SYS: PUBACK %+v", ack)
	}
	for _, filter := range []string{"$SHARE/g/x", "$share/g", "$share//x", "$share/+/x", "a/#/b", "a+", "+a/b"} {
		if code := r.subscribe(9, filter, 0); code != 0x8f {
			t.Errorf("SUBSCRIBE %s: %#x, want 0x8f", filter, code)
		}
	}
}

func TestTooLargeForSubscriber(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	r, _ := connectRaw(t, n, "r", func(c *packets.Connect) {
		size, one := uint32(200), uint16(1)
		c.Properties.MaximumPacketSize, c.Properties.ReceiveMaximum = &size, &one
	})
	r.subscribe(1000, "a", 1)
	for _, size := range []int{1000, 185, 10} {
		if err := n.Publish(Message{Topic: "a", QoS: 1, Payload: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{185, 10} {
		p := r.read().Content.(*packets.Publish)
		if len(p.Payload) != want {
			t.Fatalf("got %d bytes, want %d", len(p.Payload), want)
		}
		r.puback(p.PacketID)
	}
	if got := n.Stats().Dropped["too_large"]; got != 1 {
		t.Errorf("%d messages counted as too large, want 1", got)
	}
}

// The engine's read deadline overflows above 43690 seconds.
func TestLongKeepAlive(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	r, _ := connectRaw(t, n, "r", func(c *packets.Connect) { c.KeepAlive = 43691 })
	for range 3 {
		r.silent("pinging")
	}
}
