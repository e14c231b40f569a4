package etf

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"
)

// trustedCount is the number of terms that memory is set aside for at once; for
// more it grows as they are read.
const trustedCount = 64

// Decode builds the value of the external term in b:
//
//	integer   int64, or *big.Int where 64 bits do not hold it
//	float     float64
//	atom      Atom
//	binary    []byte, not copied (see Open)
//	list      []any
//	tuple     Tuple
//	map       Map
//	others    Opaque
//
// Improper lists, floats that are no numbers, and maps with a key that comes
// twice are errors. Bytes behind the term are ignored.
func Decode(b []byte, lim Limits) (any, error) {
	r, err := Open(b, lim)
	if err != nil {
		return nil, err
	}
	v := r.Term()
	return v, r.Err()
}

// Term builds the next term, as Decode does.
func (r *Reader) Term() any {
	r.terms = 0
	v := r.term(r.lim.Depth)
	if r.err != nil {
		return nil
	}
	return v
}

// room counts n terms that are about to be built.
func (r *Reader) room(n int) bool {
	r.terms += n
	if r.terms > r.lim.Terms {
		r.fail(ErrLimit, "more than %d terms", r.lim.Terms)
	}
	return r.err == nil
}

// enter is room for the n terms inside another one.
func (r *Reader) enter(n, depth int) bool {
	if depth == 0 && n > 0 {
		r.fail(ErrLimit, "nested deeper than %d levels", r.lim.Depth)
	}
	return r.room(n)
}

func (r *Reader) term(depth int) any {
	switch r.tag() {
	case tagSmallInt, tagInt:
		return r.Int()
	case tagSmallBig, tagLargeBig:
		return r.integer()
	case tagNewFloat:
		return r.float()
	case tagBinary:
		return r.Binary()
	case tagSmallAtomUTF8, tagAtomUTF8, tagSmallAtom1, tagAtomLatin1:
		return Atom(r.Atom())
	case tagSmallTuple, tagLargeTuple:
		n := r.Tuple()
		if !r.enter(n, depth) {
			return nil
		}
		return Tuple(r.sequence(n, depth))
	case tagNil, tagList:
		return r.list(depth)
	case tagString:
		return r.bytesList()
	case tagMap:
		return r.pairs(depth)
	}
	start := r.off
	r.skip(depth)
	return Opaque(r.buf[start:r.off:r.off])
}

func (r *Reader) sequence(n, depth int) []any {
	terms := make([]any, 0, min(n, trustedCount))
	for range n {
		if r.err != nil {
			return nil
		}
		terms = append(terms, r.term(depth-1))
	}
	return terms
}

func (r *Reader) list(depth int) any {
	n := r.List()
	if !r.enter(n, depth) {
		return nil
	}
	terms := r.sequence(n, depth)
	r.EndList(n)
	return terms
}

func (r *Reader) bytesList() any {
	b := r.take(r.uint(2))
	if !r.room(len(b)) {
		return nil
	}
	terms := make([]any, len(b))
	for i, c := range b {
		terms[i] = int64(c)
	}
	return terms
}

func (r *Reader) integer() any {
	negative, digits := r.magnitude()
	if n, ok := toInt64(negative, digits); ok {
		return n
	}
	if len(digits) > r.lim.Bignum {
		r.fail(ErrLimit, "integer of %d bytes, at most %d are read", len(digits), r.lim.Bignum)
		return nil
	}
	bigEndian := slices.Clone(digits)
	slices.Reverse(bigEndian)
	n := new(big.Int).SetBytes(bigEndian)
	if negative {
		n.Neg(n)
	}
	return n
}

func (r *Reader) float() any {
	b := r.take(9)
	if b == nil {
		return nil
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(b[1:]))
	if math.IsNaN(f) || math.IsInf(f, 0) {
		r.fail(ErrMalformed, "float that is no number")
	}
	return f
}

func (r *Reader) pairs(depth int) any {
	n := r.Map()
	if !r.enter(2*n, depth) {
		return nil
	}
	pairs := make(Map, 0, min(n, trustedCount))
	seen := make(map[string]struct{}, min(n, trustedCount))
	var key []byte
	for range n {
		k := r.term(depth - 1)
		if r.err != nil {
			return nil
		}
		key = appendIdentity(key[:0], k)
		if _, double := seen[string(key)]; double {
			r.fail(ErrMalformed, "map with a key that comes twice")
			return nil
		}
		seen[string(key)] = struct{}{}
		pairs = append(pairs, [2]any{k, r.term(depth - 1)})
	}
	return pairs
}

// appendIdentity adds bytes that are equal exactly for equal terms, however
// they were encoded.
func appendIdentity(dst []byte, term any) []byte {
	switch t := term.(type) {
	case int64:
		return AppendInt(dst, t)
	case *big.Int:
		return AppendBinary(append(dst, tagLargeBig), t.Text(16))
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, tagNewFloat), math.Float64bits(t))
	case Atom:
		return AppendAtom(dst, t)
	case []byte:
		return AppendBinary(dst, t)
	case Tuple:
		return appendIdentities(AppendTuple(dst, len(t)), t)
	case []any:
		return appendIdentities(AppendList(dst, len(t)), t)
	case Map:
		keys := make([]string, len(t))
		for i, pair := range t {
			keys[i] = string(appendIdentities(nil, pair[:]))
		}
		slices.Sort(keys)
		dst = AppendMap(dst, len(t))
		for _, k := range keys {
			dst = append(dst, k...)
		}
		return dst
	case Opaque:
		return append(dst, t...)
	}
	return dst
}

func appendIdentities(dst []byte, terms []any) []byte {
	for _, t := range terms {
		dst = appendIdentity(dst, t)
	}
	return dst
}
