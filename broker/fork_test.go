package broker

import (
	"context"
	"os/exec"
	"sync"
	"testing"

	"clink/internal/freeport"
	"clink/topology"
)

// Once a listener is down, its address can be had, by another site of the
// process for instance: a program that is being started meanwhile, as git is by
// a write, has no part in it.
func TestListenerThatIsDownLeavesItsAddress(t *testing.T) {
	program, err := exec.LookPath("true")
	if err != nil {
		t.Skip("no program to start:", err)
	}
	addrs, err := freeport.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, Options{}, nil, Config{})
	ctx, end := context.WithCancel(t.Context())
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			for ctx.Err() == nil {
				_ = exec.CommandContext(ctx, program).Run()
			}
		})
	}
	defer starting.Wait()
	defer end()
	for i := range 2000 {
		e := n.newEndpoint(topology.Listener{Name: "l", Type: topology.TCP, Bind: addrs[0]}, nil)
		err := e.open()
		e.shut()
		if err != nil {
			t.Fatalf("after %d times: %v", i, err)
		}
	}
}
