package extrouter

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"sync/atomic"
)

// An index finds entries by parent and text. Readers need no lock: it is an
// array of buckets, each a line of the processor's cache with a word of tags by
// which most entries that are not meant are passed over unseen. A deletion leaves a mark where
// entries may lie beyond, and the array is replaced as a whole when it fills up
// or empties. Writers must exclude each other.
type index[T any, P entry[T]] struct {
	seed    maphash.Seed
	buckets atomic.Pointer[[]bucket[T]]
	live    int // entries
	full    int // entries and marks of deletion
}

type entry[T any] interface {
	*T
	key() (parent *node, text string)
}

// A bucket's tags are a byte for each place: noTag, goneTag, or the top bit and
// seven bits of the hash of what is there.
type bucket[T any] struct {
	tags atomic.Uint64
	at   [places]atomic.Pointer[T]
}

const (
	places = 7

	noTag   = 0
	goneTag = 1

	everyByte = 0x0101010101010101
	topBits   = 0x0080808080808080
)

// tagged has a top bit set for each byte of tags that equals tag, and perhaps
// for some above the first one that does.
func tagged(tags uint64, tag byte) uint64 {
	x := tags ^ everyByte*uint64(tag)
	return (x - everyByte) &^ x & topBits
}

func place(found uint64) int { return bits.TrailingZeros64(found) / 8 }

func (x *index[T, P]) init() {
	x.seed = maphash.MakeSeed()
	buckets := make([]bucket[T], 1)
	x.buckets.Store(&buckets)
}

func (x *index[T, P]) hash(parent *node, text string) (h uint64, tag byte) {
	h = maphash.String(x.seed, text)
	if parent != nil {
		h ^= uint64(parent.id+1) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return h, byte(h>>57) | 0x80
}

func (x *index[T, P]) get(parent *node, text string) P {
	h, tag := x.hash(parent, text)
	buckets := *x.buckets.Load()
	for i := h; ; i++ {
		b := &buckets[i&uint64(len(buckets)-1)]
		tags := b.tags.Load()
		for found := tagged(tags, tag); found != 0; found &= found - 1 {
			// What is at a place may have changed since its tag was read.
			if e := P(b.at[place(found)].Load()); e != nil {
				if p, s := e.key(); p == parent && s == text {
					return e
				}
			}
		}
		if tagged(tags, noTag) != 0 {
			return nil
		}
	}
}

// put adds an entry that is not there yet.
func (x *index[T, P]) put(e P) {
	if x.full >= len(*x.buckets.Load())*(places-1) {
		x.rebuild()
	}
	x.add(*x.buckets.Load(), e)
	x.live++
	x.full++
}

func (x *index[T, P]) add(buckets []bucket[T], e P) {
	h, tag := x.hash(e.key())
	for i := h; ; i++ {
		b := &buckets[i&uint64(len(buckets)-1)]
		tags := b.tags.Load()
		if free := tagged(tags, noTag); free != 0 {
			n := place(free)
			b.at[n].Store((*T)(e))
			b.tags.Store(tags | uint64(tag)<<(8*n))
			return
		}
	}
}

func (x *index[T, P]) delete(e P) {
	h, tag := x.hash(e.key())
	buckets := *x.buckets.Load()
	for i := h; ; i++ {
		b := &buckets[i&uint64(len(buckets)-1)]
		tags := b.tags.Load()
		for found := tagged(tags, tag); found != 0; found &= found - 1 {
			if n := place(found); P(b.at[n].Load()) == e {
				x.clear(b, n)
				return
			}
		}
	}
}

// clear empties a place. A bucket that has an empty one was never passed over
// by entries that lie beyond.
func (x *index[T, P]) clear(b *bucket[T], n int) {
	mark := uint64(goneTag)
	tags := b.tags.Load()
	if tagged(tags, noTag) != 0 {
		mark = noTag
		x.full--
	}
	b.tags.Store(tags&^(0xff<<(8*n)) | mark<<(8*n))
	b.at[n].Store(nil)
	x.live--
	if size := len(*x.buckets.Load()); x.live < size && size > 1 {
		x.rebuild()
	}
}

// rebuild puts a fresh array in place, which is a third full at least, or of
// one bucket, and has room for one more.
func (x *index[T, P]) rebuild() {
	size := 1
	for size*(places-3) < x.live+1 {
		size *= 2
	}
	buckets := make([]bucket[T], size)
	for e := range x.all() {
		x.add(buckets, e)
	}
	x.full = x.live
	x.buckets.Store(&buckets)
}

// all yields the entries there are when it begins, but for those deleted before
// their turn.
func (x *index[T, P]) all() iter.Seq[P] {
	buckets := *x.buckets.Load()
	return func(yield func(P) bool) {
		for i := range buckets {
			for n := range buckets[i].at {
				if e := P(buckets[i].at[n].Load()); e != nil && !yield(e) {
					return
				}
			}
		}
	}
}
