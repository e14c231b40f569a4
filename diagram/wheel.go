package diagram

import (
	"cmp"
	"slices"
)

// hubs returns one or two nodes of a core that its other links all run to, but
// for those along the rim of a wheel around them, and that rim; none if there
// are none. What hangs on a hub alone is on the rim too.
func (l *layout) hubs(core []int) (hubs, rim []int) {
	byDegree := slices.Clone(core)
	slices.SortStableFunc(byDegree, func(a, b int) int { return cmp.Compare(len(l.adj[b]), len(l.adj[a])) })
	for k := 1; k <= 2 && len(core) >= k+3; k++ {
		hubs = byDegree[:k]
		if len(l.adj[hubs[k-1]]) < 4 {
			break
		}
		if rim = l.rim(core, hubs); rim != nil {
			slices.Sort(hubs)
			return hubs, rim
		}
	}
	return nil, nil
}

// rim returns what stands around the hubs, in order, or nil if some links among
// it would cross the middle.
func (l *layout) rim(core, hubs []int) []int {
	around := map[int]bool{}
	for _, n := range core {
		around[n] = true
	}
	for _, h := range hubs {
		for _, n := range l.adj[h] {
			around[n] = true
		}
	}
	for _, h := range hubs {
		delete(around, h)
	}
	var nodes []int
	links := 0
	for n := range l.adj {
		if around[n] {
			nodes = append(nodes, n)
			links += l.linksTo(n, around)
		}
	}
	// Links along the rim pass above and below one hub, but not two.
	if links > 2*len(nodes) || links > 0 && len(hubs) > 1 {
		return nil
	}
	ring := arrange(l.adj, nodes)
	place := map[int]int{}
	for i, n := range ring {
		place[n] = i
	}
	for _, n := range ring {
		for _, m := range l.adj[n] {
			apart := (place[m] - place[n] + len(ring)) % len(ring)
			if around[m] && apart != 1 && apart != len(ring)-1 {
				return nil
			}
		}
	}
	return ring
}

func (l *layout) linksTo(n int, nodes map[int]bool) int {
	k := 0
	for _, m := range l.adj[n] {
		if nodes[m] {
			k++
		}
	}
	return k
}

// placeWheel places the hubs in the middle, one above the other, and the rim
// around them.
func (l *layout) placeWheel(hubs, rim []int) {
	wide := 0
	for _, h := range hubs {
		wide = max(wide, l.widths[h])
	}
	l.placeEllipse(rim, wide/2+l.room*3/2)
	all := l.bounds(rim)
	high := all.max.y - all.min.y
	for i, h := range hubs {
		l.hub[h] = true
		l.widths[h] = wide // so that no edge of one runs under the other
		if len(hubs) == 2 {
			l.center[h].y = all.min.y + high*(1+2*i)/4
		} else {
			l.center[h].y = (all.min.y + all.max.y) / 2
		}
		if i > 0 {
			l.above[h] = hubs[i-1]
		}
	}
}
