package forwarder_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"clink/linkengine/forwarder"
	"clink/linkengine/wire"

	"github.com/eclipse/paho.golang/packets"
)

func TestWindow(t *testing.T) {
	in(t, forwarder.Options{Lanes: 1, Window: 3}, packets.Properties{}, func(t *testing.T, w *world) {
		far := <-w.ends
		w.send(1, "1", "2")
		w.send(0, "zero")
		w.send(2, "3", "4", "5")
		expect(t, far.topics(t), "1:1 2:2 0:zero 3:3")
		if g := w.Gauges(); g.Inflight != 3 || g.Queuing != 2 || g.QueueBytes == 0 {
			t.Errorf("%+v", g)
		}
		far.ack(2, 0x10) // out of order
		expect(t, far.topics(t), "4:4")
		far.ack(2, 0) // again
		far.ack(9, 0) // for nothing
		expect(t, far.topics(t), "")
		far.ack(1, 0x97)
		expect(t, far.topics(t), "5:5")
		for _, id := range []uint16{3, 4, 5} {
			far.ack(id, 0)
		}
		w.check(t, 5, 1, 0, "puback-0x97:1")
		if g := w.Gauges(); g != (forwarder.Gauges{}) {
			t.Errorf("%+v", g)
		}
	})
}

func TestReceiveMaximumBoundsTheWindow(t *testing.T) {
	two := uint16(2)
	in(t, forwarder.Options{Lanes: 1, Window: 32}, packets.Properties{ReceiveMaximum: &two}, func(t *testing.T, w *world) {
		far := <-w.ends
		w.send(1, "1", "2", "3")
		expect(t, far.topics(t), "1:1 2:2")
	})
}

func TestPacketIdentifiersWrapAround(t *testing.T) {
	in(t, forwarder.Options{Lanes: 1, Window: 3}, packets.Properties{}, func(t *testing.T, w *world) {
		far := <-w.ends
		const total = 70_000
		for n := range total {
			w.send(1, "t")
			m := <-far.got
			if want := uint16(n%65535) + 1; m.PacketID != want {
				t.Fatalf("message %d has identifier %d, want %d", n, m.PacketID, want)
			}
			far.ack(m.PacketID, 0)
		}
		w.check(t, total, 0, 0, "")
	})
}

func TestResend(t *testing.T) {
	in(t, forwarder.Options{Lanes: 1, Window: 4}, packets.Properties{}, func(t *testing.T, w *world) {
		w.set(true, "1", "2", "3", "4", "5", "6")
		far := <-w.ends
		w.send(1, "1", "2", "3", "4", "5")
		w.send(0, "6")
		expect(t, far.topics(t), "1:1 2:2 3:3 4:4")
		far.ack(2, 0)
		expect(t, far.topics(t), "5:5 0:6") // the window is free for 5
		far = w.hangUp(far)
		expect(t, far.topics(t), "1:1* 2:3* 3:4* 4:5*")
		for id := range uint16(4) {
			far.ack(id+1, 0)
		}
		w.check(t, 6, 0, 0, "")
		if n := w.counters.Retried.Load(); n != 4 {
			t.Errorf("%d retried", n)
		}
	})
}

// TestStall has a peer that leaves one message unacknowledged.
func TestStall(t *testing.T) {
	in(t, forwarder.Options{Lanes: 1, Window: 2, Retry: 15 * time.Second}, packets.Properties{}, func(t *testing.T, w *world) {
		w.set(true, "1", "2")
		far := <-w.ends
		w.send(1, "1", "2")
		expect(t, far.topics(t), "1:1 2:2")
		far.ack(2, 0)
		synctest.Wait()
		time.Sleep(14 * time.Second)
		w.Expire(time.Now())
		expect(t, far.topics(t), "")
		time.Sleep(2 * time.Second)
		w.Expire(time.Now())
		far = <-w.ends
		expect(t, far.topics(t), "1:1*")
	})
}

// A peer that has stopped acknowledging does not count as connected before it
// acknowledges again, or nothing is left to acknowledge.
func TestStallIsTold(t *testing.T) {
	for _, how := range []string{"acknowledged", "expired"} {
		t.Run(how, func(t *testing.T) {
			in(t, forwarder.Options{Lanes: 1, Retry: 15 * time.Second, MaxAge: 30 * time.Second}, packets.Properties{}, func(t *testing.T, w *world) {
				told := func(want string) {
					t.Helper()
					synctest.Wait()
					connected, failed, _, reason := w.State()
					expect(t, fmt.Sprintf("%d %d %s", connected, failed, reason), want)
				}
				w.set(true, "1")
				far := <-w.ends
				w.send(1, "1")
				expect(t, far.topics(t), "1:1")
				time.Sleep(16 * time.Second)
				w.Expire(time.Now())
				far = <-w.ends
				expect(t, far.topics(t), "1:1*")
				told("0 1 the peer sent no PUBACK for 15s")
				if how == "acknowledged" {
					far.ack(1, 0)
				} else {
					time.Sleep(16 * time.Second)
					w.Expire(time.Now()) // the connection
					<-w.ends
					synctest.Wait()
					w.Expire(time.Now()) // the message
				}
				told("1 0 ")
			})
		})
	}
}

// A connection on which nothing is under way is given up when there is reason
// to doubt it and the peer does not answer; one that is answered on is not.
func TestProve(t *testing.T) {
	in(t, forwarder.Options{Lanes: 1}, packets.Properties{}, func(t *testing.T, w *world) {
		far := <-w.ends
		synctest.Wait()
		w.Prove()
		time.Sleep(6 * time.Second)
		if n := w.counters.Reconnects.Load(); n != 0 {
			t.Errorf("%d connections lost", n)
		}
		far.deaf.Store(true)
		w.Prove()
		<-w.ends
	})
}

// What the peer may want waits until it is known, in its place among the
// others, and is not missed if the peer does not want it.
func TestPerhaps(t *testing.T) {
	wanted := 0
	in(t, forwarder.Options{Lanes: 1, Wanted: func() { wanted++ }}, packets.Properties{}, func(t *testing.T, w *world) {
		far := <-w.ends
		w.doubt(true)
		w.set(true, "c")
		w.perhaps("a", "b", "a")
		w.send(1, "c")
		expect(t, far.topics(t), "1:c")
		w.set(true, "a")
		expect(t, far.topics(t), "2:a 3:a")
		w.perhaps("b", "a")
		expect(t, far.topics(t), "4:a")
		w.set(false)
		far = w.hangUp(far)
		w.perhaps("d")
		w.set(true, "d", "c", "a")
		expect(t, far.topics(t), "1:c* 2:a* 3:a* 4:a* 5:d")
		w.doubt(false)
		w.Expire(time.Now())
		synctest.Wait()
		w.set(true, "a", "b", "c", "d") // too late
		expect(t, far.topics(t), "")
		if n := w.Gauges().Queuing; n != 0 {
			t.Errorf("%d are queued", n)
		}
		for id := range uint16(5) {
			far.ack(id+1, 0)
		}
		w.check(t, 5, 0, 0, "")
	})
	if wanted != 4 {
		t.Errorf("%d were wanted after all", wanted)
	}
}

// That one topic turns out to be wanted is no reason to give up the others.
func TestPerhapsWithOthers(t *testing.T) {
	in(t, forwarder.Options{Lanes: 1}, packets.Properties{}, func(t *testing.T, w *world) {
		w.doubt(true)
		w.set(false)
		w.perhaps("a", "b")
		far := w.hangUp(<-w.ends)
		w.perhaps("a", "b")
		w.set(true)
		expect(t, far.topics(t), "")
		w.mu.Lock() // before the forwarder hears of it
		w.wanted, w.unsure = map[string]bool{"a": true, "b": true}, false
		w.mu.Unlock()
		w.send(1, "a")
		expect(t, far.topics(t), "1:a 2:b 3:a 4:b 5:a")
	})
}

func TestTooLarge(t *testing.T) {
	limit := uint32(400)
	in(t, forwarder.Options{Lanes: 1}, packets.Properties{MaximumPacketSize: &limit}, func(t *testing.T, w *world) {
		far := <-w.ends
		for qos := range byte(2) {
			forward(w, &wire.Forward{QoS: qos, Topic: "large", Payload: make([]byte, 400)}, 0)
			w.send(qos, "small")
		}
		expect(t, far.topics(t), "0:small 2:small")
		far.ack(2, 0)
		w.check(t, 2, 0, 2, "too-large:2")
		if g := w.Gauges(); g != (forwarder.Gauges{}) {
			t.Errorf("%+v", g)
		}
	})
}

func TestAge(t *testing.T) {
	in(t, forwarder.Options{Lanes: 1, Window: 1, MaxAge: 45 * time.Second}, packets.Properties{}, func(t *testing.T, w *world) {
		far := <-w.ends
		w.send(1, "1", "2")
		expect(t, far.topics(t), "1:1")
		time.Sleep(40 * time.Second)
		w.send(1, "3")
		time.Sleep(6 * time.Second)
		far.ack(1, 0)
		expect(t, far.topics(t), "2:3") // 2 is too old
		w.send(1, "4")
		time.Sleep(46 * time.Second)
		w.Expire(time.Now())
		w.check(t, 1, 0, 2, "expired:2")
	})
}

// three is room for three messages with topics and payloads next to nothing.
const three = 3*513 + 100

func TestFull(t *testing.T) {
	for when, want := range map[string]string{"": "2:3 3:4", forwarder.DropOldest: "2:3 3:4", forwarder.DropNew: "2:2 3:3"} {
		t.Run(when, func(t *testing.T) {
			in(t, forwarder.Options{Lanes: 1, Window: 1, Bytes: three, WhenFull: when}, packets.Properties{}, func(t *testing.T, w *world) {
				far := <-w.ends
				w.send(1, "1")
				expect(t, far.topics(t), "1:1") // in flight, and counts
				w.send(1, "2", "3", "4")
				forward(w, &wire.Forward{QoS: 1, Topic: "x", Payload: make([]byte, three)}, 0) // would never fit
				far.ack(1, 0)
				got := far.topics(t)
				far.ack(2, 0)
				expect(t, got+" "+far.topics(t), want)
				w.check(t, 2, 0, 2, "queue-full:2")
			})
		})
	}
}

func TestBlock(t *testing.T) {
	in(t, forwarder.Options{Lanes: 1, Window: 1, Bytes: three, WhenFull: forwarder.Block}, packets.Properties{}, func(t *testing.T, w *world) {
		far := <-w.ends
		w.send(1, "1", "2", "3")
		done := make(chan struct{})
		go func() { w.send(1, "4"); close(done) }()
		synctest.Wait()
		select {
		case <-done:
			t.Error("the publisher was not held up")
		default:
		}
		for id, name := range []string{"1:1", "2:2", "3:3", "4:4"} {
			expect(t, far.topics(t), name)
			far.ack(uint16(id+1), 0)
		}
		<-done
		w.check(t, 4, 0, 0, "")
	})
}

func TestHold(t *testing.T) {
	in(t, forwarder.Options{Lanes: 1, MaxAge: time.Minute}, packets.Properties{}, func(t *testing.T, w *world) {
		far := <-w.ends
		w.send(1, "a", "b")
		expect(t, far.topics(t), "1:a 2:b")
		w.set(false, "a", "b", "c")
		far = w.hangUp(far)
		w.send(1, "a", "c")
		time.Sleep(20 * time.Second)
		expect(t, far.topics(t), "")
		w.set(true, "b") // the peer is back, with fewer routes
		expect(t, far.topics(t), "1:b*")
		w.send(1, "d") // matched when it was published, but not any more
		expect(t, far.topics(t), "")
		w.set(true, "b", "d")
		expect(t, far.topics(t), "2:d")
		w.set(true, "a", "b", "d")
		w.send(1, "a") // the older ones go first
		expect(t, far.topics(t), "3:a* 4:a 5:a")
		time.Sleep(11 * time.Second)
		w.Expire(time.Now())
		w.check(t, 0, 0, 1, "no-route:1")
		for id := range uint16(5) {
			far.ack(id+1, 0)
		}
		w.check(t, 5, 0, 1, "no-route:1")
		if w.losses != 1 {
			t.Errorf("%d losses", w.losses)
		}
	})
}

// Routes that come while the queue is looked through do not let a message go
// before an older one of the same publisher, though their topics differ.
func TestRoutesComeWhileTheyAreLookedAt(t *testing.T) {
	for answers := 1; answers <= 4; answers++ { // of no, until all is wanted
		in(t, forwarder.Options{}, packets.Properties{}, func(t *testing.T, w *world) {
			f := <-w.ends
			w.set(false)
			f = w.hangUp(f)
			w.send(1, "t/0", "t/1", "t/2")
			left := answers
			w.mu.Lock()
			w.asked = func(string) {
				if left--; left == 0 { // and nobody is told yet
					w.wanted = map[string]bool{"t/0": true, "t/1": true, "t/2": true}
				}
			}
			w.ready = true
			close(w.changed)
			w.changed = make(chan struct{})
			w.mu.Unlock()
			synctest.Wait()
			w.set(true, "t/0", "t/1", "t/2")
			expect(t, f.topics(t), "1:t/0 2:t/1 3:t/2")
		})
	}
}

// TestHoldEnds has a peer that never becomes ready.
func TestHoldEnds(t *testing.T) {
	in(t, forwarder.Options{Lanes: 1}, packets.Properties{}, func(t *testing.T, w *world) {
		w.set(false, "a")
		far := w.hangUp(<-w.ends)
		w.send(1, "a", "b")
		time.Sleep(forwarder.HoldTime - time.Second)
		expect(t, far.topics(t), "")
		time.Sleep(2 * time.Second)
		expect(t, far.topics(t), "1:a")
		w.Expire(time.Now())
		w.check(t, 0, 0, 1, "no-route:1")
	})
}

// TestLeave hands a queue on to a forwarder with another number of lanes.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ends: make(chan *farEnd, 100), changed: make(chan struct{}), ready: true, down: true}
		opts := forwarder.Options{Lanes: 3, Peer: w, Counters: &w.counters, Dial: w.dial, Topic: "$LINK/cluster/msg/a"}
		old := forwarder.New(opts)
		for i := range 30 {
			forward(old, &wire.Forward{QoS: 1, Topic: fmt.Sprint(i), From: fmt.Sprint(i % 7)}, uint64(i%7))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		old.Run(ctx)
		if forward(old, &wire.Forward{}, 0) {
			t.Error("a forwarder that has ended takes messages")
		}
		opts.Lanes = 2
		w.Forwarder = forwarder.New(opts)
		old.Leave(w.Forwarder)
		if g := w.Gauges(); g.Queuing != 30 || old.Gauges() != (forwarder.Gauges{}) {
			t.Errorf("%+v, and %+v left", g, old.Gauges())
		}
		w.down = false
		w.set(true)
		for i := range 30 {
			w.wanted[fmt.Sprint(i)] = true
		}
		ctx, cancel = context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.Run(ctx); close(ended) }()
		last := make(map[string]int)
		for range 2 {
			far := <-w.ends
			synctest.Wait()
			for len(far.got) > 0 {
				m := <-far.got
				r, err := wire.DecodeForward(m.Payload, wire.DefaultLimits(0))
				if err != nil {
					t.Fatal(err)
				}
				var n int
				fmt.Sscan(r.Topic, &n)
				if before, ok := last[r.From]; ok && before >= n {
					t.Errorf("%d after %d", n, before)
				}
				last[r.From] = n
			}
			far.conn.Close()
		}
		cancel()
		<-ended
		if len(last) != 7 {
			t.Errorf("%v", last)
		}
		last = nil
		w.Leave(nil)
		if n := w.counters.Reasons()[forwarder.Stopped]; n != 30 {
			t.Errorf("%d stopped", n)
		}
	})
}

// TestFinish sends what is queued after the end has come.
func TestFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ends: make(chan *farEnd, 100), changed: make(chan struct{}), ready: true}
		f := forwarder.New(forwarder.Options{Lanes: 1, Window: 1, Peer: w, Counters: &w.counters, Dial: w.dial})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { f.Run(ctx); close(ended) }()
		far := <-w.ends
		forward(f, &wire.Forward{QoS: 1, Topic: "1"}, 0)
		forward(f, &wire.Forward{QoS: 1, Topic: "2"}, 0)
		synctest.Wait()
		f.Finish(time.Second)
		cancel()
		far.ack((<-far.got).PacketID, 0)
		far.ack((<-far.got).PacketID, 0)
		<-ended
		w.check(t, 2, 0, 0, "")
		far.conn.Close()
	})
}

func TestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ends: make(chan *farEnd, 100), changed: make(chan struct{}), ready: true, down: true}
		f := forwarder.New(forwarder.Options{Lanes: 2, Peer: w, Counters: &w.counters, Dial: w.dial})
		state := func() string {
			synctest.Wait()
			connected, failed, lanes, reason := f.State()
			return fmt.Sprintf("%d %d %d %s", connected, failed, lanes, reason)
		}
		expect(t, state(), "0 0 2 ")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { f.Run(ctx); close(ended) }()
		expect(t, state(), "0 2 2 nobody is there")
		w.mu.Lock()
		w.down = false
		w.mu.Unlock()
		f.Hurry()
		time.Sleep(time.Second)
		expect(t, state(), "2 0 2 ")
		cancel()
		<-ended
	})
}

// What is through has been counted: who sees that nothing is under way, and
// resets the counters, finds none of it in them later.
func TestCountedBeforeItIsThrough(t *testing.T) {
	in(t, forwarder.Options{Lanes: 1}, packets.Properties{}, func(t *testing.T, w *world) {
		f := <-w.ends
		for i, code := range []byte{0, 0x87} {
			through := make(chan string, 1)
			w.Offer(&wire.Forward{QoS: 1, Topic: "t"}, 0, 0, func(_ forwarder.Outcome, over bool) {
				if over {
					through <- fmt.Sprint(w.counters.Success.Load(), w.counters.Failed.Load())
				}
			})
			f.ack((<-f.got).PacketID, code)
			expect(t, <-through, []string{"1 0", "1 1"}[i])
		}
	})
}
