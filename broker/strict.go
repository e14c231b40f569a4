package broker

import (
	"encoding/binary"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// protocolError ends the connection of a client that sent what it must not, in
// cases that the engine lets pass or answers otherwise. It returns an error
// that keeps the packet from the engine.
func (c *client) protocolError(pk *packets.Packet) error {
	code := packets.CodeSuccess
	switch pk.FixedHeader.Type {
	case packets.Connack, packets.Suback, packets.Unsuback, packets.Pingresp:
		code = packets.ErrProtocolViolation // for servers only (MQTT 5.0 §2.1.2)
	case packets.Auth:
		code = packets.ErrProtocolViolation // no method was agreed on (§4.12)
	case packets.Subscribe:
		code = checkSubscribe(pk)
	case packets.Publish:
		code = checkPublish(pk)
	}
	if code == packets.CodeSuccess {
		return nil
	}
	c.node.disconnect(c, code)
	return packets.ErrRejectPacket
}

// checkSubscribe looks for what MQTT 5.0 §3.8 calls a protocol error.
func checkSubscribe(pk *packets.Packet) packets.Code {
	ids := pk.Properties.SubscriptionIdentifier
	if len(ids) > 1 || len(ids) == 1 && ids[0] == 0 {
		return packets.ErrProtocolViolation
	}
	for i := range pk.Filters {
		s := &pk.Filters[i]
		if s.RetainHandling > 2 || s.NoLocal && strings.HasPrefix(s.Filter, sharePrefix) {
			return packets.ErrProtocolViolation
		}
	}
	return packets.CodeSuccess
}

// checkPublish looks for what no subscriber could be sent (MQTT 5.0 §3.3.2.3).
func checkPublish(pk *packets.Packet) packets.Code {
	p := &pk.Properties
	if p.PayloadFormat > 1 || p.ResponseTopic != "" && strings.ContainsAny(p.ResponseTopic, "+#") {
		return packets.ErrProtocolViolation
	}
	return packets.CodeSuccess
}

// A checker looks at the bodies of those packets, in a stream of them, that the
// engine must not see before.
type checker struct {
	wants bool // the current packet is one of these
	kind  byte
	proto byte   // of the connection; 0 until its CONNECT
	kept  []byte // of the current body
	bad   bool   // one was malformed
	unfit bool   // the CONNECT's properties are a protocol error
	left  byte   // reason of the DISCONNECT, which the engine misses if nothing follows it
}

func (k *checker) begin(kind byte) {
	k.kind = kind
	k.wants = kind == packets.Subscribe || kind == packets.Disconnect || kind == packets.Connect && k.proto == 0
}

// body takes a part of a body, and reports whether all is well so far.
func (k *checker) body(p []byte, last bool) bool {
	if k.kind == packets.Disconnect {
		p = p[:min(len(p), 1-len(k.kept))]
	}
	k.kept = append(k.kept, p...)
	if !last {
		return true
	}
	switch k.kind {
	case packets.Connect:
		k.proto = protocolLevel(k.kept)
		k.unfit = !fitConnect(k.kept)
	case packets.Disconnect:
		k.left = k.kept[0]
	default:
		k.bad = !wellFormed(k.kept, k.proto)
	}
	k.kept = nil
	return !k.bad
}

// protocolLevel reads it from the beginning of a CONNECT's body; 255 if it is
// not there.
func protocolLevel(body []byte) byte {
	if len(body) >= 2 {
		if at := 2 + int(binary.BigEndian.Uint16(body)); at < len(body) {
			return body[at]
		}
	}
	return 255
}

// length reports whether a packet of the current kind may have a body of so many
// bytes, where the engine does not look.
func (k *checker) length(n int64) bool {
	switch k.kind {
	case packets.Pingreq:
		k.bad = n != 0
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		k.bad = n > 2 && k.before5()
	case packets.Disconnect:
		k.bad = n > 0 && k.before5()
	}
	return !k.bad
}

func (k *checker) before5() bool { return k.proto == 3 || k.proto == 4 }

// fault is why pass refused what it saw.
func (g *frameGuard) fault() packets.Code {
	if g.check.bad {
		return packets.ErrMalformedPacket
	}
	return packets.ErrPacketTooLarge
}

// checkConnect reports whether a CONNECT's flags go together, as far as the
// engine does not look (MQTT 5.0 §3.1.2.5, MQTT 3.1.1 §3.1.2.8).
func checkConnect(pk *packets.Packet) bool {
	p := &pk.Connect
	return p.WillQos <= 2 && (p.WillFlag || p.WillQos == 0) && (pk.ProtocolVersion >= 5 || p.UsernameFlag || !p.PasswordFlag)
}

// encodeRefusal gives the engine's own refusals of a CONNECT the codes that the
// standards ask for. It reports whether to send it: MQTT 3.1.1 has no answer to
// a malformed CONNECT.
func encodeRefusal(pk *packets.Packet) bool {
	if pk.Properties.ReasonString == packets.ErrProtocolViolationProtocolVersion.Reason {
		if pk.ProtocolVersion < 5 {
			pk.ReasonCode = packets.Err3UnsupportedProtocolVersion.Code
		} else {
			pk.ReasonCode, pk.ProtocolVersion = packets.ErrUnsupportedProtocolVersion.Code, 5
			pk.Properties = packets.Properties{}
		}
		return true
	}
	if pk.ProtocolVersion >= 5 || pk.ReasonCode < packets.ErrUnspecifiedError.Code {
		return true
	}
	if pk.ReasonCode == packets.ErrUnspecifiedError.Code { // no client id, and a session to be kept
		pk.ReasonCode = packets.Err3ClientIdentifierNotValid.Code
		return true
	}
	return false
}

// wellFormed checks the body of a SUBSCRIBE, which the engine reads beyond its
// end, and whose reserved bits it ignores (MQTT 5.0 §3.8.3.1).
func wellFormed(body []byte, proto byte) bool {
	at := 2
	if proto == 5 {
		n, size := binary.Uvarint(body[min(at, len(body)):])
		if size <= 0 || size > 4 || n > uint64(len(body)) {
			return false
		}
		at += size + int(n)
	}
	for at < len(body) {
		if at+2 > len(body) {
			return false
		}
		at += 2 + int(binary.BigEndian.Uint16(body[at:]))
		if at >= len(body) || body[at]&0xc0 != 0 {
			return false
		}
		at++
	}
	return at == len(body)
}
