package forwarder

import (
	"context"
	"errors"
	"sync"
	"time"

	"clink/linkengine/wire"
)

// A Store keeps messages with QoS above 0 so that they outlive the process. It
// hands out each one that is not done, in the order in which they were put.
type Store interface {
	// Put stores a message and returns when it can no longer be lost. If all
	// before it were handed out, and keep is set, it counts as handed out, and
	// taken says so. The error is [ErrFull] if it is dropped for want of room;
	// with any other it is not stored.
	Put(data []byte, at time.Time, keep bool) (seq uint64, taken bool, err error)
	// Next hands out more messages, about limit bytes of them; no message is
	// taken by Put meanwhile.
	Next(limit int, out func(seq uint64, at time.Time, data []byte)) error
	// Done says that a message need not be handed out again.
	Done(seq uint64)
	// Waiting reports whether there are messages that were not handed out.
	Waiting() bool
}

// ErrFull is a [Store]'s error when it has no room.
var ErrFull = errors.New("the store is full")

// Reasons for a message that the store did not take, though it goes its way in
// memory, and for one that the store gives back and nobody can read.
const (
	NotStored  = "not-stored"
	Unreadable = "unreadable"
)

// An Item is a message that is to be forwarded, and what is known of it: a
// forwarder that ends before it has taken it passes it on to the next.
type Item struct {
	entry
	offered bool   // to the store
	Source  Source // nil: a lane sends at once
}

// A Source is what publishes messages, in one goroutine.
type Source interface {
	// Soon has f.Flush called when the source has no more for now, or at once.
	Soon(f interface{ Flush() })
	// Settle is called before the source is made to wait.
	Settle()
}

// NewItem makes an item. Items with the same key keep their order.
func NewItem(m *wire.Forward, key uint64) Item {
	return Item{entry: entry{rec: m, key: key, at: time.Now(), size: size(m)}}
}

// Perhaps makes the item one that the peer may or may not want: it is not
// sent before a route matches it, and not missed if none ever does.
func (i *Item) Perhaps() { i.maybe = true }

// Stored reports whether the item is in the store, where the next forwarder
// finds it.
func (i *Item) Stored() bool { return i.stored != 0 }

const (
	keyBytes   = 8
	feedBytes  = 256 << 10 // that are read from the store at a time
	storeLimit = 64 << 20  // of a record
)

var encoding = sync.Pool{New: func() any { return new([]byte) }}

// Store offers an item to a store, if it is one to be kept, and reports
// whether it needs a lane.
func (i *Item) Store(s Store, keep bool, c *Counters) bool {
	if s == nil || i.rec.QoS == 0 || i.offered {
		return true
	}
	i.offered = true
	if i.Source != nil {
		i.Source.Settle()
	}
	buf := encoding.Get().(*[]byte)
	defer encoding.Put(buf)
	b := (*buf)[:0]
	for at := range keyBytes {
		b = append(b, byte(i.key>>(8*at)))
	}
	b = i.rec.Append(b)
	if cap(b) <= feedBytes {
		*buf = b
	}
	seq, taken, err := s.Put(b, i.at, keep)
	switch {
	case errors.Is(err, ErrFull):
		c.Drop(QueueFull)
		return false
	case err != nil:
		c.Note(NotStored)
		return true
	}
	i.stored = seq
	return taken
}

// load is the entry that was put as data.
func load(seq uint64, at time.Time, data []byte) (entry, error) {
	if len(data) < keyBytes {
		return entry{}, errors.New("a stored message is too short")
	}
	e := entry{stored: seq, at: at}
	for i := range keyBytes {
		e.key |= uint64(data[i]) << (8 * i)
	}
	rec, err := wire.DecodeForward(data[keyBytes:], wire.DefaultLimits(storeLimit))
	if err != nil {
		return entry{}, err
	}
	e.rec, e.size = &rec, size(&rec)
	return e, nil
}

// feed moves messages from the store to the lanes as there is room, until ctx
// ends.
func (f *Forwarder) feed(ctx context.Context) {
	for {
		for ctx.Err() == nil && f.store.Waiting() && f.roomy() {
			if f.store.Next(feedBytes, f.fed) != nil {
				break // it says so itself, and may do better later
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-f.more:
		}
	}
}

func (f *Forwarder) fed(seq uint64, at time.Time, data []byte) {
	e, err := load(seq, at, data)
	if err != nil {
		f.store.Done(seq)
		f.counters.Drop(Unreadable)
		return
	}
	f.lane(e.key).offer(e)
}

// roomy reports whether the lanes together hold less than one may.
func (f *Forwarder) roomy() bool {
	var bytes int64
	for _, l := range f.lanes {
		l.mu.Lock()
		bytes += l.bytes
		l.mu.Unlock()
	}
	return f.bytes == 0 || bytes < f.bytes
}

// wanted wakes feed.
func (f *Forwarder) wanted() {
	if f.store != nil {
		wake(f.more)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// offer takes an entry from the store. While the peer's routes are not back
// after a loss, those that it does not want are held back.
func (l *lane) offer(e entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += int64(e.size)
	if !l.lost && time.Now().Before(l.until) && !l.opts.Peer.Wants(e.rec.Topic) {
		l.park(e)
	} else {
		l.queue.pushBack(e)
	}
	l.signal()
}

// over says that an entry is done with.
func (l *lane) over(e *entry) {
	e.note.over()
	e.note = nil
	if e.stored != 0 {
		l.opts.Store.Done(e.stored)
		e.stored = 0
		wake(l.more)
	}
}
