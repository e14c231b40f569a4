package broker

import (
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The engine would look for messages that have expired once a second, in a copy
// of all that are retained and of all that sessions have. So its loop does not
// run, and the node looks where something is due: it remembers of each retained
// message when it expires, and of each session when the first one does. What has
// expired and is not removed yet, is dropped where it would be sent.

// perishes notes that a message of c's session expires at a time, in Unix
// seconds; 0: never.
func (c *client) perishes(at int64) {
	if at <= 0 {
		return
	}
	for {
		was := c.firstExpiry.Load()
		if was != 0 && was <= at || c.firstExpiry.CompareAndSwap(was, at) {
			return
		}
	}
}

// expire removes what has expired by now.
func (n *Node) expire(now int64) {
	for _, name := range n.kept.expired(now) {
		n.expireRetained(name, now)
	}
	for _, c := range n.perishable(now) {
		c.expireQueued(now)
	}
}

// perishable returns the clients with a message that may have expired.
func (n *Node) perishable(now int64) (out []*client) {
	due := func(c *client) {
		if first := c.firstExpiry.Load(); first != 0 && first < now {
			out = append(out, c)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.live {
		due(c)
	}
	for _, s := range n.idle {
		due(s.c)
	}
	return out
}

// expireQueued removes a session's messages that have expired.
func (c *client) expireQueued(now int64) {
	c.firstExpiry.Store(0) // what comes from now on notes its own
	h := &hook{n: c.node}
	for _, id := range c.cl.ClearExpiredInflights(now, 0) {
		h.OnQosDropped(c.cl, packets.Packet{PacketID: id})
	}
	for _, pk := range c.cl.State.Inflight.GetAll(false) {
		if pk.FixedHeader.Type == packets.Publish && pk.ProtocolVersion == 5 {
			c.perishes(pk.Expiry)
		}
	}
}

// expired returns the topics whose retained message expired before now.
func (k *kept) expired(now int64) (names []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, at := range k.ends {
		if at < now {
			names = append(names, name)
		}
	}
	return names
}

// expireRetained removes a retained message, unless there is a newer one.
func (n *Node) expireRetained(name string, now int64) {
	n.retaining.Lock()
	pk, there := n.server.Topics.Retained.Get(name)
	if there && expires(&pk) && pk.Expiry < now {
		n.server.Topics.RetainMessage(packets.Packet{TopicName: name})
	}
	n.retaining.Unlock()
	atomic.StoreInt64(&n.server.Info.Retained, int64(n.server.Topics.Retained.Len()))
	n.noteRetained(name)
	n.storeRetained(n.keeper.store.Load(), name)
}

// expires reports whether a message ever does.
func expires(pk *packets.Packet) bool { return pk.ProtocolVersion == 5 && pk.Expiry > 0 }

// expireEach removes what has expired, in the background: a handler or the
// store may hold that up.
func (n *Node) expireEach(now time.Time) {
	if !n.expiring.CompareAndSwap(false, true) {
		return
	}
	n.spawn(func() {
		defer n.expiring.Store(false)
		n.expire(now.Unix())
	})
}
