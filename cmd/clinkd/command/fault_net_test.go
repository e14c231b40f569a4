package command_test

import (
	"os"
	"testing"
	"time"
)

// longOr picks the whole length of a fault with CLINK_LONG=1, else a short one
// that shows the same.
func longOr[T any](short, long T) T {
	if os.Getenv("CLINK_LONG") != "" {
		return long
	}
	return short
}

// longOrSkip leaves out what shows nothing when it is short.
func longOrSkip(t *testing.T) {
	t.Helper()
	if !longOr(false, true) {
		t.Skip("CLINK_LONG=1 runs it")
	}
}

// Every connection of both sites is reset again and again, a minute long with
// CLINK_LONG=1.
func TestFaultResets(t *testing.T) {
	t.Parallel()
	r := linked(t, patient)
	for i := range longOr(fewer(8), 60) {
		r.a.road.reset()
		r.b.road.reset()
		if i%2 == 0 { // every other time before anything is well again
			r.flows()
		}
		<-time.After(longOr(0, time.Second))
	}
	r.clean()
	if n := r.a.metric("clink_link_reconnects_total"); n == 0 {
		t.Error("no reconnection is counted")
	}
	r.intact()
}

// Both directions of every connection go dead without a word, and never
// recover; new ones do after a while.
func TestFaultHalfOpen(t *testing.T) {
	t.Parallel()
	r := linked(t, `retry_interval: "2s", `+patient)
	for _, p := range []*place{r.a, r.b} {
		p.road.swallow()
	}
	r.a.says("that its peer is gone", down)
	for _, p := range []*place{r.a, r.b} {
		p.road.heal()
	}
	r.flows()
	until(t, "site-b to leave its dead connections", func() bool { return r.b.metric("clink_link_reconnects_total") > 0 })
	r.clean()
	r.intact()
}

// Every packet takes 300 ms each way, and one in fifty is lost and sent again.
func TestFaultFarAway(t *testing.T) {
	t.Parallel()
	farAway(t, func(w *road) { w.delay, w.loss = 300*time.Millisecond, 0.02 })
}

// farAway has messages flow over roads that may be made long.
func farAway(t *testing.T, lengthen func(*road)) {
	r := newRig(t, "max_inflight: 1000, "+patient)
	for _, p := range []*place{r.a, r.b} {
		if lengthen != nil {
			p.road.set(lengthen)
		}
	}
	r.begin(r.a)
	r.begin(r.b)
	r.flow()
	<-time.After(longOr(0, time.Minute))
	r.clean()
	r.intact()
	if n := r.repeated(); n != 0 {
		t.Errorf("%d messages came twice though no connection broke", n)
	}
}
