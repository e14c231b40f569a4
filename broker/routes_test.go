package broker

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	"clink/topic"

	"github.com/eclipse/paho.golang/paho"
	"pgregory.net/rapid"
)

// A mirror follows a watch, and notices a change that is none.
type mirror struct {
	t   interface{ Errorf(string, ...any) }
	set map[Route]bool
}

func follow(t interface{ Errorf(string, ...any) }, r *Routes) (*mirror, func()) {
	m := &mirror{t, make(map[Route]bool)}
	now, stop := r.Watch(func(route Route, added bool) {
		if m.set[route] == added {
			m.t.Errorf("%v told twice: added %v", route, added)
		}
		m.set[route] = added
	})
	for _, route := range now {
		m.set[route] = true
	}
	return m, stop
}

func (m *mirror) routes() map[Route]bool {
	out := maps.Clone(m.set)
	maps.DeleteFunc(out, func(_ Route, there bool) bool { return !there })
	return out
}

func TestRoutesAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRoutes()
		type sub struct {
			client string
			route  Route
		}
		var early, late *mirror
		early, stopEarly := follow(t, r)
		subs := make(map[sub]bool)
		for i := range rapid.IntRange(1, 120).Draw(t, "steps") {
			s := sub{rapid.SampledFrom([]string{"a", "b"}).Draw(t, "client"), Route{
				topic.Filter(rapid.SampledFrom([]string{"x", "x/#", "+", "y", "y/#", "z"}).Draw(t, "filter")), rapid.SampledFrom([]string{"", "g"}).Draw(t, "group")}}
			if rapid.IntRange(0, 2).Draw(t, "add") > 0 {
				r.add(s.client, s.route)
				subs[s] = true
			} else {
				r.remove(s.client, s.route)
				delete(subs, s)
			}
			if i == 20 {
				late, _ = follow(t, r)
			}
			want := make(map[Route]bool)
			for s := range subs {
				want[s.route] = true
			}
			for _, m := range []*mirror{early, late} {
				if m != nil && !maps.Equal(m.routes(), want) {
					t.Fatalf("watched %v, want %v", m.routes(), want)
				}
			}
			if r.Len() != len(want) || r.subscriptions() != len(subs) {
				t.Fatalf("%d routes of %d subscriptions, want %d of %d", r.Len(), r.subscriptions(), len(want), len(subs))
			}
		}
		stopEarly()
		before := early.routes()
		r.add("z", Route{"z", ""})
		if !maps.Equal(before, early.routes()) {
			t.Fatal("told after stop")
		}
	})
}

// The table agrees with what real clients did, and with the engine's index.
func TestRoutesOfRealClients(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	filters := []string{"a", "a/#", "+/b", "$share/g/a", "$share/h/a", "$SYS/#"}
	rapid.Check(t, func(t *rapid.T) {
		want := make(map[string]map[string]bool)
		online := make(map[string]*device)
		m, stop := follow(t, n.Routes())
		defer stop()
		defer func() {
			for id := range want {
				if d, err := dial(address, id); err == nil { // clean
					d.Disconnect(&paho.Disconnect{})
					awaitGoneQuietly(n, id)
				}
			}
		}()
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			id := rapid.SampledFrom([]string{"one", "two", "three"}).Draw(t, "client")
			f := rapid.SampledFrom(filters).Draw(t, "filter")
			step(t, n, address, id, f, want, online)
		}
		expect := make(map[Route]bool)
		for _, subs := range want {
			for f := range subs {
				route, _ := parseRoute(f)
				expect[route] = true
			}
		}
		n.routes.mu.Lock()
		got := m.routes()
		n.routes.mu.Unlock()
		if !maps.Equal(got, expect) {
			t.Fatalf("routes %v, want %v", got, expect)
		}
		for _, f := range filters {
			route, _ := parseRoute(f)
			s := n.server.Topics.Subscribers(string(route.Filter))
			have := slices.ContainsFunc(slices.Collect(maps.Keys(s.Shared)), func(k string) bool { return k == f })
			for _, sub := range s.Subscriptions {
				_, ok := sub.Identifiers[f]
				have = have || ok
			}
			if route.Group != "" && have != expect[route] {
				t.Fatalf("%s is in the engine's index: %v, in the table: %v", f, have, expect[route])
			}
		}
		for _, d := range online {
			d.Disconnect(&paho.Disconnect{})
		}
	})
}

func awaitGoneQuietly(n *Node, id string) {
	n.mu.Lock()
	c := n.live[id]
	n.mu.Unlock()
	if c != nil {
		<-c.ended
	}
}

func step(t *rapid.T, n *Node, address, id, f string, want map[string]map[string]bool, online map[string]*device) {
	var err error
	d := online[id]
	switch act := rapid.SampledFrom([]string{"subscribe", "subscribe", "unsubscribe", "drop", "clean", "resume", "refused"}).Draw(t, "act"); {
	case act == "clean" || d == nil && act != "resume":
		d, err = dial(address, id, keepSession(60), func(c *paho.Connect) { c.CleanStart = true })
		online[id], want[id] = d, make(map[string]bool)
	case act == "resume":
		d, err = dial(address, id, keepSession(60))
		online[id] = d
		if want[id] == nil {
			want[id] = make(map[string]bool)
		}
	case act == "subscribe":
		err = d.trySub(paho.SubscribeOptions{Topic: f, QoS: 1})
		want[id][f] = true
	case act == "refused":
		if d.trySub(paho.SubscribeOptions{Topic: "$LINK/" + f}) == nil {
			err = fmt.Errorf("$LINK/%s was granted", f)
		}
	case act == "unsubscribe":
		_, err = d.Unsubscribe(context.Background(), &paho.Unsubscribe{Topics: []string{f}})
		if !want[id][f] {
			err = nil // nothing to unsubscribe is told as an error
		}
		delete(want[id], f)
	case act == "drop":
		d.raw.Close()
		awaitGoneQuietly(n, id)
		delete(online, id)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRoutesMemory reports what a route costs in the table, besides its
// text, with one filter a client and with very many.
func BenchmarkRoutesMemory(b *testing.B) {
	const routes = 100_000
	for _, clients := range []int{1, routes} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			filters, ids := make([]topic.Filter, routes), make([]string, clients)
			for i := range filters {
				filters[i] = topic.Filter(fmt.Sprintf("site/%d/dev/%d/state", i%100, i))
			}
			for i := range ids {
				ids[i] = fmt.Sprint("client-", i)
			}
			for b.Loop() {
				before := heap()
				r := newRoutes()
				for i, f := range filters {
					r.add(ids[i%clients], Route{Filter: f})
				}
				b.ReportMetric(float64(heap()-before)/routes, "B/route")
				runtime.KeepAlive(r)
			}
		})
	}
}
