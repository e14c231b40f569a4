package broker

import (
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A hook is the node's side of the engine.
type hook struct {
	mqtt.HookBase
	n *Node
}

func (h *hook) ID() string { return "clink" }

func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnACLCheck,
		mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPublish, mqtt.OnPublished, mqtt.OnPublishDropped, mqtt.OnQosDropped,
		mqtt.OnQosPublish, mqtt.OnRetainMessage,
		mqtt.OnPacketProcessed, mqtt.OnPacketSent,
		mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnUnsubscribe, mqtt.OnUnsubscribed, mqtt.OnSelectSubscribers:
		return true
	}
	return false
}

// refusedName stands in a packet for a topic that its sender may not use. No
// client can send it itself, because of its U+0000.
const refusedName = "\x00"

// OnACLCheck is asked for each subscription and each delivery; what it says of
// subscriptions was found out before, in OnSubscribe.
func (h *hook) OnACLCheck(cl *mqtt.Client, name string, _ bool) bool {
	switch {
	case name == "":
		return true
	case name[0] == refusedName[0], name[0] == '$' && !mayReceive(cl, name):
		return false
	}
	c := clientOf(cl)
	return c == nil || c.asks(name) || c.room(name) && c.board(name)
}

// OnPacketRead sees each packet before the engine looks at it.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := clientOf(cl)
	if c == nil {
		if pk.FixedHeader.Type == packets.Connect {
			if !checkConnect(&pk) {
				return pk, packets.ErrRejectPacket
			}
			takeWill(cl, &pk)
		}
		return pk, nil
	}
	switch pk.FixedHeader.Type {
	case packets.Publish:
		c.readPublish(&pk)
	case packets.Pubrel:
		c.release(pk.PacketID)
		return inert(pk), nil
	case packets.Puback, packets.Pubcomp:
		c.acknowledging(pk.PacketID)
	case packets.Pubrec:
		c.held.drop(pk.PacketID) // the engine keeps only the identifier
		if pk.ReasonCode >= packets.ErrUnspecifiedError.Code || !pk.ReasonCodeValid() {
			c.acknowledging(pk.PacketID)
		}
	case packets.Disconnect:
		c.conn.told.Store(true)
		c.readDisconnect(&pk)
	case packets.Subscribe, packets.Unsubscribe:
		c.hideID(&pk)
	}
	return pk, c.protocolError(&pk)
}

// readPublish resolves a topic alias, so that access control sees the topic,
// and decides whether the publish is allowed.
func (c *client) readPublish(pk *packets.Packet) {
	if !c.checkName(pk) {
		return
	}
	p := &pk.Properties
	if p.TopicAliasFlag && p.TopicAlias > 0 && p.TopicAlias <= maxAliases {
		if pk.TopicName == "" {
			pk.TopicName = c.aliases[p.TopicAlias] // "" is refused by the engine
		} else {
			if c.aliases == nil {
				c.aliases = make(map[uint16]string)
			}
			c.aliases[p.TopicAlias] = strings.Clone(pk.TopicName)
		}
		p.TopicAlias, p.TopicAliasFlag = 0, false
	}
	c.denied = pk.TopicName != "" && !c.right.Load().publish(pk.TopicName, pk.FixedHeader.Qos, pk.FixedHeader.Retain)
	if c.denied {
		c.node.drops.denied.Add(1)
		pk.TopicName = refusedName
	}
}

// OnPublish is called for each publish that is allowed, before its
// acknowledgement. What is to be retained then is so next, and OnRetainMessage
// is called.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	pk, err := h.publish(cl, pk)
	if err == nil && pk.FixedHeader.Retain {
		h.n.retaining.Lock()
	}
	return pk, err
}

func (h *hook) publish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	pk.Created = h.n.seq.Add(1)
	c := clientOf(cl)
	if c == nil {
		if cl == h.n.local {
			pk.Origin, pk.Connect.ClientIdentifier = pk.Connect.ClientIdentifier, ""
		}
		if h.n.spread(&pk, nil) {
			return pk, packets.CodeSuccessIgnore
		}
		markTicket(&pk, h.n.grace.enter())
		h.n.admitPublish(&pk, nil)
		return pk, nil
	}
	if pk.Connect.WillQos == markBegun {
		pk.Connect.WillQos = 0
		return c.longRoad(pk), nil
	}
	if pk.FixedHeader.Qos == 2 {
		if err := c.receive(pk.PacketID); err != nil {
			return pk, err
		}
	}
	if c.denied {
		code := packets.ErrNotAuthorized
		if c.overName {
			code = packets.ErrTopicNameInvalid
		}
		c.answerPublish(&pk, code)
		return pk, packets.CodeSuccessIgnore
	}
	c.acks.begin(c, &pk)
	if c.session != nil && underLink(pk.TopicName) {
		return pk, c.control(&pk)
	}
	if pk.FixedHeader.Retain {
		markTime(&pk, time.Now())
	}
	if h.n.handler != nil {
		h.n.handler.Published(c.message(&pk))
	}
	if h.n.spread(&pk, &c.conn.todo) {
		c.answerPublish(&pk, packets.CodeSuccess)
		return pk, packets.CodeSuccessIgnore
	}
	return c.longRoad(pk), nil
}

// longRoad prepares a publish for the engine, and answers it.
func (c *client) longRoad(pk packets.Packet) packets.Packet {
	c.ticket = c.node.grace.enter()
	markTicket(&pk, c.ticket)
	markRetain(&pk, pk.FixedHeader.Retain)
	var kept bool
	c.entered, kept = c.node.admitPublish(&pk, &c.conn.todo)
	if c.wantsOwn(pk.TopicName) {
		pk.Origin = anonymous
	}
	code := packets.CodeSuccess
	if !kept && pk.FixedHeader.Qos == 1 { // with QoS 2 it would say that nobody gets it
		code = packets.Code{Code: packets.ErrQuotaExceeded.Code, Reason: "not retained"}
	}
	c.answerPublish(&pk, code)
	return pk
}

// OnPublished is called after the delivery.
func (h *hook) OnPublished(cl *mqtt.Client, pk packets.Packet) {
	h.n.grace.leave(markedTicket(&pk))
	h.n.large.leave(pk.TopicName)
	if c := clientOf(cl); c != nil {
		c.ticket, c.entered = 0, ""
		c.acks.end(c)
	}
}

// control hands a link's publish to the handler and answers it. The engine has
// nothing more to do with it.
func (c *client) control(pk *packets.Packet) error {
	verdict := AckNoMatch
	if c.node.handler != nil {
		verdict = c.node.handler.Control(c.session, c.message(pk))
	}
	switch {
	case verdict == ProtocolError:
		c.acks.abandon()
		c.node.disconnect(c, packets.ErrImplementationSpecificError)
		return packets.ErrRejectPacket
	case verdict == AckNoMatch && pk.FixedHeader.Qos == 1:
		c.answerPublish(pk, packets.CodeNoMatchingSubscribers)
	default:
		c.answerPublish(pk, packets.CodeSuccess)
	}
	return packets.CodeSuccessIgnore
}

// OnPublishDropped is called when the engine's queue is full: a publisher was
// quicker than a write loop that got no processor. It ends what room and board
// began; pk is the publisher's packet.
func (h *hook) OnPublishDropped(cl *mqtt.Client, pk packets.Packet) {
	h.n.drops.queue.Add(1)
	if c := clientOf(cl); c != nil {
		c.overrun(&pk)
	}
}

func (h *hook) OnQosDropped(cl *mqtt.Client, pk packets.Packet) {
	if c := clientOf(cl); c != nil {
		c.held.drop(pk.PacketID)
		if c.heir.Load() == nil {
			c.dropped(&pk)
		}
	}
	switch pk.FixedHeader.Type {
	case 0: // so the engine reports a message that expired, a second time
		h.n.drops.expired.Add(1)
	case packets.Pubrel:
		if c := clientOf(cl); c != nil && c.heir.Load() != nil {
			atomic.AddInt64(&h.n.server.Info.Inflight, 1) // as in inherit
		}
	case packets.Publish: // expired ones too: they are dropped where they would be sent
		if c := clientOf(cl); c != nil && c.heir.Load() != nil {
			c.heir.Load().inherit(pk)
		}
	}
}

// OnSubscribe judges each filter, and makes the engine refuse those it must:
// with 0x8F what is no filter, as not authorised what the client may not use.
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := clientOf(cl)
	if c == nil || pk.Connect.WillQos == markLookup {
		return pk
	}
	r, b := c.right.Load(), h.n.bounds.Load()
	c.request.judged = r
	c.meter()
	for i := range pk.Filters {
		s := &pk.Filters[i]
		route, ok := parseRoute(s.Filter)
		switch {
		case !ok, !b.topic(s.Filter):
			s.Filter = "#/"
		case !r.subscribe(route.Filter, s.Qos), !c.take(i, len(pk.Filters), s.Filter):
			s.Filter = refusedName
		}
	}
	pk = c.beginSubscribe(pk)
	c.asking(pk.Filters)
	return pk
}

// OnSubscribed is called after the filters took effect, with the answer.
func (h *hook) OnSubscribed(cl *mqtt.Client, pk packets.Packet, codes []byte) {
	c := clientOf(cl)
	if c != nil && pk.Connect.WillQos == markLookup {
		c.request.turnOn(&pk, codes)
		return
	}
	defer h.n.matches.changed()
	if c == nil {
		return
	}
	c.endSubscribe(&pk, codes)
	c.findRetained()
	c.subs.Add(1)
	c.hasSubscribed()
	c.subscribedTo(pk.Filters, codes)
	defer h.n.rejudge(c)
	if c.session != nil {
		return
	}
	for i, s := range pk.Filters {
		if codes[i] >= packets.ErrUnspecifiedError.Code {
			continue
		}
		if route, ok := parseRoute(s.Filter); ok {
			h.n.routes.add(c.id, route)
		}
	}
	h.n.countSubscriptions()
}

// OnUnsubscribe is called for an UNSUBSCRIBE, before it takes effect.
func (h *hook) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if c := clientOf(cl); c != nil {
		return c.beginUnsubscribe(pk)
	}
	return pk
}

// OnUnsubscribed is called for an UNSUBSCRIBE, with what OnUnsubscribe made of
// it, and at the end of a session with all of its filters.
func (h *hook) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	defer h.n.matches.changed()
	c := clientOf(cl)
	if c == nil {
		return
	}
	for i, s := range pk.Filters {
		if s.Filter == refusedName {
			s.Filter = c.request.own[i].Filter
		}
		if _, still := cl.State.Subscriptions.Get(s.Filter); still {
			continue
		}
		h.n.settleFilter(cl, s.Filter)
		c.unsubscribed(s.Filter)
		if route, ok := parseRoute(s.Filter); ok {
			h.n.routes.remove(c.id, route)
		}
	}
	if c.established && !c.conn.isClosed() {
		c.awaitStored()
	}
	c.subs.Add(1)
	h.n.countSubscriptions()
}

// countSubscriptions corrects the engine's count, which UNSUBSCRIBE lowers for
// filters that somebody else has.
func (n *Node) countSubscriptions() {
	atomic.StoreInt64(&n.server.Info.Subscriptions, int64(n.routes.subscriptions()))
}

// OnSelectSubscribers keeps $ topics from shared subscriptions that begin with
// a wildcard (MQTT 5.0 §4.7.2), and messages from group members that are not
// connected while others are.
func (h *hook) OnSelectSubscribers(subs *mqtt.Subscribers, pk packets.Packet) *mqtt.Subscribers {
	h.n.parentGroups(subs)
	for filter, members := range subs.Shared {
		route, ok := parseRoute(filter)
		if !ok || strings.HasPrefix(pk.TopicName, "$") && (route.Filter[0] == '+' || route.Filter[0] == '#') {
			delete(subs.Shared, filter)
			continue
		}
		h.n.preferConnected(members)
	}
	return subs
}

func (n *Node) preferConnected(members map[string]packets.Subscription) {
	if len(members) < 2 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	connected := 0
	for id := range members {
		if n.live[id] != nil {
			connected++
		}
	}
	if connected == 0 || connected == len(members) {
		return
	}
	for id := range members {
		if n.live[id] == nil {
			delete(members, id)
		}
	}
}
