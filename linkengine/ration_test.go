package linkengine

import (
	"testing"
	"time"
)

func TestReportsAreRationed(t *testing.T) {
	var r ration
	now := time.Unix(1, 0)
	for range 2 {
		for n := range 2 * maxReports {
			if got := r.take(now); got != (n < maxReports) {
				t.Fatalf("number %d in a second: %v", n, got)
			}
		}
		now = now.Add(time.Second)
	}
}

// What a peer calls a reason cannot act on a terminal.
func TestPrintable(t *testing.T) {
	if got := printable("not\x1b[2J-wan\u009bted\x00\u00e9"); got != "not[2J-wanted\u00e9" {
		t.Errorf("%q", got)
	}
}
