package broker

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	mqtt "github.com/mochi-mqtt/server/v2"
	"pgregory.net/rapid"
)

// warm publishes to a topic until its subscribers are remembered. They stay so
// if no SUBSCRIBE is being dealt with: they are forgotten once more after the
// SUBACK.
func warm(t testing.TB, n *Node, name string) {
	t.Helper()
	for range 3 {
		if err := n.Publish(Message{Topic: name, Payload: []byte("warm")}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the subscribers of "+name+" are remembered", func() bool {
		_, ok := n.matches.of(n.server.Topics, name)
		return ok
	})
}

func (r *rawClient) expect(name, payload string) {
	r.t.Helper()
	p, ok := r.read().Content.(*packets.Publish)
	if !ok || p.Topic != name || string(p.Payload) != payload || p.QoS != 0 || p.Retain || p.Duplicate {
		r.t.Fatalf("got %v, want %q at %s", p, payload, name)
	}
}

// Who is remembered as a subscriber changes with each subscription, before it
// is acknowledged.
func TestRememberedSubscribersChange(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	a, _ := connectRaw(t, n, "a", nil)
	b, _ := connectRaw(t, n, "b", nil)
	a.subscribe(1, "x/+", 0)
	a.silent("after the SUBACK")
	warm(t, n, "x/y")
	for range 3 {
		a.expect("x/y", "warm")
	}
	for i := range 20 {
		b.subscribe(2, "x/#", 1)
		n.Publish(Message{Topic: "x/y", Payload: fmt.Append(nil, i)})
		a.expect("x/y", fmt.Sprint(i))
		b.expect("x/y", fmt.Sprint(i))
		warm(t, n, "x/y")
		for range 3 {
			a.expect("x/y", "warm")
			b.expect("x/y", "warm")
		}
		un := packets.NewControlPacket(packets.UNSUBSCRIBE)
		un.Content.(*packets.Unsubscribe).PacketID = 3
		un.Content.(*packets.Unsubscribe).Topics = []string{"x/#"}
		b.write(un)
		if cp := b.read(); cp.Type != packets.UNSUBACK {
			t.Fatalf("got %s", cp.PacketType())
		}
		n.Publish(Message{Topic: "x/y", Payload: []byte("again")})
		a.expect("x/y", "again")
		b.silent("after the UNSUBACK")
	}
	b.subscribe(4, "x/y", 0)
	warm(t, n, "x/y")
	b.Close()
	eventually(t, "b is gone", func() bool { return n.Stats().Clients == 1 })
	if ids, _ := n.matches.of(n.server.Topics, "x/y"); len(ids) > 1 {
		t.Errorf("a session that ended is remembered: %v", ids)
	}
}

// A session that continues over another connection gets what is published to
// remembered topics there.
func TestRememberedSubscriberReconnects(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	keep := func(c *packets.Connect) {
		hour := uint32(3600)
		c.CleanStart, c.Properties = false, &packets.Properties{SessionExpiryInterval: &hour}
	}
	a, _ := connectRaw(t, n, "a", keep)
	a.subscribe(1, "x/y", 1)
	for range 5 {
		warm(t, n, "x/y")
		var ack *packets.Connack
		if a, ack = connectRaw(t, n, "a", keep); !ack.SessionPresent {
			t.Fatal("no session")
		}
		n.Publish(Message{Topic: "x/y", Payload: []byte("1")})
		a.expect("x/y", "1")
	}
}

// Messages of one publisher stay in order, whichever road each takes.
func TestRoadsKeepOrder(t *testing.T) {
	n := start(t, Options{QueueLength: 10000}, nil, anyone())
	r, _ := connectRaw(t, n, "r", nil)
	r.subscribe(1, "a/b", 0)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Bool(), 1, 200).Draw(t, "plain")
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.expectOrder(len(plain))
		}()
		for i, short := range plain {
			m := numbered(i, 0, 0)
			if !short {
				m.ContentType = "text/plain" // takes the engine's road
			}
			if err := n.Publish(m); err != nil {
				t.Fatal(err)
			}
		}
		<-done
	})
}

// Subscriptions with options that matter, and shared ones, are left to the
// engine.
func TestMatchIsPlain(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	for i, c := range []struct {
		filter string
		change func(*packets.SubOptions, *packets.Subscribe)
		plain  bool
	}{
		{"p/+", nil, true},
		{"p/#", func(o *packets.SubOptions, _ *packets.Subscribe) { o.RetainAsPublished, o.RetainHandling = true, 2 }, true},
		{"$share/g/p/+", nil, false},
		{"p/+", func(o *packets.SubOptions, _ *packets.Subscribe) { o.NoLocal = true }, false},
		{"p/+", func(_ *packets.SubOptions, s *packets.Subscribe) {
			id := 7
			s.Properties = &packets.Properties{SubscriptionIdentifier: &id}
		}, false},
	} {
		r, _ := connectRaw(t, n, fmt.Sprint("r", i), nil)
		cp := packets.NewControlPacket(packets.SUBSCRIBE)
		s := cp.Content.(*packets.Subscribe)
		s.PacketID, s.Subscriptions = 1, []packets.SubOptions{{Topic: c.filter}}
		if c.change != nil {
			c.change(&s.Subscriptions[0], s)
		}
		r.write(cp)
		r.read()
		r.silent("after the SUBACK") // see warm
		n.matches.of(n.server.Topics, "p/q")
		if _, plain := n.matches.of(n.server.Topics, "p/q"); plain != c.plain {
			t.Errorf("%s: plain is %v, want %v", c.filter, plain, c.plain)
		}
		r.Close()
		eventually(t, "the client is gone", func() bool { return n.Stats().Clients == 0 })
	}
}

// What is remembered is bounded, whatever topics there are.
func TestMatchesAreBounded(t *testing.T) {
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	defer s.Close()
	m := matchTable{seed: maphash.MakeSeed()}
	for i := range 2 * shardCount * shardIDs {
		m.of(s.Topics, fmt.Sprint("t/", i))
	}
	for i := range m.shards {
		if size := m.shards[i].size; size > shardIDs+1 || len(m.shards[i].m) > size {
			t.Errorf("shard %d has %d topics, size %d", i, len(m.shards[i].m), size)
		}
	}
}

// A plain message on its short road allocates nothing.
func TestSpreadDoesNotAllocate(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	connectRaw(t, n, "c", nil) // so that Run has started
	pk := Message{Topic: "a/" + strings.Repeat("b", 20), Payload: make([]byte, 64)}
	warm(t, n, pk.Topic)
	p := pk.packet(0)
	if got := testing.AllocsPerRun(100, func() {
		if !n.spread(&p, nil) {
			t.Fatal("it took the engine's road")
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
	k := &conn{flushing: true}
	if got := testing.AllocsPerRun(100, func() {
		k.buf, k.cuts, k.size = k.buf[:0], nil, 0
		if k.putPlain(pk.Topic, pk.Payload, 5, 0, nil) == 0 {
			t.Fatal("not written")
		}
	}); got != 0 {
		t.Errorf("%v allocations to write", got)
	}
}
