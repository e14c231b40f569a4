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
	expect bool           // a publish is being processed, and its acknowledgement is to be caught
	caught packets.Packet // Type 0: none
	ops    int64          // the store's, before the publish
	store  *store.Store   // that caught, or held, refers to
	held   bool           // Store.Hold was called

	mu     sync.Mutex
	room   *sync.Cond // of mu; nil until somebody waits
	queue  []heldAck
	length atomic.Int32 // of the queue, and what is being written from it
}

// A heldAck is an acknowledgement that waits; a nil batch waits only for its turn.
type heldAck struct {
	pk    packets.Packet
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
	if a.caught.FixedHeader.Type == 0 {
		return
	}
	pk := a.caught
	a.caught = packets.Packet{}
	var b *store.Batch
	if a.store.Ops() != a.ops {
		b = a.store.Pending()
	}
	a.send(c, pk, b)
}

// abandon says that the publish is not answered: the engine will not call end.
func (a *acks) abandon() { a.expect = false }

// send sends pk after batch b was written, nil: at once.
func (a *acks) send(c *client, pk packets.Packet, b *store.Batch) {
	if b == nil && a.length.Load() == 0 {
		pk.Connect.WillQos = markResend
		_ = c.cl.WritePacket(pk) // if it fails, the reader fails next
		return
	}
	a.mu.Lock()
	a.queue = append(a.queue, heldAck{pk, b})
	first := a.length.Add(1) == 1
	a.mu.Unlock()
	if first {
		c.node.spawn(func() { a.drain(c) })
	}
}

// drain sends what waits, in order, until nothing does.
func (a *acks) drain(c *client) {
	for {
		a.mu.Lock()
		todo := a.queue
		a.queue = nil
		if a.room != nil {
			a.room.Broadcast()
		}
		a.mu.Unlock()
		for i := range todo {
			if b := todo[i].batch; b != nil && !c.conn.isClosed() {
				select {
				case <-b.Done():
				case <-c.conn.done:
				}
			}
			todo[i].pk.Connect.WillQos = markResend
			_ = c.cl.WritePacket(todo[i].pk)
		}
		a.mu.Lock()
		rest := a.length.Add(-int32(len(todo)))
		a.mu.Unlock()
		if rest == 0 {
			return
		}
	}
}

// withhold reports whether a PUBREL is not to be sent now: without the state
// that it ends in the store, the message would go out again after a restart.
func (c *client) withhold(pk *packets.Packet) bool {
	if pk.Connect.WillQos == markResend || !c.established {
		return false
	}
	if st := c.storeOf(); st != nil && st.Release(c.id, pk.PacketID) {
		c.acks.send(c, *pk, st.Pending())
		return true
	}
	return c.acks.follow(c, pk)
}

// withholdAck does the same for the answers to a client's publish and PUBREL.
func (c *client) withholdAck(pk *packets.Packet) bool {
	a := &c.acks
	switch {
	case pk.FixedHeader.Type == packets.Pubcomp:
		if st := c.storeOf(); st != nil && st.Forget(c.id, pk.PacketID) {
			a.send(c, *pk, st.Pending())
			return true
		}
	case a.expect:
		a.expect, a.caught = false, *pk
		if pk.FixedHeader.Type == packets.Pubrec && pk.ReasonCode < packets.ErrUnspecifiedError.Code {
			a.receive(c, pk.PacketID)
		}
		return true
	}
	return a.follow(c, pk)
}

// follow puts pk behind others that wait. The answer to a link's message that
// was not taken waits for the store if that is busy: the message may be a
// repeated one, of which the first has not been stored.
func (a *acks) follow(c *client, pk *packets.Packet) bool {
	var b *store.Batch
	if st := c.node.keeper.store.Load(); st != nil && pk.ReasonCode == packets.CodeNoMatchingSubscribers.Code {
		b = st.Pending()
	}
	if b == nil && a.length.Load() == 0 {
		return false
	}
	a.send(c, *pk, b)
	return true
}
