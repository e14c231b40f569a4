package command_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"clink/bench/loadgen"
)

// TestLinkSoak sends 5,000 messages a second with QoS 1 from site to site while
// every connection between them is cut again and again. Nothing is lost, every
// publisher's order is kept, and the processes take in the end what they took in
// the beginning. It takes seconds, with CLINK_LONG=1 ten minutes: then what they
// take in the second half is also what they took in the first.
func TestLinkSoak(t *testing.T) {
	t.Parallel()
	s := &linkSoak{rig: newRig(t, patient), every: longOr(2*time.Second, 20*time.Second), away: longOr(200*time.Millisecond, 2*time.Second)}
	length := longOr(7*time.Second, 10*time.Minute)
	s.begin(s.a)
	s.begin(s.b)
	s.healthy()
	for _, p := range []*place{s.a, s.b} {
		p.before = p.usage(t)
	}
	soaking, enough := context.WithCancel(t.Context())
	var cutter sync.WaitGroup
	cutter.Go(func() { s.cutAgainAndAgain(soaking) })
	res, err := loadgen.Run(t.Context(), loadgen.Config{
		PublishTo: s.a.addr(), SubscribeAt: s.b.addr(), TopicPrefix: "global/soak", Version: 5, QoS: 1, Size: 100,
		Publishers: 4, Rate: 5000, Duration: length, ConnectWithin: deadline, DrainWithin: 2 * time.Minute, Quiet: deadline,
	})
	enough()
	cutter.Wait()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, s.a.log, s.b.log)
	}
	s.healthy()
	cuts, retried := len(s.usages[0]), s.a.metric("clink_link_retried_total")
	t.Logf("%.0f messages/s over %v, %d sent, %d cuts, %d came twice, %d were sent again, p99 %v, max %v",
		res.Rate, length, res.Sent, cuts, res.Duplicates, retried, res.P99.Round(time.Millisecond), res.Max.Round(time.Millisecond))
	if res.Lost > 0 || res.Reordered > 0 || res.Refused > 0 || cuts < 2 || int(res.Duplicates) > retried {
		t.Errorf("%+v\n%s\n%s", res, s.a.log, s.b.log)
	}
	s.nothingDropped()
	for i, p := range []*place{s.a, s.b} {
		p.takesNoMore(5, 8<<20)
		if longOr(false, true) { // in seconds, what waits for a busy machine counts for most
			s.flat(i, p)
		}
	}
}

// A linkSoak is cut every now and then, and stays away for a while.
type linkSoak struct {
	*rig
	every, away time.Duration
	usages      [2][]usage // of site-a and site-b, before each cut
}

func (s *linkSoak) cutAgainAndAgain(ctx context.Context) {
	pause := func(d time.Duration) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(d):
			return true
		}
	}
	for pause(s.every - s.away) {
		for i, p := range []*place{s.a, s.b} {
			s.usages[i] = append(s.usages[i], p.usage(s.rig.t))
		}
		for _, p := range []*place{s.a, s.b} {
			p.road.set(func(w *road) { w.closed = true })
			p.road.reset()
		}
		pause(s.away)
		s.a.road.heal()
		s.b.road.heal()
	}
}

// flat compares the least of either half of a site's time: what is more may be
// messages that wait, and connections that come and go. One goroutine left
// behind by each cut connection would be a dozen for each cut.
func (s *linkSoak) flat(i int, p *place) {
	t, all := s.rig.t, s.usages[i]
	t.Helper()
	low := func(of []usage) usage {
		u := of[0]
		for _, o := range of {
			u.heap, u.goroutines = min(u.heap, o.heap), min(u.goroutines, o.goroutines)
		}
		return u
	}
	first, last := low(all[:len(all)/2]), low(all[len(all)/2:])
	t.Logf("%s: heap %d, then %d KiB; goroutines %d, then %d", p.name, first.heap>>10, last.heap>>10, first.goroutines, last.goroutines)
	if last.heap > first.heap+first.heap/4+8<<20 || last.goroutines > first.goroutines+5 {
		t.Errorf("%s takes more in the second half: %+v", p.name, all)
	}
}
