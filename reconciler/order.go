package reconciler

import (
	"slices"
	"sync"

	"clink/topology"
)

// An order is what one site is to be brought to.
type order struct {
	gen         uint64 // number of the load that it comes from
	suspensions uint64 // how many changes of the suspensions it knows of
	revision    string
	site        *topology.Site
	skip        bool            // leave the site as it is
	held        map[string]bool // peers whose links are not to be deleted
	meeting     meeting         // nil: the turn is about this site alone
	others      []string        // whom to wait for there
}

func orderFor(d Desired, name string, gen uint64) order {
	o := order{gen: gen, revision: d.Revision, site: d.Topology.Sites[name], held: map[string]bool{}}
	whole := false
	for _, h := range d.Held {
		if h.Site == name {
			o.held[h.Peer] = true
			whole = whole || h.Peer == ""
		}
	}
	if o.site == nil {
		o.skip = whole
		o.site = &topology.Site{Name: name}
	}
	return o
}

// open reports whether a site that is to be met for the order is not done with
// it yet.
func (o order) open() bool {
	return slices.ContainsFunc(o.others, func(name string) bool { return !o.meeting.over(name) })
}

// orders are those that a worker has not begun: the next, for which other
// sites may be waiting in its meeting, and the latest. One that comes between
// them is not carried out.
type orders struct {
	come chan struct{} // capacity 1: there is one

	mu      sync.Mutex
	waiting []order
}

// give adds the order of the site that is called so.
func (q *orders) give(site string, o order) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 2 {
		q.waiting[1].meeting.leave(site)
		q.waiting = q.waiting[:1]
	}
	q.waiting = append(q.waiting, o)
	poke(q.come)
}

// take returns the order to begin with, if there is any: the latest, unless
// there is another for which a neighbour can still be met.
func (q *orders) take(site string) (order, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 2 && !q.waiting[0].open() {
		q.waiting[0].meeting.leave(site)
		q.waiting = q.waiting[1:]
	}
	if len(q.waiting) == 0 {
		return order{}, false
	}
	o := q.waiting[0]
	q.waiting = append([]order(nil), q.waiting[1:]...)
	return o, true
}
