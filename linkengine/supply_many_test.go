package linkengine_test

import (
	"fmt"
	"os"
	"testing"

	"clink/broker"

	"github.com/eclipse/paho.golang/paho"
)

// TestRetainedSyncOfMany has many retained messages, live ones that must not
// wait behind them, and connections that are cut while they cross. With
// CLINK_LONG=1 they are more, and those of QoS 0 that were lost come again.
func TestRetainedSyncOfMany(t *testing.T) {
	many, live, lowest := 10_000, 500, 1
	if os.Getenv("CLINK_LONG") != "" {
		many, live, lowest = 30_000, 2000, 0
	}
	if testing.Short() {
		many, live = 2000, 200
	}
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	for i := range many {
		if err := a.node.Publish(broker.Message{Topic: fmt.Sprint("kept/", i), Payload: []byte("kept"), QoS: byte(lowest + i%(3-lowest)), Retain: true}); err != nil {
			t.Fatal(err)
		}
	}
	ab := newProxy(t, b.addr)
	link := linkTo("b", ab.addr, "#")
	link.PoolSize = 4
	a.put(t, link)
	sub := connect(t, b, "sub") // before there is anything to retain: else what comes just then comes twice
	sub.sub(t, "live", "kept/#")
	b.put(t, retaining("a", a.addr, "#"))
	a.routes(t, "b", 2)
	pub := connect(t, a, "pub")
	waiting := int64(0)
	for i := range live {
		pub.pub(t, paho.Publish{Topic: "live", QoS: 1, Payload: fmt.Append(nil, i)})
		if i == live/2 {
			ab.cut()
			ab.mend("")
		}
		waiting = max(waiting, a.status(t, "b").Metrics.Queuing)
	}
	next, kept := 0, map[string]int{}
	for next < live || len(kept) < many {
		m := sub.next(t)
		if m.Topic != "live" {
			kept[m.Topic]++
			continue
		}
		// Of those under way when the connections broke some come twice.
		if n := 0; string(m.Payload) == fmt.Sprint(next) {
			next++
		} else if fmt.Sscan(string(m.Payload), &n); n > next {
			t.Fatalf("live message %d comes before %d", n, next)
		}
	}
	for topic, n := range kept {
		if n > 1 {
			t.Errorf("%s came %d times", topic, n)
		}
	}
	if waiting > int64(live)+200 {
		t.Errorf("%d messages waited for the peer", waiting)
	}
	b.holds(t, many)
	t.Logf("%d messages waited at most; %+v", waiting, a.status(t, "b").Metrics)
}

// A peer that is no node of clink is told nothing but what the protocol knows.
func TestAnswersOfTheProtocolAlone(t *testing.T) {
	s := lonely(t)
	b := foreignPeer(t, s, "b", "routesync")
	if ack := b.init(t, 1, "a"); ack.Error != "" || ack.Features != 0 {
		t.Errorf("%+v", ack)
	}
}
