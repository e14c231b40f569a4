package linkengine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"clink/topic"
	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// exporting is a site with filters t/1 to t/3, announced to an exporter.
func exporting(t testing.TB, v version, opts ...siteOption) (*site, *exporter, *device) {
	t.Helper()
	e := v.stand(t)
	s := begin(t, v.us, []string{v.peer}, opts...)
	d := connect(t, s, "d")
	d.sub(t, "t/1", "t/2", "t/3")
	s.put(t, linkTo(v.peer, e.addr, "t/#"))
	e.knows(t, "t/1", "t/2", "t/3")
	return s, e, d
}

// knows waits until exactly these filters are announced.
func (e *exporter) knows(t testing.TB, filters ...string) {
	t.Helper()
	for i, f := range filters {
		filters[i] = f + " " + f
	}
	eventually(t, fmt.Sprintf("the peer knows %q", filters), func() bool { return slices.Equal(e.announced(), filters) })
}

// TestPlayedReconnect cuts route replication. Whatever a version says of what it
// remembers, it is told everything, and of what went meanwhile, by an actor of
// the same incarnation.
func TestPlayedReconnect(t *testing.T) {
	each(t, nil, func(t *testing.T, v version) {
		s, e, d := exporting(t, v)
		e.change(func() { e.booting = true }) // so that nothing is announced before all has changed
		e.cut("routesync")
		d.unsub(t, "t/2")
		d.sub(t, "t/4")
		first := strings.Join(initsOf(e.take()), " ")
		e.change(func() { e.booting = false; delete(e.routes, "t/1 t/1") }) // and it has lost one
		e.cut("routesync")
		e.knows(t, "t/1", "t/3", "t/4")
		seen := e.take()
		if got := strings.Join(initsOf(seen), " "); got != first {
			t.Errorf("incarnations %s, and then %s", first, got)
		}
		if s := strings.Join(seen, "; "); !strings.Contains(s, "route 4 operations") || strings.Contains(s, "fault") {
			t.Errorf("the peer saw %s", s)
		}
		s.stop()
		e.knows(t)
	})
}

// initsOf are the different actor_inits among what came.
func initsOf(seen []string) []string {
	var inits []string
	for _, s := range seen {
		if strings.HasPrefix(s, "init") && !slices.Contains(inits, s) {
			inits = append(inits, s)
		}
	}
	return inits
}

// TestPlayedCrash has a peer that forgets all, and one that forgets an actor
// while its connection stands (as after 30 s of silence).
func TestPlayedCrash(t *testing.T) {
	each(t, nil, func(t *testing.T, v version) {
		s, e, d := exporting(t, v)
		e.crash()
		e.knows(t, "t/1", "t/2", "t/3")
		if v.swallows {
			return // it would not tell
		}
		e.change(func() { clear(e.known); clear(e.routes) })
		d.sub(t, "t/4")
		e.knows(t, "t/1", "t/2", "t/3", "t/4")
		s.announced(t, v.peer)
	})
}

// announced waits until s has announced everything to the peer.
func (s *site) announced(t testing.TB, peer string) {
	t.Helper()
	eventually(t, s.name+" has announced everything", func() bool {
		return s.status(t, peer).Replication.State == topology.ReplicationOnline
	})
}

// TestPlayedIncarnations restarts clink with its directory, against each version
// that keeps the incarnation it knows: it only ever grows.
func TestPlayedIncarnations(t *testing.T) {
	each(t, func(v version) bool { return !v.swallows }, func(t *testing.T, v version) {
		e, dir := v.stand(t), t.TempDir()
		for range 3 {
			s := begin(t, v.us, []string{v.peer}, keepIn(dir))
			connect(t, s, "d").sub(t, "t/1")
			s.put(t, linkTo(v.peer, e.addr, "t/#"))
			e.knows(t, "t/1")
			s.stop()
		}
		seen := e.take()
		if inits := initsOf(seen); len(inits) != 3 || !slices.IsSorted(inits) || slices.Contains(seen, "fault") {
			t.Errorf("the peer saw %v", seen)
		}
	})
}

// TestPlayedBootWindow restarts each version with its listener up before its
// link application, as section 6.2 tells: nothing is sent before it has answered
// and announced what it wants, and then only that.
func TestPlayedBootWindow(t *testing.T) {
	each(t, func(v version) bool { return v.again || oldAndNew(v) }, func(t *testing.T, v version) {
		s, e, p := linked(t, v)
		p.announce(v.plainRoute(t, true))
		s.routes(t, v.peer, 1)
		pub := connect(t, s, "pub")
		pub.pub(t, paho.Publish{Topic: "t/plain/before", QoS: 1})
		eventually(t, "the first message arrives", func() bool { return len(e.topics()) == 1 })
		e.change(func() { e.booting = true })
		p.Close()
		lanes, before := linkTo(v.peer, e.addr).PoolSize, s.status(t, v.peer).Metrics.Reconnects
		e.crash()
		eventually(t, "each connection is lost", func() bool { // and perhaps there again
			return s.status(t, v.peer).Metrics.Reconnects >= before+uint64(lanes)
		})
		pub.pub(t, paho.Publish{Topic: "t/plain/1", QoS: 1})
		pub.pub(t, paho.Publish{Topic: "t/plain/2", QoS: 1})
		eventually(t, "it is connected, and not answered", func() bool {
			st := s.status(t, v.peer)
			return st.State == topology.Connected && strings.Contains(st.Replication.Reason, "did not answer")
		})
		e.change(func() { e.booting = false })
		s.announced(t, v.peer)
		if n := e.count("lost"); n != 0 || len(e.topics()) != 1 {
			t.Errorf("%d messages went into the window, %v behind it", n, e.topics())
		}
		p = v.come(t, s, "routesync")
		if a := p.ask(reborn(t, v.init(t), 1795399999999), v.actor); a["15"] != "'ok" || a["16"] != "'true" {
			t.Fatalf("%v", a)
		}
		s.routes(t, v.peer, 0) // those of the life before are gone
		p.announce(v.sixtyRoutes(t, true))
		s.routes(t, v.peer, 60)
		if m := s.status(t, v.peer).Metrics; len(e.topics()) != 1 || m.Queuing != 2 {
			t.Errorf("%v came though no route wants it; %+v", e.topics(), m)
		}
		p.announce(v.plainRoute(t, true))
		eventually(t, "what waited is sent", func() bool {
			return fmt.Sprint(e.topics()) == "[t/plain/before t/plain/1 t/plain/2]"
		})
	})
}

// old and new are one version of each set of captured payloads, for what does
// not depend on the version.
func oldAndNew(v version) bool { return v.name == "5.8.9" || v.name == "6.0.3" }

// TestPlayedEnds ends connections of clink in the ways that EMQX does, and
// refuses the next ones: the reasons are shown, and it heals.
func TestPlayedEnds(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		for code, words := range map[byte]string{0x8e: "session taken over (0x8e)", 0x83: "implementation specific error (0x83)", 0x95: "packet too large (0x95)"} {
			var log buffer
			s, e, _ := exporting(t, v, logTo(&log))
			s.announced(t, v.peer)
			// Who is writing when the connection ends may know of that alone.
			eventually(t, "nothing more is to be written", func() bool { return e.count("heartbeat") > 0 })
			e.change(func() { e.refuse = 0x89 })
			e.hangUp("routesync", code)
			e.hangUp("msg", code)
			eventually(t, "the refusal is shown", func() bool {
				st := s.status(t, v.peer)
				return strings.Contains(st.Replication.Reason, "server busy (0x89)") && st.State == topology.Disconnected
			})
			if !strings.Contains(log.String(), words) {
				t.Errorf("the log does not say %q:\n%s", words, &log)
			}
			e.change(func() { e.refuse = 0 })
			eventually(t, "it heals", func() bool {
				st := s.status(t, v.peer)
				return st.State == topology.Connected && st.Replication.State == topology.ReplicationOnline
			})
			e.knows(t, "t/1", "t/2", "t/3")
		}
	})
}

// TestPlayedRefusedControl has PUBACKs that refuse: close and try again.
func TestPlayedRefusedControl(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		for _, code := range []int{0x87, 0x80, 0x97, hung + 0x83} {
			e := v.stand(t)
			e.change(func() { e.codes = func(publish) int { return code } })
			s := begin(t, v.us, []string{v.peer})
			connect(t, s, "d").sub(t, "t/1")
			s.put(t, linkTo(v.peer, e.addr, "t/#"))
			want := fmt.Sprintf("PUBACK 0x%02x", code)
			if code >= hung {
				want = "(0x83)"
			}
			eventually(t, "the refusal is shown, and it is tried again", func() bool {
				r := s.status(t, v.peer).Replication
				return strings.Contains(r.Reason, want) && e.count("init") > 1
			})
			e.change(func() { e.codes = nil })
			e.knows(t, "t/1")
		}
	})
}

// TestPlayedLicence is an EMQX of the community licence: it answers, takes
// routes, and never comes.
func TestPlayedLicence(t *testing.T) {
	s, _, _ := exporting(t, versions[len(versions)-1])
	peer := sixes.peer
	s.announced(t, peer)
	now := time.Now()
	for after, want := range map[time.Duration]string{0: "", 19 * time.Second: "", 22 * time.Second: "the peer answers, but it has not connected to this cluster"} {
		if p := s.engine.StatusAt(peer, now.Add(after)).Inbound; p.State != topology.InboundAbsent || p.Reason != want {
			t.Errorf("after %v: %+v", after, p)
		}
	}
}

// TestPlayedRoutesBeyondExports has a peer that wants more than it was granted.
func TestPlayedRoutesBeyondExports(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		s, e, p := linked(t, v)
		s.engine.SetExports(map[string][]topic.Filter{v.peer: {"t/many/#"}})
		p.announce(v.plainRoute(t, true), v.sixtyRoutes(t, true))
		s.routes(t, v.peer, 61) // kept and shown
		pub := connect(t, s, "pub")
		pub.pub(t, paho.Publish{Topic: "t/plain/1", QoS: 1})
		pub.pub(t, paho.Publish{Topic: "t/many/7", QoS: 1})
		eventually(t, "what may go is sent", func() bool { return len(e.topics()) > 0 })
		if m := s.status(t, v.peer).Metrics; fmt.Sprint(e.topics()) != "[t/many/7]" || m.DroppedBy["not-exported"] != 1 {
			t.Errorf("%v were sent; %+v", e.topics(), m)
		}
	})
}

// TestPlayedDeaf is a peer whose half of the link is disabled for a while, with
// the connections of clink to it standing. Versions before 5.8.2 forget what
// they were told, and do not say so when they are told more.
func TestPlayedDeaf(t *testing.T) {
	each(t, func(v version) bool { return v.swallows || oldAndNew(v) }, func(t *testing.T, v version) {
		s, e, d := exporting(t, v)
		p := v.accepted(t, s)
		s.online(t, v.peer)
		p.Close()
		eventually(t, "it has gone", func() bool { return s.engine.Visits() == 0 })
		s.engine.KeepHouse(time.Now().Add(time.Minute))
		if st := s.status(t, v.peer).Inbound; st.State != topology.InboundExpired {
			t.Errorf("%+v", st)
		}
		e.change(func() { clear(e.known); clear(e.routes) })
		d.sub(t, "t/4")
		if v.swallows {
			eventually(t, "the peer is told in vain", func() bool { return e.count("fault") > 0 })
			e.knows(t)
		}
		p = v.come(t, s, "routesync")
		if a := p.ask(reborn(t, v.init(t), 1795399999999), v.actor); a["15"] != "'ok" {
			t.Fatalf("%v", a)
		}
		e.knows(t, "t/1", "t/2", "t/3", "t/4")
		s.online(t, v.peer)
	})
}
