package wire

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"net/netip"
	"unicode/utf8"

	"clink/internal/etf"
)

const recordArity = 10

// TopicError tells why the topic inside a record cannot be published: EMQX loses
// the connection over some of these (section 9.5), and no MQTT broker may take
// the others (MQTT 5.0 §4.7.3).
type TopicError struct {
	Reason string // "is empty", "is over 65535 bytes", "has a wildcard", "has a NUL", "is not UTF-8"
}

func (e *TopicError) Error() string { return "topic of the forwarded message " + e.Reason }

// topicFault is the Reason of a TopicError, or empty.
func topicFault(topic []byte) string {
	switch {
	case len(topic) == 0:
		return "is empty"
	case len(topic) > math.MaxUint16:
		return "is over 65535 bytes"
	case bytes.ContainsAny(topic, "+#"):
		return "has a wildcard"
	}
	return textFault(topic)
}

// textFault says what keeps b from being a string of MQTT 5.0 §1.5.4.
func textFault(b []byte) string {
	switch {
	case len(b) > math.MaxUint16:
		return "is over 65535 bytes"
	case bytes.IndexByte(b, 0) >= 0:
		return "has a NUL"
	case !utf8.Valid(b):
		return "is not UTF-8"
	}
	return ""
}

// DecodeForward reads the record in the payload of a msg packet, compressed or
// not. Payload and CorrelationData point into b, or into a buffer of this call
// if b is compressed, so b must stay as it is while they are in use; the strings
// are copies.
//
// It is more lenient than EMQX where nothing is lost by it: atoms and headers
// that are not known are passed over, property names may be binaries, From may
// be an atom, the payload may be an iolist, Extra may hold any keys, and a key
// that comes twice is an error only where its value is read. An id that
// is not 16 bytes long is replaced by the first 16 bytes of the SHA-256 of the
// whole record, which is the same again when the record is.
//
// A record of another arity or tag, with a field of another type, with Extra
// that is no map, or with properties that no MQTT packet can carry is
// ErrMalformed; a topic that cannot be published is a *TopicError.
func DecodeForward(b []byte, lim Limits) (Forward, error) {
	r, err := etf.Open(b, lim.etf(lim.Record))
	if err != nil {
		return Forward{}, fault("record", err)
	}
	var m Forward
	d := recordReader{Reader: r}
	if !d.AtTuple() {
		if d.Skip(); d.Err() == nil {
			d.malformed("the payload is not a tuple")
		}
	} else if n := d.Tuple(); n != recordArity {
		d.malformed("tuple of %d elements, not %d", n, recordArity)
	} else {
		d.message(&m)
	}
	if err := d.failure(); err != nil {
		return Forward{}, err
	}
	return m, nil
}

// recordReader reads a record; its own err is for what is well-formed and wrong.
type recordReader struct {
	etf.Reader
	err error
}

func (d *recordReader) failure() error {
	if err := d.Err(); err != nil && d.err == nil {
		return fault("record", err)
	}
	return d.err
}

// ok tells whether reading goes on.
func (d *recordReader) ok() bool { return d.err == nil && d.Err() == nil }

func (d *recordReader) malformed(format string, args ...any) {
	if d.ok() {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

func (d *recordReader) message(m *Forward) {
	if tag := d.Atom(); string(tag) != "message" {
		d.malformed("the tuple is not tagged message")
		return
	}
	d.id(m)
	if qos := d.Int(); qos < 0 || qos > 2 {
		d.malformed("QoS %d", qos)
	} else {
		m.QoS = byte(qos)
	}
	if d.AtAtom() {
		m.From = string(d.Atom())
	} else {
		m.From = string(d.Binary())
	}
	d.flags(m)
	d.headers(m)
	d.topic(m)
	m.Payload = d.IOData()
	m.Timestamp = d.Int()
	if d.ok() && !d.AtMap() {
		d.malformed("Extra is not a map")
	}
	if extra := d.aside(); d.ok() {
		m.Aside = readAside(extra)
	}
}

func (d *recordReader) id(m *Forward) {
	id := d.Binary()
	if len(id) == len(m.ID) {
		copy(m.ID[:], id)
		return
	}
	if d.ok() {
		sum := sha256.Sum256(d.Bytes())
		copy(m.ID[:], sum[:])
	}
}

func (d *recordReader) topic(m *Forward) {
	topic := d.Binary()
	if !d.ok() {
		return
	}
	if reason := topicFault(topic); reason != "" {
		d.err = &TopicError{Reason: reason}
		return
	}
	m.Topic = string(topic)
}

// key reads the key of a map. One that is neither an atom nor, if admitted, a
// binary is passed over.
func (d *recordReader) key(binaries bool) []byte {
	switch {
	case d.AtAtom():
		return d.Atom()
	case binaries && d.AtBinary():
		return d.Binary()
	}
	d.Skip()
	return nil
}

// once notes that a key with the given bit came, and fails where it came before.
func (d *recordReader) once(seen *uint, bit uint) {
	if *seen&bit != 0 && d.ok() {
		d.err = fmt.Errorf("%w: a key comes twice", ErrUndecodable)
	}
	*seen |= bit
}

func (d *recordReader) flags(m *Forward) {
	var seen uint
	for n := d.Map(); n > 0 && d.ok(); n-- {
		switch string(d.key(false)) {
		case "dup":
			d.once(&seen, 1)
			m.Dup = d.Bool()
		case "retain":
			d.once(&seen, 2)
			m.Retain = d.Bool()
		case "sys":
			d.once(&seen, 4)
			m.Sys = d.Bool()
		default:
			d.Skip()
		}
	}
}

func (d *recordReader) headers(m *Forward) {
	var seen uint
	var host netip.Addr
	for n := d.Map(); n > 0 && d.ok(); n-- {
		switch string(d.key(false)) {
		case "properties":
			d.once(&seen, 1)
			d.properties(&m.Properties)
		case "proto_ver":
			d.once(&seen, 2)
			m.ProtoVersion = d.protoVersion()
		case "username":
			d.once(&seen, 4)
			m.Username = d.username()
		case "peername":
			d.once(&seen, 8)
			m.PeerHost = d.peerName()
		case "peerhost":
			d.once(&seen, 16)
			host = d.peerHost()
		default:
			d.Skip()
		}
	}
	if !m.PeerHost.IsValid() && host.IsValid() {
		m.PeerHost = netip.AddrPortFrom(host, 0)
	}
}

// The headers below are known only to some messages and of use only to
// policies and logs, so that one of another type counts as absent.

func (d *recordReader) aside() etf.Reader {
	value := d.Reader
	d.Skip()
	return value
}

func (d *recordReader) protoVersion() byte {
	value := d.aside()
	if n := value.Int(); n > 0 && n <= math.MaxUint8 {
		return byte(n)
	}
	return 0
}

func (d *recordReader) username() string {
	value := d.aside()
	if !value.AtBinary() {
		return ""
	}
	return string(value.Binary())
}

func (d *recordReader) peerHost() netip.Addr {
	value := d.aside()
	return readIP(&value)
}

func (d *recordReader) peerName() netip.AddrPort {
	value := d.aside()
	if !value.AtTuple() || value.Tuple() != 2 {
		return netip.AddrPort{}
	}
	host, port := readIP(&value), value.Int()
	if value.Err() != nil || port < 0 || port > math.MaxUint16 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(host, uint16(port))
}

// readIP reads {127,0,0,1} or the eight 16-bit parts of an IPv6 address.
func readIP(r *etf.Reader) netip.Addr {
	if !r.AtTuple() {
		return netip.Addr{}
	}
	var parts [8]int64
	n, highest := r.Tuple(), int64(math.MaxUint8)
	switch n {
	case 4:
	case 8:
		highest = math.MaxUint16
	default:
		return netip.Addr{}
	}
	for i := range n {
		parts[i] = r.Int()
		if parts[i] < 0 || parts[i] > highest {
			return netip.Addr{}
		}
	}
	if r.Err() != nil {
		return netip.Addr{}
	}
	if n == 4 {
		return netip.AddrFrom4([4]byte{byte(parts[0]), byte(parts[1]), byte(parts[2]), byte(parts[3])})
	}
	var b [16]byte
	for i, p := range parts {
		b[2*i], b[2*i+1] = byte(p>>8), byte(p)
	}
	return netip.AddrFrom16(b)
}
