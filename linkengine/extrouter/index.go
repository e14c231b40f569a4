package extrouter

import (
	"hash/maphash"
	"sync/atomic"
)

// An index finds nodes by parent and text. Readers need no lock: it is an
// array of pointers with linear probing, in which a deletion leaves a mark and
// which is replaced as a whole when it fills up or empties. Writers must
// exclude each other.
type index struct {
	seed  maphash.Seed
	slots atomic.Pointer[[]atomic.Pointer[node]]
	live  int // nodes
	full  int // nodes and marks of deletion
	gone  *node
}

const minSlots = 16

func (x *index) init() {
	x.seed = maphash.MakeSeed()
	x.gone = new(node)
	slots := make([]atomic.Pointer[node], minSlots)
	x.slots.Store(&slots)
}

func (x *index) hash(parent *node, text string) uint64 {
	h := maphash.String(x.seed, text)
	if parent != nil {
		h ^= uint64(parent.id+1) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return h
}

func (x *index) get(parent *node, text string) *node {
	h := x.hash(parent, text)
	slots := *x.slots.Load()
	for i := h; ; i++ {
		n := slots[i&uint64(len(slots)-1)].Load()
		if n == nil {
			return nil
		}
		if n.hash == h && n.parent == parent && n.text == text && n != x.gone {
			return n
		}
	}
}

// put adds a node that is not there yet.
func (x *index) put(n *node) {
	n.hash = x.hash(n.parent, n.text)
	x.live++
	x.full++
	if size := len(*x.slots.Load()); x.full*4 > size*3 {
		x.rebuild(n)
		return
	}
	place(*x.slots.Load(), n)
}

func place(slots []atomic.Pointer[node], n *node) {
	for i := n.hash; ; i++ {
		if at := &slots[i&uint64(len(slots)-1)]; at.Load() == nil {
			at.Store(n)
			return
		}
	}
}

func (x *index) delete(n *node) {
	slots := *x.slots.Load()
	for i := n.hash; ; i++ {
		at := &slots[i&uint64(len(slots)-1)]
		if at.Load() != n {
			continue
		}
		at.Store(x.gone)
		x.live--
		if x.live*8 < len(slots) && len(slots) > minSlots {
			x.rebuild(nil)
		}
		return
	}
}

// rebuild puts a fresh array in place, about half full, with the node more if
// it is not nil.
func (x *index) rebuild(more *node) {
	size := minSlots
	for size < x.live*2 {
		size *= 2
	}
	slots := make([]atomic.Pointer[node], size)
	old := *x.slots.Load()
	for i := range old {
		if n := old[i].Load(); n != nil && n != x.gone {
			place(slots, n)
		}
	}
	if more != nil {
		place(slots, more)
	}
	x.full = x.live
	x.slots.Store(&slots)
}
