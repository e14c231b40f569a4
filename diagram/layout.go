package diagram

import (
	"cmp"
	"slices"
)

const boxHeight = 30 * px

// A layout says where nodes stand, and how their edges run. Nodes that hang on
// a circle or a hub as trees grow outwards to the left and the right of it, in
// a strip of their own height, and edges between nodes of a circle run inside
// of it: so no edge runs under a box.
type layout struct {
	widths []int   // by node
	adj    [][]int // by node, its neighbours in order
	room   int     // the least length of an edge

	parent   []int   // by node, what it hangs on; -1: nothing
	children [][]int // by node, what hangs on it
	side     []int   // by node: -1 left, 1 right, 0 in the middle
	center   []point // by node
	heart    []point // by node, the middle of its circle
	hub      []bool  // by node, it stands within its circle
	above    []int   // by node, the next one above it on its arc; -1: none
}

// newLayout places all nodes, its parts beside each other, with the upper left
// corner at 0, 0.
func newLayout(widths []int, adj [][]int, room int) *layout {
	n := len(widths)
	l := &layout{
		widths: widths, adj: adj, room: room,
		parent: slices.Repeat([]int{-1}, n), children: make([][]int, n),
		side: make([]int, n), center: make([]point, n), heart: make([]point, n),
		hub: make([]bool, n), above: slices.Repeat([]int{-1}, n),
	}
	var blocks [][]int
	var alone []int
	for _, part := range l.parts() {
		if len(part) == 1 {
			alone = append(alone, part[0])
			continue
		}
		l.placePart(part)
		blocks = append(blocks, part)
	}
	if len(alone) > 0 {
		l.placeAlone(alone)
		blocks = append(blocks, alone)
	}
	l.pack(blocks)
	return l
}

// parts returns the connected parts, each in order.
func (l *layout) parts() [][]int {
	var parts [][]int
	seen := make([]bool, len(l.adj))
	for first := range l.adj {
		if seen[first] {
			continue
		}
		seen[first] = true
		part := []int{first}
		for i := 0; i < len(part); i++ {
			for _, m := range l.adj[part[i]] {
				if !seen[m] {
					seen[m] = true
					part = append(part, m)
				}
			}
		}
		slices.Sort(part)
		parts = append(parts, part)
	}
	return parts
}

// placePart places a connected part around its middle: what lies on circles of
// links around an ellipse, a tree around its middle node.
func (l *layout) placePart(part []int) {
	core := l.core(part)
	if len(core) == 0 {
		path := l.longest(part)
		// A long chain would be a very long line.
		if len(path) <= longLine {
			root := l.rootOf(path)
			l.hang([]int{root})
			l.placeHub(root)
			return
		}
		core = path
		l.hang(core)
		l.placeRing(core)
		return
	}
	if hubs, ring := l.hubs(core); len(hubs) > 0 {
		l.hang(append(slices.Clone(hubs), ring...))
		l.placeWheel(hubs, ring)
		return
	}
	l.hang(core)
	l.placeRing(arrange(l.adj, core))
}

// longLine is how many nodes in a row are drawn as a line.
const longLine = 9

// core returns what is left of a part when nodes with one neighbour are taken
// off again and again; nothing of a tree.
func (l *layout) core(part []int) []int {
	degree := make([]int, len(l.adj))
	var leaves []int
	for _, n := range part {
		if degree[n] = len(l.adj[n]); degree[n] == 1 {
			leaves = append(leaves, n)
		}
	}
	for i := 0; i < len(leaves); i++ {
		degree[leaves[i]] = 0
		for _, m := range l.adj[leaves[i]] {
			if degree[m]--; degree[m] == 1 {
				leaves = append(leaves, m)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(part), func(n int) bool { return degree[n] < 2 })
}

// longest returns a longest path of a tree.
func (l *layout) longest(part []int) []int {
	end := l.farthest(part[0])
	return l.farthest(end[len(end)-1])
}

// farthest returns the path to a node that is farthest from one.
func (l *layout) farthest(from int) []int {
	came := map[int]int{from: -1}
	queue := []int{from}
	for i := 0; i < len(queue); i++ {
		for _, m := range l.adj[queue[i]] {
			if _, seen := came[m]; !seen {
				came[m] = queue[i]
				queue = append(queue, m)
			}
		}
	}
	var path []int
	for n := queue[len(queue)-1]; n >= 0; n = came[n] {
		path = append(path, n)
	}
	slices.Reverse(path)
	return path
}

// rootOf is the middle of a tree's longest path; of two middles the one with
// more neighbours.
func (l *layout) rootOf(path []int) int {
	a, b := path[(len(path)-1)/2], path[len(path)/2]
	if d := cmp.Compare(len(l.adj[a]), len(l.adj[b])); d > 0 || d == 0 && a < b {
		return a
	}
	return b
}

// hang hangs all that is not in the core on it.
func (l *layout) hang(core []int) {
	seen := map[int]bool{}
	for _, n := range core {
		seen[n] = true
	}
	queue := slices.Clone(core)
	for i := 0; i < len(queue); i++ {
		n := queue[i]
		for _, m := range l.adj[n] {
			if !seen[m] {
				seen[m] = true
				l.parent[m] = n
				l.children[n] = append(l.children[n], m)
				queue = append(queue, m)
			}
		}
	}
	// What ends here first: so the two sides of a hub come out even.
	for _, n := range queue {
		slices.SortStableFunc(l.children[n], func(a, b int) int {
			return cmp.Compare(min(len(l.children[a]), 1), min(len(l.children[b]), 1))
		})
	}
}

// strip is how high a node is with all that hangs on it.
func (l *layout) strip(n, pitch int) int {
	return max(pitch, l.strips(l.children[n], pitch))
}

func (l *layout) strips(nodes []int, pitch int) int {
	sum := 0
	for _, n := range nodes {
		sum += l.strip(n, pitch)
	}
	return sum
}

// placeHub places a tree around its root, one half on either side.
func (l *layout) placeHub(root int) {
	all := l.children[root]
	cut, least := 0, -1
	for k := range all {
		left, right := l.strips(all[:k], treePitch), l.strips(all[k:], treePitch)
		if d := max(left, right); least < 0 || d < least || d == least && left >= right {
			cut, least = k, d
		}
	}
	l.heart[root] = l.center[root]
	l.grow(root, -1, all[:cut])
	l.grow(root, 1, all[cut:])
}

const (
	treePitch = 42 * px
	mostGap   = 320 * px // between a node and what hangs on it
)

// grow places nodes in a column on one side of the node they hang on, and what
// hangs on them beyond.
func (l *layout) grow(n, side int, nodes []int) {
	high := l.strips(nodes, treePitch)
	gap := max(l.room, min(high*2/5, mostGap))
	inner := l.center[n].x + side*(l.widths[n]/2+gap)
	y := l.center[n].y - high/2
	for _, m := range nodes {
		own := l.strip(m, treePitch)
		l.side[m] = side
		l.center[m] = point{inner + side*l.widths[m]/2, y + own/2}
		l.grow(m, side, l.children[m])
		y += own
	}
}

// placeRing places nodes around an ellipse, clockwise, the first half on the
// right. Their boxes lie outside of it.
func (l *layout) placeRing(ring []int) {
	l.placeEllipse(ring, 0)
}

// placeEllipse is placeRing with the ellipse at least so wide each way.
func (l *layout) placeEllipse(ring []int, least int) {
	pitch := 48 * px
	switch {
	case len(ring) <= 8:
		pitch = 82 * px
	case len(ring) <= 16:
		pitch = 70 * px
	case len(ring) <= 32:
		pitch = 58 * px
	}
	ring, cut := l.turn(ring, pitch)
	right, left := ring[:cut], slices.Clone(ring[cut:])
	slices.Reverse(left)
	high := max(l.strips(right, pitch), l.strips(left, pitch))
	wide := max(least, l.room/2+20*px, min(high*9/20, 90*px+len(ring)*40*px))
	for _, arc := range []arc{{left, -1, pitch, high, wide}, {right, 1, pitch, high, wide}} {
		l.placeArc(arc)
	}
}

// An arc is one side of an ellipse, and the nodes on it from above.
type arc struct {
	nodes      []int
	side       int
	pitch      int // the least distance of two nodes
	high, wide int // all of it, and half of it
}

// placeArc places one side of a ring, and what hangs on it.
func (l *layout) placeArc(a arc) {
	y := -l.strips(a.nodes, a.pitch) / 2
	for i, n := range a.nodes {
		own := l.strip(n, a.pitch)
		mid := y + own/2
		l.side[n] = a.side
		l.center[n] = point{a.side * (a.bulge(mid) + l.widths[n]/2), mid}
		l.grow(n, a.side, l.children[n])
		if i > 0 {
			l.above[n] = a.nodes[i-1]
		}
		y += own
	}
}

// bulge is how far from the middle the ellipse is at a height.
func (a arc) bulge(y int) int {
	half := max((a.high+a.pitch)/2, 1)
	return max(a.wide*root(half*half-y*y)/half, 40*px)
}

// turn turns the ring so that both sides are even, and of the ways to do so
// returns one with the first node at the upper left, and how many are on the
// right.
func (l *layout) turn(ring []int, pitch int) ([]int, int) {
	n := len(ring)
	strips := make([]int, n)
	first, all := 0, 0
	for i, m := range ring {
		strips[i] = l.strip(m, pitch)
		all += strips[i]
		if m < ring[first] {
			first = i
		}
	}
	bestFrom, bestCut, least, closest := 0, n/2, -1, 0
	for from := range n {
		sum := 0
		for cut := 1; cut < n; cut++ {
			sum += strips[(from+cut-1)%n]
			uneven := max(sum, all-sum)
			// How far the first node is from the last place, the upper left one.
			far := (from - 1 - first + 2*n) % n
			if least < 0 || uneven < least || uneven == least && far < closest {
				bestFrom, bestCut, least, closest = from, cut, uneven, far
			}
		}
	}
	return append(slices.Clone(ring[bestFrom:]), ring[:bestFrom]...), bestCut
}

// placeAlone places nodes without any link in rows.
func (l *layout) placeAlone(nodes []int) {
	columns := min(root(len(nodes))+1, 8, len(nodes))
	x := 0
	for c := range columns {
		wide := 0
		for i := c; i < len(nodes); i += columns {
			n := nodes[i]
			l.center[n] = point{x + l.widths[n]/2, i / columns * treePitch}
			wide = max(wide, l.widths[n])
		}
		x += wide + 20*px
	}
}

// box is the place that a node takes.
func (l *layout) box(n int) rect { return around(l.center[n], l.widths[n], boxHeight) }

func (l *layout) bounds(nodes []int) rect {
	all := l.box(nodes[0])
	for _, n := range nodes[1:] {
		all = all.union(l.box(n))
	}
	return all
}

// pack puts the parts into rows, the highest first, what is alone last.
func (l *layout) pack(blocks [][]int) {
	const space = 56 * px
	alone := func(b []int) int { return min(len(l.adj[b[0]]), 1) }
	high := func(b []int) int { r := l.bounds(b); return r.max.y - r.min.y }
	slices.SortStableFunc(blocks, func(a, b []int) int {
		return cmp.Or(cmp.Compare(alone(b), alone(a)), cmp.Compare(high(b), high(a)))
	})
	area, widest := 0, 0
	for _, b := range blocks {
		r := l.bounds(b)
		area += (r.max.x - r.min.x + space) * (r.max.y - r.min.y + space)
		widest = max(widest, r.max.x-r.min.x)
	}
	most := max(widest, root(area*8/5))
	x, y, row := 0, 0, 0
	for _, b := range blocks {
		r := l.bounds(b)
		if x > 0 && (x+r.max.x-r.min.x > most || alone(b) == 0) {
			x, y, row = 0, y+row+space, 0
		}
		l.move(b, point{x - r.min.x, y - r.min.y})
		x += r.max.x - r.min.x + space
		row = max(row, r.max.y-r.min.y)
	}
}

func (l *layout) move(nodes []int, by point) {
	for _, n := range nodes {
		l.center[n].x += by.x
		l.center[n].y += by.y
		l.heart[n].x += by.x
		l.heart[n].y += by.y
	}
}

// curve is how the edge between two nodes runs, from the first to the second.
func (l *layout) curve(a, b int) curve {
	switch {
	case l.parent[b] == a:
		return line(l.outer(a, l.side[b]), l.inner(b))
	case l.parent[a] == b:
		return line(l.inner(a), l.outer(b, l.side[a]))
	}
	if bare := len(l.children[a])+len(l.children[b]) == 0; bare && (l.above[b] == a || l.above[a] == b) {
		return l.upright(a, b)
	}
	if l.hub[a] {
		return line(l.outer(a, l.side[b]), l.inner(b))
	}
	if l.hub[b] {
		return line(l.inner(a), l.outer(b, l.side[a]))
	}
	p, q := l.inner(a), l.inner(b)
	// Bent a little to the middle: neighbours' edges leave their boxes.
	mid := p.toward(q, 500)
	heart := l.heart[a]
	heart.y = (heart.y + mid.y) / 2
	return bent(p, mid.toward(heart, 250), q)
}

// upright is the edge between two nodes of which one is above the other.
func (l *layout) upright(a, b int) curve {
	down := boxHeight / 2
	if l.above[a] == b {
		down = -down
	}
	p, q := l.center[a], l.center[b]
	return line(point{p.x, p.y + down}, point{q.x, q.y - down})
}

// inner is where edges from the middle meet a box, outer where those do that go
// on outwards on a side.
func (l *layout) inner(n int) point {
	return point{l.center[n].x - l.side[n]*l.widths[n]/2, l.center[n].y}
}

func (l *layout) outer(n, side int) point {
	return point{l.center[n].x + side*l.widths[n]/2, l.center[n].y}
}
