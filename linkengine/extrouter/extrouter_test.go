package extrouter_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clink/linkengine/extrouter"
	"clink/linkengine/wire"
	"clink/topic"

	"pgregory.net/rapid"
)

var start = time.Unix(1_700_000_000, 0)

func add(filter string) wire.RouteOp { return wire.RouteOp{Filter: filter, ID: filter} }

func mustInit(t testing.TB, table *extrouter.Table, a extrouter.Actor) {
	t.Helper()
	if _, err := table.Init(start, a); err != nil {
		t.Fatal(err)
	}
}

func mustUpdate(t testing.TB, table *extrouter.Table, a extrouter.Actor, ops ...wire.RouteOp) {
	t.Helper()
	if refused, err := table.Update(start, a, ops); err != nil || refused != 0 {
		t.Fatalf("%d refused, %v", refused, err)
	}
}

// TestMatchesLikeTheFilters compares the table with a plain set of routes
// after every change: filters over a small alphabet, so that levels are
// shared, and actors that come anew, expire and are dropped.
func TestMatchesLikeTheFilters(t *testing.T) {
	level := rapid.SampledFrom([]string{"a", "b", "", "$a", "$SYS"})
	name := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(level, 1, 4).Draw(t, "levels"), "/")
	}).Filter(func(s string) bool { return s != "" })
	filter := rapid.Custom(func(t *rapid.T) string {
		l := rapid.SliceOfN(rapid.OneOf(level, rapid.Just("+")), 0, 4).Draw(t, "levels")
		if len(l) == 0 || rapid.Bool().Draw(t, "hash") {
			l = append(l, "#")
		}
		return strings.Join(l, "/")
	}).Filter(func(s string) bool { return s != "" })
	type route struct {
		extrouter.Actor
		filter, id string
	}
	rapid.Check(t, func(t *rapid.T) {
		table := extrouter.New(extrouter.Limits{})
		model, past := make(map[route]bool), make(map[route]bool)
		incarnation := make(map[string]int64)
		drawActor := func() extrouter.Actor {
			a := extrouter.Actor{
				Cluster: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "cluster"),
				Name:    rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "actor"),
			}
			a.Incarnation = incarnation[a.Cluster+a.Name]
			return a
		}
		forget := func(m map[route]bool, gone func(route) bool) {
			maps.DeleteFunc(m, func(r route, _ bool) bool { return gone(r) })
		}
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				a, op := drawActor(), wire.RouteOp{Delete: rapid.Bool().Draw(t, "delete"), Filter: filter.Draw(t, "filter")}
				op.ID = rapid.SampledFrom([]string{"1", "2", op.Filter}).Draw(t, "id")
				_, err := table.Update(start, a, []wire.RouteOp{op})
				switch {
				case a.Incarnation == 0:
					if !errors.Is(err, extrouter.ErrNoActor) {
						t.Fatalf("update of an unknown actor: %v", err)
					}
				case err != nil:
					t.Fatal(err)
				case op.Delete:
					delete(model, route{a, op.Filter, op.ID})
					forget(past, func(r route) bool {
						return r.Cluster == a.Cluster && r.Name == a.Name && r.filter == op.Filter && r.id == op.ID
					})
				default:
					model[route{a, op.Filter, op.ID}] = true
				}
			},
			"init": func(t *rapid.T) {
				a := drawActor()
				a.Incarnation += int64(rapid.IntRange(0, 1).Draw(t, "raise"))
				if a.Incarnation == 0 {
					return
				}
				created, err := table.Init(start, a)
				if err != nil || created != (incarnation[a.Cluster+a.Name] != a.Incarnation) {
					t.Fatalf("init: %v, %v", created, err)
				}
				incarnation[a.Cluster+a.Name] = a.Incarnation
				if created {
					same := func(r route) bool { return r.Cluster == a.Cluster && r.Name == a.Name }
					if a.Incarnation > 1 {
						forget(past, same)
					}
					for r := range model {
						if same(r) {
							past[r] = true
						}
					}
					forget(model, same)
				}
			},
			"expire": func(t *rapid.T) {
				table.Expire(start.Add(extrouter.PastTime))
				clear(past)
			},
			"drop": func(t *rapid.T) {
				a := drawActor()
				table.Drop(a.Cluster)
				maps.DeleteFunc(incarnation, func(k string, _ int64) bool { return strings.HasPrefix(k, a.Cluster) })
				forget(model, func(r route) bool { return r.Cluster == a.Cluster })
				forget(past, func(r route) bool { return r.Cluster == a.Cluster })
			},
			"": func(t *rapid.T) {
				name := name.Draw(t, "name")
				want, now := make(map[string]bool), make(map[string]bool)
				for r := range model {
					if topic.Filter(r.filter).Match(name) {
						want[r.Cluster], now[r.Cluster] = true, true
					}
				}
				for r := range past {
					if topic.Filter(r.filter).Match(name) {
						want[r.Cluster] = true
					}
				}
				for _, c := range []string{"p", "q"} {
					if table.Announced(c, name) != now[c] {
						t.Fatalf("%s has announced a route for %q: %v", c, name, !now[c])
					}
				}
				got := table.Match(name, nil)
				slices.Sort(got)
				if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
					t.Fatalf("%q: got %v, want %v of %v", name, got, want, model)
				}
				for _, c := range []string{"p", "q"} {
					distinct := make(map[[2]string]bool)
					for r := range model {
						if r.Cluster == c {
							distinct[[2]string{r.filter, r.id}] = true
						}
					}
					if n := table.Stats(c).Routes; n != len(distinct) {
						t.Fatalf("%s has %d routes, want %d", c, n, len(distinct))
					}
				}
				if len(model)+len(past) == 0 && !table.Empty() {
					t.Fatal("something is left in the table")
				}
			},
		})
	})
}

func TestIncarnations(t *testing.T) {
	table := extrouter.New(extrouter.Limits{})
	a := extrouter.Actor{Cluster: "p", Name: "n", Incarnation: 5}
	tests := []struct {
		incarnation int64
		created     bool
		err         error
		match       bool // afterwards, with a route added before
	}{
		{5, true, nil, false},
		{5, false, nil, true},
		{4, false, extrouter.ErrOld, true},
		{6, true, nil, false},
		{5, false, extrouter.ErrOld, false},
	}
	for i, tt := range tests {
		a.Incarnation = tt.incarnation
		created, err := table.Init(start, a)
		if created != tt.created || !errors.Is(err, tt.err) {
			t.Errorf("%d: created %v, %v", i, created, err)
		}
		if got := table.Announced("p", "t"); got != tt.match {
			t.Errorf("%d: matches %v", i, got)
		}
		if i == 0 {
			mustUpdate(t, table, a, add("t"))
		}
	}
	a.Incarnation = 5
	if err := table.Touch(start, a); !errors.Is(err, extrouter.ErrNoActor) {
		t.Errorf("touch of an old incarnation: %v", err)
	}
}

func TestExpire(t *testing.T) {
	table := extrouter.New(extrouter.Limits{})
	silent := extrouter.Actor{Cluster: "p", Name: "silent", Incarnation: 1}
	alive := extrouter.Actor{Cluster: "p", Name: "alive", Incarnation: 1}
	mustInit(t, table, silent)
	mustInit(t, table, alive)
	mustUpdate(t, table, silent, add("t"), add("s"))
	mustUpdate(t, table, alive, add("t"))
	later := start.Add(extrouter.TTL - time.Second)
	if gone := table.Expire(later); len(gone) != 0 {
		t.Errorf("expired early: %v", gone)
	}
	if _, err := table.Update(later, alive, nil); err != nil { // an empty packet renews, too
		t.Fatal(err)
	}
	if gone := table.Expire(start.Add(extrouter.TTL)); !slices.Equal(gone, []extrouter.Actor{silent}) {
		t.Errorf("expired: %v", gone)
	}
	if len(table.Match("t", nil)) != 1 || len(table.Match("s", nil)) != 0 {
		t.Error("the routes do not follow their actors")
	}
	if _, err := table.Update(later, silent, nil); !errors.Is(err, extrouter.ErrNoActor) {
		t.Errorf("update of an expired actor: %v", err)
	}
}

func TestLimits(t *testing.T) {
	table := extrouter.New(extrouter.Limits{Routes: 3, Bytes: 100})
	a := extrouter.Actor{Cluster: "p", Name: "n", Incarnation: 1}
	mustInit(t, table, a)
	for _, tt := range []struct {
		op      wire.RouteOp
		refused int
	}{
		{add("a/#/b"), 1}, {add("a/+b"), 1}, {add(""), 1}, {add("$LINK/#"), 1}, {add("a\xff"), 1},
		{add(strings.Repeat("/", 128)), 1}, {add(strings.Repeat("x", 60)), 1},
		{add("a"), 0}, {add("a"), 0}, {add("b"), 0}, {wire.RouteOp{Filter: "b", ID: "$p/\xff\x00"}, 0}, {add("c"), 1},
		{wire.RouteOp{Delete: true, Filter: "b", ID: "b"}, 0}, {add("c"), 0}, {wire.RouteOp{Delete: true, Filter: "never", ID: "x"}, 0},
		{wire.RouteOp{Delete: true, Filter: "c", ID: "c"}, 0}, {add("+/#"), 0}, {add("+/#/x"), 1},
	} {
		if refused, err := table.Update(start, a, []wire.RouteOp{tt.op}); err != nil || refused != tt.refused {
			t.Errorf("%.40v: %d refused, %v", tt.op, refused, err)
		}
	}
	if s := table.Stats("p"); s != (extrouter.Stats{Routes: 3, Actors: 1, Refused: 9}) {
		t.Errorf("%+v", s)
	}
	for i := 1; i < extrouter.MaxActors; i++ {
		mustInit(t, table, extrouter.Actor{Cluster: "p", Name: fmt.Sprint(i), Incarnation: 1})
	}
	if _, err := table.Init(start, extrouter.Actor{Cluster: "p", Name: "more", Incarnation: 1}); !errors.Is(err, extrouter.ErrActors) {
		t.Errorf("one actor too many: %v", err)
	}
}

// TestLevels bounds what filters of one byte a level cost.
func TestLevels(t *testing.T) {
	table := extrouter.New(extrouter.Limits{Routes: 3})
	a := extrouter.Actor{Cluster: "p", Name: "n", Incarnation: 1}
	mustInit(t, table, a)
	deep := strings.Repeat("a/", 30) + "+"
	mustUpdate(t, table, a, add(deep))
	if refused, err := table.Update(start, a, []wire.RouteOp{add(strings.Repeat("b/", 20) + "+")}); err != nil || refused != 1 {
		t.Errorf("the 52nd level: %d refused, %v", refused, err)
	}
	mustUpdate(t, table, a, wire.RouteOp{Delete: true, Filter: deep, ID: deep}, add("b"+deep))
}

// TestMatchWhileChanging keeps one route in place while others come and go
// around it: whoever looks must see it at all times.
func TestMatchWhileChanging(t *testing.T) {
	table := extrouter.New(extrouter.Limits{})
	steady := extrouter.Actor{Cluster: "steady", Name: "n", Incarnation: 1}
	mustInit(t, table, steady)
	mustUpdate(t, table, steady, add("site/1/+/cmd"), add("exact/1"))
	var writers sync.WaitGroup
	stop := make(chan struct{})
	for w := range 2 {
		writers.Go(func() {
			a := extrouter.Actor{Cluster: fmt.Sprint("w", w), Name: "n", Incarnation: 1}
			for round := 0; ; round++ {
				a.Incarnation++
				table.Init(start, a)
				var ops []wire.RouteOp
				for i := range 200 {
					ops = append(ops, add(fmt.Sprintf("site/%d/+/cmd", i)), add(fmt.Sprintf("exact/%d", i)))
				}
				table.Update(start, a, ops)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 20_000 {
		for _, name := range []string{"site/1/x/cmd", "exact/1"} {
			if !slices.Contains(table.Match(name, nil), "steady") {
				t.Fatalf("%s lost its route for a moment", name)
			}
		}
	}
	close(stop)
	writers.Wait()
}

func filled(tb testing.TB, n int) *extrouter.Table {
	table := extrouter.New(extrouter.Limits{})
	for c := range 4 {
		a := extrouter.Actor{Cluster: fmt.Sprint("c", c), Name: "n", Incarnation: 1}
		mustInit(tb, table, a)
		var ops []wire.RouteOp
		for i := range n / 8 {
			ops = append(ops, add(fmt.Sprintf("site/%d/dev/%d/+/cmd", i%100, i)), add(fmt.Sprintf("site/%d/dev/%d/state", i%100, i)))
		}
		mustUpdate(tb, table, a, ops...)
	}
	return table
}

func TestMatchAllocatesNothing(t *testing.T) {
	table := filled(t, 1000)
	dst := make([]string, 0, 8)
	for _, name := range []string{"site/1/dev/1/x/cmd", "site/1/dev/1/state", "nothing/here"} {
		if n := testing.AllocsPerRun(100, func() { table.Match(name, dst[:0]) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	table := filled(b, 100_000)
	names := map[string][]string{"wildcard": nil, "exact": nil, "none": nil}
	for i := range 12_500 {
		names["wildcard"] = append(names["wildcard"], fmt.Sprintf("site/%d/dev/%d/x/cmd", i%100, i))
		names["exact"] = append(names["exact"], fmt.Sprintf("site/%d/dev/%d/state", i%100, i))
		names["none"] = append(names["none"], fmt.Sprintf("site/%d/dev/%d/other/thing", i%100, i))
	}
	for _, kind := range slices.Sorted(maps.Keys(names)) {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]string, 0, 8)
			for i := 0; b.Loop(); i++ {
				dst = table.Match(names[kind][i%12_500], dst[:0])
			}
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	table := extrouter.New(extrouter.Limits{Routes: 100_000_000, Bytes: 1 << 40})
	a := extrouter.Actor{Cluster: "c", Name: "n", Incarnation: 1}
	mustInit(b, table, a)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		mustUpdate(b, table, a, add(fmt.Sprintf("site/%d/dev/%d/+/cmd", i%100, i)))
	}
}
