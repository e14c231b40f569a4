package reconciler_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"clink/reconciler"
	"clink/topology"
)

// types are the events after the one with that number, as TYPE SITE>PEER
// REASON.
func (b *bench) types(after uint64) (list []string) {
	past, _, stop := b.Events(after)
	stop()
	for _, e := range past {
		text := e.Type
		if e.Site != "" {
			text += " " + e.Site
		}
		if e.Peer != "" {
			text += ">" + e.Peer
		}
		if e.Reason != "" {
			text += " " + e.Reason
		}
		list = append(list, text)
	}
	return list
}

// told returns the events since it was last asked.
func (b *bench) told() string {
	list := b.types(b.seen)
	past, _, stop := b.Events(b.seen)
	stop()
	if len(past) > 0 {
		b.seen = past[len(past)-1].ID
	}
	return strings.Join(list, ", ")
}

func TestEventsTellWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, "a", "b")
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := b.told(); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		expect("load-failed")
		b.goes("r1", "a>b")
		expect("loaded, revision, applied a>b create, applied applied")
		b.Wake() // nothing is new
		expect("")
		b.sites["a"].set("b", fmt.Errorf("refused"))
		b.goes("r2", "a>b=2")
		expect("revision, failed a>b update, applied partly")
		b.sites["a"].set("b", nil)
		wait(retry)
		expect("applied a>b update, recovered a>b update, applied applied")
		b.wants("r3", "a>b=2")
		b.hold(topology.Held{Site: "a", Peer: "x", Rule: "self-link", Why: "so"})
		b.Wake()
		expect("held a>x self-link, revision, applied partly")
		b.goes("r4", "a>b=2")
		expect("released a>x self-link, revision, applied applied")
	})
}

func TestEventNumbersAndGaps(t *testing.T) {
	var r reconciler.Reconciler
	for i := range 1500 {
		r.Publish(topology.Event{Type: "link", Message: fmt.Sprint(i)})
	}
	tests := []struct {
		after       uint64
		n           int
		first, last uint64
		gap         bool
	}{
		{after: 0, n: 1000, first: 501, last: 1500},
		{after: 1499, n: 1, first: 1500, last: 1500},
		{after: 1500, n: 0},
		{after: 500, n: 1000, first: 501, last: 1500},
		{after: 499, n: 1001, first: 500, last: 1500, gap: true},
		{after: 7000, n: 1001, first: 500, last: 1500, gap: true}, // of an earlier process
	}
	for _, tt := range tests {
		past, _, stop := r.Events(tt.after)
		stop()
		if len(past) != tt.n {
			t.Errorf("after %d: %d events, want %d", tt.after, len(past), tt.n)
			continue
		}
		if tt.n == 0 {
			continue
		}
		if first, last := past[0], past[tt.n-1]; first.ID != tt.first || last.ID != tt.last || (first.Type == "gap") != tt.gap || last.Time.IsZero() {
			t.Errorf("after %d: from %+v to %+v", tt.after, first, last)
		}
	}
}

func TestSlowSubscriberHasAGap(t *testing.T) {
	var r reconciler.Reconciler
	_, slow, stop := r.Events(0)
	for range 1000 {
		r.Publish(topology.Event{Type: "link"}) // never waits
	}
	var got []uint64
	gaps := 0
	read := func() {
		for len(slow) > 0 {
			e := <-slow
			got = append(got, e.ID)
			if e.Type == "gap" {
				gaps++
			}
		}
	}
	read()
	if n := len(got); n != 129 || got[0] != 1 || got[127] != 128 || got[128] != 129 || gaps != 1 {
		t.Errorf("%d events, %d gaps", n, gaps)
	}
	r.Publish(topology.Event{Type: "link"})
	read()
	if got[len(got)-1] != 1001 || gaps != 1 {
		t.Errorf("after the gap: %v", got[128:])
	}
	stop()
	stop()
	if _, open := <-slow; open {
		t.Error("the channel is open after stop")
	}
	r.Publish(topology.Event{Type: "link"})
}

func TestSubscribersAreBounded(t *testing.T) {
	var r reconciler.Reconciler
	var stops []func()
	for range 256 {
		_, _, stop := r.Events(0)
		stops = append(stops, stop)
	}
	_, next, stop := r.Events(0)
	defer stop()
	if _, open := <-next; open {
		t.Error("one more than there may be is served")
	}
	stops[0]()
	_, next, stop = r.Events(0)
	defer stop()
	r.Publish(topology.Event{Type: "link", Message: strings.Repeat("ü", 5000)})
	if e := <-next; e.ID != 1 || len(e.Message) > 2100 {
		t.Errorf("number %d, message of %d bytes", e.ID, len(e.Message))
	}
}

// Publishers and subscribers come and go at once; each subscriber sees numbers
// that only rise.
func TestEventsAtOnce(t *testing.T) {
	var r reconciler.Reconciler
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 2000 {
				r.Publish(topology.Event{Type: "link"})
			}
		})
		all.Go(func() {
			for range 50 {
				past, next, stop := r.Events(1)
				var ids []uint64
				for _, e := range past {
					ids = append(ids, e.ID)
				}
				for range 20 {
					select {
					case e := <-next:
						ids = append(ids, e.ID)
					default:
					}
				}
				stop()
				if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
					t.Errorf("numbers %v", ids)
				}
			}
		})
	}
	all.Wait()
}
