package extrouter_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"clink/linkengine/extrouter"
	"clink/linkengine/wire"

	"pgregory.net/rapid"
)

func saved(t testing.TB, table *extrouter.Table) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := table.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func load(t testing.TB, b []byte) *extrouter.Table {
	t.Helper()
	table := extrouter.New(extrouter.Limits{})
	if _, err := table.Load(start, b); err != nil {
		t.Fatal(err)
	}
	return table
}

var names = []string{"a", "b", "a/b", "b/a", "a/a/b", "$a", ""}

func matches(table *extrouter.Table) string {
	var all []string
	for _, name := range names {
		got := table.Match(name, nil)
		slices.Sort(got)
		all = append(all, fmt.Sprint(name, got))
	}
	return strings.Join(all, " ")
}

// TestLoadIsWhatWasSaved compares a table with what it is after having been
// saved and loaded twice, and lets all of it expire.
func TestLoadIsWhatWasSaved(t *testing.T) {
	filter := rapid.SampledFrom([]string{"a", "b", "#", "+", "a/#", "+/b", "a/+/b", "$a"})
	rapid.Check(t, func(t *rapid.T) {
		table := extrouter.New(extrouter.Limits{})
		for range rapid.IntRange(0, 30).Draw(t, "routes") {
			a := extrouter.Actor{Cluster: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "cluster"), Name: rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "actor"), Incarnation: 7}
			op := wire.RouteOp{Filter: filter.Draw(t, "filter")}
			op.ID = rapid.SampledFrom([]string{"1", op.Filter}).Draw(t, "id")
			table.Init(start, a)
			if _, err := table.Update(start, a, []wire.RouteOp{op}); err != nil {
				t.Fatal(err)
			}
		}
		want := matches(table)
		for range 2 {
			var b bytes.Buffer
			if err := table.Save(&b); err != nil {
				t.Fatal(err)
			}
			loaded := extrouter.New(extrouter.Limits{})
			if _, err := loaded.Load(start, b.Bytes()); err != nil {
				t.Fatal(err)
			}
			if got := matches(loaded); got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
			table = loaded
		}
		table.Expire(start.Add(extrouter.TTL))
		if !table.Empty() || len(table.Past()) > 0 {
			t.Fatal("something is left in the table")
		}
	})
}

// What is past of an actor stays for a time when it comes again, and follows
// what it deletes; it goes when an older one comes.
func TestRestoredActorComesAgain(t *testing.T) {
	before := extrouter.New(extrouter.Limits{})
	a := extrouter.Actor{Cluster: "p", Name: "n", Incarnation: 5}
	mustInit(t, before, a)
	mustUpdate(t, before, a, add("kept"), add("gone/+"), add("deleted"))
	file := saved(t, before)
	for _, tt := range []struct {
		incarnation int64
		want        []string
	}{
		{4, nil}, {5, []string{"kept", "gone/x"}}, {6, []string{"kept", "gone/x"}},
	} {
		table := load(t, file)
		for _, name := range []string{"kept", "gone/x", "deleted"} {
			if len(table.Match(name, nil)) != 1 {
				t.Errorf("%s is not restored", name)
			}
		}
		again := extrouter.Actor{Cluster: "p", Name: "n", Incarnation: tt.incarnation}
		if created, err := table.Init(start, again); err != nil || !created {
			t.Errorf("incarnation %d: created %v, %v", tt.incarnation, created, err)
		}
		mustUpdate(t, table, again, wire.RouteOp{Delete: true, Filter: "deleted", ID: "deleted"})
		var got []string
		for _, name := range []string{"kept", "gone/x", "deleted"} {
			if len(table.Match(name, nil)) == 1 {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("incarnation %d: %v match, want %v", tt.incarnation, got, tt.want)
		}
		if table.Announced("p", "kept") {
			t.Errorf("incarnation %d: a past route is taken for one of today", tt.incarnation)
		}
		mustUpdate(t, table, again, add("kept"))
		if n := table.Stats("p"); n.Routes != 1 || n.Actors != 1 || !table.Announced("p", "kept") {
			t.Errorf("incarnation %d: %+v", tt.incarnation, n)
		}
		second := load(t, saved(t, table)) // killed again, before all is announced
		if len(second.Match("kept", nil)) != 1 || len(second.Match("gone/x", nil)) != min(1, len(tt.want)) {
			t.Errorf("incarnation %d: the second restart serves other routes", tt.incarnation)
		}
		if err := table.Touch(start.Add(extrouter.TTL-time.Second), again); err != nil {
			t.Error(err)
		}
		if gone := table.Expire(start.Add(extrouter.TTL)); len(gone) != 0 || len(table.Match("kept", nil)) != 1 || len(table.Match("gone/x", nil)) != 0 {
			t.Errorf("incarnation %d: after the time %v are gone", tt.incarnation, gone)
		}
	}
}

// Of as many actors as there may be, each may have past routes.
func TestPastOfManyActors(t *testing.T) {
	before := extrouter.New(extrouter.Limits{})
	for i := range extrouter.MaxActors {
		a := extrouter.Actor{Cluster: "p", Name: fmt.Sprint(i), Incarnation: 1}
		mustInit(t, before, a)
		mustUpdate(t, before, a, add(fmt.Sprint("t/", i)), wire.RouteOp{Filter: "t/#", ID: fmt.Sprint(i)})
	}
	table := load(t, saved(t, before))
	for i := range extrouter.MaxActors {
		for incarnation := range int64(3) {
			mustInit(t, table, extrouter.Actor{Cluster: "p", Name: fmt.Sprint(i), Incarnation: 1 + incarnation})
		}
	}
	if len(table.Match("t/9", nil)) != 0 {
		t.Error("what an actor had two restarts ago is still there")
	}
	table = load(t, saved(t, before))
	for i := range extrouter.MaxActors {
		mustInit(t, table, extrouter.Actor{Cluster: "p", Name: fmt.Sprint(i), Incarnation: 2})
	}
	if len(table.Match("t/9", nil)) != 1 || table.Announced("p", "t/9") {
		t.Error("there is no past route")
	}
}

// A file is whole, or is not used.
func TestDamagedFile(t *testing.T) {
	table := extrouter.New(extrouter.Limits{})
	a := extrouter.Actor{Cluster: "p", Name: "n", Incarnation: 5}
	mustInit(t, table, a)
	mustUpdate(t, table, a, add("t"), wire.RouteOp{Filter: "t/+", ID: "$s/g/t/+"})
	file := saved(t, table)
	for cut := range len(file) {
		broken := slices.Clone(file)
		broken[cut] ^= 1
		for _, b := range [][]byte{file[:cut], broken} {
			into := extrouter.New(extrouter.Limits{})
			if n, err := into.Load(start, b); err == nil || n != 0 || !into.Empty() {
				t.Fatalf("damaged at %d: %d routes, %v", cut, n, err)
			}
		}
	}
}

// FuzzLoad has files that are whole, and not what they should be.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("\x01\x01\x01p\x01n\x0a\x02\x01\x01\x01t\x00\x00"))
	f.Add([]byte("\x02\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, records []byte) {
		into := extrouter.New(extrouter.Limits{})
		into.Load(start, extrouter.Whole(records))
		into.Expire(start.Add(extrouter.TTL))
		if !into.Empty() {
			t.Error("something is left in the table")
		}
	})
}

// Routes may change while a table is saved; what stays is in it.
func TestSaveWhileChanging(t *testing.T) {
	table := filled(t, 20_000)
	a := extrouter.Actor{Cluster: "c9", Name: "n", Incarnation: 1}
	mustInit(t, table, a)
	i := 0
	var b bytes.Buffer
	err := table.Save(writer(func(p []byte) (int, error) {
		i++
		mustUpdate(t, table, a, add(fmt.Sprint("new/", i)), add(fmt.Sprintf("new/%d/+", i)), wire.RouteOp{Delete: true, Filter: fmt.Sprint("new/", i-1), ID: fmt.Sprint("new/", i-1)})
		return b.Write(p)
	}))
	if err != nil {
		t.Fatal(err)
	}
	loaded := load(t, b.Bytes())
	for c := range 4 {
		for i := range 2500 {
			for _, name := range []string{fmt.Sprintf("site/%d/dev/%d/x/cmd", i%100, i), fmt.Sprintf("site/%d/dev/%d/state", i%100, i)} {
				if got := loaded.Match(name, nil); !slices.Contains(got, fmt.Sprint("c", c)) {
					t.Fatalf("c%d has lost %s", c, name)
				}
			}
		}
	}
	err = table.Save(writer(func(p []byte) (int, error) {
		a.Incarnation++
		_, err := table.Init(start, a)
		return len(p), err
	}))
	if err != extrouter.ErrChanged {
		t.Errorf("actors changed: %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func BenchmarkSaveMillion(b *testing.B) {
	table := filled(b, 1_000_000)
	for b.Loop() {
		file := saved(b, table)
		b.ReportMetric(float64(len(file))/1e6, "MB")
	}
}

func BenchmarkLoadMillion(b *testing.B) {
	file := saved(b, filled(b, 1_000_000))
	for b.Loop() {
		load(b, file)
	}
}
