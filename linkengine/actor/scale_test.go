package actor

import (
	"fmt"
	"runtime"
	"testing"

	"clink/broker"
	"clink/topic"
)

// BenchmarkMemory reports what a route costs in the table, besides the broker's
// text of it.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		for kind, pattern := range map[string]string{"exact": "site/%d/dev/%d/state", "wildcard": "site/%d/dev/%d/+/cmd"} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				routes := make(subscribed, n)
				for i := range routes {
					routes[i].Filter = topic.Filter(fmt.Sprintf(pattern, i%100, i))
				}
				for b.Loop() {
					before := heap()
					table := NewTable(routes)
					table.Follow([]topic.Filter{"site/#"})
					b.ReportMetric(float64(heap()-before)/float64(n), "B/route")
					runtime.KeepAlive(table)
				}
			})
		}
	}
}

// subscribed are routes that never change.
type subscribed []broker.Route

func (s subscribed) Watch(func(broker.Route, bool)) ([]broker.Route, func()) { return s, func() {} }

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one only let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
