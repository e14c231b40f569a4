package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Backoff says how long to wait before the next attempt: a random time up to
// a bound that starts at 200 ms and doubles to 5 s with each attempt, so that
// connections that were lost together do not come back together. The zero value
// is ready to use.
type Backoff struct{ bound time.Duration }

const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 5 * time.Second
	minBackoff   = 20 * time.Millisecond
)

// Next returns the time to wait now.
func (b *Backoff) Next() time.Duration { return max(minBackoff, rand.N(b.raise())) }

// Full returns the bound itself, less a random quarter at most, for when the peer
// has been reached and would only say the same again.
func (b *Backoff) Full() time.Duration {
	bound := b.raise()
	return bound - rand.N(bound/4)
}

func (b *Backoff) raise() time.Duration {
	b.bound = min(max(2*b.bound, firstBackoff), maxBackoff)
	return b.bound
}

// Reset makes the next attempt the first again.
func (b *Backoff) Reset() { b.bound = 0 }

// Wait waits for d. A value in hurry, which may have come before, makes it
// shorter, but not so short that attempts follow each other without pause.
func Wait(ctx context.Context, d time.Duration, hurry <-chan struct{}) {
	timer := time.NewTimer(min(d, firstBackoff))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	timer.Reset(d - min(d, firstBackoff))
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-hurry:
	}
}
