package linkengine

import (
	"strings"
	"sync"
	"time"

	"clink/broker"
	"clink/linkengine/wire"
	"clink/topic"
)

// Reasons for which a forwarded message is not delivered here.
const (
	badRecord    = "bad-record"    // it is none, or its topic cannot be published
	linkDisabled = "link-disabled" // or there is none
	notWanted    = "not-wanted"    // outside the link's topics
	repeated     = "repeated"      // a QoS 2 message that came before
	notDelivered = "not-delivered" // the broker refused it
	uncalledCopy = "uncalled-copy" // a retained message that the link does not ask for
)

// deliver publishes a message that a peer forwarded (section 9.5). Whatever is
// wrong with it, it is acknowledged: the peer would only send it again.
func (h handler) deliver(s *broker.Session, m *broker.Message) broker.Verdict {
	l := (*h.links.Load())[s.Peer()]
	if l == nil {
		h.fault(s.Peer(), "a peer without a link forwards messages", "client", short(s.ClientID()))
		return broker.AckNoMatch
	}
	record, reason := l.read(m.Payload)
	if reason == "" && record.Aside != nil && record.Aside.Trace != nil {
		return l.probed(s, &record)
	}
	if reason == "" {
		reason = l.accept(s, &record)
	}
	if reason != "" {
		l.counters.Note(reason)
		return broker.AckNoMatch
	}
	l.received.Add(1)
	return broker.Ack
}

func (l *link) read(payload []byte) (record wire.Forward, reason string) {
	if !l.cfg.Load().Enable {
		return record, linkDisabled
	}
	record, err := wire.DecodeForward(payload, l.limits)
	if err != nil {
		l.fault(l.peer, "a peer forwards what is no message", "err", short(err.Error()))
		return record, badRecord
	}
	return record, ""
}

// accept delivers a record, and returns why it does not, or "".
func (l *link) accept(s *broker.Session, record *wire.Forward) string {
	cfg := l.cfg.Load()
	switch {
	case !within(cfg.Topics, record.Topic):
		return notWanted
	case record.QoS == 2 && l.recent.seen(record.ID):
		return repeated
	}
	if record.Aside != nil && record.Aside.Copy && !cfg.Retained {
		return uncalledCopy
	}
	if err := l.inject(s, record, cfg.Retained); err != nil {
		l.fault(l.peer, "a forwarded message cannot be delivered", "err", short(err.Error()))
		return notDelivered
	}
	return ""
}

// within reports whether one of the filters matches the topic name. What lies
// under $LINK/ is never forwarded, whatever the filters say.
func within(filters []topic.Filter, name string) bool {
	for _, f := range filters {
		if f.Match(name) {
			return !strings.HasPrefix(name, "$LINK/")
		}
	}
	return false
}

// message is a record as a broker's message. A time of publishing in the future
// counts as now for its expiry, and stays what it is for comparing.
func message(r *wire.Forward) *broker.Message {
	p := &r.Properties
	m := &broker.Message{
		Topic: r.Topic, Payload: r.Payload, QoS: r.QoS, Retain: r.Retain,
		ClientID: r.From, Username: r.Username, ProtoVersion: r.ProtoVersion, Peer: r.PeerHost,
		Time:          time.UnixMilli(r.Timestamp),
		PayloadFormat: p.PayloadFormat, HasPayloadFormat: p.HasPayloadFormat,
		Expiry: p.MessageExpiry, HasExpiry: p.HasMessageExpiry,
		ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData,
	}
	if len(p.User) > 0 {
		m.User = make([]broker.UserProperty, len(p.User))
		for i, u := range p.User {
			m.User[i] = broker.UserProperty(u)
		}
	}
	return m
}

// recent remembers the ids of the last QoS 2 messages, for a peer may forward
// one twice, and its subscribers asked for exactly once (section 16, point 8).
type recent struct {
	mu   sync.Mutex
	ids  map[[16]byte]struct{}
	ring [][16]byte
	next int
}

const recentIDs = 4096

// seen reports whether the id came before, and remembers it.
func (r *recent) seen(id [16]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.ids[id]; ok {
		return true
	}
	if r.ids == nil {
		r.ids = make(map[[16]byte]struct{})
	}
	if len(r.ring) < recentIDs {
		r.ring = append(r.ring, id)
	} else {
		delete(r.ids, r.ring[r.next])
		r.ring[r.next] = id
		r.next = (r.next + 1) % recentIDs
	}
	r.ids[id] = struct{}{}
	return false
}
