package broker

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"clink/topic"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A Message is one application message (MQTT 5.0 §3.3). Payload and
// CorrelationData may be kept by whoever receives the message, and must never
// be written to.
type Message struct {
	Topic        string
	Payload      []byte
	QoS          byte // 0, 1 or 2
	Dup, Retain  bool
	ClientID     string         // of the publisher
	Username     string         // of the publisher
	ProtoVersion byte           // 3 (MQTT 3.1), 4 (3.1.1) or 5; 0 if it did not come over a connection
	Peer         netip.AddrPort // of the publisher; the zero value if it did not come over a connection
	Time         time.Time      // received here, or published at the origin

	PayloadFormat    byte // 1: UTF-8
	HasPayloadFormat bool
	Expiry           uint32 // seconds from Time on
	HasExpiry        bool
	ContentType      string
	ResponseTopic    string
	CorrelationData  []byte
	User             []UserProperty // in order, names may repeat

	out *outbox // the publisher's; nil: it has none
}

// Soon has f.Flush called when the publisher's connection has nothing more to
// hand over for now, or at once if the message did not come over one. It is for
// [Handler.Published] while it runs.
func (m *Message) Soon(f interface{ Flush() }) {
	if m.out == nil || !m.out.has(f) && !m.out.take(f) {
		f.Flush()
	}
}

// Settle does what was put off until the publisher's connection waits. A
// handler must call it before it waits for anything.
func (m *Message) Settle() { m.out.flush() }

// A UserProperty is one name and value (MQTT 5.0 §3.3.2.3.7).
type UserProperty struct{ Key, Value string }

// maxString is the longest UTF-8 string or binary datum in bytes (MQTT 5.0
// §1.5.4); maxPacket is the largest remaining length (§1.5.5) less what the
// engine adds.
const (
	maxString = math.MaxUint16
	maxPacket = 268435455 - 1<<16
)

// validate reports why m cannot be delivered. What passes encodes into a
// packet that a subscriber can read.
func (m *Message) validate() error {
	if err := topic.ValidName(m.Topic); err != nil {
		return err
	}
	if strings.HasPrefix(m.Topic, "$SYS/") || underLink(m.Topic) {
		return fmt.Errorf("topic name %.80q is reserved for the broker", m.Topic)
	}
	if m.QoS > 2 {
		return fmt.Errorf("QoS %d is not 0, 1 or 2", m.QoS)
	}
	if m.ResponseTopic != "" {
		if err := topic.ValidName(m.ResponseTopic); err != nil {
			return fmt.Errorf("response topic: %w", err)
		}
	}
	return m.validateProperties()
}

func (m *Message) validateProperties() error {
	size := len(m.Topic) + len(m.Payload) + len(m.ContentType) + len(m.ResponseTopic) + len(m.CorrelationData)
	if len(m.CorrelationData) > maxString {
		return errors.New("correlation data is longer than 65535 bytes")
	}
	if err := validString(m.ContentType); err != nil {
		return fmt.Errorf("content type %w", err)
	}
	for _, u := range m.User {
		if err := errors.Join(validString(u.Key), validString(u.Value)); err != nil {
			return fmt.Errorf("user property %w", err)
		}
		size += len(u.Key) + len(u.Value) + 5
	}
	if size > maxPacket {
		return fmt.Errorf("message of %d bytes does not fit into a packet", size)
	}
	return nil
}

func validString(s string) error {
	switch {
	case len(s) > maxString:
		return errors.New("is longer than 65535 bytes")
	case !utf8.ValidString(s), strings.IndexByte(s, 0) >= 0:
		return errors.New("is not a valid UTF-8 string")
	}
	return nil
}

// underLink reports whether a topic name or filter is among those that only
// grants open.
func underLink(name string) bool {
	return strings.HasPrefix(name, linkPrefix) || name == linkPrefix[:len(linkPrefix)-1]
}

const linkPrefix = "$LINK/"

// message views a packet as a Message. Payload and correlation data are
// shared: the engine gives every inbound packet memory of its own.
func (c *client) message(pk *packets.Packet) *Message {
	p := &pk.Properties
	m := &Message{
		Topic: pk.TopicName, Payload: pk.Payload, QoS: pk.FixedHeader.Qos,
		Dup: pk.FixedHeader.Dup, Retain: pk.FixedHeader.Retain,
		ClientID: c.id, Username: c.username, ProtoVersion: c.proto, Peer: c.peer, Time: c.publishedAt(pk), out: &c.conn.todo,
		PayloadFormat: p.PayloadFormat, HasPayloadFormat: p.PayloadFormatFlag,
		Expiry: p.MessageExpiryInterval, HasExpiry: p.MessageExpiryInterval > 0,
		ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData,
	}
	m.User = userProperties(p.User)
	return m
}

func userProperties(in []packets.UserProperty) []UserProperty {
	if len(in) == 0 {
		return nil
	}
	out := make([]UserProperty, len(in))
	for i, u := range in {
		out[i] = UserProperty{u.Key, u.Val}
	}
	return out
}

// packet is the packet with which m enters the engine through an inline
// client, expiring after the given number of seconds (0: never).
func (m *Message) packet(expiry uint32) packets.Packet {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: m.QoS, Retain: m.Retain},
		TopicName:   m.Topic,
		Payload:     m.Payload,
		Properties: packets.Properties{
			PayloadFormat: m.PayloadFormat, PayloadFormatFlag: m.HasPayloadFormat,
			MessageExpiryInterval: expiry,
			ContentType:           m.ContentType, ResponseTopic: m.ResponseTopic, CorrelationData: m.CorrelationData,
		},
	}
	if m.QoS > 0 {
		pk.PacketID = 1 // the engine demands one, and never uses it
	}
	if len(m.User) > 0 {
		pk.Properties.User = make([]packets.UserProperty, len(m.User))
		for i, u := range m.User {
			pk.Properties.User[i] = packets.UserProperty{Key: u.Key, Val: u.Value}
		}
	}
	if m.Retain {
		markTime(&pk, m.Time)
	}
	return pk
}

// remaining returns the seconds that m may still wait, 0 for ever, and false
// if it has expired. It never grants more than the publisher did, so a clock
// that runs behind the origin's does not prolong a message's life.
func (m *Message) remaining(now time.Time) (uint32, bool) {
	if !m.HasExpiry {
		return 0, true
	}
	age := now.Sub(m.Time)
	if m.Time.IsZero() || age < 0 {
		age = 0
	}
	left := time.Duration(m.Expiry)*time.Second - age
	if left <= 0 {
		return 0, false
	}
	return uint32((left + time.Second - 1) / time.Second), true
}
