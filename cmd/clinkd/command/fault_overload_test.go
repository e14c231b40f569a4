package command_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// A peer stands still and the queue for it is full: what happens to messages
// for it is what the policy says, and nothing else is held up.
func TestFaultFullQueue(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"drop_oldest", "drop_new", "block"} {
		t.Run(policy, func(t *testing.T) {
			r := newRig(t, fmt.Sprintf(`pool_size: 1, queue: {max_bytes: "64KB", max_age: "10m", when_full: %q}`, policy))
			r.begin(r.a)
			r.begin(r.b)
			copies := subscribe(t, r.a.addr(), "global/s") // at home, what the peer wants as well
			r.flow()
			copies.pubs = r.pubs
			local := subscribe(t, r.a.addr(), "local/l") // what no peer wants
			local.publishFrom(r.a.addr(), 2)
			local.flows()
			r.note()

			r.b.signal(syscall.SIGSTOP)
			lost := func() int { return r.a.metric("clink_link_dropped_total", `reason="queue-full"`) }
			if policy == "block" {
				r.stuck(local)
			} else {
				until(t, "a full queue", func() bool { return lost() > 0 })
				r.published()
			}
			for range 5 {
				local.flows()
			}
			if policy == "block" && lost() > 0 {
				t.Errorf("%d messages were dropped", lost())
			}
			r.b.signal(syscall.SIGCONT)
			r.clean()
			r.stop()
			until(t, "all but what was dropped", func() bool { return r.missing() == lost() && r.a.metric("clink_link_queue_messages") == 0 })
			r.ordered()
			r.oncePerSend()
			until(t, "all at home", func() bool { return copies.missing() == 0 })
			copies.ordered()
			local.whole()
			if n := local.repeated() + copies.repeated(); n > 0 {
				t.Errorf("%d messages came twice at home", n)
			}
			t.Logf("%d of %d dropped, %d published at home meanwhile", lost(), r.acked(), local.acked())
		})
	}
}

// stuck waits until no publisher of the rig gets an acknowledgement while the
// others' messages flow.
func (r *rig) stuck(others *stream) {
	r.t.Helper()
	until(r.t, "the publishers to wait", func() bool {
		was := r.acked()
		others.flows()
		return r.acked() == was
	})
}

// A subscriber at the far side that reads nothing holds up nobody but itself.
func TestFaultSlowConsumer(t *testing.T) {
	t.Parallel()
	r := linked(t, patient)
	c, err := attach(t.Context(), r.b.addr(), "slow", false)
	if err != nil {
		t.Fatal(err)
	}
	sp := packets.NewControlPacket(packets.SUBSCRIBE)
	m := sp.Content.(*packets.Subscribe)
	m.PacketID, m.Subscriptions = 1, []packets.SubOptions{{Topic: "global/big"}, {Topic: "global/s/#"}}
	if _, err := sp.WriteTo(c); err != nil {
		t.Fatal(err)
	}
	until(t, "its route", func() bool { return r.a.status().Replication.PeerRoutes == 2 })
	pub, err := attach(t.Context(), r.a.addr(), "big", false)
	if err != nil {
		t.Fatal(err)
	}
	pp := packets.NewControlPacket(packets.PUBLISH)
	big := pp.Content.(*packets.Publish)
	big.Topic, big.Payload = "global/big", make([]byte, 256<<10)
	until(t, "the subscriber to lose messages", func() bool {
		for range 8 {
			if _, err := pp.WriteTo(pub); err != nil {
				t.Fatal(err)
			}
		}
		return r.b.metric("clink_broker_dropped_total") > 0
	})
	for range 5 {
		r.flows()
	}
	c.Close()
	pub.Close()
	until(t, "its route to go", func() bool { return r.a.status().Replication.PeerRoutes == 1 })
	r.clean()
	r.intact()
}
