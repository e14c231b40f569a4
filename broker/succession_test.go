package broker

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	paho "github.com/eclipse/paho.golang/packets"
	"github.com/mochi-mqtt/server/v2/packets"
)

// What a client sent before it left is taken, however soon it is back: its last
// messages are delivered, its DISCONNECT keeps the will back, and the session
// ends as it said there.
func TestLeftAndBackAtOnce(t *testing.T) {
	const rounds = 100
	n := start(t, Options{}, nil, anyone())
	for _, v := range []byte{4, 5} {
		t.Run(fmt.Sprint("version ", v), func(t *testing.T) {
			if err := attempt(func() {
				a := addr(t, n, "tcp")
				s := come(a, 5, hello{id: "s"})
				s.subscribe(1, "left/#", 1)
				for i := range rounds {
					h := hello{id: "hasty", resume: v == 5, will: &lastWill{topic: "left/will", payload: "w", qos: 1}}
					if v == 5 {
						h.props = expiry(60)
					}
					p, ack := meet(a, v, h)
					must(ack.code() == 0 && ack.body[0] == 0, "round %d: %v: the session should have ended", i, ack)
					last := framed(kPublish<<4, text("left/x"), p.props(), fmt.Append(nil, i))
					bye := []byte{kDisconnect << 4, 0}
					if v == 5 {
						bye = framed(kDisconnect<<4, []byte{0}, properties(expiry(0)))
					}
					p.send(join(last, bye))
					p.Close()
				}
				come(a, v, hello{id: "hasty"}).bye()
				for i := range rounds {
					m := s.take()
					must(m.topic == "left/x" && m.payload == fmt.Sprint(i), "got %+v where %d was due", m, i)
				}
				s.quiet("nobody broke off")
				s.bye()
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A client that has had no CONNACK is sent no DISCONNECT (MQTT 5.0 §3.14).
func TestNoDisconnectBeforeConnack(t *testing.T) {
	n, end := once(t, filepath.Join(t.TempDir(), "store"))
	defer end()
	if err := attempt(func() {
		st := n.keeper.store.Load()
		st.Hold() // the CONNACK waits for the store
		p := open(addr(t, n, "tcp"), 5)
		p.send(hello{id: "s", resume: true, props: expiry(60)}.encode(5))
		var c *client
		eventually(t, "the client is known", func() bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			c = n.live["s"]
			return c != nil
		})
		n.disconnect(c, packets.ErrServerShuttingDown)
		st.Free()
		for first := true; ; first = false {
			k, err := p.tryNext(patience)
			if err != nil {
				return
			}
			must(!first || k.kind == kConnack, "%v comes first", k)
		}
	}); err != nil {
		t.Error(err)
	}
}

// A client that is let in while the access changes, and is not to be let in any
// more, is not counted as one that has left.
func TestShutOutOnTheThreshold(t *testing.T) {
	cfg := anyone()
	n := start(t, Options{}, nil, cfg)
	info := n.server.Info
	n.ids.lock("late", nil) // it waits behind this, admitted by the access before
	p := dialRaw(t, addr(t, n, "tcp"))
	if _, err := p.Write(hello{id: "late", resume: true}.encode(5)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client waits", func() bool {
		n.ids.mu.Lock()
		defer n.ids.mu.Unlock()
		return n.ids.m["late"].refs == 2
	})
	cfg.Access.Anonymous = false
	if err := n.Apply(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	n.ids.unlock("late")
	if ack := p.read().Content.(*paho.Connack); ack.ReasonCode == 0 {
		t.Error("it is let in")
	}
	p.ended()
	awaitGone(t, n, "late")
	if now := atomic.LoadInt64(&info.ClientsConnected); now != 0 {
		t.Errorf("%d clients are connected", now)
	}
}
