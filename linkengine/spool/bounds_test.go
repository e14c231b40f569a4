package spool

import (
	"errors"
	"testing"
	"time"
)

// Whatever fits finds room once what is there is done with, and what does not
// fit need not be waited for.
func TestFits(t *testing.T) {
	s, _, stop := open(t, Options{Dir: t.TempDir(), MaxBytes: 128 << 10, Interval: time.Microsecond})
	defer stop()
	if s.Fits(100<<10) || !s.Fits(60<<10) {
		t.Errorf("100 KB fits: %v, 60 KB fits: %v", s.Fits(100<<10), s.Fits(60<<10))
	}
	for range 50 {
		for size := 1000; size <= 60<<10; size += 7001 {
			for {
				seq, _, err := s.Append(make([]byte, size), time.Now(), true)
				if err == nil {
					s.Done(seq)
					break
				}
				if !errors.Is(err, ErrFull) || !s.AwaitRoom(size) {
					t.Fatal(size, err)
				}
			}
		}
	}
}

// A queue that was allowed less than it holds gives up its oldest, not what is
// new.
func TestLoweredBound(t *testing.T) {
	s, _, stop := open(t, Options{Dir: t.TempDir(), MaxBytes: 1 << 30})
	defer stop()
	for range 3000 {
		if _, _, err := s.Append(make([]byte, 1000), time.Now(), false); err != nil {
			t.Fatal(err)
		}
	}
	s.Limit(1<<20, false)
	total, lost := 3000, 0
	for range 2000 {
		for {
			if _, _, err := s.Append(make([]byte, 1000), time.Now(), false); err == nil {
				break
			}
			n, ok := s.DropOldest()
			if !ok {
				t.Fatalf("nothing can be given up of %d messages in %d bytes", s.Len(), s.Bytes())
			}
			lost += n
		}
		total++
	}
	if s.Bytes() > 1<<20 || s.Waiting() != total-lost || s.Waiting() < 500 {
		t.Errorf("%d bytes, %d wait of %d, %d lost", s.Bytes(), s.Waiting(), total, lost)
	}
	if got, want := len(all(t, s)), s.Waiting(); got != total-lost {
		t.Errorf("%d come, want %d (%d wait)", got, total-lost, want)
	}
}
