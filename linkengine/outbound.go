package linkengine

import (
	"clink/broker"
	"clink/linkengine/wire"
)

// notExported is the reason for which a message that a peer has a route for is
// not sent to it.
const notExported = "not-exported"

// Published forwards a message to the clusters that want it, one copy each
// (section 8). Messages that came over a link never get here.
func (h handler) Published(m *broker.Message) {
	var room [16]string
	peers := h.ext.Match(m.Topic, room[:0])
	doubtful := m.QoS > 0 && h.doubtful(m.Time)
	if len(peers) == 0 && !doubtful {
		return
	}
	links, exports := *h.links.Load(), *h.exports.Load()
	var r *wire.Forward
	for _, peer := range peers {
		l := links[peer]
		switch {
		case l == nil || !l.cfg.Load().Enable || l.fwd.Load() == nil && l.disk.Load() == nil:
			continue
		case !within(exports[peer], m.Topic):
			l.counters.Note(notExported)
			continue
		case r == nil:
			r = record(m)
			r.ID = h.ids.Next()
		}
		l.forward(r, orderKey(m.ClientID), m)
	}
	if doubtful {
		h.perhaps(m, r, peers)
	}
}

// orderKey is the same for all messages that must not overtake each other, those
// of one publisher, in every run of this program: some may wait on disk for the
// next. (It is FNV-1a.)
func orderKey(client string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(client) {
		h = (h ^ uint64(client[i])) * 1099511628211
	}
	return h ^ h>>32
}

// record is a broker's message as it crosses a link.
func record(m *broker.Message) *wire.Forward {
	r := &wire.Forward{
		QoS: m.QoS, From: m.ClientID, Retain: m.Retain,
		Username: m.Username, PeerHost: m.Peer, ProtoVersion: m.ProtoVersion,
		Topic: m.Topic, Payload: m.Payload, Timestamp: m.Time.UnixMilli(),
		Properties: wire.Properties{
			PayloadFormat: m.PayloadFormat, HasPayloadFormat: m.HasPayloadFormat,
			MessageExpiry: m.Expiry, HasMessageExpiry: m.HasExpiry,
			ContentType: m.ContentType, ResponseTopic: m.ResponseTopic, CorrelationData: m.CorrelationData,
		},
	}
	if len(m.User) > 0 {
		r.Properties.User = make([]wire.UserProperty, len(m.User))
		for i, u := range m.User {
			r.Properties.User[i] = wire.UserProperty(u)
		}
	}
	return r
}
