package actor

import (
	"sync"

	"clink/broker"
	"clink/linkengine/wire"
	"clink/topic"
)

// A Table is what one actor announces: the local routes, cut to what the link
// wants. It knows what the peer may have been told, so that it can be told of
// what has gone; it keeps no log of changes, and while the peer is away it does
// not grow beyond the routes there are and those that went.
type Table struct {
	routes Routes
	wake   chan struct{}

	follow sync.Mutex // held while what is followed changes
	stop   func()

	mu      sync.Mutex
	topics  []topic.Filter
	loading bool
	pending []change // while loading
	routed  map[key]state
	live    bool // changes are told one by one: everything has been told once
	dirty   []key
	wanted  int
	kept    map[key]struct{} // are not withdrawn
}

// A key is one announced route. The local route follows from it: the ID names
// its filter and group, so that no two local routes ever share a key.
type key struct{ filter, id string }

type change struct {
	route broker.Route
	added bool
}

type state byte

const (
	isWanted state = 1 << iota
	isTold         // the peer may hold it
	isDirty        // is in Table.dirty
)

// Routes are the local routes; see [broker.Routes.Watch].
type Routes interface {
	Watch(f func(r broker.Route, added bool)) (now []broker.Route, stop func())
}

// NewTable returns an empty table.
func NewTable(routes Routes) *Table {
	return &Table{routes: routes, wake: make(chan struct{}, 1), routed: make(map[key]state)}
}

// Follow makes the table follow the broker's routes, as far as topics want
// them, until Stop or the next Follow. What differs from before is announced.
func (t *Table) Follow(topics []topic.Filter) {
	t.follow.Lock()
	defer t.follow.Unlock()
	t.unwatch()
	t.mu.Lock()
	t.topics, t.loading, t.pending, t.kept = topics, true, nil, nil
	t.mu.Unlock()
	now, stop := t.routes.Watch(t.change)
	t.stop = stop
	wanted := make(map[key]struct{}, len(now))
	for _, r := range now {
		for _, k := range announced(r, topics) {
			wanted[k] = struct{}{}
		}
	}
	t.replace(wanted)
}

// Keep has those routes outlive the actor at the peer that stand for one of
// lasting: its successor will announce them again. It holds until the next
// Follow.
func (t *Table) Keep(lasting []broker.Route) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = make(map[key]struct{}, len(lasting))
	for _, r := range lasting {
		for _, k := range announced(r, t.topics) {
			t.kept[k] = struct{}{}
		}
	}
}

// Stop ends following. The table keeps what it has.
func (t *Table) Stop() {
	t.follow.Lock()
	defer t.follow.Unlock()
	t.unwatch()
}

func (t *Table) unwatch() {
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
}

// announced returns the routes that stand for r (sections 4 and 5.2).
func announced(r broker.Route, topics []topic.Filter) []key {
	both := topic.IntersectAll(r.Filter, topics)
	if len(both) == 0 {
		return nil
	}
	id := string(r.Filter)
	if r.Group != "" {
		id = wire.ShareID(r.Group, id)
	}
	keys := make([]key, len(both))
	for i, f := range both {
		keys[i] = key{string(f), id}
	}
	return keys
}

// replace makes wanted what is announced, and then lets in the changes that
// came meanwhile.
func (t *Table) replace(wanted map[key]struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, s := range t.routed {
		if _, ok := wanted[k]; !ok && s&isWanted != 0 {
			t.set(k, false)
		}
	}
	for k := range wanted {
		t.set(k, true)
	}
	pending := t.pending
	t.loading, t.pending = false, nil
	for _, c := range pending {
		t.apply(c)
	}
	t.signal()
}

// change is called by the broker, and must not wait for anything.
func (t *Table) change(r broker.Route, added bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := change{r, added}
	if t.loading {
		t.pending = append(t.pending, c)
		return
	}
	t.apply(c)
	t.signal()
}

func (t *Table) apply(c change) {
	for _, k := range announced(c.route, t.topics) {
		t.set(k, c.added)
	}
}

func (t *Table) set(k key, wanted bool) {
	s := t.routed[k]
	if wanted == (s&isWanted != 0) {
		return
	}
	if wanted {
		t.wanted++
	} else {
		t.wanted--
	}
	s ^= isWanted
	switch {
	case t.live && s&isDirty == 0:
		s |= isDirty
		t.dirty = append(t.dirty, k)
	case !t.live && s&(isWanted|isTold) == 0:
		delete(t.routed, k)
		return
	}
	t.routed[k] = s
}

func (t *Table) signal() {
	if len(t.dirty) == 0 {
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Len returns how many routes are to be announced.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wanted
}

// all returns everything that the peer must be told after a handshake: what is
// wanted, and the deletion of what it may hold beyond that.
func (t *Table) all() []wire.RouteOp {
	t.mu.Lock()
	defer t.mu.Unlock()
	ops := make([]wire.RouteOp, 0, len(t.routed))
	for k := range t.routed {
		ops = t.tell(ops, k)
	}
	t.dirty, t.live = nil, true
	return ops
}

// away ends the keeping of changes: the next thing the peer is told is all.
func (t *Table) away() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirty, t.live = nil, false
}

// changes returns what differs from what was returned before.
func (t *Table) changes() []wire.RouteOp {
	t.mu.Lock()
	defer t.mu.Unlock()
	ops := make([]wire.RouteOp, 0, len(t.dirty))
	for _, k := range t.dirty {
		ops = t.tell(ops, k)
	}
	t.dirty = nil
	return ops
}

// tell adds the operation that brings the peer up to date with k.
func (t *Table) tell(ops []wire.RouteOp, k key) []wire.RouteOp {
	s := t.routed[k] &^ isDirty
	switch {
	case s&isWanted != 0:
		t.routed[k] = s | isTold
	case s&isTold != 0:
		t.routed[k] = s
	default:
		delete(t.routed, k)
		return ops
	}
	return append(ops, wire.RouteOp{Delete: s&isWanted == 0, Filter: k.filter, ID: k.id})
}

// done forgets the routes whose deletion the peer has acknowledged.
func (t *Table) done(ops []wire.RouteOp) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, op := range ops {
		k := key{op.Filter, op.ID}
		if s := t.routed[k]; op.Delete && s&(isWanted|isDirty) == 0 {
			delete(t.routed, k)
		}
	}
}

// withdrawal returns the deletion of everything that the peer may hold, but
// for what is wanted and kept.
func (t *Table) withdrawal() []wire.RouteOp {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ops []wire.RouteOp
	for k, s := range t.routed {
		if _, stays := t.kept[k]; s&isTold != 0 && (!stays || s&isWanted == 0) {
			ops = append(ops, wire.RouteOp{Delete: true, Filter: k.filter, ID: k.id})
		}
	}
	return ops
}
