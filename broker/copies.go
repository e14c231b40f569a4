package broker

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// What follows lets retained messages be copied from node to node. Each has the
// time of its publishing, and of two messages of a topic the later one stays,
// whichever comes first. What came from elsewhere is never given out again: so
// no message goes round in circles, and none comes back that was removed.

// markTime has a message remember when it was published. Messages that are not
// to be retained do not need it.
func markTime(pk *packets.Packet, at time.Time) {
	ms := uint64(max(at.UnixMilli(), 0))
	p := &pk.Connect.WillProperties
	p.SessionExpiryInterval, p.WillDelayInterval = uint32(ms>>32), uint32(ms)
}

// markedTime is in Unix milliseconds, 0 if it is not known.
func markedTime(pk *packets.Packet) int64 {
	p := &pk.Connect.WillProperties
	return int64(p.SessionExpiryInterval)<<32 | int64(p.WillDelayInterval)
}

// publishedAt is when what is being read was published.
func (c *client) publishedAt(pk *packets.Packet) time.Time {
	if ms := markedTime(pk); ms != 0 {
		return time.UnixMilli(ms)
	}
	return c.conn.readAt
}

// fromElsewhere reports whether an injector let a message in.
func fromElsewhere(origin string) bool {
	return len(origin) > len(anonymous) && origin[0] == anonymous[0]
}

// Most that is remembered of removals: topics, and bytes of their names.
const (
	maxRemovals      = 10_000
	maxRemovalsBytes = 4 << 20
)

// removals are the topics whose retained message was removed last. They live
// as long as the process.
type removals struct {
	at    map[string]removal
	order []string // from the oldest; a topic may be in it that is not in at any more
	bytes int
}

type removal struct {
	time  int64 // in Unix milliseconds
	local bool
}

func (r *removals) add(name string, is removal) {
	if r.at == nil {
		r.at = make(map[string]removal)
	}
	if _, again := r.at[name]; !again {
		r.order = append(r.order, name)
		r.bytes += len(name)
	}
	r.at[name] = is
	for len(r.order) > maxRemovals || r.bytes > maxRemovalsBytes {
		r.bytes -= len(r.order[0])
		delete(r.at, r.order[0])
		r.order = r.order[1:]
	}
}

// expect notes that the engine is about to take a message of a topic.
func (k *kept) expect(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.coming == nil {
		k.coming = make(map[string]int)
	}
	k.coming[name]++
}

// settled notes that it has.
func (k *kept) settled(pk *packets.Packet) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.coming[pk.TopicName]--; k.coming[pk.TopicName] <= 0 {
		delete(k.coming, pk.TopicName)
	}
	if len(pk.Payload) == 0 {
		k.gone.add(strings.Clone(pk.TopicName), removal{markedTime(pk), !fromElsewhere(pk.Origin)})
	}
}

// Copy has the node retain, or with an empty payload remove, what another one
// retains or has removed, unless what it has itself, or removed a while ago, is
// as new by the time of publishing. It reports whether m was news. Then it is
// delivered as by [Injector.Keep]; else nobody hears of it.
func (i *Injector) Copy(s *Session, m *Message) (news bool, err error) {
	if err := m.validate(); err != nil {
		return false, fmt.Errorf("copy: %w", err)
	}
	left, ok := m.remaining(time.Now())
	if !ok || !i.n.takeCopy(m, left, i.cl.ID) {
		return false, nil
	}
	i.n.storeRetained(i.n.keeper.store.Load(), m.Topic)
	pk := m.packet(left)
	pk.FixedHeader.Retain = false
	markRetain(&pk, true)
	s.outbox().flush()
	if err := i.n.server.InjectPacket(i.cl, pk); err != nil {
		return true, fmt.Errorf("copy: %w", err)
	}
	i.n.drops.injected.Add(1)
	return true, nil
}

// takeCopy retains or removes a message if it is news. A local publisher's is
// either expected, and then later, or comes when this is done.
func (n *Node) takeCopy(m *Message, left uint32, origin string) bool {
	k := &n.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.coming[m.Topic] > 0 || !n.isNews(m) {
		return false
	}
	pk := m.packet(left)
	pk = pk.Copy(false)
	pk.FixedHeader.Retain, pk.ProtocolVersion, pk.Origin = true, 5, origin
	pk.TopicName, pk.Payload = strings.Clone(m.Topic), bytes.Clone(m.Payload)
	pk.Created = n.seq.Add(1)
	if left > 0 {
		pk.Expiry = time.Now().Unix() + int64(left)
	}
	if len(pk.Payload) > 0 && !k.fits(m.Topic, sizeOf(&pk), n.bounds.Load()) {
		n.drops.retained.Add(1)
		return false
	}
	n.retaining.Lock()
	n.server.Topics.RetainMessage(pk)
	n.retaining.Unlock()
	atomic.StoreInt64(&n.server.Info.Retained, int64(n.server.Topics.Retained.Len()))
	k.set(m.Topic, &pk, len(pk.Payload) > 0)
	if len(pk.Payload) == 0 {
		k.gone.add(pk.TopicName, removal{markedTime(&pk), false})
	}
	return true
}

// isNews compares a message with what the node has. Of two with one time all
// nodes must choose the same: a removal, or else the greater payload. The caller holds the lock
// of what is kept.
func (n *Node) isNews(m *Message) bool {
	at := m.Time.UnixMilli()
	if old, there := n.server.Topics.Retained.Get(m.Topic); there {
		was := markedTime(&old)
		return at > was || at == was && (len(m.Payload) == 0 || bytes.Compare(m.Payload, old.Payload) > 0)
	}
	gone, removed := n.kept.gone.at[m.Topic]
	return len(m.Payload) > 0 && !(removed && gone.time >= at)
}

// RetainedNames returns the topics with a retained message, and those whose
// message was removed lately, in no order; not those of $SYS.
func (n *Node) RetainedNames() []string {
	k := &n.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	names := slices.AppendSeq(make([]string, 0, len(k.sizes)+len(k.gone.at)), maps.Keys(k.sizes))
	for name := range k.gone.at {
		if _, there := k.sizes[name]; !there {
			names = append(names, name)
		}
	}
	return names
}

// RetainedMessage returns the retained message of a topic, or its removal, with
// an empty payload, if a client of this node published it.
func (n *Node) RetainedMessage(name string) (m Message, ok bool) {
	pk, there := n.server.Topics.Retained.Get(name)
	if !there {
		n.kept.mu.Lock()
		gone := n.kept.gone.at[name]
		n.kept.mu.Unlock()
		return Message{Topic: name, Retain: true, QoS: 1, Time: time.UnixMilli(gone.time)}, gone.local
	}
	p := &pk.Properties
	m = Message{
		Topic: pk.TopicName, Payload: pk.Payload, QoS: pk.FixedHeader.Qos, Retain: true, ProtoVersion: pk.ProtocolVersion,
		Time: time.UnixMilli(markedTime(&pk)), PayloadFormat: p.PayloadFormat, HasPayloadFormat: p.PayloadFormatFlag,
		ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData, User: userProperties(p.User),
	}
	if pk.Origin != anonymous {
		m.ClientID = pk.Origin
	}
	if pk.Expiry > 0 {
		m.HasExpiry, m.Expiry = true, uint32(max(pk.Expiry-markedTime(&pk)/1000, 0))
	}
	return m, !fromElsewhere(pk.Origin)
}
