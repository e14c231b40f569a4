package etf

// Skip moves over one term of any type without building it, to the depth of
// the Limits. It is more lenient than Term: improper lists and integers of any
// size pass, and double keys of maps are not looked for.
func (r *Reader) Skip() { r.skip(r.lim.Depth) }

func (r *Reader) skip(depth int) {
	switch tag := r.tag(); tag {
	case tagSmallInt:
		r.take(2)
	case tagInt:
		r.take(5)
	case tagNewFloat:
		r.take(9)
	case tagFloat:
		r.take(32)
	case tagNil:
		r.take(1)
	case tagBinary:
		r.take(r.uint(4))
	case tagString:
		r.take(r.uint(2))
	case tagBitBinary:
		r.take(r.uint(4) + 1)
	case tagSmallBig, tagLargeBig:
		r.magnitude()
	case tagSmallAtomUTF8, tagAtomUTF8, tagSmallAtom1, tagAtomLatin1:
		r.Atom()
	case tagSmallTuple, tagLargeTuple:
		r.skipTerms(r.Tuple(), depth)
	case tagMap:
		r.skipTerms(2*r.Map(), depth)
	case tagList:
		if n := r.List(); n > 0 {
			r.skipTerms(n+1, depth)
		}
	default:
		r.skipForeign(tag, depth)
	}
}

// skipTerms moves over n terms one level down.
func (r *Reader) skipTerms(n, depth int) {
	if n == 0 || r.err != nil {
		return
	}
	if depth == 0 {
		r.fail(ErrLimit, "nested deeper than %d levels", r.lim.Depth)
	}
	for ; n > 0 && r.err == nil; n-- {
		r.skip(depth - 1)
	}
}

// skipForeign moves over terms that mean something to an Erlang node only.
func (r *Reader) skipForeign(tag byte, depth int) {
	switch tag {
	case tagPid:
		r.skipNode(9)
	case tagNewPid:
		r.skipNode(12)
	case tagPort, tagRef:
		r.skipNode(5)
	case tagNewPort:
		r.skipNode(8)
	case tagV4Port:
		r.skipNode(12)
	case tagNewRef, tagNewerRef:
		r.skipRef(tag)
	case tagExport:
		r.take(1)
		r.Atom()
		r.Atom()
		r.Int()
	case tagNewFun:
		// The size counts itself.
		if n := r.uint(4); n < 4 {
			r.fail(ErrMalformed, "function of %d bytes", n)
		} else {
			r.take(n - 4)
		}
	case tagFun:
		// A pid, a module, two integers, then the free variables.
		r.skipTerms(r.count(4, 1)+4, depth)
	default:
		if r.off >= len(r.buf) {
			r.fail(ErrMalformed, "ends where a term should be")
		}
		r.fail(ErrMalformed, "unknown tag %d", tag)
	}
}

// skipNode moves over a tag, the atom of a node, and n bytes.
func (r *Reader) skipNode(n int) {
	r.take(1)
	r.Atom()
	r.take(n)
}

func (r *Reader) skipRef(tag byte) {
	creation := 4
	if tag == tagNewRef {
		creation = 1
	}
	words := r.uint(2)
	r.Atom()
	r.take(creation + 4*words)
}
