package loadgen

import (
	"math/bits"
	"time"
)

const (
	subBits    = 6 // 64 buckets for each power of two: values are kept to 1.6 %
	subBuckets = 1 << subBits
)

// A histogram counts durations in buckets whose width grows with the value.
type histogram struct {
	count [(64 - subBits + 1) * subBuckets]uint64
	total uint64
}

func (h *histogram) add(ns int64) {
	h.count[bucket(uint64(max(ns, 0)))]++
	h.total++
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.count {
		h.count[i] += n
	}
	h.total += o.total
}

// quantile returns the lowest value of the bucket that holds the p-th of all
// values in order, 0 < p <= 1; 0 if there are none.
func (h *histogram) quantile(p float64) time.Duration {
	want := max(uint64(p*float64(h.total)+0.5), 1)
	var seen uint64
	for i, n := range h.count {
		if seen += n; n > 0 && seen >= min(want, h.total) {
			return time.Duration(lowest(i))
		}
	}
	return 0
}

// bucket is exact below 2*subBuckets and logarithmic above.
func bucket(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift*subBuckets + int(v>>shift)
}

func lowest(i int) uint64 {
	shift := max(i/subBuckets-1, 0)
	return uint64(i-shift*subBuckets) << shift
}
