package broker

import (
	"bytes"
	"encoding/binary"
)

// What the properties of a CONNECT and of its will must not be: there twice, or
// of a value that is none (MQTT 5.0 §3.1.2.11, §3.1.3.2). The engine's form of
// a packet no longer shows either.

// Sizes of the values of properties that a client may send with a CONNECT;
// negative ones are texts of that many parts. All but user properties come
// once.
var connectWidths = map[byte]int{
	propPayloadFormat: 1, propMessageExpiry: 4, propContentType: -1, propResponseTopic: -1, propCorrelation: -1,
	propSessionExpiry: 4, propAuthMethod: -1, propAuthData: -1, propRequestProblem: 1, propWillDelay: 4,
	propRequestResponse: 1, propReceiveMaximum: 2, propTopicAliasMaximum: 2, propUser: -2, propMaximumPacketSize: 4,
}

const (
	propPayloadFormat     = 0x01
	propMessageExpiry     = 0x02
	propContentType       = 0x03
	propResponseTopic     = 0x08
	propCorrelation       = 0x09
	propSessionExpiry     = 0x11
	propAuthMethod        = 0x15
	propAuthData          = 0x16
	propRequestProblem    = 0x17
	propWillDelay         = 0x18
	propRequestResponse   = 0x19
	propReceiveMaximum    = 0x21
	propTopicAliasMaximum = 0x22
	propUser              = 0x26
	propMaximumPacketSize = 0x27
)

// fitConnect reports whether nothing is wrong with the properties in the body
// of a CONNECT. What cannot be read is left to the engine, which refuses it.
func fitConnect(body []byte) bool {
	name, rest, ok := cutText(body)
	if !ok || len(rest) < 4 || string(name) != "MQTT" || rest[0] != 5 {
		return true
	}
	const withWill = 1 << 2
	flags := rest[1]
	props, rest, ok := cutProps(rest[4:])
	if !ok {
		return true
	}
	if !fitProps(props) {
		return false
	}
	if flags&withWill == 0 {
		return true
	}
	if _, rest, ok = cutText(rest); !ok {
		return true
	}
	props, _, ok = cutProps(rest)
	return !ok || fitProps(props)
}

func cutText(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if n > len(b) {
		return nil, nil, false
	}
	return b[2:n], b[n:], true
}

func cutProps(b []byte) (props, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || size > 4 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	end := size + int(n)
	return b[size:end], b[end:], true
}

func fitProps(b []byte) bool {
	var seen uint64
	for len(b) > 0 {
		id := b[0]
		width, known := connectWidths[id]
		if !known {
			return true // malformed: the engine says so
		}
		value, rest, ok := cutValue(b[1:], width)
		if !ok {
			return true
		}
		bit := uint64(1) << id
		if id != propUser && seen&bit != 0 || !fitValue(id, value) {
			return false
		}
		seen |= bit
		b = rest
	}
	const method, data = uint64(1) << propAuthMethod, uint64(1) << propAuthData
	return seen&(method|data) != data
}

func cutValue(b []byte, width int) (value, rest []byte, ok bool) {
	if width > 0 {
		if width > len(b) {
			return nil, nil, false
		}
		return b[:width], b[width:], true
	}
	for ; width < 0; width++ {
		if value, b, ok = cutText(b); !ok {
			return nil, nil, false
		}
	}
	return value, b, true
}

func fitValue(id byte, value []byte) bool {
	switch id {
	case propPayloadFormat, propRequestProblem, propRequestResponse:
		return value[0] <= 1
	case propReceiveMaximum, propMaximumPacketSize:
		return bytes.ContainsFunc(value, func(r rune) bool { return r != 0 })
	}
	return true
}
