package wire

// SplitOps cuts ops, in order, into runs for one Routes payload each: of at most
// maxOps operations (zero or less stands for 4000, what EMQX sends), and of at
// most maxBytes bytes of packet. Overhead is what a packet needs besides its
// operations: the length of the same Routes without any, and of the MQTT packet
// around it. The batches share the memory of ops.
//
// An operation that is too large for a packet of its own is left out of the
// batches and returned in oversize: sent, it would break the connection again
// and again (section 16, point 4).
func SplitOps(ops []RouteOp, overhead, maxOps, maxBytes int) (batches [][]RouteOp, oversize []RouteOp) {
	// A list that is not empty takes five bytes more than the empty one.
	const listHead = 5
	if maxOps <= 0 {
		maxOps = 4000
	}
	room := maxBytes - overhead - listHead
	start, used := 0, 0
	cut := func(end int) {
		if end > start {
			batches = append(batches, ops[start:end:end])
		}
		start, used = end, 0
	}
	for i, op := range ops {
		size := op.size()
		switch {
		case size > room:
			cut(i)
			start = i + 1
			oversize = append(oversize, op)
			continue
		case i-start == maxOps || used+size > room:
			cut(i)
		}
		used += size
	}
	cut(len(ops))
	return batches, oversize
}
