// Package wire is the Cluster Linking protocol as bytes: the names of its
// topics, the control payloads by which clusters exchange routes, and the
// record in which a message crosses a link. Section numbers in this package are
// those of the Cluster Linking protocol.
//
// It holds no clock, no goroutine and no connection, and knows no MQTT library.
// What it decodes comes from a peer and is bounded by [Limits] before memory is
// set aside for it; what it encodes uses no atom but those of section 10, which
// every EMQX node knows. It does not judge what a payload asks for: whether a
// sender is who its topic says, whether an incarnation may come, whether a
// filter or a topic belongs to a link, is the engine's to decide.
package wire

import (
	"errors"
	"fmt"
	"sync"

	"clink/internal/etf"
)

// Errors of DecodeControl and DecodeForward. Each of their errors wraps exactly
// one of these, or is a *TopicError. EMQX answers ErrUndecodable and, for
// control payloads, ErrMalformed with DISCONNECT 0x83; ErrUnknownOp and
// ErrMissingKey it ignores up to 6.0.2 and answers so from 6.0.3 (section 6.1).
var (
	// ErrUndecodable: no external term, one over the limits, or one with a key
	// that comes twice.
	ErrUndecodable = errors.New("undecodable payload")
	// ErrUnknownOp: a control payload that is no map, or whose $op is absent or
	// none of the four.
	ErrUnknownOp = errors.New("unknown operation")
	// ErrMissingKey: a control payload without a key that its operation demands.
	ErrMissingKey = errors.New("missing key")
	// ErrMalformed: a term of another shape than the protocol gives it; among
	// them a route operation that is none, and a record that is no message.
	ErrMalformed = errors.New("malformed payload")
)

// fault says in the terms of this package why reading a term ended.
func fault(where string, err error) error {
	kind := ErrUndecodable
	if errors.Is(err, etf.ErrType) {
		kind = ErrMalformed
	}
	return fmt.Errorf("%w: %s: %w", kind, where, err)
}

// Limits bounds what is decoded. The zero value is ready to use; a value made
// by DefaultLimits also reuses its buffers for compressed payloads, from any
// number of goroutines, and may be copied.
type Limits struct {
	Packet  int // bytes of a payload as it came; default 16 MiB
	Record  int // bytes of a compressed message record once inflated; default 16 MiB
	Control int // bytes of a compressed control payload once inflated; default 16 MiB
	Ops     int // route operations in one payload; default 65536 (EMQX sends up to 4000)

	inflaters *sync.Pool
}

// DefaultLimits returns the limits for a listener that takes packets of up to
// maxPacket bytes: a record may inflate to maxPacket and 64 KiB, which is what
// section 13 recommends. A maxPacket of zero or less stands for 1 MiB, the
// packet size that brokers usually take.
func DefaultLimits(maxPacket int) Limits {
	if maxPacket <= 0 {
		maxPacket = 1 << 20
	}
	return Limits{
		Packet:    maxPacket,
		Record:    maxPacket + 64<<10,
		Control:   16 << 20,
		Ops:       1 << 16,
		inflaters: new(sync.Pool),
	}
}

func (l Limits) etf(inflated int) etf.Limits {
	return etf.Limits{Input: l.Packet, Inflated: inflated, Inflaters: l.inflaters}
}

func (l Limits) ops() int {
	if l.Ops <= 0 {
		return 1 << 16
	}
	return l.Ops
}
