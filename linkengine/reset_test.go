package linkengine_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"clink/broker"
	"clink/topic"
	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// TestResetMetrics resets the counters of one of two links. What is queued for
// a peer that is away, and the connections, stay as they are.
func TestResetMetrics(t *testing.T) {
	a, b := pair(t, "t/#")
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	a.engine.SetExports(map[string][]topic.Filter{"b": {"t/open/#"}})
	pub := connect(t, a, "pub")
	for _, name := range []string{"t/open/1", "t/closed/1", "t/open/2"} {
		pub.pub(t, paho.Publish{Topic: name, QoS: 1})
	}
	eventually(t, "all is counted", func() bool { return a.status(t, "b").Metrics.Success == 2 })
	if m := b.status(t, "a").Metrics; m.Received != 2 {
		t.Errorf("%+v", m)
	}
	if a.engine.ResetMetrics("nobody") {
		t.Error("there is a link to nobody")
	}
	before := a.status(t, "b")
	for _, s := range []*site{a, b} {
		if !s.engine.ResetMetrics(map[*site]string{a: "b", b: "a"}[s]) {
			t.Fatal("there is no link")
		}
	}
	for _, m := range []topology.LinkMetrics{a.status(t, "b").Metrics, b.status(t, "a").Metrics} {
		if fmt.Sprint(m) != fmt.Sprint(topology.LinkMetrics{}) {
			t.Errorf("after reset: %+v", m)
		}
	}
	after := a.status(t, "b")
	if before.Replication != after.Replication || before.Inbound != after.Inbound || after.State != topology.Connected {
		t.Errorf("%+v became %+v", before, after)
	}
	pub.pub(t, paho.Publish{Topic: "t/open/3", QoS: 1})
	eventually(t, "it is counted anew", func() bool {
		m := a.status(t, "b").Metrics
		return m.Matched == 1 && m.Success == 1
	})
}

// TestResetKeepsGauges has messages that wait for a peer that is away.
func TestResetKeepsGauges(t *testing.T) {
	a := lonely(t)
	b := foreignPeer(t, a, "b", "routesync")
	b.init(t, 1, "a")
	b.announce(t, "t/#")
	a.routes(t, "b", 1)
	pub := connect(t, a, "pub")
	pub.pub(t, paho.Publish{Topic: "t/1", QoS: 1})
	before := a.status(t, "b").Metrics
	if before.Queuing != 1 || before.Matched != 1 {
		t.Fatalf("%+v", before)
	}
	a.engine.ResetMetrics("b")
	if m := a.status(t, "b").Metrics; m.Matched != 0 || m.Queuing != 1 || m.QueueBytes != before.QueueBytes {
		t.Errorf("%+v", m)
	}
}

// TestResetWhileCounting resets while messages flow: every message is counted
// at most once, and none before the last reset after it.
func TestResetWhileCounting(t *testing.T) {
	a, b := pair(t, "t/#")
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	const each, publishers = 300, 3
	var publishing, resetting sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			for i := range each {
				m := broker.Message{Topic: fmt.Sprintf("t/%d/%d", p, i), QoS: 1, ClientID: fmt.Sprint(p), ProtoVersion: 5}
				if err := a.node.Publish(m); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	resetting.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				a.engine.ResetMetrics("b")
				if m := a.status(t, "b").Metrics; m.Matched > each*publishers || m.Success > each*publishers {
					t.Errorf("%+v", m)
				}
			}
		}
	})
	publishing.Wait()
	for range each * publishers {
		sub.next(t)
	}
	eventually(t, "nothing is under way", func() bool {
		m := a.status(t, "b").Metrics
		return m.Inflight == 0 && m.Queuing == 0
	})
	close(done)
	resetting.Wait()
	a.engine.ResetMetrics("b")
	if m := a.status(t, "b").Metrics; fmt.Sprint(m) != fmt.Sprint(topology.LinkMetrics{}) {
		t.Errorf("after the last reset: %+v", m)
	}
}
