package diagram

import "slices"

// A circle puts nodes on a circle so that few of the chords between them cross.
type circle struct {
	adj   [][]int // by node, its neighbours on the circle, in order
	ring  []int   // the nodes as they stand
	place []int   // by node, where it stands; -1 if it is on no circle
}

// arrange returns the nodes in an order around a circle. The neighbours of a
// node outside of nodes are left out of account.
func arrange(adj [][]int, nodes []int) []int {
	c := circle{adj: make([][]int, len(adj)), place: make([]int, len(adj))}
	on := make([]bool, len(adj))
	for _, n := range nodes {
		on[n] = true
	}
	chords := 0
	for _, n := range nodes {
		c.adj[n] = slices.DeleteFunc(slices.Clone(adj[n]), func(m int) bool { return !on[m] })
		chords += len(c.adj[n]) / 2
	}
	c.ring = c.start(nodes)
	if full := len(nodes) * (len(nodes) - 1) / 2; chords >= full*9/10 {
		return c.ring // a mesh looks the same in any order
	}
	const work = 4_000_000 // steps: bounds the time of a large picture
	for round, left := 0, work/max(len(nodes)*(len(nodes)+2*chords), 1); round < min(8, left); round++ {
		better := false
		for _, n := range nodes {
			better = c.sift(n) || better
		}
		if !better {
			break
		}
	}
	return c.ring
}

// start walks along the links, each time to the neighbour with the fewest
// neighbours that are not on the circle yet: a ring stays a ring.
func (c *circle) start(nodes []int) []int {
	seen := make([]bool, len(c.adj))
	fresh := func(n int) int {
		k := 0
		for _, m := range c.adj[n] {
			if !seen[m] {
				k++
			}
		}
		return k
	}
	var ring, stack []int
	for _, first := range nodes {
		stack = append(stack, first)
		for len(stack) > 0 {
			n := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if seen[n] {
				continue
			}
			seen[n] = true
			ring = append(ring, n)
			next := slices.DeleteFunc(slices.Clone(c.adj[n]), func(m int) bool { return seen[m] })
			slices.SortStableFunc(next, func(a, b int) int { return fresh(b) - fresh(a) })
			stack = append(stack, next...)
		}
	}
	return ring
}

// sift moves one node to the place on the circle where its chords cross the
// fewest others, and reports whether that is another one than it had.
func (c *circle) sift(u int) bool {
	at := slices.Index(c.ring, u)
	rest := slices.Delete(slices.Clone(c.ring), at, at+1)
	for i, n := range rest {
		c.place[n] = i
	}
	// before[i] counts the neighbours of u among the first i of the rest.
	before := make([]int, len(rest)+1)
	for i, n := range rest {
		before[i+1] = before[i]
		if _, linked := slices.BinarySearch(c.adj[u], n); linked {
			before[i+1]++
		}
	}
	best, bestAt, sum, here := 0, 0, 0, 0
	for k := range rest {
		if k == at {
			here = sum
		}
		if sum < best {
			best, bestAt = sum, k
		}
		sum += c.passing(u, rest[k], k, before)
	}
	if here == best {
		return false
	}
	c.ring = slices.Insert(rest, bestAt, u)
	return true
}

// passing is by how much the number of crossings grows when u moves from before
// v, which is at k, to behind it. Only chords of the two with each other change.
func (c *circle) passing(u, v, k int, before []int) int {
	all := before[len(before)-1] - (before[k+1] - before[k]) // neighbours of u other than v
	grows := 0
	for _, y := range c.adj[v] {
		if y == u {
			continue
		}
		p := c.place[y]
		// Neighbours of u on the way from v around to y: their chords cross v's
		// when u is behind it, the others' when u is before it.
		near := before[p] - before[k+1]
		if p < k {
			near = before[len(before)-1] - before[k+1] + before[p]
		}
		far := all - near - (before[p+1] - before[p])
		grows += far - near
	}
	return grows
}
