package broker

import (
	"clink/topic"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// filters are a client's subscriptions, share groups taken off, sorted by what
// has to be asked of them for each message.
type filters struct {
	subs   uint64         // what they were made at
	all    []topic.Filter // every one
	retain []topic.Filter // with Retain As Published
	others []topic.Filter // without No Local, and not shared
}

// filtersNow returns c's filters, read anew when they have changed.
func (c *client) filtersNow() *filters {
	now := c.subs.Load()
	f := c.filters.Load()
	if f != nil && f.subs == now {
		return f
	}
	f = &filters{subs: now}
	for filter, sub := range c.cl.State.Subscriptions.GetAll() {
		route, ok := parseRoute(filter)
		if !ok {
			continue
		}
		f.all = append(f.all, route.Filter)
		if sub.RetainAsPublished {
			f.retain = append(f.retain, route.Filter)
		}
		if !sub.NoLocal && route.Group == "" {
			f.others = append(f.others, route.Filter)
		}
	}
	c.filters.Store(f)
	return f
}

// wantsRetain reports whether one of c's subscriptions to a topic name has
// Retain As Published (MQTT 5.0 §3.8.3.1).
func (c *client) wantsRetain(name string) bool {
	return c.proto == 5 && matches(c.filtersNow().retain, name)
}

// anonymous is the origin of a message that No Local must not hold back. No
// client id contains U+0000.
const anonymous = "\x00"

// wantsOwn reports whether c, which has subscriptions with No Local, has also
// one without it to what it publishes itself: of overlapping subscriptions the
// engine lets the strictest decide, where each stands for itself (MQTT 5.0
// §3.3.4, §3.8.3.1).
func (c *client) wantsOwn(name string) bool {
	return c.noLocal.Load() && matches(c.filtersNow().others, name)
}

// mayReceive reports whether a client is to get a message under a topic that
// begins with $. The engine finds retained ones for filters that begin with a
// wildcard too (MQTT 5.0 §4.7.2).
func mayReceive(cl *mqtt.Client, name string) bool {
	c := clientOf(cl)
	return c == nil || c.subscribing.Load() || matches(c.filtersNow().all, name)
}
