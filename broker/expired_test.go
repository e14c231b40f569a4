package broker

import (
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"
)

// passed waits until a message that was published by now with an expiry of a
// second has expired, by the whole seconds that the engine counts in.
func passed(t testing.TB, seconds int64) {
	t.Helper()
	at := time.Now().Unix() + seconds
	eventually(t, "the time of a message is over", func() bool { return time.Now().Unix() > at })
}

// A message with QoS 2 that a client was sent comes again when its session
// continues, although it has expired meanwhile (MQTT 5.0 §3.3.2.3.3, §4.4). Its
// packet identifier is no other message's before: a client that has answered
// it would take that one for the same, and lose it.
func TestExpiredAfterItWasSent(t *testing.T) {
	for name, restart := range map[string]bool{"continued": false, "restarted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			n, end := once(t, dir)
			defer func() { end() }()
			if err := attempt(func() {
				a := addr(t, n, "tcp")
				h := hello{id: "s", resume: true, props: expiry(600)}
				s, o, p := come(a, 5, h), come(a, 5, hello{id: "o", resume: true, props: expiry(600)}), come(a, 5, hello{id: "p"})
				s.subscribe(1, "e/#", 2)
				o.subscribe(1, "e/#", 2)
				o.bye()
				p.publish(2, "e/x", 1, "old", property(0x02, u32(1)))
				old := s.next().message()
				must(old.payload == "old", "got %+v", old)
				s.Close()
				awaitGone(t, n, "s")
				if restart {
					end()
					n, end = once(t, dir)
					a = addr(t, n, "tcp")
					p = come(a, 5, hello{id: "p"})
				}
				passed(t, 1)
				eventually(t, "what was not sent is dropped", func() bool { return n.drops.expired.Load() > 0 })
				p.publish(2, "e/x", 2, "new")

				s = come(a, 5, h)
				m := s.next().message()
				must(m.payload == "old" && m.dup && m.id == old.id, "got %+v, want the first message again", m)
				s.accept(m)
				m = s.take()
				must(m.payload == "new" && m.id != old.id, "got %+v", m)
				s.bye()
				o = come(a, 5, hello{id: "o", resume: true, props: expiry(600)})
				m = o.take()
				must(m.payload == "new", "got %+v, it was never sent and has expired", m)
				o.bye()
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A message can expire while the client's Receive Maximum holds it back, and
// the time that it has waited there is taken off (MQTT 5.0 §3.3.2.3.3).
func TestExpiryWhileItWaitsForAcknowledgements(t *testing.T) {
	n, end := once(t, filepath.Join(t.TempDir(), "store"))
	defer end()
	if err := attempt(func() {
		a := addr(t, n, "tcp")
		s, p := come(a, 5, hello{id: "s", props: property(0x21, u16(1))}), come(a, 5, hello{id: "p"})
		s.subscribe(1, "e/#", 1)
		p.publish(1, "e/x", 1, "first")
		m := s.next().message()
		p.publish(1, "e/x", 2, "short", property(0x02, u32(1)))
		p.publish(1, "e/x", 3, "long", property(0x02, u32(100)))
		passed(t, 3)
		s.accept(m)
		m = s.take()
		must(m.payload == "long", "got %+v, it has expired", m)
		must(len(m.props[0x02]) == 1, "got %+v, without an expiry", m)
		left := binary.BigEndian.Uint32(m.props[0x02][0])
		must(left > 0 && left <= 98, "%d seconds are left of 100, after 3", left)
		s.bye()
	}); err != nil {
		t.Error(err)
	}
}
