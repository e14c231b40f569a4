package etf

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// The Append functions add one term, or the head of one, to dst. They write
// what a current Erlang runtime writes for the same value and allocate nothing
// beyond the growth of dst. A whole external term starts with the byte
// [Version].

// AppendInt adds an integer in its shortest form.
func AppendInt(dst []byte, n int64) []byte {
	switch {
	case n >= 0 && n <= math.MaxUint8:
		return append(dst, tagSmallInt, byte(n))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		return binary.BigEndian.AppendUint32(append(dst, tagInt), uint32(n))
	}
	sign, magnitude := byte(0), uint64(n)
	if n < 0 {
		sign, magnitude = 1, -magnitude
	}
	size := (bits.Len64(magnitude) + 7) / 8
	dst = append(dst, tagSmallBig, byte(size), sign)
	for range size {
		dst = append(dst, byte(magnitude))
		magnitude >>= 8
	}
	return dst
}

// AppendBinary adds a binary with the bytes of b, which must be shorter than
// 4 GiB.
func AppendBinary[T ~string | ~[]byte](dst []byte, b T) []byte {
	return append(AppendBinaryHead(dst, len(b)), b...)
}

// AppendBinaryHead adds the head of a binary, to be followed by n bytes.
func AppendBinaryHead(dst []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, tagBinary), uint32(n))
}

// AppendAtom adds an atom. Erlang admits at most 255 characters of UTF-8.
func AppendAtom(dst []byte, a Atom) []byte {
	if len(a) <= math.MaxUint8 {
		dst = append(dst, tagSmallAtomUTF8, byte(len(a)))
	} else {
		dst = binary.BigEndian.AppendUint16(append(dst, tagAtomUTF8), uint16(len(a)))
	}
	return append(dst, a...)
}

// AppendTuple adds the head of a tuple, to be followed by n terms.
func AppendTuple(dst []byte, n int) []byte {
	if n <= math.MaxUint8 {
		return append(dst, tagSmallTuple, byte(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, tagLargeTuple), uint32(n))
}

// AppendList adds the head of a list, to be followed by n terms and then by its
// tail, which is the empty list: AppendList(dst, 0). The empty list itself has
// no tail.
func AppendList(dst []byte, n int) []byte {
	if n == 0 {
		return append(dst, tagNil)
	}
	return binary.BigEndian.AppendUint32(append(dst, tagList), uint32(n))
}

// AppendMap adds the head of a map, to be followed by n keys, each with its
// value behind it. The keys must differ.
func AppendMap(dst []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, tagMap), uint32(n))
}
