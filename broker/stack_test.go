//go:build linux && !race

package broker

import (
	"fmt"
	"runtime"
	"testing"
)

// A client that is silent has a goroutine whose stack the collector can shrink
// to 4 KiB. One large frame between the one that accepts and the one that waits
// doubles that.
func TestSilentClientsHaveSmallStacks(t *testing.T) {
	const clients, most = 400, 6 << 10
	n := start(t, Options{}, nil, anyone())
	inUse := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.StackInuse)
	}
	inUse()
	before := inUse()
	for i := range clients {
		c := dialRaw(t, addr(t, n, "tcp"))
		if _, err := c.Write(hello{id: fmt.Sprint(i)}.encode(5)); err != nil {
			t.Fatal(err)
		}
		c.read()
		c.subscribe(1, fmt.Sprint("own/", i), 1)
	}
	eventually(t, fmt.Sprintf("%d clients have less than %d bytes of stack each", clients, most), func() bool {
		return (inUse()-before)/clients < most
	})
}
