package etf

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
)

// deflate cannot expand one byte into more than 1032; a declared size beyond
// that is refused before memory is set aside for it.
const (
	maxExpansion   = 1032
	expansionSlack = 64
)

// Open prepares to read the external term in b: it checks the version byte and
// inflates the term if it is compressed (tag 80), into a buffer of exactly the
// declared size. A declared size that differs from the real one is an error in
// both directions. Bytes behind the term, or behind the zlib stream, are
// ignored, as Erlang does.
//
// The Reader keeps b, and what it hands out as bytes points into b, or into the
// buffer made here if b was compressed. The caller must not change b while any
// of that is in use.
func Open(b []byte, lim Limits) (Reader, error) {
	lim = lim.filled()
	switch {
	case len(b) > lim.Input:
		return Reader{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrLimit, len(b), lim.Input)
	case len(b) < 2:
		return Reader{}, fmt.Errorf("%w: only %d bytes", ErrMalformed, len(b))
	case b[0] != Version:
		return Reader{}, fmt.Errorf("%w: first byte %d, not %d", ErrMalformed, b[0], Version)
	}
	if b[1] != tagCompressed {
		return Reader{buf: b[1:], lim: lim}, nil
	}
	buf, err := inflate(b[2:], lim)
	if err != nil {
		return Reader{}, err
	}
	return Reader{buf: buf, lim: lim}, nil
}

func inflate(b []byte, lim Limits) ([]byte, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("%w: compressed term of %d bytes", ErrMalformed, len(b))
	}
	declared, stream := int(binary.BigEndian.Uint32(b)), b[4:]
	if declared < 0 || declared > lim.Inflated {
		return nil, fmt.Errorf("%w: %d bytes to inflate, at most %d are", ErrLimit, declared, lim.Inflated)
	}
	if declared > len(stream)*maxExpansion+expansionSlack {
		return nil, fmt.Errorf("%w: %d bytes cannot inflate to %d", ErrMalformed, len(stream), declared)
	}
	z, err := newInflater(lim, stream)
	if err != nil {
		return nil, fmt.Errorf("%w: inflate: %v", ErrMalformed, err)
	}
	buf := make([]byte, declared)
	if _, err := io.ReadFull(z, buf); err != nil {
		return nil, fmt.Errorf("%w: inflate: stream ends before its %d bytes: %v", ErrMalformed, declared, err)
	}
	// One byte more is asked for, so that the stream's end and its checksum
	// are seen.
	var beyond [1]byte
	if n, err := io.ReadFull(z, beyond[:]); n != 0 || err != io.EOF {
		return nil, fmt.Errorf("%w: inflate: stream does not end at its %d bytes", ErrMalformed, declared)
	}
	if lim.Inflaters != nil {
		z.source.Reset(nil)
		lim.Inflaters.Put(z)
	}
	return buf, nil
}

// inflater is a zlib reader with its source, kept together for reuse: a zlib
// reader is a hundred times larger than an ordinary message.
type inflater struct {
	io.Reader
	source bytes.Reader
}

func newInflater(lim Limits, stream []byte) (*inflater, error) {
	if lim.Inflaters != nil {
		if z, ok := lim.Inflaters.Get().(*inflater); ok {
			z.source.Reset(stream)
			return z, z.Reader.(zlib.Resetter).Reset(&z.source, nil)
		}
	}
	z := &inflater{}
	z.source.Reset(stream)
	r, err := zlib.NewReader(&z.source)
	z.Reader = r
	return z, err
}
