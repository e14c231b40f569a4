package client

import (
	"encoding/binary"
	"fmt"
)

// A Head is what a PUBLISH frame begins with. QoS is 0 or 1; ID counts at QoS 1
// only.
type Head struct {
	Topic string
	QoS   byte
	Dup   bool
	ID    uint16
}

// AppendPublish adds the beginning of a PUBLISH frame without properties to dst
// (MQTT 5.0 §3.3), up to its payload, which has the given length.
func AppendPublish(dst []byte, h Head, payload int) []byte {
	first, length := byte(3<<4)|h.QoS<<1, 2+len(h.Topic)+1+payload
	if h.QoS > 0 {
		length += 2
		if h.Dup {
			first |= 1 << 3
		}
	}
	dst = binary.AppendUvarint(append(dst, first), uint64(length))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.Topic)))
	dst = append(dst, h.Topic...)
	if h.QoS > 0 {
		dst = binary.BigEndian.AppendUint16(dst, h.ID)
	}
	return append(dst, 0)
}

// A Refusal is the reason code (MQTT 5.0 §2.4) with which the peer refused a
// connection or a subscription, or ended a connection. Errors of this package
// wrap it.
type Refusal byte

// Error names the code.
func (c Refusal) Error() string {
	if name := codeNames[c]; name != "" {
		return fmt.Sprintf("%s (0x%02x)", name, byte(c))
	}
	return fmt.Sprintf("reason 0x%02x", byte(c))
}

var codeNames = [256]string{
	0x00: "normal disconnection", 0x04: "disconnect with will",
	0x80: "unspecified error", 0x81: "malformed packet", 0x82: "protocol error", 0x83: "implementation specific error",
	0x84: "unsupported protocol version", 0x85: "client identifier not valid", 0x86: "bad user name or password",
	0x87: "not authorized", 0x88: "server unavailable", 0x89: "server busy", 0x8a: "banned", 0x8b: "server shutting down",
	0x8c: "bad authentication method", 0x8d: "keep alive timeout", 0x8e: "session taken over", 0x8f: "topic filter invalid",
	0x90: "topic name invalid", 0x91: "packet identifier in use", 0x93: "receive maximum exceeded", 0x95: "packet too large",
	0x96: "message rate too high", 0x97: "quota exceeded", 0x98: "administrative action", 0x99: "payload format invalid",
	0x9b: "QoS not supported", 0x9c: "use another server", 0x9d: "server moved", 0x9f: "connection rate exceeded",
	0xa0: "maximum connect time",
}
