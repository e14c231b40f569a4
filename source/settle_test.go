package source

import (
	"testing"
	"testing/synctest"
	"time"
)

// settled plays events with the given gaps before each, and returns how long
// after the first a look came, and how many events it had seen.
func settled(gaps []time.Duration) (after time.Duration, seen int) {
	b := burst{quiet: quiet, limit: longest}
	events := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		for _, gap := range gaps {
			for _, c := range []<-chan time.Time{time.After(gap), nil} {
				send := events
				if c != nil {
					send = nil
				}
				select {
				case <-c:
				case send <- struct{}{}:
				case <-stop:
					return
				}
			}
		}
	}()
	defer close(stop)
	timer := time.NewTimer(time.Hour)
	var first time.Time
	for {
		select {
		case <-events:
			if seen++; seen == 1 {
				first = time.Now()
			}
			b.add(time.Now())
			due, _ := b.due()
			timer.Reset(time.Until(due))
		case <-timer.C:
			return time.Since(first), seen
		}
	}
}

func TestBurst(t *testing.T) {
	every := func(gap time.Duration, n int) []time.Duration {
		gaps := make([]time.Duration, n)
		for i := range gaps {
			gaps[i] = gap
		}
		return gaps
	}
	tests := []struct {
		name  string
		gaps  []time.Duration
		after time.Duration
		seen  int
	}{
		{"one event", every(time.Second, 1), quiet, 1},
		{"a checkout", every(10*time.Millisecond, 100), 990*time.Millisecond + quiet, 100},
		{"two apart", []time.Duration{0, quiet + time.Millisecond}, quiet, 1},
		{"without end", every(60*time.Millisecond, 1000), longest, 34},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if after, seen := settled(tt.gaps); after != tt.after || seen != tt.seen {
					t.Errorf("looked after %v and %d events, want %v and %d", after, seen, tt.after, tt.seen)
				}
			})
		})
	}
	var b burst
	if _, ok := b.due(); ok {
		t.Error("no events, and yet a look is due")
	}
}
