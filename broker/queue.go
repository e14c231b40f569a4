package broker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The engine bounds what waits for a client by number: QueueLength packets to
// be written, and the session's messages with QoS above 0. What is below adds
// a bound in bytes. Only large messages are counted one by one (see
// bounds.small): however many of the others a queue holds, they stay below the
// same number of bytes. So a session holds twice max_mqueue_bytes at most, and
// one message more, since an empty queue takes a message of any size.

// maxInflight is how many messages the engine lets a session hold.
const maxInflight = 60_000

// sizeOf is the part of a message that can be large. A topic cannot.
func sizeOf(pk *packets.Packet) int64 {
	p := &pk.Properties
	n := len(pk.Payload) + len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData)
	for i := range p.User {
		n += len(p.User[i].Key) + len(p.User[i].Val)
	}
	return int64(n)
}

// A held is the account of a session's large messages with QoS above 0, by
// packet identifier, in step with the engine's store.
type held struct {
	bytes atomic.Int64
	mu    sync.Mutex
	sizes map[uint16]int64
}

func (h *held) add(id uint16, size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sizes == nil {
		h.sizes = make(map[uint16]int64)
	}
	h.bytes.Add(size - h.sizes[id])
	h.sizes[id] = size
}

func (h *held) drop(id uint16) {
	if h.bytes.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if size, ok := h.sizes[id]; ok {
		delete(h.sizes, id)
		h.bytes.Add(-size)
	}
}

// book books a message that the engine has stored.
func (c *client) book(pk *packets.Packet) {
	if pk.FixedHeader.Type != packets.Publish {
		return
	}
	size := sizeOf(pk)
	if size <= c.node.bounds.Load().small {
		return
	}
	c.held.add(pk.PacketID, size)
	if !pk.FixedHeader.Dup { // else it does not come from room
		c.uncharge(size)
	}
}

// hold books a message that the node has put into the engine's store.
func (c *client) hold(pk *packets.Packet) {
	if size := sizeOf(pk); size > c.node.bounds.Load().small {
		c.held.add(pk.PacketID, size)
	}
}

// room decides whether a delivery may be queued. The engine asks for each
// before it stores and queues it, and queues what is allowed; taken out ends
// what is begun here.
func (c *client) room(name string) bool {
	if c.asks(name) {
		return true
	}
	n := c.node
	b := n.bounds.Load()
	size := n.large.size(name)
	stored := false
	if size == 0 && c.retaining.Load() {
		size, stored = n.storedSize(name)
	}
	if kept := c.cl.State.Inflight.Len(); kept < b.queue/2 {
		c.lagging.Store(false)
	} else if kept >= b.queue && (c.conn.ended() || !c.awaitAcks(name, b.queue)) {
		n.drops.inflight.Add(1)
		return false
	}
	if c.conn.ended() {
		if size > b.small && !c.fits(size, b.queueBytes) {
			n.drops.queue.Add(1)
			return false
		}
		return true
	}
	if why := c.enter(size, b); why == entered || stored && why == queueFull && c.awaitRoom(size, b) {
		return true
	}
	n.drops.queue.Add(1)
	return false
}

// An entry is what came of a message's asking for a place in the queue.
type entry int

const (
	entered   entry = iota
	queueFull       // there will be room once others are written
	ownsMuch        // the queue was empty: only acknowledgements make room
)

func (c *client) enter(size int64, b *bounds) entry {
	queued := c.queued.Add(1)
	if queued <= int64(c.node.opts.QueueLength) {
		if size <= b.small {
			return entered
		}
		c.waiting.Add(size)
		if c.fits(0, b.queueBytes) {
			return entered
		}
		c.uncharge(size)
	}
	c.queued.Add(-1)
	if queued == 1 && c.held.bytes.Load() > 0 {
		return ownsMuch
	}
	return queueFull
}

// fits reports whether the large messages of c, and another of a size, are
// within a limit. One always is.
func (c *client) fits(size, limit int64) bool {
	waiting, kept := c.waiting.Load(), c.held.bytes.Load()
	if waiting+kept+size <= limit {
		return true
	}
	return kept == 0 && (size == 0 && c.queued.Load() <= 1 || size > 0 && waiting == 0)
}

// uncharge takes a large message out of those that wait. It never goes below
// zero: a retained message that is replaced while it is sent was not charged.
func (c *client) uncharge(size int64) {
	for {
		was := c.waiting.Load()
		if c.waiting.CompareAndSwap(was, max(0, was-size)) {
			return
		}
	}
}

// taken notes that a message was taken out of the queue to be written.
func (c *client) taken(pk *packets.Packet) {
	left := c.queued.Add(-1)
	if c.waiting.Load() == 0 {
		return
	}
	if pk.FixedHeader.Qos == 0 {
		if size := sizeOf(pk); size > c.node.bounds.Load().small {
			c.uncharge(size)
		}
	}
	if left == 0 {
		c.waiting.Store(0) // what limits that changed may have left
	}
}

// overrun ends what was begun for a message that found no place in the engine's
// queue, which the engine forgets next.
func (c *client) overrun(pk *packets.Packet) {
	c.queued.Add(-1)
	c.overflow.aboard.Add(-1)
	if pk.FixedHeader.Qos > 0 {
		c.lost(pk.Created)
		for _, kept := range c.cl.State.Inflight.GetAll(false) {
			if kept.Created == pk.Created && kept.FixedHeader.Type == packets.Publish {
				c.held.drop(kept.PacketID)
				atomic.AddInt64(&c.node.server.Info.Inflight, -1)
				return
			}
		}
	}
	if size := sizeOf(pk); size > c.node.bounds.Load().small {
		c.uncharge(size)
	}
}

// awaitRoom waits until a message has entered the queue. It is called for
// retained messages, in the goroutine that reads from the client: so it must
// not wait for acknowledgements, and says so by returning false.
func (c *client) awaitRoom(size int64, b *bounds) bool {
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, 2*time.Millisecond) {
		switch c.enter(size, b) {
		case entered:
			return true
		case ownsMuch:
			return false
		}
		if c.conn.ended() || c.window != nil && c.window.stuck.Load() {
			return false
		}
		time.Sleep(pause)
	}
}

// asks reports whether the engine asks about a filter of the SUBSCRIBE that is
// being processed: by identity, since a message may have the same topic.
func (c *client) asks(name string) bool {
	pending := c.pending.Load()
	if pending == nil {
		return false
	}
	return slices.ContainsFunc(*pending, func(filter string) bool {
		return unsafe.StringData(filter) == unsafe.StringData(name)
	})
}

// asking notes the filters that the engine is going to ask about. They are
// copied: deliveries look at them while the answer to the SUBSCRIBE is made.
func (c *client) asking(filters packets.Subscriptions) {
	names := make([]string, len(filters))
	for i, s := range filters {
		names[i] = s.Filter
	}
	c.pending.Store(&names)
}

// subscribed notes that it has asked, and that retained messages come next.
func (c *client) hasSubscribed() {
	c.pending.Store(nil)
	c.retaining.Store(c.node.kept.len() > 0)
}

// A largeTable knows the sizes of messages that are being published, where a
// delivery shows nothing but the topic: by the topic's address, which is a
// publish's own. Small messages are not in it, unless they are to be retained,
// or their publisher has put something off.
type largeTable struct {
	n  atomic.Int64
	mu sync.RWMutex
	m  map[*byte]publishing
}

// A publishing is what is known of a message that is being published.
type publishing struct {
	size int64   // 0: it is small
	out  *outbox // of the goroutine that publishes; nil: there is nothing in it
}

func (t *largeTable) enter(name string, w publishing) {
	t.mu.Lock()
	if t.m == nil {
		t.m = make(map[*byte]publishing)
	}
	t.m[unsafe.StringData(name)] = w
	t.n.Store(int64(len(t.m)))
	t.mu.Unlock()
}

func (t *largeTable) get(name string) publishing {
	if t.n.Load() == 0 {
		return publishing{}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.m[unsafe.StringData(name)]
}

func (t *largeTable) size(name string) int64 { return t.get(name).size }

func (t *largeTable) leave(name string) {
	if name == "" || t.n.Load() == 0 {
		return
	}
	t.mu.Lock()
	delete(t.m, unsafe.StringData(name))
	t.n.Store(int64(len(t.m)))
	t.mu.Unlock()
}
