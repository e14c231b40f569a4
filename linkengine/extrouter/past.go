package extrouter

import (
	"maps"
	"slices"
	"time"

	"clink/linkengine/wire"
)

// pastTime is for how long the routes of an actor stay that has come with a new
// incarnation: time to announce a million.
const pastTime = 10 * time.Second

// Past routes are kept as those of a second cluster of the same name, whose
// actors are what they were, and only wait for their end.

// pastOf returns the cluster of past routes, which is made if there is none.
func (t *Table) pastOf(name string) *cluster {
	p := t.past[name]
	if p == nil {
		p = t.newCluster(name)
		p.past.Store(true)
		t.past[p.name] = p
	}
	return p
}

// retire makes the actor's routes past, and forgets the actor.
func (t *Table) retire(now time.Time, c *cluster, name string, who *actor) {
	expires := now.Add(pastTime)
	t.era++
	if p := t.past[c.name]; len(c.actors) == 1 && (p == nil || len(p.actors) == 1 && p.actors[name] != nil) {
		t.forgetPast(c.name, name) // all there is, for there can be nothing else of it
		c.past.Store(true)
		who.expires = expires
		t.past[c.name] = c
		delete(t.clusters, c.name)
		t.cluster(c.name).refused = c.refused
		return
	}
	t.forgetPast(c.name, name)
	p := t.pastOf(c.name)
	old := p.take(name, who.incarnation)
	if old != nil {
		old.expires = expires
		t.hand(c, who, p, old)
	}
	t.forget(c, name, who)
	t.endPast(p)
}

// hand adds the routes of one actor to those of another.
func (t *Table) hand(c *cluster, from *actor, p *cluster, to *actor) {
	for key, held := range c.others {
		if held&from.bit != 0 {
			t.add(p, to, wire.RouteOp{Filter: key.filter, ID: key.id})
		}
	}
	for at := range t.spots() {
		if to.routes == from.routes {
			break
		}
		if known := at.at.Load().of(c); known != nil && known.plain&from.bit != 0 {
			filter := at.filter()
			t.add(p, to, wire.RouteOp{Filter: filter, ID: filter})
		}
	}
}

// comeAgain is for an actor that comes when it has past routes: if it is not the
// one that it was, they stay no longer than they need, or go.
func (t *Table) comeAgain(now time.Time, a Actor) {
	p := t.past[a.Cluster]
	if p == nil || p.actors[a.Name] == nil {
		return
	}
	switch old := p.actors[a.Name]; {
	case a.Incarnation < old.incarnation:
		t.forgetPast(a.Cluster, a.Name)
	case a.Incarnation > old.incarnation:
		if soon := now.Add(pastTime); soon.Before(old.expires) {
			old.expires = soon
		}
	}
}

// removePast removes what an actor deletes that came again.
func (t *Table) removePast(a Actor, op wire.RouteOp) {
	if p := t.past[a.Cluster]; p != nil {
		if old := p.actors[a.Name]; old != nil {
			t.remove(p, old, op)
		}
	}
}

func (t *Table) forgetPast(cluster, name string) {
	p := t.past[cluster]
	if p == nil {
		return
	}
	if old := p.actors[name]; old != nil {
		t.forget(p, name, old)
	}
	t.endPast(p)
}

// endPast takes away a cluster of past routes that has none.
func (t *Table) endPast(p *cluster) {
	if len(p.actors) == 0 {
		delete(t.past, p.name)
		clear(t.shared) // or it holds on to p
	}
}

func (t *Table) expirePast(now time.Time) {
	for _, p := range t.past {
		for name, old := range p.actors {
			if !now.Before(old.expires) {
				t.forget(p, name, old)
			}
		}
		t.endPast(p)
	}
}

// Past returns the clusters that have past routes, in order.
func (t *Table) Past() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.past))
}
