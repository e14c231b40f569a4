package forwarder

// A deque is a queue with two ends in one ring, so that what is sent again can
// be put back in front.
type deque[T any] struct {
	ring []T // its length is zero or a power of two
	head int
	n    int
}

const (
	minRing  = 16
	keepRing = 1024 // a longer ring shrinks as it empties
)

func (d *deque[T]) len() int { return d.n }

func (d *deque[T]) at(i int) *T { return &d.ring[(d.head+i)&(len(d.ring)-1)] }

func (d *deque[T]) pushBack(v T) {
	d.fit(d.n + 1)
	d.n++
	*d.at(d.n - 1) = v
}

func (d *deque[T]) pushFront(v T) {
	d.fit(d.n + 1)
	d.head = (d.head - 1) & (len(d.ring) - 1)
	d.n++
	*d.at(0) = v
}

func (d *deque[T]) popFront() T {
	var zero T
	first := d.at(0)
	v := *first
	*first = zero
	d.head = (d.head + 1) & (len(d.ring) - 1)
	d.n--
	if len(d.ring) > keepRing && d.n < len(d.ring)/8 {
		d.resize(len(d.ring) / 2)
	}
	return v
}

func (d *deque[T]) fit(n int) {
	if n > len(d.ring) {
		d.resize(max(minRing, 2*len(d.ring)))
	}
}

func (d *deque[T]) resize(size int) {
	ring := make([]T, size)
	for i := range d.n {
		ring[i] = *d.at(i)
	}
	d.ring, d.head = ring, 0
}
