package client

import (
	"testing"
	"time"
)

// Fifty links of eight connections each lose all of them at once, or are turned
// away at once: after some attempts they come evenly.
func TestBackoffSpreads(t *testing.T) {
	const conns, window = 50 * 8, 100 * time.Millisecond
	for name, wait := range map[string]func(*Backoff) time.Duration{"lost": (*Backoff).Next, "turned away": (*Backoff).Full} {
		t.Run(name, func(t *testing.T) {
			at := make(map[time.Duration]int) // attempts by window
			for range conns {
				var b Backoff
				for now := time.Duration(0); now < time.Minute; {
					d := wait(&b)
					if d <= 0 || d > maxBackoff {
						t.Fatalf("waits %v", d)
					}
					if now += d; now > 30*time.Second {
						at[now/window]++
					}
				}
			}
			for w, n := range at {
				if n > conns/8 { // evenly they would be a fiftieth, or a twenty-fifth
					t.Errorf("%d of %d come within %v, after %v", n, conns, window, w*window)
				}
			}
			var b Backoff
			for range 10 {
				wait(&b)
			}
			b.Reset()
			if d := wait(&b); d > firstBackoff {
				t.Errorf("after a reset it waits %v", d)
			}
		})
	}
}
