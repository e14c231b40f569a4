package extrouter_test

import (
	"fmt"
	"runtime"
	"testing"

	"clink/linkengine/extrouter"
	"clink/linkengine/wire"
)

// kinds are the filters by which routes are measured, as a fleet of sites would
// have them.
var kinds = map[string]func(i int) string{
	"exact":    func(i int) string { return fmt.Sprintf("site/%d/dev/%d/state", i%100, i) },
	"wildcard": func(i int) string { return fmt.Sprintf("site/%d/dev/%d/+/cmd", i%100, i) },
}

// heap is how many bytes are alive.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one only let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkMemory reports what a route costs, besides its text, in a table
// filled with batches of 4000 that are made as a decoder makes them.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		for kind, filter := range kinds {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				for b.Loop() {
					before, text := heap(), 0
					table := extrouter.New(extrouter.Limits{})
					a := extrouter.Actor{Cluster: "c", Name: "n", Incarnation: 1}
					mustInit(b, table, a)
					for i := 0; i < n; i += 4000 {
						ops := make([]wire.RouteOp, 0, 4000)
						for j := i; j < min(i+4000, n); j++ {
							f := filter(j)
							ops = append(ops, add(f))
							text += (len(f) + 7) / 8 * 8 // as it is allocated
						}
						mustUpdate(b, table, a, ops...)
					}
					b.ReportMetric(float64(heap()-before-uint64(text))/float64(n), "B/route")
					runtime.KeepAlive(table)
				}
			})
		}
	}
}

// BenchmarkMatchMillion matches while batches of 4000 come and go, and without.
func BenchmarkMatchMillion(b *testing.B) {
	table := filled(b, 1_000_000)
	names := make(map[string][]string)
	for i := range 125_000 {
		names["wildcard"] = append(names["wildcard"], fmt.Sprintf("site/%d/dev/%d/x/cmd", i%100, i))
		names["exact"] = append(names["exact"], kinds["exact"](i))
		names["none"] = append(names["none"], fmt.Sprintf("site/%d/dev/%d/other/thing", i%100, i))
	}
	run := func(b *testing.B) {
		for kind, all := range names {
			b.Run(kind, func(b *testing.B) {
				b.ReportAllocs()
				dst := make([]string, 0, 8)
				for i := 0; b.Loop(); i++ {
					dst = table.Match(all[i*7919%len(all)], dst[:0])
				}
			})
		}
	}
	b.Run("quiet", run)
	stop, stopped := make(chan struct{}), make(chan struct{})
	a := extrouter.Actor{Cluster: "c9", Name: "n", Incarnation: 1}
	mustInit(b, table, a)
	adds, deletes := make([]wire.RouteOp, 4000), make([]wire.RouteOp, 4000)
	for i := range adds {
		adds[i] = add(fmt.Sprintf("other/%d/+/x", i))
		deletes[i] = adds[i]
		deletes[i].Delete = true
	}
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				table.Update(start, a, adds)
				table.Update(start, a, deletes)
			}
		}
	}()
	b.Run("busy", run)
	close(stop)
	<-stopped
}
