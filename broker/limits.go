package broker

import (
	"strings"
	"time"

	"clink/topology"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The limits that a source names, where it names none.
const (
	defaultTopicLevels   = 128
	defaultTopicLength   = 4096
	defaultClientID      = 1024
	defaultQueueBytes    = 64 << 20
	defaultSubscriptions = 10_000
	defaultRetained      = 1_000_000
	defaultRetainedBytes = 1 << 30
)

// bounds are a node's limits in force. They are replaced as a whole.
type bounds struct {
	levels, length, clientID int
	queue                    int   // messages of a session with QoS above 0
	queueBytes               int64 // of large messages of a session
	small                    int64 // bytes up to which a message is not large
	sessions, subscriptions  int   // 0: no limit
	retained                 int   // 0: no limit
	retainedBytes            int64 // 0: no limit
	expiry, idle             time.Duration
}

// newBounds makes limits ready. What m leaves out is as the options say.
func newBounds(o *Options, m topology.MQTT) *bounds {
	if m == (topology.MQTT{}) {
		m = topology.MQTT{
			MaxSubscriptions: defaultSubscriptions, MaxRetained: defaultRetained,
			MaxRetainedBytes: topology.Size{Bytes: defaultRetainedBytes},
		}
	}
	b := &bounds{
		levels: orElse(m.MaxTopicLevels, defaultTopicLevels), length: orElse(m.MaxTopicLength, defaultTopicLength),
		clientID: orElse(m.MaxClientIDLength, defaultClientID),
		queue:    min(orElse(m.MaxQueueLength, o.MaxInflight), maxInflight), queueBytes: orElse(m.MaxQueueBytes.Bytes, defaultQueueBytes),
		sessions: m.MaxSessions, subscriptions: m.MaxSubscriptions,
		retained: m.MaxRetained, retainedBytes: m.MaxRetainedBytes.Bytes,
		expiry: orElse(m.SessionExpiryInterval.Value, o.SessionExpiry), idle: orElse(m.IdleTimeout.Value, o.ConnectTimeout),
	}
	// So many messages that are not large fit into the bytes by their number.
	b.small = b.queueBytes / int64(b.queue+o.QueueLength)
	return b
}

func orElse[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// topic reports whether a topic name or filter is within the limits.
func (b *bounds) topic(s string) bool {
	return len(s) <= b.length && (len(s) < b.levels || strings.Count(s, "/") < b.levels)
}

// checkName refuses a publish to a topic beyond the limits: with 0x90 as an
// answer if there is one, by the end of the connection with MQTT 3.1.1, which
// has no such answer. It reports whether the publish may go on.
func (c *client) checkName(pk *packets.Packet) bool {
	if c.overName = !c.node.bounds.Load().topic(pk.TopicName); !c.overName {
		return true
	}
	c.denied = true
	c.node.drops.topic.Add(1)
	pk.TopicName = refusedName
	if c.proto < 5 {
		c.node.disconnect(c, packets.ErrTopicNameInvalid)
	}
	return false
}

// A quota counts the subscriptions that a SUBSCRIBE would add, and notes those
// that are beyond the limit: the engine refuses them with 0x80, the node
// answers with 0x97 (MQTT 5.0 §3.9.3).
type quota struct {
	left int
	over []bool // by index of the filter; nil if none is
}

// meter begins to count for a SUBSCRIBE.
func (c *client) meter() {
	c.quota = quota{left: -1}
	if most := c.node.bounds.Load().subscriptions; most > 0 && c.session == nil {
		c.quota.left = max(0, most-c.cl.State.Subscriptions.Len())
	}
}

// take reports whether filter i, one of count, may be subscribed to.
func (c *client) take(i, count int, filter string) bool {
	q := &c.quota
	if q.left < 0 {
		return true
	}
	if _, again := c.cl.State.Subscriptions.Get(filter); again {
		return true
	}
	if q.left > 0 {
		q.left--
		return true
	}
	if q.over == nil {
		q.over = make([]bool, count)
	}
	q.over[i] = true
	return false
}

// encodeSuback gives filters beyond the limit their code.
func (c *client) encodeSuback(pk *packets.Packet) {
	if c.proto < 5 {
		return
	}
	for i, over := range c.quota.over {
		if over && i < len(pk.ReasonCodes) {
			pk.ReasonCodes[i] = packets.ErrQuotaExceeded.Code
		}
	}
	c.quota.over = nil
}
