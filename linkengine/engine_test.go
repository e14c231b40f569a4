package linkengine

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"clink/broker"
	"clink/linkengine/actor"
	"clink/linkengine/extrouter"
	"clink/linkengine/wire"
	"clink/topic"
	"clink/topology"
)

func newEngine(t testing.TB, dir string) *Engine {
	t.Helper()
	node, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{Cluster: "a", Node: node, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("it does not come about")
		}
	}
}

// TestGate goes through what may happen after a loss, second by second.
func TestGate(t *testing.T) {
	before, after := new(broker.Session), new(broker.Session)
	lose := func(g *gate, at time.Time) { g.lose(at) }
	answer := func(g *gate, at time.Time) { g.answer(at, false) }
	remember := func(g *gate, at time.Time) { g.answer(at, true) }
	hear := func(s *broker.Session) func(*gate, time.Time) { return func(g *gate, at time.Time) { g.hear(s, at) } }
	leave := func(g *gate, _ time.Time) { g.leave(before) }
	tests := []struct {
		name   string
		events []func(*gate, time.Time)
		open   bool
	}{
		{"nothing was ever lost", nil, true},
		{"lost", []func(*gate, time.Time){lose}, false},
		{"answered, not heard", []func(*gate, time.Time){lose, answer}, false},
		{"heard, not answered", []func(*gate, time.Time){lose, hear(after)}, false},
		{"answered and heard", []func(*gate, time.Time){lose, answer, hear(after)}, true},
		{"heard and answered", []func(*gate, time.Time){lose, hear(after), answer}, true},
		{"answered and heard before", []func(*gate, time.Time){answer, hear(before), lose}, false},
		{"lost again", []func(*gate, time.Time){lose, answer, hear(after), lose}, false},
		{"its session outlived the loss, and it remembers", []func(*gate, time.Time){hear(before), lose, remember}, true},
		{"its session outlived the loss, and it does not remember", []func(*gate, time.Time){hear(before), lose, answer}, false},
		{"its session ended, and it claims to remember", []func(*gate, time.Time){hear(before), lose, leave, remember}, false},
		{"all is forgotten", []func(*gate, time.Time){lose, func(g *gate, _ time.Time) { g.reset() }}, true},
	}
	for _, tt := range tests {
		g := newGate()
		_, changed := g.ready()
		for i, event := range tt.events {
			event(g, time.Unix(int64(i+1), 0))
		}
		open, _ := g.ready()
		if open != tt.open {
			t.Errorf("%s: open is %v", tt.name, open)
		}
		select {
		case <-changed:
		default:
			if open && len(tt.events) > 1 {
				t.Errorf("%s: who waits was not told", tt.name)
			}
		}
	}
}

func TestRates(t *testing.T) {
	var r rates
	var count atomic.Uint64
	at := time.Unix(0, 0)
	for second := range 700 {
		if second < 300 {
			count.Add(20)
		} else if second < 600 {
			count.Add(10)
		}
		r.sample(at, &count)
		at = at.Add(time.Second)
		if latest, last5m, top := r.get(); second == 599 && (latest != 10 || last5m < 10 || last5m > 10.5 || top != 20) {
			t.Errorf("after 10 minutes: %v, %v, %v", latest, last5m, top)
		}
	}
	if latest, last5m, top := r.get(); latest != 0 || last5m < 6 || last5m > 7 || top != 20 {
		t.Errorf("%v, %v, %v", latest, last5m, top)
	}
	r.reset(&count)
	if latest, last5m, top := r.get(); latest != 0 || last5m != 0 || top != 0 || count.Load() != 0 {
		t.Errorf("after reset: %v, %v, %v of %d", latest, last5m, top, count.Load())
	}
	for range 7 {
		r.sample(at, &count)
		at, _ = at.Add(time.Second), count.Add(3)
	}
	if latest, last5m, top := r.get(); latest != 3 || last5m != 3 || top != 3 {
		t.Errorf("counted anew: %v, %v, %v", latest, last5m, top)
	}
}

func TestRecentIsBounded(t *testing.T) {
	var r recent
	id := func(n int) (id [16]byte) { copy(id[:], fmt.Sprint(n)); return id }
	for n := range 3 * recentIDs {
		if r.seen(id(n)) {
			t.Fatalf("%d was never seen", n)
		}
		if !r.seen(id(n)) {
			t.Fatalf("%d was forgotten at once", n)
		}
	}
	if len(r.ids) != recentIDs || len(r.ring) != recentIDs {
		t.Errorf("%d and %d are kept", len(r.ids), len(r.ring))
	}
	if !r.seen(id(2*recentIDs)) || r.seen(id(2*recentIDs-1)) {
		t.Error("the wrong ones are kept")
	}
}

func TestWithin(t *testing.T) {
	for name, want := range map[string]bool{"t/1": true, "u": false, "$SYS/x": false, "$declared/x": true, "$LINK/x": false} {
		if got := within([]topic.Filter{"t/#", "$declared/#", "$LINK/#"}, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if within(nil, "t") {
		t.Error("no filter matches something")
	}
}

func TestPublishedAllocatesNothingForNobody(t *testing.T) {
	e := newEngine(t, "")
	a := extrouter.Actor{Cluster: "b", Name: "n", Incarnation: 1}
	if _, err := e.ext.Init(time.Now(), a); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ext.Update(time.Now(), a, []wire.RouteOp{{Filter: "t/+", ID: "x"}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nobody/wants/this", "t/1"} { // the second is of a cluster without link
		m := &broker.Message{Topic: name}
		if n := testing.AllocsPerRun(100, func() { handler{e}.Published(m) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestExpiry has a peer that falls silent.
func TestExpiry(t *testing.T) {
	e := newEngine(t, "")
	if err := e.Put(t.Context(), topology.Link{Name: "b", Enable: true, Topics: []topic.Filter{"#"}}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	a := extrouter.Actor{Cluster: "b", Name: "n", Incarnation: 1}
	e.ext.Init(now, a)
	e.ext.Update(now, a, []wire.RouteOp{{Filter: "t", ID: "t"}})
	l := (*e.links.Load())["b"]
	l.presence.become(topology.InboundOnline, "")
	l.gate.hear(nil, now)
	e.keepHouse(now.Add(extrouter.TTL - time.Second))
	if s := e.Status()[0]; s.Replication.PeerRoutes != 1 || s.Inbound.State != topology.InboundOnline {
		t.Errorf("%+v", s)
	}
	e.keepHouse(now.Add(extrouter.TTL))
	if s := e.Status()[0]; s.Replication.PeerRoutes != 0 || s.Inbound.State != topology.InboundExpired || s.Replication.Reason != "not started" {
		t.Errorf("%+v", s)
	}
}

// The routes of a peer that is out of reach are kept for as long as messages
// may wait for it.
func TestRoutesOfAPeerOutOfReach(t *testing.T) {
	for _, age := range []time.Duration{0, time.Hour} {
		e := newEngine(t, "")
		cfg := topology.Link{Name: "b", Enable: true, Topics: []topic.Filter{"#"}}
		cfg.Queue.MaxAge.Value = cmp.Or(age, time.Second)
		if err := e.Put(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		a := extrouter.Actor{Cluster: "b", Name: "n", Incarnation: 1}
		e.ext.Init(now, a)
		e.ext.Update(now, a, []wire.RouteOp{{Filter: "t", ID: "t"}})
		l := (*e.links.Load())["b"]
		l.presence.become(topology.InboundOnline, "")
		l.gate.hear(nil, now)
		l.announcer.Store(actor.New(actor.Options{})) // that is not connected
		given, passed := max(age, minPatience), time.Duration(0)
		for ; passed < given; passed += extrouter.TTL / 2 {
			e.keepHouse(now.Add(passed))
		}
		if s := e.Status()[0]; s.Replication.PeerRoutes != 1 || s.Inbound.State != topology.InboundExpired {
			t.Errorf("%v: %+v", age, s)
		}
		e.keepHouse(now.Add(given + extrouter.TTL))
		if s := e.Status()[0]; s.Replication.PeerRoutes != 0 {
			t.Errorf("%v: %+v", age, s)
		}
	}
}

// TestAbsent has a peer that answers and does not come.
func TestAbsent(t *testing.T) {
	e := newEngine(t, "")
	if err := e.Put(t.Context(), topology.Link{Name: "b", Enable: true}); err != nil {
		t.Fatal(err)
	}
	l := (*e.links.Load())["b"]
	accepted := time.Now()
	online := topology.Replication{State: topology.ReplicationOnline, Since: accepted}
	for after, want := range map[time.Duration]string{absentAfter: "", absentAfter + time.Second: "it has not connected"} {
		if p := l.inbound(accepted.Add(after), online); p.State != topology.InboundAbsent || (want == "") != (p.Reason == "") || !strings.Contains(p.Reason, want) {
			t.Errorf("after %v: %+v", after, p)
		}
	}
	l.presence.become(topology.InboundOnline, "")
	if p := l.inbound(accepted.Add(time.Hour), online); p.State != topology.InboundOnline || p.Reason != "" {
		t.Errorf("%+v", p)
	}
}

// What is told late of a peer does not undo what is known by then.
func TestPresenceIsToldLate(t *testing.T) {
	var p presence
	is, isNot := func() bool { return true }, func() bool { return false }
	for i, step := range []struct {
		tell func()
		want string
	}{
		{func() { p.absent(isNot) }, topology.InboundAbsent},
		{func() { p.online(is) }, topology.InboundAbsent}, // by a session that was ended
		{func() { p.refused("wrong") }, topology.InboundNoCredential},
		{func() { p.online(isNot) }, topology.InboundOnline},
		{func() { p.refused("wrong") }, topology.InboundOnline},
		{func() { p.absent(is) }, topology.InboundOnline},
		{func() { p.expire(isNot) }, topology.InboundOnline},
		{func() { p.expire(is) }, topology.InboundExpired},
		{func() { p.absent(isNot) }, topology.InboundAbsent},
	} {
		if step.tell(); p.get().State != step.want {
			t.Errorf("step %d: %+v, want %s", i, p.get(), step.want)
		}
	}
}

func TestPutBeforeRun(t *testing.T) {
	e := newEngine(t, t.TempDir())
	l := topology.Link{Name: "b", Enable: true, Server: "127.0.0.1:1", Address: "127.0.0.1:1", PoolSize: 1}
	for _, name := range []string{"b", "c"} {
		l.Name = name
		if err := e.Put(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "a"} {
		l.Name = name
		if err := e.Put(t.Context(), l); err == nil {
			t.Errorf("a link to %q was taken", name)
		}
	}
	for range 2 { // it may run again
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- e.Run(ctx) }()
		waitFor(t, func() bool {
			s := e.Status()
			return s[1].Replication.Reason != "not started" && strings.Contains(s[0].Replication.Reason, "refused")
		})
		if err := e.Run(ctx); err == nil {
			t.Error("it runs twice at a time")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := e.Remove(t.Context(), "nobody"); err != nil {
		t.Error(err)
	}
	if n := len(e.Links()); n != 2 {
		t.Errorf("%d links", n)
	}
}

// TestIncarnationCannotBeKept has a data directory that is gone.
func TestIncarnationCannotBeKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, dir)
	l := topology.Link{Name: "b", Enable: true, Address: "127.0.0.1:1", PoolSize: 1}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := e.Put(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "incarnation") {
		t.Errorf("Run: %v", err)
	}
}

func TestIncarnationsFollowTheClock(t *testing.T) {
	inc, err := openIncarnations("")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, at := range []time.Time{now, now, now.Add(-time.Hour), now.Add(time.Hour)} {
		last := inc.last
		n, err := inc.next(at)
		if err != nil || n <= last || n < at.UnixMilli() {
			t.Errorf("%d after %d at %v, %v", n, last, at, err)
		}
	}
}
