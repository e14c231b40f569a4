package broker

import (
	"fmt"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	enginePackets "github.com/mochi-mqtt/server/v2/packets"
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

// What replaces a retained message after the subscription took effect comes
// once, as new, however long it takes to send the others.
func TestReplacedRetainedComeOnce(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	err := attempt(func() {
		p := come(address, 5, hello{id: "p"})
		for i := range 3 {
			p.publishWith(1<<1|fRetain, fmt.Sprint("r/", i), i+1, "old")
		}
		s := come(address, 5, hello{id: "s"})
		s.subscribe(1, "r/#", 1)
		for range 3 {
			must(s.take().payload == "old", "another message came")
		}
		// As SUBSCRIBE does, with a publisher in between.
		c := n.connected("s")
		c.request.lookUp(enginePackets.Subscription{Filter: "r/#", Qos: 1}, false)
		c.findRetained()
		p.publishWith(1<<1|fRetain, "r/1", 9, "new")
		c.sendRetained()
		got := map[string]int{}
		for range 3 {
			m := s.take()
			got[m.topic+" "+m.payload]++
		}
		s.quiet("the new message came again")
		must(got["r/0 old"] == 1 && got["r/1 new"] == 1 && got["r/2 old"] == 1, "%v came", got)
	})
	if err != nil {
		t.Fatal(err)
	}
}
