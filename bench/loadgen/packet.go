package loadgen

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// First bytes of control packets, MQTT 5.0 §2.1.
const (
	connectByte    = 0x10
	publishByte    = 0x30
	subscribeByte  = 0x82
	disconnectByte = 0xE0

	connackType    = 2
	publishType    = 3
	pubackType     = 4
	subackType     = 9
	disconnectType = 14
)

var errShort = errors.New("the broker sent a packet that ends too early")

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// frame puts the fixed header in front of body.
func frame(first byte, body []byte) []byte {
	return append(appendHeader(nil, first, len(body)), body...)
}

// appendHeader appends a fixed header, MQTT 5.0 §2.1.4.
func appendHeader(b []byte, first byte, length int) []byte {
	b = append(b, first)
	for length >= 0x80 {
		b = append(b, byte(length)|0x80)
		length >>= 7
	}
	return append(b, byte(length))
}

// connectPacket has a clean session and no keep-alive.
func connectPacket(c *Config, clientID string) []byte {
	flags := byte(0x02)
	if c.Username != "" {
		flags |= 0x80
	}
	if c.Password != "" {
		flags |= 0x40
	}
	b := appendString(nil, "MQTT")
	b = append(b, c.Version, flags, 0, 0)
	if c.Version == 5 {
		b = append(b, 0)
	}
	b = appendString(b, clientID)
	if c.Username != "" {
		b = appendString(b, c.Username)
	}
	if c.Password != "" {
		b = appendString(b, c.Password)
	}
	return frame(connectByte, b)
}

func subscribePacket(c *Config, id uint16, filters ...string) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	if c.Version == 5 {
		b = append(b, 0)
	}
	for _, f := range filters {
		b = append(appendString(b, f), c.QoS)
	}
	return frame(subscribeByte, b)
}

// A packet is one control packet; its body is good until the next is read.
type packet struct {
	first byte
	body  []byte
}

func (p packet) kind() byte { return p.first >> 4 }

// readPacket reads a packet of at most limit bytes into buf, or into a larger
// one in its place.
func readPacket(r *bufio.Reader, buf []byte, limit int) (packet, error) {
	first, err := r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	length, err := readLength(r)
	if err != nil {
		return packet{}, err
	}
	if length > limit {
		return packet{}, fmt.Errorf("the broker sent a packet of %d bytes, more than the %d that can be meant", length, limit)
	}
	if cap(buf) < length {
		buf = make([]byte, length)
	}
	_, err = io.ReadFull(r, buf[:length])
	return packet{first, buf[:length]}, err
}

func readLength(r *bufio.Reader) (int, error) {
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		n |= int(b&0x7F) << shift
		if b < 0x80 {
			return n, nil
		}
	}
	return 0, errors.New("the broker sent a packet length of more than four bytes")
}

// splitProperties returns the properties in front of b and what follows them.
func splitProperties(b []byte) (props, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || size > 4 || n > uint64(len(b)-size) {
		return nil, nil, errShort
	}
	return b[size : size+int(n)], b[size+int(n):], nil
}

// A delivery is a PUBLISH as a subscriber gets it.
type delivery struct {
	qos     byte
	id      []byte // packet identifier
	payload []byte
}

// parsePublish follows MQTT 5.0 §3.3.
func parsePublish(p packet, version byte) (d delivery, err error) {
	b := p.body
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
		return d, errShort
	}
	b = b[2+int(binary.BigEndian.Uint16(b)):]
	if d.qos = p.first >> 1 & 3; d.qos > 0 {
		if len(b) < 2 {
			return d, errShort
		}
		d.id, b = b[:2], b[2:]
	}
	if version == 5 {
		if _, b, err = splitProperties(b); err != nil {
			return d, err
		}
	}
	d.payload = b
	return d, nil
}

// receiveMaximum finds the Receive Maximum among the properties of a CONNACK,
// MQTT 5.0 §3.2.2.3.3.
func receiveMaximum(props []byte) (int, error) {
	for len(props) > 0 {
		n := propertyLength(props)
		if n == 0 || n > len(props) {
			return 0, fmt.Errorf("the broker sent a CONNACK with a broken property 0x%02x", props[0])
		}
		if props[0] == 0x21 {
			return int(binary.BigEndian.Uint16(props[1:])), nil
		}
		props = props[n:]
	}
	return 65535, nil
}

// propertyLength is the length of the first property of a CONNACK in bytes,
// its identifier included; 0 if it cannot be told.
func propertyLength(b []byte) int {
	text := func(at int) int {
		if len(b) < at+2 {
			return 0
		}
		return at + 2 + int(binary.BigEndian.Uint16(b[at:]))
	}
	switch b[0] {
	case 0x24, 0x25, 0x28, 0x29, 0x2A:
		return 2
	case 0x13, 0x21, 0x22:
		return 3
	case 0x11, 0x27:
		return 5
	case 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F:
		return text(1)
	case 0x26:
		if value := text(1); value > 0 {
			return text(value)
		}
	}
	return 0
}

// The stamp at the start of each payload: the time in nanoseconds since the
// run's start, the publisher's number, the message's number.
const stampSize = 8 + 4 + 8

// probeNumber is the publisher's number in messages that are not counted.
const probeNumber = 0xFFFFFFFF

func putStamp(b []byte, at int64, publisher uint32, seq uint64) {
	binary.BigEndian.PutUint64(b, uint64(at))
	binary.BigEndian.PutUint32(b[8:], publisher)
	binary.BigEndian.PutUint64(b[12:], seq)
}

func stampOf(b []byte) (at int64, publisher uint32, seq uint64) {
	return int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint64(b[12:])
}
