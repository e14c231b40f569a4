package compiler

import (
	"context"
	"fmt"
	"runtime/metrics"
	"time"
)

// maxHeap is how much memory an evaluation may take; the largest topologies
// take a tenth of it. How often it is looked at decides how far it goes beyond.
const (
	maxHeap   = 4 << 30
	heapEvery = 20 * time.Millisecond
)

// bounded runs f and gives up on it when ctx ends, or when the memory in use
// has grown out of all proportion. A panic inside f becomes an error: CUE is
// given text that anybody may have written.
func bounded(ctx context.Context, watch *stopwatch, most uint64, f func() error) error {
	done := make(chan error, 1)
	start := heapInUse() // before f has any of it
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("evaluating %s panicked: %.200v", watch.what(), r)
			}
		}()
		done <- f()
	}()
	tick := time.NewTicker(heapEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return &givenUp{watch.what(), context.Cause(ctx).Error(), ctx.Err()}
		case <-tick.C:
			if now := heapInUse(); now > start && now-start > most {
				return &givenUp{watch.what(), fmt.Sprintf("it took more than %d MiB of memory", most>>20), context.DeadlineExceeded}
			}
		}
	}
}

// givenUp is the error of an evaluation that was given up.
type givenUp struct {
	files string
	why   string
	err   error // of package context
}

func (e *givenUp) Error() string {
	if e.files == "" {
		return fmt.Sprintf("given up: %s", e.why)
	}
	return fmt.Sprintf("evaluating %s given up: %s; look there for a comprehension or a reference that never ends", e.files, e.why)
}

func (e *givenUp) Unwrap() error { return e.err }

func heapInUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
