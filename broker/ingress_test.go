package broker

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"pgregory.net/rapid"
)

// A sentPublish is one message of a random stream.
type sentPublish struct {
	qos, size       int
	retain, dup     bool
	property, other bool // with a user property, on another topic
}

func (s sentPublish) name() string {
	if s.other {
		return "in/other"
	}
	return "in/first"
}

func (s sentPublish) payload(i int) []byte {
	b := fmt.Appendf(nil, "%d:", i)
	for len(b) < s.size {
		b = append(b, byte(len(b)*7+i))
	}
	return b
}

func (s sentPublish) packet(i int) []byte {
	cp := packets.NewControlPacket(packets.PUBLISH)
	p := cp.Content.(*packets.Publish)
	p.Topic, p.QoS, p.Retain, p.Payload = s.name(), byte(s.qos), s.retain, s.payload(i)
	if s.qos > 0 {
		p.PacketID = uint16(i + 1)
		p.Duplicate = s.dup && s.qos == 1
	}
	if s.property {
		p.Properties.User = []packets.User{{Key: "k", Value: "v"}}
	}
	var b bytes.Buffer
	cp.WriteTo(&b)
	return b.Bytes()
}

func drawPublish(rt *rapid.T) sentPublish {
	return sentPublish{
		qos: rapid.IntRange(0, 2).Draw(rt, "qos"), size: rapid.SampledFrom([]int{0, 9, 100, 5000, readChunk - 40, readChunk, 3 * readChunk}).Draw(rt, "size"),
		retain: rapid.IntRange(0, 9).Draw(rt, "retain") == 0, dup: rapid.Bool().Draw(rt, "dup"),
		property: rapid.IntRange(0, 5).Draw(rt, "property") == 0, other: rapid.Bool().Draw(rt, "other"),
	}
}

// What a client sends comes whole, once and in order, and is acknowledged in
// order, whichever of it the engine sees and in whatever pieces it comes.
func TestStreamsPassInOrder(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	sub, _ := connectRaw(t, n, "sub", nil)
	sub.subscribe(1, "in/#", 1)
	rapid.Check(t, func(rt *rapid.T) {
		pub, _ := connectRaw(t, n, fmt.Sprint("pub", rand.Uint64()), nil)
		defer pub.Close()
		all := rapid.SliceOfN(rapid.Custom(drawPublish), 1, 30).Draw(rt, "sent")
		var stream []byte
		for i, s := range all {
			stream = append(stream, s.packet(i)...)
		}
		pieces := rapid.SliceOfN(rapid.IntRange(1, 2*readChunk), 1, 12).Draw(rt, "pieces")
		go func() {
			for i := 0; len(stream) > 0; i++ {
				k := min(pieces[i%len(pieces)], len(stream))
				pub.Conn.Write(stream[:k])
				stream = stream[k:]
			}
		}()
		for i, s := range all {
			p, ok := sub.read().Content.(*packets.Publish)
			if !ok || p.Topic != s.name() || int(p.QoS) != min(s.qos, 1) || !bytes.Equal(p.Payload, s.payload(i)) || len(p.Properties.User) > 0 != s.property {
				rt.Fatalf("message %d, %+v, came as %.200v", i, s, p)
			}
			if p.QoS > 0 {
				sub.puback(p.PacketID)
			}
		}
		for i, s := range all {
			if s.qos == 0 {
				continue
			}
			switch a := pub.read().Content.(type) {
			case *packets.Puback:
				if s.qos != 1 || a.PacketID != uint16(i+1) || a.ReasonCode != 0 {
					rt.Fatalf("message %d, %+v, got %+v", i, s, a)
				}
			case *packets.Pubrec:
				if s.qos != 2 || a.PacketID != uint16(i+1) {
					rt.Fatalf("message %d, %+v, got %+v", i, s, a)
				}
			default:
				rt.Fatalf("message %d, %+v, got %T", i, s, a)
			}
		}
	})
	eventually(t, "all is acknowledged", func() bool { return n.server.Info.Clone().Inflight == 0 })
}

// A waiter is a handler that waits where a message says so.
type waiter struct {
	recorder
	waits chan struct{}
}

func (w *waiter) Published(m *Message) {
	w.recorder.Published(m)
	if m.Topic == "hold/it" {
		m.Settle()
		<-w.waits
	}
}

// A publisher that is made to wait has first written what others wait for: its
// acknowledgements, and its earlier messages.
func TestWaitingPublisherOwesNothing(t *testing.T) {
	h := &waiter{waits: make(chan struct{})}
	n := start(t, Options{}, h, anyone())
	sub, _ := connectRaw(t, n, "sub", nil)
	sub.subscribe(1, "plain", 0)
	sub.silent("after the SUBACK")
	warm(t, n, "plain")
	for range 3 {
		sub.expect("plain", "warm")
	}
	pub, _ := connectRaw(t, n, "pub", nil)
	stream := append(packetOf("plain", 1, 7, "first"), packetOf("hold/it", 1, 8, "x")...)
	if _, err := pub.Conn.Write(stream); err != nil {
		t.Fatal(err)
	}
	if a, ok := pub.read().Content.(*packets.Puback); !ok || a.PacketID != 7 {
		t.Fatalf("got %+v", a)
	}
	sub.expect("plain", "first")
	close(h.waits)
	if a, ok := pub.read().Content.(*packets.Puback); !ok || a.PacketID != 8 {
		t.Fatalf("got %+v", a)
	}
}

func packetOf(name string, qos byte, id uint16, payload string) []byte {
	cp := packets.NewControlPacket(packets.PUBLISH)
	p := cp.Content.(*packets.Publish)
	p.Topic, p.QoS, p.PacketID, p.Payload = name, qos, id, []byte(payload)
	var b bytes.Buffer
	cp.WriteTo(&b)
	return b.Bytes()
}

// A soon is what a handler has put off.
type soon struct{ flushed chan string }

func (s *soon) Flush() { s.flushed <- "flushed" }

type putter struct {
	recorder
	later *soon
}

func (p *putter) Published(m *Message) {
	p.later.flushed <- string(m.Payload)
	m.Soon(p.later)
}

// What a handler puts off is done once, after all that has come; for a message
// without a connection at once.
func TestSoon(t *testing.T) {
	h := &putter{later: &soon{make(chan string, 100)}}
	n := start(t, Options{}, h, anyone())
	pub, _ := connectRaw(t, n, "pub", nil) // so that Run has started
	warm(t, n, "t")
	for range 3 * 2 {
		<-h.later.flushed
	}
	stream := append(packetOf("t", 0, 0, "1"), packetOf("t", 0, 0, "2")...)
	if _, err := pub.Conn.Write(append(stream, packetOf("t", 0, 0, "3")...)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1", "2", "3", "flushed"} {
		if got := <-h.later.flushed; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	n.Publish(Message{Topic: "t", Payload: []byte("4")})
	for _, want := range []string{"4", "flushed"} {
		if got := <-h.later.flushed; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// Large messages to a subscriber that does not read cost no more than its
// limit, and hold up nobody.
func TestLargeMessagesPassOneThatDoesNotRead(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	stuck, _ := connectRaw(t, n, "stuck", nil)
	stuck.subscribe(1, "large", 0)
	well, _ := connectRaw(t, n, "well", nil)
	well.subscribe(1, "large", 0)
	pub, _ := connectRaw(t, n, "pub", nil)
	const count, size = 1200, 64 << 10
	payload := bytes.Repeat([]byte{'x'}, size)
	ahead := make(chan struct{}, 50) // the one that reads is not to be overrun
	go func() {
		for i := range count {
			ahead <- struct{}{}
			copy(payload, fmt.Sprintf("%08d", i))
			if _, err := pub.Conn.Write(packetOf("large", 0, 0, string(payload))); err != nil {
				return
			}
		}
	}()
	for i := range count {
		p, ok := well.read().Content.(*packets.Publish)
		if !ok || len(p.Payload) != size || string(p.Payload[:8]) != fmt.Sprintf("%08d", i) {
			t.Fatalf("message %d came as %.20v", i, p)
		}
		<-ahead
	}
	limit := n.bounds.Load().queueBytes
	n.mu.Lock()
	c := n.live["stuck"]
	n.mu.Unlock()
	if held := c.waiting.Load() + c.conn.unwritten(); held > limit+2*writeBuffer+2*size {
		t.Errorf("%d bytes are held for one that does not read", held)
	}
	if n.Stats().Dropped["queue_full"] == 0 {
		t.Error("nothing was dropped")
	}
}

// Plain publishes keep a connection alive, though the engine does not see them.
func TestPlainPublishesKeepAlive(t *testing.T) {
	t.Parallel() // it waits more than it works
	n := start(t, Options{}, nil, anyone())
	for {
		pub, _ := connectRaw(t, n, fmt.Sprint("pub", rand.Uint64()), func(c *packets.Connect) { c.KeepAlive = 1 })
		longest, last := time.Duration(0), time.Now()
		sent := last
		for began := last; last.Sub(began) < 2200*time.Millisecond && longest < time.Second; {
			sent = time.Now()
			pub.publish("t", 1, 1, nil)
			cp, err := packets.ReadPacket(pub)
			longest = max(longest, time.Since(last))
			if longest < time.Second && (err != nil || cp.Type != packets.PUBACK) {
				t.Fatalf("got %v, %v", cp, err)
			}
			last = time.Now()
		}
		if longest >= time.Second { // on a busy machine: it may have been silent for too long
			t.Logf("%v between two packets, once more", longest)
			pub.Close()
			continue
		}
		if reason, _ := pub.ended(); reason != 0x8d || time.Since(sent) < time.Second {
			t.Errorf("ended with %#02x after %v of silence", reason, time.Since(sent))
		}
		return
	}
}

// So does one with the first half of a packet for the engine, or of a large
// publish, right behind it: the time for the other half counts from there.
func TestPlainPublishBeforeHalfAPacket(t *testing.T) {
	t.Parallel()                                                          // it waits more than it works
	const silence, half = 1200 * time.Millisecond, 900 * time.Millisecond // together more than the keep-alive allows, each less
	n := start(t, Options{}, nil, anyone())
	plain := framed(kPublish<<4|2, text("t"), []byte{0, 1, 0}, []byte("x"))
	for what, long := range map[string][]byte{
		"for the engine": framed(kPublish<<4|3, text("t"), []byte{0, 2, 0}, []byte("retained")),
		"large":          framed(kPublish<<4|2, text("t"), []byte{0, 2, 0}, make([]byte, 2*readChunk)),
	} {
		for on := true; on; {
			r, _ := connectRaw(t, n, "r", func(c *packets.Connect) { c.KeepAlive = 1 })
			ping := time.Now()
			r.silent("nothing is owed")
			<-time.After(silence)
			r.Write(append(slices.Clone(plain), long[:len(long)/2]...))
			if time.Since(ping) > silence+100*time.Millisecond { // on a busy machine it may have been silent for too long
				continue
			}
			sent := time.Now()
			<-time.After(half)
			r.Write(long[len(long)/2:])
			if on = time.Since(sent) > half+100*time.Millisecond; on {
				continue
			}
			for id := range uint16(2) {
				if a, ok := r.read().Content.(*packets.Puback); !ok || a.PacketID != id+1 {
					t.Errorf("%s: message %d is not acknowledged", what, id+1)
				}
			}
		}
	}
}
