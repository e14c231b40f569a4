// Package etf reads and writes the Erlang external term format, as far as the
// Cluster Linking protocol needs it (Cluster Linking protocol, section 13).
//
// Two ways to read lead over the same cursor: [Reader] takes a term apart step
// by step without building it, for the hot path, and [Decode] builds a generic
// value. Both are bounded by [Limits]: no count is believed before the bytes
// that it stands for are seen to be there, compressed terms are inflated into
// exactly the size they declare, and nesting is limited.
//
// The package knows nothing of atoms that exist or do not exist, of processes
// or of functions: an atom is a string of a type of its own and is never
// interned, and terms that mean something only inside an Erlang node are passed
// over as [Opaque] bytes.
package etf

import (
	"errors"
	"sync"
)

// Version is the first byte of every external term.
const Version = 131

// Errors that every error of this package wraps exactly one of.
var (
	// ErrMalformed tells bytes that are not an external term.
	ErrMalformed = errors.New("malformed external term")
	// ErrLimit tells a term that is too large, too deep or too long for the Limits.
	ErrLimit = errors.New("external term over a limit")
	// ErrType tells a term of another type than the caller asked for.
	ErrType = errors.New("external term of an unexpected type")
)

// Limits bounds what is read. A field that is zero or less stands for its
// default; the zero value is ready to use.
type Limits struct {
	Input    int // bytes given to Open; default 16 MiB
	Inflated int // bytes of a compressed term once inflated; default 16 MiB
	Depth    int // nested lists, tuples and maps; default and maximum 64
	Arity    int // elements of a tuple; default 255
	Bignum   int // bytes of an integer's magnitude that Term builds; default 16
	Terms    int // terms that one Term call builds in all; default 65536

	// Inflaters, if not nil, keeps zlib readers for reuse. It starts out empty
	// and is filled by Open; it must not be shared with anything else.
	Inflaters *sync.Pool
}

const maxDepth = 64

func or(n, standard int) int {
	if n <= 0 {
		return standard
	}
	return n
}

func (l Limits) filled() Limits {
	l.Input = or(l.Input, 16<<20)
	l.Inflated = or(l.Inflated, 16<<20)
	l.Depth = min(or(l.Depth, maxDepth), maxDepth)
	l.Arity = or(l.Arity, 255)
	l.Bignum = or(l.Bignum, 16)
	l.Terms = or(l.Terms, 1<<16)
	return l
}

// Atom is an Erlang atom, in UTF-8 whatever its encoding on the wire was.
type Atom string

// Tuple is an Erlang tuple of decoded terms.
type Tuple []any

// Map is an Erlang map as key and value pairs, in the order they came in. No
// two keys are the same term.
type Map [][2]any

// Get finds the value of a key that is an Atom, an int64 or, as a string, a
// binary.
func (m Map) Get(key any) (value any, ok bool) {
	for _, pair := range m {
		switch k := pair[0].(type) {
		case Atom, int64:
			ok = k == key
		case []byte:
			s, is := key.(string)
			ok = is && s == string(k)
		}
		if ok {
			return pair[1], true
		}
	}
	return nil, false
}

// Opaque holds the encoded bytes, tag included, of a term that this package
// can measure but does not interpret: pids, ports, references, functions, bit
// strings, floats as text.
type Opaque []byte

// The tags of the format.
const (
	tagNewFloat      = 70
	tagBitBinary     = 77
	tagCompressed    = 80
	tagNewPid        = 88
	tagNewPort       = 89
	tagNewerRef      = 90
	tagSmallInt      = 97
	tagInt           = 98
	tagFloat         = 99
	tagAtomLatin1    = 100
	tagRef           = 101
	tagPort          = 102
	tagPid           = 103
	tagSmallTuple    = 104
	tagLargeTuple    = 105
	tagNil           = 106
	tagString        = 107
	tagList          = 108
	tagBinary        = 109
	tagSmallBig      = 110
	tagLargeBig      = 111
	tagNewFun        = 112
	tagExport        = 113
	tagNewRef        = 114
	tagSmallAtom1    = 115 // Latin-1
	tagMap           = 116
	tagFun           = 117
	tagAtomUTF8      = 118
	tagSmallAtomUTF8 = 119
	tagV4Port        = 120
)
