package wire

import (
	"net/netip"

	"clink/internal/etf"
)

// Forward is a message that crosses a link: the record of section 9.1.
type Forward struct {
	// ID is the message's id at its origin, the same whenever it is sent again.
	// See DecodeForward for ids of another length.
	ID   [16]byte
	QoS  byte   // the publisher's, whatever the QoS of the packet was
	From string // the publisher's client id, or the name of a part of the peer

	Dup, Retain bool
	Sys         bool // a message that the peer itself made, such as $SYS/...

	Username     string         // empty = none known
	PeerHost     netip.AddrPort // the publisher's address; port 0 = only its host is known; invalid = nothing is
	ProtoVersion byte           // the publisher's: 3, 4, 5; 0 = not known
	Properties   Properties

	Topic     string
	Payload   []byte
	Timestamp int64 // when the message was published at its origin, Unix milliseconds

	Aside *Aside // usually nil
}

// Properties are the properties of an MQTT 5 PUBLISH that subscribers of the
// far side get (section 9.4, MQTT 5.0 §3.3.2.3). A subscription identifier is
// not among them, though EMQX passes it on: no publisher may send one (MQTT 5.0
// §3.3.4), and one of the peer's side means another subscription here.
type Properties struct {
	HasPayloadFormat bool
	PayloadFormat    byte // 0 bytes, 1 UTF-8
	HasMessageExpiry bool
	MessageExpiry    uint32 // seconds from Forward.Timestamp on
	ContentType      string // empty = absent
	ResponseTopic    string // empty = absent
	CorrelationData  []byte // nil = absent
	User             []UserProperty
}

// UserProperty is one of a message's user properties. They keep their order,
// and a key may come several times.
type UserProperty struct{ Key, Value string }

const (
	propPayloadFormat   = "Payload-Format-Indicator"
	propMessageExpiry   = "Message-Expiry-Interval"
	propContentType     = "Content-Type"
	propResponseTopic   = "Response-Topic"
	propCorrelationData = "Correlation-Data"
	propUser            = "User-Property"
)

// Append adds the record of m to dst, not compressed. It writes what m holds:
// that the topic is a valid one is for the caller to know, for one with a
// wildcard in it would kill the connection at an EMQX peer (section 9.5).
func (m Forward) Append(dst []byte) []byte {
	dst = append(m.AppendHead(dst), m.Payload...)
	return m.AppendTail(dst)
}

// AppendHead adds what comes before the payload's bytes.
func (m *Forward) AppendHead(dst []byte) []byte {
	dst = etf.AppendTuple(append(dst, etf.Version), recordArity)
	dst = etf.AppendAtom(dst, "message")
	dst = etf.AppendBinary(dst, m.ID[:])
	dst = etf.AppendInt(dst, int64(m.QoS))
	dst = etf.AppendBinary(dst, m.From)
	dst = m.appendFlags(dst)
	dst = m.appendHeaders(dst)
	dst = etf.AppendBinary(dst, m.Topic)
	return etf.AppendBinaryHead(dst, len(m.Payload))
}

// AppendTail adds what comes behind them.
func (m *Forward) AppendTail(dst []byte) []byte {
	return m.Aside.append(etf.AppendInt(dst, m.Timestamp))
}

func (m *Forward) appendFlags(dst []byte) []byte {
	n := 2
	if m.Sys {
		n++
	}
	dst = etf.AppendMap(dst, n)
	dst = appendBool(etf.AppendAtom(dst, "dup"), m.Dup)
	dst = appendBool(etf.AppendAtom(dst, "retain"), m.Retain)
	if m.Sys {
		dst = appendBool(etf.AppendAtom(dst, "sys"), true)
	}
	return dst
}

func (m *Forward) appendHeaders(dst []byte) []byte {
	host, port := m.PeerHost.Addr().Unmap().WithZone(""), m.PeerHost.Port()
	hasHost, hasPort, hasProto := host.IsValid(), host.IsValid() && port != 0, m.ProtoVersion != 0
	n := 3 + count(hasHost) + count(hasPort) + 2*count(hasProto)
	dst = etf.AppendMap(dst, n)
	dst = etf.AppendMap(etf.AppendAtom(dst, "client_attrs"), 0)
	if hasHost {
		dst = appendIP(etf.AppendAtom(dst, "peerhost"), host)
	}
	if hasPort {
		dst = appendIP(etf.AppendTuple(etf.AppendAtom(dst, "peername"), 2), host)
		dst = etf.AppendInt(dst, int64(port))
	}
	dst = m.Properties.append(etf.AppendAtom(dst, "properties"))
	if hasProto {
		dst = etf.AppendInt(etf.AppendAtom(dst, "proto_ver"), int64(m.ProtoVersion))
		dst = etf.AppendAtom(etf.AppendAtom(dst, "protocol"), "mqtt")
	}
	dst = etf.AppendAtom(dst, "username")
	if m.Username == "" {
		return etf.AppendAtom(dst, "undefined")
	}
	return etf.AppendBinary(dst, m.Username)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func appendIP(dst []byte, host netip.Addr) []byte {
	if host.Is4() {
		dst = etf.AppendTuple(dst, 4)
		for _, b := range host.As4() {
			dst = etf.AppendInt(dst, int64(b))
		}
		return dst
	}
	dst = etf.AppendTuple(dst, 8)
	b := host.As16()
	for i := 0; i < len(b); i += 2 {
		dst = etf.AppendInt(dst, int64(b[i])<<8|int64(b[i+1]))
	}
	return dst
}

func (p *Properties) append(dst []byte) []byte {
	n := count(p.ContentType != "") + count(p.CorrelationData != nil) + count(p.HasMessageExpiry) +
		count(p.HasPayloadFormat) + count(p.ResponseTopic != "") + count(len(p.User) > 0)
	dst = etf.AppendMap(dst, n)
	if p.ContentType != "" {
		dst = etf.AppendBinary(etf.AppendAtom(dst, propContentType), p.ContentType)
	}
	if p.CorrelationData != nil {
		dst = etf.AppendBinary(etf.AppendAtom(dst, propCorrelationData), p.CorrelationData)
	}
	if p.HasMessageExpiry {
		dst = etf.AppendInt(etf.AppendAtom(dst, propMessageExpiry), int64(p.MessageExpiry))
	}
	if p.HasPayloadFormat {
		dst = etf.AppendInt(etf.AppendAtom(dst, propPayloadFormat), int64(p.PayloadFormat))
	}
	if p.ResponseTopic != "" {
		dst = etf.AppendBinary(etf.AppendAtom(dst, propResponseTopic), p.ResponseTopic)
	}
	if len(p.User) > 0 {
		dst = etf.AppendList(etf.AppendAtom(dst, propUser), len(p.User))
		for _, u := range p.User {
			dst = etf.AppendBinary(etf.AppendBinary(etf.AppendTuple(dst, 2), u.Key), u.Value)
		}
		dst = etf.AppendList(dst, 0)
	}
	return dst
}
