package actor

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"clink/broker"
	"clink/linkengine/wire"
	"clink/topic"

	"pgregory.net/rapid"
)

// local is a broker's routes under the control of a test.
type local struct {
	routes   map[broker.Route]bool
	watchers map[int]func(broker.Route, bool)
	next     int
}

func newLocal() *local {
	return &local{routes: make(map[broker.Route]bool), watchers: make(map[int]func(broker.Route, bool))}
}

func (l *local) Watch(f func(broker.Route, bool)) ([]broker.Route, func()) {
	l.next++
	n := l.next
	l.watchers[n] = f
	return slices.Collect(maps.Keys(l.routes)), func() { delete(l.watchers, n) }
}

func (l *local) set(r broker.Route, there bool) {
	if l.routes[r] == there {
		return
	}
	if there {
		l.routes[r] = true
	} else {
		delete(l.routes, r)
	}
	for _, f := range l.watchers {
		f(r, there)
	}
}

// TestTableKeepsThePeerRight has a peer that is told what the table says, loses
// connections in the middle of it, and must be right after each complete
// exchange.
func TestTableKeepsThePeerRight(t *testing.T) {
	filters := rapid.SampledFrom([]topic.Filter{"#", "a", "a/b", "a/#", "+/b", "b/c", "b/#", "$x/y", "+"})
	rapid.Check(t, func(t *rapid.T) {
		routes := newLocal()
		table := NewTable(routes)
		table.chunk = 2
		var topics []topic.Filter
		peer := make(map[wire.RouteOp]bool) // what it holds, as adds
		online := false
		apply := func(ops []wire.RouteOp, whole bool) {
			for i, op := range ops {
				if !whole && i%2 == 1 {
					continue
				}
				del := op.Delete
				op.Delete = false
				if del {
					delete(peer, op)
				} else {
					peer[op] = true
				}
			}
			if whole {
				table.done(ops)
			}
		}
		right := func(when string) {
			want := make(map[wire.RouteOp]bool)
			for r := range routes.routes {
				for _, k := range announced(r, topics) {
					want[wire.RouteOp{Filter: k.filter, ID: k.id}] = true
				}
			}
			if !maps.Equal(peer, want) || table.Len() != len(want) {
				t.Fatalf("%s: the peer has %v, want %v (%d counted)", when, peer, want, table.Len())
			}
			if n := table.routed.len(); n != len(want) {
				t.Fatalf("%s: the table keeps %d entries for %d routes", when, n, len(want))
			}
		}
		turn := func(t *rapid.T) {
			r := broker.Route{Filter: filters.Draw(t, "filter"), Group: rapid.SampledFrom([]string{"", "g"}).Draw(t, "group")}
			routes.set(r, rapid.Bool().Draw(t, "there"))
		}
		// bootstrap tells everything, while routes come and go, or breaks off.
		bootstrap := func(t *rapid.T) {
			left := rapid.IntRange(0, 20).Draw(t, "batches")
			for ops := range table.all() {
				if left == 0 {
					apply(ops, false)
					table.away()
					online = false
					return
				}
				left--
				apply(ops, true)
				if rapid.Bool().Draw(t, "turn") {
					turn(t)
				}
			}
			apply(table.changes(), true)
			online = true
			right("bootstrap")
		}
		t.Repeat(map[string]func(*rapid.T){
			"route": turn,
			"follow": func(t *rapid.T) {
				topics = rapid.SliceOfN(filters, 0, 3).Draw(t, "topics")
				table.Follow(topics)
			},
			"handshake": bootstrap,
			"changes": func(t *rapid.T) {
				if online {
					apply(table.changes(), true)
					right("changes")
				}
			},
			"cut": func(t *rapid.T) {
				if online {
					apply(table.changes(), false)
				}
				table.away()
				online = false
			},
			"withdraw": func(t *rapid.T) {
				if online {
					apply(table.withdrawal(), false)
					if apply(table.withdrawal(), true); len(peer) != 0 {
						t.Fatalf("%v is left at the peer", peer)
					}
					table.away()
					online = false
				}
			},
		})
	})
}

// TestTableForgetsWhatWasNeverTold lets subscriptions come and go while the
// peer is away.
func TestTableForgetsWhatWasNeverTold(t *testing.T) {
	routes := newLocal()
	table := NewTable(routes)
	table.Follow([]topic.Filter{"#"})
	for i := range 1000 {
		r := broker.Route{Filter: topic.Filter(fmt.Sprint("t/", i))}
		routes.set(r, true)
		routes.set(r, false)
	}
	if table.routed.len() != 0 || len(table.dirty) != 0 {
		t.Errorf("%d entries, %d changes are kept", table.routed.len(), len(table.dirty))
	}
	table.Stop()
	if len(routes.watchers) != 0 {
		t.Error("the table goes on watching")
	}
}

// TestWithdrawal keeps some routes.
func TestWithdrawal(t *testing.T) {
	routes := newLocal()
	table := NewTable(routes)
	table.Follow([]topic.Filter{"t/#"})
	kept, other := broker.Route{Filter: "t/1"}, broker.Route{Filter: "t/2"}
	shared := broker.Route{Filter: "t/1", Group: "g"}
	for _, r := range []broker.Route{kept, other, shared} {
		routes.set(r, true)
	}
	if got := len(table.withdrawal()); got != 0 {
		t.Errorf("%d routes that nobody was told of are withdrawn", got)
	}
	for range table.all() {
	}
	withdrawn := func() string {
		var all []string
		for _, op := range table.withdrawal() {
			all = append(all, op.ID)
		}
		slices.Sort(all)
		return fmt.Sprint(all)
	}
	if got := withdrawn(); got != "[$s/g/t/1 t/1 t/2]" {
		t.Errorf("%s are withdrawn", got)
	}
	table.Keep([]broker.Route{kept, {Filter: "u"}})
	if got := withdrawn(); got != "[$s/g/t/1 t/2]" {
		t.Errorf("%s are withdrawn", got)
	}
	routes.set(kept, false) // it has gone after all
	if got := withdrawn(); got != "[$s/g/t/1 t/1 t/2]" {
		t.Errorf("%s are withdrawn", got)
	}
	routes.set(kept, true)
	table.Follow([]topic.Filter{"t/#", "u"})
	if got := withdrawn(); got != "[$s/g/t/1 t/1 t/2]" {
		t.Errorf("after a new start %s are withdrawn", got)
	}
}

func TestAnnounced(t *testing.T) {
	tests := []struct {
		route  broker.Route
		topics []topic.Filter
		want   string
	}{
		{broker.Route{Filter: "t/#"}, []topic.Filter{"t/1", "t/2/+"}, "[{t/2/+ t/#} {t/1 t/#}]"},
		{broker.Route{Filter: "t/#", Group: "g"}, []topic.Filter{"t/a"}, "[{t/a $s/g/t/#}]"},
		{broker.Route{Filter: "t/1"}, []topic.Filter{"t/2"}, "[]"},
		{broker.Route{Filter: "#"}, []topic.Filter{"$SYS/#"}, "[]"},
		{broker.Route{Filter: "t/1"}, nil, "[]"},
	}
	for _, tt := range tests {
		if got := fmt.Sprint(announced(tt.route, tt.topics)); got != tt.want {
			t.Errorf("%v for %v: %s, want %s", tt.route, tt.topics, got, tt.want)
		}
	}
}
