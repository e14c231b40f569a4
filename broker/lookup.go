package broker

import (
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The engine looks retained messages up in its tree without a lock, while
// publishers write there. So it is asked to look up single topics only, for
// which it has a table with a lock; which topics those are, is found out here,
// while nothing is written. It is asked by a SUBSCRIBE of our own, after the
// client's: for filters that are refused at first, so that nothing is
// subscribed, and then turned into what is to be looked up. Nobody sees the
// answer.

// markLookup marks such a SUBSCRIBE.
const markLookup = markBegun + 1

// lookupsAtOnce is how many topics it has.
const lookupsAtOnce = 64

// A lookup is a subscription whose retained messages are to be sent, and the
// topics that have some. What is published after the subscription took effect
// comes as new, and not again because it is retained: it has a greater Created
// than since. What was being published at that moment may come both ways, as a
// message may that is retained between the last look and the engine's (MQTT 5.0
// §3.8.4 lets new messages come before the SUBACK, and does not say that they
// are not retained ones).
type lookup struct {
	packets.Subscription
	names []string
	since int64
}

// lookUp notes that a SUBSCRIBE asks for retained messages.
func (q *request) lookUp(own packets.Subscription, existed bool) {
	if mqtt.IsSharedFilter(own.Filter) || own.RetainHandling == 2 || own.RetainHandling == 1 && existed {
		return
	}
	own.RetainHandling = 0
	for _, filter := range []string{own.Filter, parentOf(own.Filter)} { // see twin
		if filter != "" {
			own.Filter = filter
			q.lookups = append(q.lookups, lookup{Subscription: own})
		}
	}
}

// retainedAt returns the topics with a retained message that a filter matches.
func (n *Node) retainedAt(filter string) []string {
	n.retaining.RLock()
	defer n.retaining.RUnlock()
	found := n.server.Topics.Messages(filter)
	names := make([]string, len(found))
	for i := range found {
		names[i] = found[i].TopicName
	}
	return names
}

// findRetained finds what a SUBSCRIBE has asked for. It is called before the
// answer: what is published after that comes once, as new.
func (c *client) findRetained() {
	all, since := c.request.lookups, c.node.seq.Load()
	for i := range all {
		all[i].since = since
		all[i].names = c.node.retainedAt(all[i].Filter)
	}
}

// sendRetained has the engine send what a SUBSCRIBE has asked for.
func (c *client) sendRetained() {
	q := &c.request
	all := q.lookups
	q.lookups = nil
	for _, own := range all {
		for names := own.names; len(names) > 0; {
			k := min(len(names), lookupsAtOnce)
			pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}}
			pk.Connect.WillQos = markLookup
			q.found = q.found[:0]
			for _, name := range names[:k] {
				if c.getsNew(&own, name) {
					continue
				}
				one := own.Subscription
				one.Filter = name
				identify(&one)
				q.found = append(q.found, one)
				pk.Filters = append(pk.Filters, packets.Subscription{Filter: refusedName})
			}
			names = names[k:]
			if len(q.found) == 0 {
				continue
			}
			if c.conn.ended() || c.node.server.InjectPacket(c.cl, pk) != nil {
				q.found = nil
				return
			}
			atomic.AddInt64(&c.node.server.Info.PacketsReceived, -1) // it did not come
		}
	}
	q.found = nil
}

// getsNew reports whether c gets the retained message of a topic as a new one.
func (c *client) getsNew(l *lookup, name string) bool {
	pk, there := c.node.server.Topics.Retained.Get(name)
	return there && pk.Created > l.since && !(l.NoLocal && pk.Origin == c.id)
}

// turnOn makes what was refused what is to be looked up.
func (q *request) turnOn(pk *packets.Packet, codes []byte) {
	for i, one := range q.found {
		pk.Filters[i], codes[i] = one, one.Qos
	}
}
