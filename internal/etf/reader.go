package etf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Reader is a cursor over one term, made by [Open]. Each method reads one term,
// or the head of one, and moves on. The first failure stays: from then on every
// method returns a zero value and moves nowhere, and Err tells the failure, so
// that a caller may read several fields and ask once. A loop over a count must
// ask Err as well, or it goes round for nothing.
//
// A Reader is a value: a copy is a second, independent cursor at the same place.
type Reader struct {
	buf   []byte
	off   int
	lim   Limits
	terms int // built so far by the running Term call
	err   error
}

// Err tells the first failure, wrapping ErrMalformed, ErrLimit or ErrType.
func (r *Reader) Err() error { return r.err }

// Offset tells the place in the term, in bytes behind the version byte, for Seek.
func (r *Reader) Offset() int { return r.off }

// Seek moves to a place that Offset told before.
func (r *Reader) Seek(offset int) {
	if offset < 0 || offset > len(r.buf) {
		r.fail(ErrMalformed, "seek to %d", offset)
		return
	}
	r.off = offset
}

// Bytes returns all encoded bytes of the term and of what trails it, inflated,
// without the version byte.
func (r *Reader) Bytes() []byte { return r.buf }

func (r *Reader) fail(kind error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: at byte %d: %s", kind, r.off, fmt.Sprintf(format, args...))
	}
}

func (r *Reader) wrongType(want string) {
	if r.err != nil {
		return
	}
	if r.off >= len(r.buf) {
		r.fail(ErrMalformed, "ends where %s should be", want)
		return
	}
	r.fail(ErrType, "tag %d where %s should be", r.buf[r.off], want)
}

// tag is the tag of the next term, 0 (which is no tag) at the end or after a
// failure.
func (r *Reader) tag() byte {
	if r.err != nil || r.off >= len(r.buf) {
		return 0
	}
	return r.buf[r.off]
}

// take moves over n bytes and returns them; nil when they are not there.
func (r *Reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.buf)-r.off {
		r.fail(ErrMalformed, "%d bytes wanted, %d left", n, len(r.buf)-r.off)
		return nil
	}
	b := r.buf[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

// uint reads the big-endian number of the given width that follows the tag.
func (r *Reader) uint(width int) int {
	b := r.take(1 + width)
	if b == nil {
		return 0
	}
	switch width {
	case 1:
		return int(b[1])
	case 2:
		return int(binary.BigEndian.Uint16(b[1:]))
	default:
		return int(binary.BigEndian.Uint32(b[1:]))
	}
}

// count is uint for a number of terms that follow, each at least size bytes.
func (r *Reader) count(width, size int) int {
	n := r.uint(width)
	if left := len(r.buf) - r.off; n < 0 || n > left/size {
		r.fail(ErrMalformed, "%d terms in %d bytes", n, left)
		return 0
	}
	if r.err != nil {
		return 0
	}
	return n
}

// AtAtom tells whether the next term is an atom.
func (r *Reader) AtAtom() bool {
	switch r.tag() {
	case tagSmallAtomUTF8, tagAtomUTF8, tagAtomLatin1, tagSmallAtom1:
		return true
	}
	return false
}

// AtBinary tells whether the next term is a binary.
func (r *Reader) AtBinary() bool { return r.tag() == tagBinary }

// AtInt tells whether the next term is an integer of any size.
func (r *Reader) AtInt() bool {
	switch r.tag() {
	case tagSmallInt, tagInt, tagSmallBig, tagLargeBig:
		return true
	}
	return false
}

// AtTuple tells whether the next term is a tuple.
func (r *Reader) AtTuple() bool { return r.tag() == tagSmallTuple || r.tag() == tagLargeTuple }

// AtMap tells whether the next term is a map.
func (r *Reader) AtMap() bool { return r.tag() == tagMap }

// AtList tells whether the next term is a list, the empty one and the short
// form for lists of bytes included.
func (r *Reader) AtList() bool {
	switch r.tag() {
	case tagNil, tagList, tagString:
		return true
	}
	return false
}

// Tuple reads the head of a tuple and returns its arity; that many terms follow.
func (r *Reader) Tuple() int {
	n := 0
	switch r.tag() {
	case tagSmallTuple:
		n = r.count(1, 1)
	case tagLargeTuple:
		n = r.count(4, 1)
	default:
		r.wrongType("a tuple")
	}
	if n > r.lim.Arity {
		r.fail(ErrLimit, "tuple of %d elements, at most %d are read", n, r.lim.Arity)
		return 0
	}
	return n
}

// Map reads the head of a map and returns its number of pairs; twice as many
// terms follow. That no key comes twice is for the caller to check.
func (r *Reader) Map() int {
	if r.tag() != tagMap {
		r.wrongType("a map")
		return 0
	}
	return r.count(4, 2)
}

// List reads the head of a list and returns its length; that many terms follow,
// and then, unless the list is empty, its tail for EndList. The short form for
// lists of bytes is not taken: nothing in the protocol that is walked element
// by element holds small integers.
func (r *Reader) List() int {
	switch r.tag() {
	case tagNil:
		r.off++
		return 0
	case tagList:
		n := r.count(4, 1)
		if n == 0 {
			r.endList()
		}
		return n
	}
	r.wrongType("a list")
	return 0
}

// EndList reads the tail of a list of n elements, which must be the empty list.
func (r *Reader) EndList(n int) {
	if n > 0 {
		r.endList()
	}
}

func (r *Reader) endList() {
	if r.err == nil && r.tag() != tagNil {
		r.fail(ErrMalformed, "improper list")
	}
	r.take(1)
}

// Binary reads a binary. The bytes are not copied: they are those of the input.
func (r *Reader) Binary() []byte {
	if r.tag() != tagBinary {
		r.wrongType("a binary")
		return nil
	}
	return r.take(r.uint(4))
}

// Atom reads an atom and returns its text in UTF-8. The bytes are those of the
// input unless it was in Latin-1 and not in ASCII.
func (r *Reader) Atom() []byte {
	switch r.tag() {
	case tagSmallAtomUTF8:
		return r.utf8(r.take(r.uint(1)))
	case tagAtomUTF8:
		return r.utf8(r.take(r.uint(2)))
	case tagSmallAtom1:
		return fromLatin1(r.take(r.uint(1)))
	case tagAtomLatin1:
		return fromLatin1(r.take(r.uint(2)))
	}
	r.wrongType("an atom")
	return nil
}

func (r *Reader) utf8(b []byte) []byte {
	if !utf8.Valid(b) {
		r.fail(ErrMalformed, "atom that is not UTF-8")
		return nil
	}
	return b
}

func fromLatin1(b []byte) []byte {
	if bytes.IndexFunc(b, func(c rune) bool { return c >= utf8.RuneSelf }) < 0 {
		return b
	}
	text := make([]byte, 0, 2*len(b))
	for _, c := range b {
		text = utf8.AppendRune(text, rune(c))
	}
	return text
}

// Bool reads the atom true or false.
func (r *Reader) Bool() bool {
	ahead := *r
	switch string(ahead.Atom()) {
	case "true":
		r.off = ahead.off
		return true
	case "false":
		r.off = ahead.off
		return false
	}
	r.wrongType("true or false")
	return false
}

// Int reads an integer that fits 64 bits, in any of its encodings. A larger one
// is an ErrType.
func (r *Reader) Int() int64 {
	switch r.tag() {
	case tagSmallInt:
		return int64(r.uint(1))
	case tagInt:
		return int64(int32(r.uint(4)))
	case tagSmallBig, tagLargeBig:
		ahead := *r
		negative, digits := ahead.magnitude()
		if n, ok := toInt64(negative, digits); ok && ahead.err == nil {
			r.off = ahead.off
			return n
		}
		if ahead.err != nil {
			r.err = ahead.err
		}
	}
	r.wrongType("an integer of 64 bits")
	return 0
}

// magnitude reads a large integer as its sign and its bytes, least significant
// first.
func (r *Reader) magnitude() (negative bool, digits []byte) {
	width := 1
	if r.tag() == tagLargeBig {
		width = 4
	}
	n := r.uint(width)
	sign := r.take(1)
	if sign == nil {
		return false, nil
	}
	if sign[0] > 1 {
		r.fail(ErrMalformed, "integer with the sign %d", sign[0])
	}
	return sign[0] == 1, r.take(n)
}

func toInt64(negative bool, digits []byte) (int64, bool) {
	for len(digits) > 0 && digits[len(digits)-1] == 0 {
		digits = digits[:len(digits)-1]
	}
	if len(digits) > 8 {
		return 0, false
	}
	var u uint64
	for i, d := range digits {
		u |= uint64(d) << (8 * i)
	}
	if negative {
		return -int64(u), u <= 1<<63
	}
	return int64(u), u < 1<<63
}
