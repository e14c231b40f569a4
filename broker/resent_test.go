package broker

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// What waited for a session and was never sent comes without DUP; what was
// sent comes with it (MQTT 5.0 §3.3.1.1, MQTT 3.1.1 §3.3.1.1).
func dupOfStored(v byte) func(string) {
	return func(a string) {
		h, most := hello{id: "s", resume: true}, 4
		if v == 5 {
			h.props, most = join(expiry(60), property(0x21, u16(2))), 2
		}
		s, p := come(a, v, h), come(a, v, hello{id: "p"})
		s.subscribe(1, "d/#", 2)
		s.bye()
		for i := range 4 {
			p.publish(1+byte(i%2), "d/x", i+1, fmt.Sprint(i))
		}
		seen := map[string]bool{}
		for range 3 {
			s = come(a, v, h)
			for range most {
				m := s.next().message()
				must(m.dup == seen[m.payload], "message %s: DUP is %v, it was sent before: %v", m.payload, m.dup, seen[m.payload])
				seen[m.payload] = true
			}
			must(len(seen) == most, "%d messages came, not %d", len(seen), most)
			s.Close()
		}
		p.bye()
	}
}

// A retained message is sent for a new subscription although the same message
// was sent again before, under the packet identifier that is now its own.
func retainedAfterStored(a string) {
	h := hello{id: "s", resume: true, props: expiry(60)}
	s, p := come(a, 5, h), come(a, 5, hello{id: "p"})
	s.subscribe(1, "ra/x", 1)
	s.bye()
	p.publishWith(1<<1|fRetain, "ra/x", 1, "kept")
	for range 2 {
		s = come(a, 5, h)
		m := s.take()
		must(m.payload == "kept" && !m.retain, "got %+v", m)
		s.ping()
		s.subscribe(2, "ra/x", 1)
		m = s.next().message()
		must(m.payload == "kept" && m.retain, "got %+v", m)
		s.accept(m)
		s.ping()
		s.bye()
		p.publishWith(1<<1|fRetain, "ra/x", 2, "kept")
	}
	p.publishWith(1<<1|fRetain, "ra/x", 3, "")
	p.bye()
}

// So it is after a restart.
func TestDupAfterRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	n, end := once(t, dir)
	h := hello{id: "s", resume: true, props: join(expiry(600), property(0x21, u16(2)))}
	numbers := func(s *peer, want ...bool) {
		var got []bool
		for range want {
			got = append(got, s.next().message().dup)
		}
		must(slices.Equal(got, want), "DUP is %v, want %v", got, want)
	}
	if err := attempt(func() {
		a := addr(t, n, "tcp")
		s, p := come(a, 5, h), come(a, 5, hello{id: "p"})
		s.subscribe(1, "d/#", 1)
		for i := range 3 {
			p.publish(1, "d/x", i+1, fmt.Sprint(i))
		}
		numbers(s, false, false)
		s.bye()
		end()

		n, end = once(t, dir)
		a = addr(t, n, "tcp")
		come(a, 5, hello{id: "p"}).publish(1, "d/x", 1, "3")
		s = come(a, 5, h)
		numbers(s, true, true)
		s.answer(kPuback, 1)
		numbers(s, false)
		s.Close()
		awaitGone(t, n, "s")
		s = come(a, 5, h)
		numbers(s, true, true)
		s.answer(kPuback, 2)
		numbers(s, false)
		s.bye()
	}); err != nil {
		t.Error(err)
	}
	end()
}

// A message with QoS 2 is not sent to a session that outlives the process
// before it is in the store: a client that has it already would take the one
// that comes next under its packet identifier, after a crash, for the same.
func TestQoS2IsStoredFirst(t *testing.T) {
	n, end := once(t, filepath.Join(t.TempDir(), "store"))
	defer end()
	if err := attempt(func() {
		a := addr(t, n, "tcp")
		s, p := come(a, 5, hello{id: "s", resume: true, props: expiry(60)}), come(a, 5, hello{id: "p"})
		s.subscribe(1, "first/#", 2)
		p.publish(2, "first/x", 1, "0")
		must(s.take().payload == "0", "no message")
		s.settled()
		st := n.keeper.store.Load()
		st.Wait(nil)
		st.Hold() // nothing is written
		held := true
		defer func() {
			if held {
				st.Free()
			}
		}()
		p.publishRaw(2<<1, "first/x", 2, "1")
		p.publishRaw(1<<1, "first/x", 3, "2")
		p.ping()
		k, err := s.tryNext(300 * time.Millisecond)
		must(err != nil, "%v came before it was stored", k)
		held = false
		st.Free()
		for _, want := range []string{"1", "2"} {
			m := s.take()
			must(m.payload == want && !m.dup, "got %+v, not %s", m, want)
		}
	}); err != nil {
		t.Error(err)
	}
}

// A message that moved to another connection of its session when the process
// ended may be in the store under both packet identifiers. It comes once.
func TestMovedMessageComesOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	n, end := once(t, dir)
	h := hello{id: "s", resume: true, props: expiry(600)}
	if err := attempt(func() {
		s, p := come(addr(t, n, "tcp"), 5, h), come(addr(t, n, "tcp"), 5, hello{id: "p"})
		s.subscribe(1, "m/#", 2)
		s.bye()
		awaitGone(t, n, "s")
		for i := range 3 {
			p.publish(2, "m/x", i+1, fmt.Sprint(i))
		}
		n.mu.Lock()
		c := n.idle["s"].c
		n.mu.Unlock()
		for _, pk := range c.cl.State.Inflight.GetAll(false) {
			if string(pk.Payload) == "1" {
				pk.PacketID = 77
				c.queue(&pk)
			}
		}
		n.keeper.store.Load().Wait(nil)
		end()
		n, end = once(t, dir)
		s = come(addr(t, n, "tcp"), 5, h)
		for i := range 3 {
			m := s.take()
			must(m.payload == fmt.Sprint(i), "got %+v where %d was due", m, i)
		}
		s.quiet("each once")
		s.bye()
	}); err != nil {
		t.Error(err)
	}
	end()
}

// A packet identifier is free, and may be given to the next message, from the
// moment that the engine has seen its acknowledgement. What is stored under it
// from then on is not what was acknowledged.
func TestIdentifierTakenAgainAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	n, end := once(t, dir)
	h := hello{id: "s", resume: true, props: expiry(600)}
	if err := attempt(func() {
		s, p := come(addr(t, n, "tcp"), 5, h), come(addr(t, n, "tcp"), 5, hello{id: "p"})
		s.subscribe(1, "again", 1)
		p.publish(1, "again", 1, "acknowledged")
		id := s.next().message().id
		n.mu.Lock()
		c := n.live["s"]
		n.mu.Unlock()
		engine := &hook{n: n}
		ack := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: uint16(id), ProtocolVersion: 5}
		old, _ := c.cl.State.Inflight.Get(uint16(id))
		_, err := engine.OnPacketRead(c.cl, ack)
		must(err == nil, "%v", err)
		c.cl.State.Inflight.Delete(uint16(id))
		next := old
		next.Created, next.Payload = n.seq.Add(1), []byte("waiting")
		c.cl.State.Inflight.Set(next)
		engine.OnQosPublish(c.cl, next, next.Created, 0)
		engine.OnQosComplete(c.cl, ack)
		n.keeper.store.Load().Wait(nil)
		end()
		n, end = once(t, dir)
		s = come(addr(t, n, "tcp"), 5, h)
		m := s.take()
		must(m.payload == "waiting", "got %+v", m)
		s.quiet("one message waits")
		s.bye()
	}); err != nil {
		t.Error(err)
	}
	end()
}
