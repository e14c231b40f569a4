package loadgen

// A sequence follows the numbers 0, 1, 2, … of one publisher as one subscriber
// sees them.
type sequence struct {
	next       uint64              // one above the highest number seen
	holes      map[uint64]struct{} // below next and not seen yet
	duplicates uint64
	reordered  uint64
}

// see takes the next number, and reports whether it is the first time. The
// caller has checked that it was sent, which bounds the holes.
func (s *sequence) see(n uint64) bool {
	if n == s.next {
		s.next++
		return true
	}
	if n > s.next {
		s.skip(n)
		return true
	}
	if _, missing := s.holes[n]; missing {
		delete(s.holes, n)
		s.reordered++
		return true
	}
	s.duplicates++
	return false
}

func (s *sequence) skip(n uint64) {
	if s.holes == nil {
		s.holes = map[uint64]struct{}{}
	}
	for ; s.next < n; s.next++ {
		s.holes[s.next] = struct{}{}
	}
	s.next = n + 1
}

// unique is how many different numbers came.
func (s *sequence) unique() uint64 { return s.next - uint64(len(s.holes)) }
