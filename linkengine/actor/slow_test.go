package actor

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"clink/broker"
	"clink/topic"
	"clink/topology"
)

// TestSlowBootstrap announces to a peer that takes its time for each batch:
// batches have 4000 operations at most, and heartbeats come by the clock all the
// while, for a peer collects an actor that is silent for 30 s.
func TestSlowBootstrap(t *testing.T) {
	p := &peer{init: 0x10, route: 0x10}
	in(t, p, func(t *testing.T, a *Actor, routes *local, lost, _ *atomic.Int64) {
		synctest.Wait()
		p.take()
		p.change(func() { p.slow = 9 * time.Second; p.last.Close() })
		for i := range 17_999 {
			routes.set(broker.Route{Filter: topic.Filter(fmt.Sprintf("t/%05d", i+2))}, true)
		}
		time.Sleep(48 * time.Second)
		var beats, batches []string
		for _, s := range strings.Split(p.take(), "; ") {
			at, what, _ := strings.Cut(s, " ")
			switch {
			case strings.HasPrefix(what, "heartbeat"):
				beats = append(beats, at)
			case strings.Contains(what, "routes"):
				n, _, _ := strings.Cut(what, " ")
				batches = append(batches, n)
			}
		}
		if got := strings.Join(batches, " "); got != "4000 4000 4000 4000 2000" {
			t.Errorf("batches of %s", got)
		}
		if len(beats) != 5 { // the last says that there are no more routes
			t.Errorf("heartbeats at %v", beats)
		}
		if s := a.Status(); s.State != topology.ReplicationOnline || lost.Load() != 1 {
			t.Errorf("%+v, %d losses", s, lost.Load())
		}
		p.change(func() { p.slow = 0 })
	})
}

// TestNoPuback has a peer that takes packets and never acknowledges them: EMQX
// would wait for ever.
func TestNoPuback(t *testing.T) {
	for kind, want := range map[string]string{
		"init":  "actor_init: no PUBACK within 2s",
		"route": "bootstrap: route: no PUBACK within 10s",
	} {
		t.Run(kind, func(t *testing.T) {
			p := &peer{init: 0x10, route: 0x10, mute: kind}
			in(t, p, func(t *testing.T, a *Actor, _ *local, lost, _ *atomic.Int64) {
				time.Sleep(routeTimeout + time.Millisecond)
				if s := a.Status(); s.Reason != want {
					t.Errorf("%+v", s)
				}
				p.change(func() { p.mute = "" })
				time.Sleep(15 * time.Second)
				if s := a.Status(); s.State != topology.ReplicationOnline || s.Reason != "" {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}
