package broker

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// expectOrder reads messages 0 to count-1, and acknowledges them.
func (r *rawClient) expectOrder(count int) {
	r.t.Helper()
	for i := range count {
		p := r.read().Content.(*packets.Publish)
		if got := string(p.Payload[:6]); got != fmt.Sprintf("%06d", i) {
			r.t.Fatalf("message %s came in the place of %d", got, i)
		}
		if p.QoS == 1 {
			ack := packets.NewControlPacket(packets.PUBACK)
			ack.Content.(*packets.Puback).PacketID = p.PacketID
			r.write(ack)
		}
	}
}

func numbered(i int, qos byte, size int) Message {
	return Message{Topic: "a/b", QoS: qos, Payload: append(fmt.Appendf(nil, "%06d", i), make([]byte, size)...)}
}

// However short the engine's queue is, a burst of QueueLength messages to a
// client that reads none of them loses nothing and keeps its order.
func TestBurstWaitsForClientThatDoesNotRead(t *testing.T) {
	const length = 2048
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			n := start(t, Options{}, nil, anyone())
			r, _ := connectRaw(t, n, "r", nil)
			r.subscribe(1, "a/b", qos)
			for i := range length { // 16 MB: more than the sockets hold
				if err := n.Publish(numbered(i, qos, 8<<10)); err != nil {
					t.Fatal(err)
				}
			}
			r.expectOrder(length)
			if d := n.Stats().Dropped["queue_full"]; d != 0 {
				t.Errorf("%d messages were dropped", d)
			}
		})
	}
}

// What is beyond QueueLength is dropped and counted, and what was queued still
// comes, in order.
func TestOverflowIsBounded(t *testing.T) {
	n := start(t, Options{QueueLength: 300}, nil, anyone())
	r, _ := connectRaw(t, n, "r", nil)
	r.subscribe(1, "a/b", 0)
	const sent = 3000
	for i := range sent {
		if err := n.Publish(numbered(i, 0, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	dropped := int(n.Stats().Dropped["queue_full"])
	if dropped == 0 || dropped >= sent-300 {
		t.Fatalf("of %d messages %d were dropped", sent, dropped)
	}
	for last := -1; dropped < sent; dropped++ {
		var now int
		fmt.Sscanf(string(r.read().Content.(*packets.Publish).Payload[:6]), "%d", &now)
		if now <= last {
			t.Fatalf("message %d came after %d", now, last)
		}
		last = now
	}
	r.silent("after the last message")
}

// A publisher that is quicker than the write loop gets a processor must not
// overrun the engine's queue.
func TestBurstOnOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const length = 10000
	n := start(t, Options{QueueLength: length}, nil, anyone())
	r, _ := connectRaw(t, n, "r", nil)
	r.subscribe(1, "a/b", 0)
	for i := range length {
		if err := n.Publish(numbered(i, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	r.expectOrder(length)
	if d := n.Stats().Dropped["queue_full"]; d != 0 {
		t.Errorf("%d messages were dropped", d)
	}
}

// A client with Receive Maximum 1 gets a burst one by one, and what is put
// aside for it holds up nobody else.
func TestOverflowWaitsForAcknowledgements(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	slow, _ := connectRaw(t, n, "slow", func(c *packets.Connect) {
		one := uint16(1)
		c.Properties = &packets.Properties{ReceiveMaximum: &one}
	})
	slow.subscribe(1, "a/b", 1)
	quick, _ := connectRaw(t, n, "quick", nil)
	quick.subscribe(1, "a/b", 0)
	const count = 1000
	for i := range count {
		if err := n.Publish(numbered(i, 1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	quick.expectOrder(count)
	slow.expectOrder(count)
}

// Publishers together may be quicker than the acknowledgements of a client are
// read. They wait for them: a client that acknowledges everything loses
// nothing.
func TestAcknowledgementsAreWaitedFor(t *testing.T) {
	n := start(t, Options{MaxInflight: 20, QueueLength: 10000}, nil, anyone())
	r, _ := connectRaw(t, n, "r", nil)
	r.subscribe(1, "a/+", 1)
	const publishers, each = 8, 250
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range publishers * each {
			p := r.read().Content.(*packets.Publish)
			ack := packets.NewControlPacket(packets.PUBACK)
			ack.Content.(*packets.Puback).PacketID = p.PacketID
			r.write(ack)
		}
	}()
	var wg sync.WaitGroup
	for i := range publishers {
		wg.Go(func() {
			for range each {
				if err := n.Publish(Message{Topic: fmt.Sprintf("a/%d", i), QoS: 1, Payload: []byte("x")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	<-done
	if d := n.Stats().Dropped["inflight_full"]; d != 0 {
		t.Errorf("%d messages were dropped", d)
	}
}

// A client that acknowledges nothing holds its publishers up once, not for
// every message.
func TestClientWithoutAcknowledgementsHoldsUpOnce(t *testing.T) {
	n := start(t, Options{MaxInflight: 20}, nil, anyone())
	r, _ := connectRaw(t, n, "r", nil)
	r.subscribe(1, "a/b", 1)
	for i := range 1000 { // ackPatience for each beyond the 20th would be minutes
		if err := n.Publish(numbered(i, 1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if d := n.Stats().Dropped["inflight_full"]; d != 980 {
		t.Errorf("%d messages were dropped, want 980", d)
	}
}

// The time for which the machine stands still does not count as waiting: those
// who are waited for did nothing in it, either.
func TestStandstillIsNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &client{node: &Node{}, conn: &conn{done: make(chan struct{})}}
		looks := 0
		c.await("t", time.Second, func() bool {
			if looks++; looks == 20 {
				time.Sleep(time.Minute)
			}
			return looks == 30
		}, func() { t.Error("it has given up after ten looks") })
		began, late := time.Now(), false
		c.await("t", time.Second, func() bool { return late }, func() { late = true })
		if took := time.Since(began); !late || took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("it waited for %v, and gave up: %v", took, late)
		}
	})
}
