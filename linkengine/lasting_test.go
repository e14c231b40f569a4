package linkengine_test

import (
	"testing"

	"clink/broker"

	"github.com/eclipse/paho.golang/paho"
)

// What is published while a site restarts reaches the sessions that it keeps:
// a clean stop withdraws the routes of the others alone.
func TestRoutesOfKeptSessionsOutliveACleanStop(t *testing.T) {
	dir, stored := t.TempDir(), t.TempDir()
	a := begin(t, "a", []string{"b"})
	b := begin(t, "b", []string{"a"}, keepIn(dir), storeIn(stored))
	toA, toB := linkTo("a", a.addr, "t/#"), linkTo("b", b.addr, "t/#")
	a.put(t, toB)
	b.put(t, toA)
	a.online(t, "b")
	b.online(t, "a")
	device := resume(t, b, "kept")
	device.sub(t, "t/0")
	away := resume(t, b, "away")
	away.sub(t, "t/1")
	a.routes(t, "b", 2)
	connect(t, b, "passing").sub(t, "t/2")
	a.routes(t, "b", 3)
	if err := away.Disconnect(&paho.Disconnect{}); err != nil {
		t.Fatal(err)
	}

	addr := b.addr
	b.stop()
	a.routes(t, "b", 2)
	for i := range 300 {
		m := broker.Message{Topic: "t/" + string(rune('0'+i%3)), QoS: 1, ClientID: "pub", Payload: short(i)}
		if err := a.node.Publish(m); err != nil {
			t.Fatal(err)
		}
	}

	b = begin(t, "b", []string{"a"}, keepIn(dir), storeIn(stored), bind(addr))
	b.put(t, toA)
	for n, id := range []string{"kept", "away"} {
		device := resume(t, b, id)
		for i := n; i < 300; i += 3 {
			if p := device.next(t); string(p.Payload) != string(short(i)) {
				t.Fatalf("%s: %q came, not %d", id, p.Payload, i)
			}
		}
	}
	if m := a.status(t, "b").Metrics; m.Dropped != 0 {
		t.Errorf("%+v", m)
	}
}

// A link that is removed or disabled withdraws everything all the same.
func TestRemovalWithdrawsTheRoutesOfKeptSessions(t *testing.T) {
	for _, how := range []string{"disabled", "removed"} {
		t.Run(how, func(t *testing.T) {
			a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"}, storeIn(t.TempDir()))
			toA := linkTo("a", a.addr, "t/#")
			a.put(t, linkTo("b", b.addr, "t/#"))
			b.put(t, toA)
			a.online(t, "b")
			b.online(t, "a")
			resume(t, b, "kept").sub(t, "t/0")
			a.routes(t, "b", 1)
			if how == "removed" {
				b.remove(t, "a")
			} else {
				toA.Enable = false
				b.put(t, toA)
			}
			a.routes(t, "b", 0)
		})
	}
}
