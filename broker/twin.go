package broker

import (
	"slices"
	"strconv"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A filter x/+/# matches x/b too (MQTT 5.0 §4.7.1.2), but the engine does not
// look there. So each such filter of a client has a twin, x/+, in the engine's
// table: there only, never among the client's own filters. If the client has
// x/+ as well, the two share one entry, which carries what both ask for.
//
// For retained messages the engine forgets the parent level of every filter
// that ends in /#. They are looked up under a filter of their own.

// A request is a SUBSCRIBE or UNSUBSCRIBE that the engine is working on.
type request struct {
	id      uint16
	own     []packets.Subscription // these, as they came
	existed []bool                 // for each, whether the client had it before
	codes   []byte                 // of the UNSUBACK
	judged  *right                 // that a SUBSCRIBE was judged by
	lookups []lookup
	found   []packets.Subscription // those of one lookup, by topic
}

// parentOf returns the filter for the level above a #, or "".
func parentOf(filter string) string {
	parent, _ := strings.CutSuffix(filter, "/#")
	if len(parent) == len(filter) {
		return ""
	}
	return parent
}

// endsInPlus reports whether a filter's last level is +.
func endsInPlus(filter string) bool { return filter == "+" || strings.HasSuffix(filter, "/+") }

// twinOf returns the twin that stands where filter does.
func twinOf(cl *mqtt.Client, filter string) (packets.Subscription, bool) {
	if !endsInPlus(filter) {
		return packets.Subscription{}, false
	}
	all, ok := cl.State.Subscriptions.Get(filter + "/#")
	all.Filter = filter
	return all, ok
}

// paired is one subscription that does the work of a client's own and a twin.
func paired(own, twin packets.Subscription) packets.Subscription {
	own.Qos = max(own.Qos, twin.Qos)
	own.NoLocal = own.NoLocal && twin.NoLocal
	own.RetainAsPublished = own.RetainAsPublished || twin.RetainAsPublished
	own.Identifier = pairIDs(own.Identifier, twin.Identifier)
	return own
}

// maxSubscriptionID is the largest subscription identifier, of 28 bits (MQTT
// 5.0 §3.8.2.1.2).
const maxSubscriptionID = 1<<28 - 1

// pairIDs puts two identifiers into one number that is none. Where an int has
// 32 bits, the second is lost.
func pairIDs(a, b int) int {
	switch {
	case a == 0:
		return b
	case b == 0 || strconv.IntSize < 64:
		return a
	}
	return int(uint64(1)<<56 | uint64(b)<<28 | uint64(a))
}

// unpairIDs takes apart what pairIDs put together. The engine sorts them.
func unpairIDs(p *packets.Properties) {
	n := len(p.SubscriptionIdentifier)
	if n == 0 || p.SubscriptionIdentifier[n-1] <= maxSubscriptionID {
		return
	}
	out := make([]int, 0, 2*n)
	for _, id := range p.SubscriptionIdentifier {
		if id > maxSubscriptionID {
			out = append(out, int(uint64(id)>>28&maxSubscriptionID))
		}
		out = append(out, id&maxSubscriptionID)
	}
	slices.Sort(out)
	p.SubscriptionIdentifier = out
}

// settleTwin brings the engine's entry for filter, which ends in +, to what
// the client's own filters ask for.
func (n *Node) settleTwin(cl *mqtt.Client, filter string) {
	own, has := cl.State.Subscriptions.Get(filter)
	twin, doubled := twinOf(cl, filter)
	switch {
	case has && doubled:
		own = paired(own, twin)
	case doubled:
		own = twin
	case !has:
		n.server.Topics.Unsubscribe(filter, cl.ID)
		return
	}
	n.server.Topics.Subscribe(cl.ID, own)
}

// settleFilter does what a filter that came or went asks for.
func (n *Node) settleFilter(cl *mqtt.Client, filter string) {
	if parent := parentOf(filter); endsInPlus(parent) {
		n.settleTwin(cl, parent)
	} else if _, doubled := twinOf(cl, filter); doubled {
		n.settleTwin(cl, filter)
	}
}

// dropFilter takes a filter out of the engine's table that is no longer among
// the client's own.
func (c *client) dropFilter(filter string) {
	c.twinMu.Lock()
	defer c.twinMu.Unlock()
	if _, doubled := twinOf(c.cl, filter); !doubled {
		c.node.server.Topics.Unsubscribe(filter, c.id)
	}
	c.node.settleFilter(c.cl, filter)
}

// beginSubscribe makes a judged SUBSCRIBE ready for the engine.
func (c *client) beginSubscribe(pk packets.Packet) packets.Packet {
	c.subscribing.Store(true)
	q := &c.request
	q.own, q.existed, q.lookups = slices.Clone(pk.Filters), make([]bool, len(pk.Filters)), nil
	for i := range q.own {
		s := &pk.Filters[i]
		_, q.existed[i] = c.cl.State.Subscriptions.Get(s.Filter)
		if twin, doubled := twinOf(c.cl, s.Filter); doubled {
			*s = paired(*s, twin)
		}
	}
	return pk
}

// endSubscribe gives the client's subscriptions back what is their own. The
// engine looks at filters and codes again, for retained messages: it is told
// that none are asked for.
func (c *client) endSubscribe(pk *packets.Packet, codes []byte) {
	c.twinMu.Lock()
	defer c.twinMu.Unlock()
	q := &c.request
	for i, own := range q.own {
		if codes[i] >= packets.ErrUnspecifiedError.Code {
			continue
		}
		pk.Filters[i], codes[i] = own, own.Qos
		pk.Filters[i].RetainHandling = 2
		c.cl.State.Subscriptions.Add(own.Filter, own)
		c.node.settleFilter(c.cl, own.Filter)
		if own.NoLocal {
			c.noLocal.Store(true)
		}
		q.lookUp(own, q.existed[i])
	}
	c.subscribing.Store(false)
}

// identify puts a subscription's identifier where the engine looks for it when
// it sends retained messages (MQTT 5.0 §3.3.4).
func identify(s *packets.Subscription) {
	if s.Identifier > 0 {
		s.Identifiers = map[string]int{s.Filter: s.Identifier}
	}
}

// beginUnsubscribe finds out how an UNSUBSCRIBE is to be answered, and keeps
// from the engine what is not subscribed, which it would look for too broadly,
// and what its twin must outlive.
func (c *client) beginUnsubscribe(pk packets.Packet) packets.Packet {
	q := &c.request
	q.own = slices.Clone(pk.Filters)
	q.codes = make([]byte, len(pk.Filters))
	for i, s := range q.own {
		_, valid := parseRoute(s.Filter)
		_, known := c.cl.State.Subscriptions.Get(s.Filter)
		_, doubled := twinOf(c.cl, s.Filter)
		switch {
		case !valid:
			q.codes[i] = packets.ErrTopicFilterInvalid.Code
		case !known:
			q.codes[i] = packets.CodeNoSubscriptionExisted.Code
		case doubled:
			c.cl.State.Subscriptions.Delete(s.Filter)
			c.dropFilter(s.Filter)
		default:
			continue
		}
		pk.Filters[i].Filter = refusedName
	}
	return pk
}

// joinPairs prepares a session that c continues: the engine enters each filter
// anew, which would push twins out.
func (c *client) joinPairs(cl *mqtt.Client) {
	for filter, own := range cl.State.Subscriptions.GetAll() {
		if own.NoLocal {
			c.noLocal.Store(true)
		}
		twin, doubled := twinOf(cl, filter)
		if !doubled {
			continue
		}
		if c.pairs == nil {
			c.pairs = make(map[string]packets.Subscription)
		}
		c.pairs[filter] = own
		cl.State.Subscriptions.Add(filter, paired(own, twin))
	}
}

// splitPairs undoes joinPairs once the engine has done so.
func (c *client) splitPairs(cl *mqtt.Client) {
	for filter, own := range c.pairs {
		cl.State.Subscriptions.Add(filter, own)
	}
	c.pairs = nil
}

// parentGroups takes twins out of the share groups of the filters that they
// stand for, where they are groups of their own.
func (n *Node) parentGroups(subs *mqtt.Subscribers) {
	var groups map[string]map[string]packets.Subscription
	for filter, members := range subs.Shared {
		if !endsInPlus(filter) {
			continue
		}
		twins := n.splitGroup(filter, members)
		if len(twins) == 0 {
			continue
		}
		if groups == nil {
			groups = make(map[string]map[string]packets.Subscription)
		}
		groups[filter+"/#"] = twins
		if len(members) == 0 {
			delete(subs.Shared, filter)
		}
	}
	for filter, members := range groups {
		subs.Shared[filter] = members
	}
}

// splitGroup leaves in members those that have the filter themselves, and
// returns those that have its twin.
func (n *Node) splitGroup(filter string, members map[string]packets.Subscription) map[string]packets.Subscription {
	var twins map[string]packets.Subscription
	for id := range members {
		cl, known := n.server.Clients.Get(id)
		if !known {
			continue
		}
		all, doubled := cl.State.Subscriptions.Get(filter + "/#")
		if !doubled {
			continue
		}
		if twins == nil {
			twins = make(map[string]packets.Subscription)
		}
		twins[id] = all
		if own, has := cl.State.Subscriptions.Get(filter); has {
			members[id] = own
		} else {
			delete(members, id)
		}
	}
	return twins
}
