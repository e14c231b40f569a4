package broker

import (
	"sync"
	"sync/atomic"

	"clink/broker/store"

	"github.com/mochi-mqtt/server/v2/packets"
)

// acks are a connection's acknowledgements that wait for the store. A publish
// is answered before it is delivered; if it may leave something in the store,
// the answer is caught here and sent after the delivery, once that is written,
// and never before another that was caught earlier (MQTT 5.0 §4.6). A PUBREL
// or PUBCOMP waits for the state that it ends.
type acks struct {
	// The reader's.
	expect bool         // a publish is being processed, and its acknowledgement is to be caught
	caught answer       // kind 0: none
	ops    int64        // the store's, before the publish
	store  *store.Store // that caught, or held, refers to
	held   bool         // Store.Hold was called

	mu     sync.Mutex
	room   *sync.Cond // of mu; nil until somebody waits
	queue  []waiting
	spare  []waiting
	length atomic.Int32 // of the queue, and what is being written from it
}

// An answer is a PUBACK, PUBREC, PUBREL or PUBCOMP.
type answer struct {
	kind byte
	id   uint16
	code packets.Code
}

// waiting is an answer that waits; a nil batch waits only for its turn.
type waiting struct {
	answer
	batch *store.Batch
}

// mostAcks is how many acknowledgements may wait before the connection is no
// longer read.
const mostAcks = 1024

// begin is called for a publish that is allowed. It waits while the store, or
// the client, takes in too little.
func (a *acks) begin(c *client, pk *packets.Packet) {
	a.expect = false
	st := c.node.keeper.store.Load()
	if st == nil || pk.FixedHeader.Qos == 0 && !pk.FixedHeader.Retain && st.Sessions() == 0 {
		return
	}
	if st.Swollen() {
		c.conn.todo.flush()
	}
	st.Admit(c.conn.done)
	if pk.FixedHeader.Qos == 0 || !pk.FixedHeader.Retain && st.Sessions() == 0 {
		return // whoever keeps a session from now on cannot have subscribed yet
	}
	if a.length.Load() >= mostAcks {
		a.awaitRoom(c)
	}
	a.expect, a.store, a.ops = true, st, st.Ops()
}

func (a *acks) awaitRoom(c *client) {
	a.mu.Lock()
	if a.room == nil {
		a.room = sync.NewCond(&a.mu)
	}
	for len(a.queue) >= mostAcks && !c.conn.isClosed() {
		a.room.Wait()
	}
	a.mu.Unlock()
}

// receive stores the packet identifier of a QoS 2 publish, together with what
// the publish itself leaves in the store: with one of them alone the message
// would be lost, or come twice.
func (a *acks) receive(c *client, packetID uint16) {
	if !c.kept.Load() {
		return
	}
	a.store.Hold()
	a.held = true
	a.store.Receive(c.id, packetID)
}

// free ends what receive began, if the engine gave up in between.
func (a *acks) free() {
	if a.held {
		a.held = false
		a.store.Free()
	}
}

// end is called when a publish was delivered.
func (a *acks) end(c *client) {
	a.free()
	a.expect = false
	if a.caught.kind == 0 {
		return
	}
	got := a.caught
	a.caught = answer{}
	var b *store.Batch
	if a.store.Ops() != a.ops {
		b = a.store.Pending()
	}
	a.send(c, got, b)
}

// abandon says that the publish is not answered: the engine will not call end.
func (a *acks) abandon() { a.expect = false }

// send sends an answer after batch b was written, nil: at once.
func (a *acks) send(c *client, got answer, b *store.Batch) {
	if b == nil && a.length.Load() == 0 {
		var short [4]byte
		if c.conn.full() {
			c.conn.todo.flush()
			c.conn.reserve()
		}
		c.write(got, short[:0], &c.conn.todo)
		return
	}
	a.mu.Lock()
	a.queue = append(a.queue, waiting{got, b})
	first := a.length.Add(1) == 1
	a.mu.Unlock()
	if first {
		c.node.spawn(func() { a.drain(c) })
	}
}

// write writes an answer, with what has gathered in short before it. Most are
// four bytes, in which 0x00 is not spelt out (MQTT 5.0 §3.4.2.1).
func (c *client) write(got answer, short []byte, out *outbox) {
	if got.code.Code == packets.CodeSuccess.Code {
		c.flushShort(append(short, firstByte(got.kind), 2, byte(got.id>>8), byte(got.id)), out)
		return
	}
	c.flushShort(short, out)
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: got.kind}, PacketID: got.id, ReasonCode: got.code.Code}
	if got.kind == packets.Pubrel {
		pk.FixedHeader.Qos = 1
	}
	if got.code.Code >= packets.ErrUnspecifiedError.Code {
		pk.Properties.ReasonString = got.code.Reason
	}
	pk.Connect.WillQos = markResend
	_ = c.cl.WritePacket(pk) // if it fails, the reader fails next
}

func firstByte(kind byte) byte {
	if kind == packets.Pubrel {
		return kind<<4 | 2
	}
	return kind << 4
}

func (c *client) flushShort(b []byte, out *outbox) {
	if len(b) == 0 {
		return
	}
	if n, err := c.conn.put(b, out); err == nil {
		info := c.node.server.Info
		atomic.AddInt64(&info.BytesSent, int64(n))
		atomic.AddInt64(&info.PacketsSent, int64(n/4))
	}
}

// drain sends what waits, in order, until nothing does.
func (a *acks) drain(c *client) {
	var short []byte
	for rest := int32(1); rest > 0; {
		a.mu.Lock()
		todo := a.queue
		a.queue, a.spare = a.spare[:0], nil
		if a.room != nil {
			a.room.Broadcast()
		}
		a.mu.Unlock()
		for i := range todo {
			if b := todo[i].batch; b != nil && !written(b) {
				c.flushShort(short, nil)
				short = short[:0]
				select {
				case <-b.Done():
				case <-c.conn.done:
				}
			}
			c.conn.reserve()
			if todo[i].code.Code != packets.CodeSuccess.Code {
				c.write(todo[i].answer, short, nil)
				short = short[:0]
				continue
			}
			short = append(short, firstByte(todo[i].kind), 2, byte(todo[i].id>>8), byte(todo[i].id))
		}
		c.flushShort(short, nil)
		short = short[:0]
		a.mu.Lock()
		a.spare = todo
		rest = a.length.Add(-int32(len(todo)))
		if rest == 0 && cap(todo) > mostAcks/4 {
			a.spare = nil // an idle connection holds little
		}
		a.mu.Unlock()
	}
}

func written(b *store.Batch) bool {
	select {
	case <-b.Done():
		return true
	default:
		return false
	}
}

// withhold reports whether a PUBREL is not to be sent now: without the state
// that it ends in the store, the message would go out again after a restart.
func (c *client) withhold(pk *packets.Packet) bool {
	if pk.Connect.WillQos == markResend || !c.established {
		return false
	}
	got := answer{packets.Pubrel, pk.PacketID, packets.Code{Code: pk.ReasonCode, Reason: pk.Properties.ReasonString}}
	if st := c.storeOf(); st != nil && st.Release(c.id, pk.PacketID) {
		c.acks.send(c, got, st.Pending())
		return true
	}
	return c.acks.follow(c, got)
}

// answer sends PUBACK, PUBREC or PUBCOMP, now or when the store has what it
// promises.
func (c *client) answer(got answer) {
	a := &c.acks
	switch {
	case got.kind == packets.Pubcomp:
		if st := c.storeOf(); st != nil && st.Forget(c.id, got.id) {
			a.send(c, got, st.Pending())
			return
		}
	case a.expect:
		a.expect, a.caught = false, got
		if got.kind == packets.Pubrec && got.code.Code < packets.ErrUnspecifiedError.Code {
			a.receive(c, got.id)
		}
		return
	}
	if !a.follow(c, got) {
		a.send(c, got, nil)
	}
}

// follow puts an answer behind others that wait, and reports whether it did.
// The answer to a link's message that was not taken waits for the store if
// that is busy: the message may be a repeated one, of which the first has not
// been stored.
func (a *acks) follow(c *client, got answer) bool {
	var b *store.Batch
	if st := c.node.keeper.store.Load(); st != nil && got.code.Code == packets.CodeNoMatchingSubscribers.Code {
		b = st.Pending()
	}
	if b == nil && a.length.Load() == 0 {
		return false
	}
	a.send(c, got, b)
	return true
}
