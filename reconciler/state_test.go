package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"clink/diagnostic"
	"clink/topology"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b")
		waits := func(revision string, sites ...string) chan error {
			c := make(chan error, 1)
			go func() { c <- b.Wait(t.Context(), revision, sites...) }()
			synctest.Wait()
			return c
		}
		pending := func(c chan error) {
			t.Helper()
			synctest.Wait()
			select {
			case err := <-c:
				t.Errorf("Wait came back with %v", err)
			default:
			}
		}
		b.sites["b"].hangs["a"] = true
		first, onlyA := waits("r1"), waits("r1", "a")
		pending(first)
		b.goes("r1", "a>b", "b>a")
		must(t, <-onlyA)
		pending(first)
		b.sites["b"].mu.Lock()
		delete(b.sites["b"].hangs, "a") // for the next try
		b.sites["b"].mu.Unlock()
		wait(30 * time.Second)
		must(t, <-first) // its turn is over, though it failed
		must(t, b.Wait(t.Context(), "r1"))
		wait(time.Second)

		overtaken := waits("r2")
		pending(overtaken)
		b.goes("r3", "a>b", "b>a")
		must(t, <-overtaken) // r3 was read after r2 was written

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Wait(ctx, "r4"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait for what never comes = %v", err)
		}
		if err := b.Wait(t.Context(), "r3", "x"); err == nil {
			t.Error("Wait for a site that is not run here comes back without an error")
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		for i := range 80 {
			b.goes(fmt.Sprint("r", i), fmt.Sprintf("a>b=%d", i))
		}
		h := b.State().History
		if len(h) != 50 || h[0].Revision != "r79" || h[49].Revision != "r30" || h[0].Changes != 1 {
			t.Errorf("%d entries, from %+v to %+v", len(h), h[0], h[len(h)-1])
		}
	})
}

func TestStateIsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a")
		b.wants("r1", "a>b")
		b.mu.Lock()
		b.want.Findings = diagnostic.List{{Rule: "x"}}
		b.mu.Unlock()
		b.hold(topology.Held{Site: "z", Rule: "x"})
		b.Wake()
		synctest.Wait()
		s := b.State()
		if s.History[0].Findings != 1 || len(s.Findings) != 1 {
			t.Errorf("State = %+v", s)
		}
		s.Held[0].Site, s.Changes["create"], s.History[0].Revision = "other", 99, "other"
		delete(s.Sites, "a")
		again := b.State()
		if again.Held[0].Site != "z" || again.Changes["create"] != 1 || again.History[0].Revision != "r1" || len(again.Sites) != 1 {
			t.Errorf("a change to one State shows in the next: %+v", again)
		}
	})
}
