package git

import (
	"context"
	"time"
)

// A retrier says when something that failed is to be tried again: soon, and
// then ever later.
type retrier struct {
	first, last time.Duration
	failures    int
	next        time.Time // zero: nothing is to be done
}

// failed plans the next try.
func (b *retrier) failed() {
	b.next = time.Now().Add(min(b.first<<min(b.failures, 20), b.last))
	b.failures++
}

// done plans no try.
func (b *retrier) done() { b.failures, b.next = 0, time.Time{} }

// loop calls try whenever its time has come, as next tells it, until ctx ends.
// It asks again after each poke.
func loop(ctx context.Context, poke <-chan struct{}, next func() time.Time, try func()) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		var due <-chan time.Time
		if at := next(); !at.IsZero() {
			timer.Reset(time.Until(at))
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-poke:
		case <-due:
			try()
		}
	}
}

// prod makes a loop ask again.
func prod(poke chan<- struct{}) {
	select {
	case poke <- struct{}{}:
	default:
	}
}
