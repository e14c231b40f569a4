package client

import (
	"math/rand/v2"
	"time"
)

// A Backoff says how long to wait before the next attempt: a random time up to
// a bound that starts at 200 ms and doubles to 5 s with each attempt. The zero
// value is ready to use.
type Backoff struct{ bound time.Duration }

const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 5 * time.Second
	minBackoff   = 20 * time.Millisecond
)

// Next returns the time to wait now.
func (b *Backoff) Next() time.Duration {
	b.bound = min(max(2*b.bound, firstBackoff), maxBackoff)
	return max(minBackoff, rand.N(b.bound))
}

// Reset makes the next attempt the first again.
func (b *Backoff) Reset() { b.bound = 0 }
