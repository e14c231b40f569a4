package broker

import (
	"fmt"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// While messages are retained, and removed, others subscribe to them: the
// engine's tree is read by no one while it is written.
func TestRetainedAreLookedUpBesidePublishers(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 400 {
			m := Message{Topic: fmt.Sprintf("r/%d/x", i%20), Retain: true}
			if i/20%2 == 0 {
				m.Payload = []byte("x")
			}
			if err := n.Publish(m); err != nil {
				t.Error(err)
			}
		}
	}()
	r, _ := connectRaw(t, n, "r", nil)
	for id := uint16(1); ; id++ {
		cp := packets.NewControlPacket(packets.SUBSCRIBE)
		s := cp.Content.(*packets.Subscribe)
		s.PacketID, s.Subscriptions = id, []packets.SubOptions{{Topic: "r/+/x"}, {Topic: "r/#"}, {Topic: "r/1/x"}}
		r.write(cp)
		for {
			a := r.read()
			if a.Type == packets.PUBLISH {
				continue
			}
			if ack, ok := a.Content.(*packets.Suback); !ok || ack.PacketID != id || len(ack.Reasons) != 3 {
				t.Fatalf("SUBSCRIBE %d is answered with %v", id, a)
			}
			break
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// However many there are, each comes once for each filter that it matches,
// after the one answer to the SUBSCRIBE.
func TestManyRetainedComeOnce(t *testing.T) {
	const count = 3*lookupsAtOnce + 1
	n := start(t, Options{}, nil, anyone())
	for i := range count {
		if err := n.Publish(Message{Topic: fmt.Sprint("r/", i), QoS: 1, Retain: true, Payload: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	r, _ := connectRaw(t, n, "r", nil)
	if got := r.subscribe(7, "r/+", 1); got != 1 {
		t.Fatalf("SUBACK %#02x", got)
	}
	seen := map[string]bool{}
	for range count {
		p := r.read().Content.(*packets.Publish)
		if seen[p.Topic] || !p.Retain || p.QoS != 1 {
			t.Errorf("%v came", p)
		}
		seen[p.Topic] = true
		r.puback(p.PacketID)
	}
	r.silent("after all")
}
