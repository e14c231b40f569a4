package broker

import (
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A will is a will message (MQTT 5.0 §3.1.2.5). The node publishes wills
// itself: the engine would skip access control, the handler and most
// properties, and refuses empty payloads.
type will struct {
	m     Message
	delay time.Duration
}

// takeWill moves the will out of a CONNECT before the engine sees it.
func takeWill(cl *mqtt.Client, pk *packets.Packet) {
	k, ok := cl.Net.Conn.(*conn)
	if !ok || !pk.Connect.WillFlag {
		return
	}
	p := &pk.Connect.WillProperties
	k.will = &will{
		delay: time.Duration(p.WillDelayInterval) * time.Second,
		m: Message{
			Topic: pk.Connect.WillTopic, Payload: pk.Connect.WillPayload, QoS: pk.Connect.WillQos, Retain: pk.Connect.WillRetain,
			PayloadFormat: p.PayloadFormat, HasPayloadFormat: p.PayloadFormatFlag,
			Expiry: p.MessageExpiryInterval, HasExpiry: p.MessageExpiryInterval > 0,
			ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData,
			User: userProperties(p.User),
		},
	}
	pk.Connect.WillFlag, pk.Connect.WillRetain, pk.Connect.WillQos = false, false, 0
}

// check says why a client with a will is not let in.
func (w *will) check(r *right) *refusal {
	if err := w.m.validate(); err != nil {
		return &refusal{packets.ErrTopicNameInvalid, "will: " + err.Error()}
	}
	if !r.publish(w.m.Topic, w.m.QoS, w.m.Retain) {
		return &refusal{packets.ErrNotAuthorized, "will: topic is not allowed"}
	}
	return nil
}

// publishWill publishes c's will, if c may still publish it.
func (n *Node) publishWill(c *client, w *will) {
	if !c.right.Load().judged() {
		n.recheck(n.access.Load(), c) // it comes before its session's turn in Apply
	}
	if r := c.right.Load(); !r.judged() || !r.publish(w.m.Topic, w.m.QoS, w.m.Retain) {
		n.drops.denied.Add(1)
		return
	}
	m := w.m
	m.ClientID, m.Username, m.ProtoVersion, m.Peer, m.Time = c.id, c.username, c.proto, c.peer, time.Now()
	if err := n.publish(&m, c.id); err != nil {
		n.log.Warn("publish will", "clientid", c.id, "error", err)
	}
}
