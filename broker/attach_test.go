package broker

import (
	"fmt"
	"runtime"
	"testing"
)

// A client that does nothing but keep its connection alive holds one goroutine,
// with a small stack: the engine's way of running it takes two, and 22 KiB.
func TestIdleClientsHoldLittle(t *testing.T) {
	const clients, mostStack = 300, 8 << 10
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	stacks := func() int64 {
		var m runtime.MemStats
		runtime.GC() // halves stacks that are much too large
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.StackInuse)
	}
	for _, v := range []byte{4, 5} {
		stack, goroutines := stacks(), runtime.NumGoroutine()
		var there []*peer // else their sockets would be closed
		err := attempt(func() {
			for i := range clients {
				p := come(address, v, hello{id: fmt.Sprintf("v%d-%d", v, i)})
				p.subscribe(1, fmt.Sprintf("v%d/%d/+", v, i), 1)
				p.ping()
				there = append(there, p)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "each holds one goroutine", func() bool { return runtime.NumGoroutine()-goroutines < clients*5/4 })
		if each := (stacks() - stack) / clients; each > mostStack {
			t.Errorf("a client of version %d holds %d bytes of stack, want at most %d", v, each, mostStack)
		}
		for _, p := range there {
			p.bye()
		}
	}
}

// The counts of what was received do not depend on the road that it takes.
func TestReceivedIsCountedOnce(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	err := attempt(func() {
		s := come(address, 5, hello{id: "s"})
		s.subscribe(1, "a", 2)
		p := come(address, 5, hello{id: "p"})
		before := n.Stats().Received
		for qos := range byte(3) {
			for i := range 2 {
				p.publish(qos, "a", 10*int(qos)+i+1, "plain")
				p.publish(qos, "a", 10*int(qos)+i+5, "with a property", property(0x03, text("type")))
			}
		}
		p.publishWith(1<<1|1, "a", 99, "retained")
		for range 13 {
			s.take()
		}
		must(n.Stats().Received-before == 13, "%d received, want 13", n.Stats().Received-before)
		must(n.Publish(Message{Topic: "a"}) == nil, "cannot publish")
		must(n.Stats().Received-before == 14, "%d received, want 14", n.Stats().Received-before)
	})
	if err != nil {
		t.Fatal(err)
	}
}
