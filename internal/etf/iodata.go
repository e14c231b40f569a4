package etf

// IOData reads a binary, or a list of bytes, binaries and such lists in any
// nesting (an iolist), and returns its bytes in order. A binary is not copied,
// as by Binary; a list is flattened into new memory, in proportion to the bytes
// that encode it. A list may end in a binary, as Erlang allows here.
func (r *Reader) IOData() []byte {
	switch {
	case r.AtBinary():
		return r.Binary()
	case !r.AtList():
		r.wrongType("a binary or an iolist")
		return nil
	}
	flat := r.flatten(nil, r.lim.Depth)
	if r.err != nil {
		return nil
	}
	return flat
}

func (r *Reader) flatten(dst []byte, depth int) []byte {
	switch r.tag() {
	case tagBinary:
		return append(dst, r.Binary()...)
	case tagString:
		return append(dst, r.take(r.uint(2))...)
	case tagNil:
		r.take(1)
		return dst
	case tagList:
		return r.flattenList(dst, depth)
	}
	r.wrongType("part of an iolist")
	return dst
}

func (r *Reader) flattenList(dst []byte, depth int) []byte {
	if depth == 0 {
		r.fail(ErrLimit, "nested deeper than %d levels", r.lim.Depth)
		return dst
	}
	n := r.List()
	if n == 0 {
		return dst
	}
	for ; n > 0 && r.err == nil; n-- {
		if !r.AtInt() {
			dst = r.flatten(dst, depth-1)
			continue
		}
		c := r.Int()
		if c < 0 || c > 255 {
			r.fail(ErrType, "%d in an iolist", c)
		}
		dst = append(dst, byte(c))
	}
	// What follows the elements is the empty list, one more list, or a binary.
	return r.flatten(dst, depth-1)
}
