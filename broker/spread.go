package broker

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The engine's road of a message costs a walk through its tree with four maps,
// two copies of a large struct and a change of goroutine for each subscriber.
// Plain messages, with QoS 0 or 1 and nothing that would differ between
// subscribers, take a shorter one: who matches a topic is remembered until a
// subscription changes, and the message is appended to each subscriber's
// connection at once. What is not plain, or would overtake an earlier message
// in the engine's queue, takes the engine's road.

const (
	wholeBytes  = 4 << 10 // from which on a payload is not copied
	shardCount  = 16
	giveWay     = 256 // messages; of so many, one waits for the longer road to be empty
	wayPatience = 200 * time.Microsecond
	shardIDs    = 8 << 10 // remembered topics and client ids in one shard, together
)

// A matchTable remembers the subscribers of topics.
type matchTable struct {
	version atomic.Uint64 // counts changes of subscriptions
	seed    maphash.Seed
	shards  [shardCount]matchShard
}

type matchShard struct {
	mu      sync.RWMutex
	version uint64
	size    int
	m       map[string]match
}

// A match is what is known of a topic.
type match struct {
	to    []subscriber
	known bool // to is complete; if not, the topic was only seen
	plain bool // they can be sent a message without looking at subscriptions
}

// A subscriber is a client id and the QoS granted to it.
type subscriber struct {
	id  string
	qos byte
}

// changed forgets everything. It is called after a change of subscriptions and
// before it is acknowledged.
func (m *matchTable) changed() { m.version.Add(1) }

// of returns who subscribes to a topic. It is not ok if the engine must be
// asked: the first time, so that topics which are used once cost little, and if
// subscriptions have options that matter.
func (m *matchTable) of(topics *mqtt.TopicsIndex, name string) (to []subscriber, ok bool) {
	s := &m.shards[maphash.String(m.seed, name)%shardCount]
	now := m.version.Load()
	s.mu.RLock()
	was, seen := s.m[name]
	current := s.version == now
	s.mu.RUnlock()
	if seen && current && was.known {
		return was.to, was.plain
	}
	var next match
	if seen && current {
		next = matchOf(topics, name)
	}
	s.learn(now, name, next)
	return next.to, next.plain
}

func matchOf(topics *mqtt.TopicsIndex, name string) match {
	subs := topics.Subscribers(name)
	next := match{known: true, plain: len(subs.Shared) == 0 && len(subs.InlineSubscriptions) == 0 && len(subs.Subscriptions) < shardIDs/2}
	if !next.plain {
		return next
	}
	next.to = make([]subscriber, 0, len(subs.Subscriptions))
	for id, sub := range subs.Subscriptions {
		if sub.NoLocal || identified(sub) {
			return match{known: true}
		}
		next.to = append(next.to, subscriber{id, sub.Qos})
	}
	return next
}

func identified(sub packets.Subscription) bool {
	for _, id := range sub.Identifiers {
		if id > 0 {
			return true
		}
	}
	return sub.Identifier > 0
}

func (s *matchShard) learn(version uint64, name string, next match) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version > version {
		return
	}
	if s.m == nil || s.version < version || s.size > shardIDs {
		s.m, s.size, s.version = make(map[string]match), 0, version
	}
	s.m[strings.Clone(name)] = next
	s.size += 1 + len(next.to)
}

// spread delivers a plain message, and reports whether it did. Out is that of
// the reader which calls it, if one does.
func (n *Node) spread(pk *packets.Packet, out *outbox) bool {
	if !plain(pk) {
		return false
	}
	to, ok := n.matches.of(n.server.Topics, pk.TopicName)
	if !ok {
		return false
	}
	t := n.grace.enter()
	defer n.grace.leave(t)
	for i := range to {
		if !n.mayHand(&to[i], pk) {
			return false
		}
	}
	for i := range to {
		c := n.connected(to[i].id)
		switch {
		case c == nil:
			n.keepFor(&to[i], pk, out)
		case min(pk.FixedHeader.Qos, to[i].qos) == 0:
			c.hand(pk, out)
		default:
			c.handAssured(pk, out)
		}
	}
	return true
}

// mayHand reports whether a subscriber does not need the engine's road.
func (n *Node) mayHand(s *subscriber, pk *packets.Packet) bool {
	c := n.connected(s.id)
	if c == nil {
		return min(pk.FixedHeader.Qos, s.qos) == 0 || n.absent(s.id)
	}
	// It must not overtake what this publisher sent before. Now and then the
	// write loop is given a chance to get done with that, else a busy publisher
	// would stay on the longer road.
	return c.overflow.aboard.Load() == 0 || pk.Created%giveWay == 0 && c.drained()
}

// drained lets the write loop run, and reports whether it has nothing to do.
func (c *client) drained() bool {
	done := true
	c.await("", wayPatience, func() bool { return c.overflow.aboard.Load() == 0 }, func() { done = false })
	return done
}

// connected returns the connection of a client id, nil if there is none.
func (n *Node) connected(id string) *client {
	cl, ok := n.server.Clients.Get(id)
	if !ok || cl.Closed() {
		return nil
	}
	return clientOf(cl)
}

// plain reports whether a message is the same for each subscriber.
func plain(pk *packets.Packet) bool {
	h, p := &pk.FixedHeader, &pk.Properties
	return (h.Qos == 0 || h.Qos == 1 && !strings.HasPrefix(pk.TopicName, "$")) && !h.Retain && !markedRetain(pk) && pk.Expiry == 0 &&
		!p.PayloadFormatFlag && p.MessageExpiryInterval == 0 && p.ContentType == "" && p.ResponseTopic == "" &&
		len(p.CorrelationData) == 0 && len(p.User) == 0
}

// hand writes a plain message to c with QoS 0, or puts it aside.
func (c *client) hand(pk *packets.Packet, out *outbox) {
	if c.prompt() && c.handed(c.conn.putPlain(pk.TopicName, pk.Payload, c.proto, 0, out)) {
		return
	}
	out.flush()
	if c.roomFor(pk) {
		later := pk.Copy(false)
		later.FixedHeader.Qos = 0
		c.overflow.put(c, later)
	}
}

// prompt reports whether c takes plain messages at once, as they are.
func (c *client) prompt() bool {
	return !c.overflow.busy.Load() && c.isReady() && c.aliasMax == 0 && c.cl.Properties.Props.MaximumPacketSize == 0
}

// handed counts a message of a size, and reports whether there was one.
func (c *client) handed(size int) bool {
	if size == 0 {
		return false
	}
	info := c.node.server.Info
	atomic.AddInt64(&info.BytesSent, int64(size))
	atomic.AddInt64(&info.PacketsSent, 1)
	atomic.AddInt64(&info.MessagesSent, 1)
	return true
}

// putPlain appends a plain message to what is to be written, with QoS 1 if
// there is a packet identifier. It returns its size, or 0 if there is no room,
// or the connection has ended. A large payload is not copied.
func (k *conn) putPlain(name string, payload []byte, proto byte, id uint16, out *outbox) int {
	length, first := 2+len(name)+len(payload), byte(packets.Publish<<4)
	if id != 0 {
		length, first = length+2, first|1<<1
	}
	if proto == 5 {
		length++ // no properties
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.err != nil || k.size > writeBuffer {
		return 0
	}
	whole := len(payload) >= wholeBytes
	if room := length + 5; whole {
		k.grow(room - len(payload))
	} else {
		k.grow(room)
	}
	before := len(k.buf)
	b := appendLength(append(k.buf, first), length)
	size := len(b) - before + length
	b = append(append(b, byte(len(name)>>8), byte(len(name))), name...)
	if id != 0 {
		b = append(b, byte(id>>8), byte(id))
	}
	if proto == 5 {
		b = append(b, 0)
	}
	if whole {
		k.buf, k.cuts = b, append(k.cuts, cut{len(b), payload})
	} else {
		k.buf = append(b, payload...)
	}
	k.size += size
	k.due(out)
	return size
}

// appendLength appends a variable byte integer (MQTT 5.0 §1.5.5).
func appendLength(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// OnPacketSent is called when a packet is on its way to the connection.
func (h *hook) OnPacketSent(cl *mqtt.Client, pk packets.Packet, _ []byte) {
	if pk.FixedHeader.Type == packets.Connack && pk.ReasonCode < packets.ErrUnspecifiedError.Code {
		if k, ok := cl.Net.Conn.(*conn); ok {
			k.hailed.Store(true)
		}
		return
	}
	if pk.Connect.WillQos != markDirect {
		return
	}
	if c := clientOf(cl); c != nil {
		c.overflow.aboard.Add(-1)
	}
}
