package actor

import (
	"iter"
	"slices"
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

	chunk int

	mu      sync.Mutex
	topics  []topic.Filter
	loading bool
	pending []change // while loading
	routed  states
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
	isFound        // while loading: it is still wanted
)

// chunk is for how many routes at a time the table is locked: the broker's
// clients wait while it is.
const chunk = 4000

// Routes are the local routes; see [broker.Routes.Watch].
type Routes interface {
	Watch(f func(r broker.Route, added bool)) (now []broker.Route, stop func())
}

// NewTable returns an empty table.
func NewTable(routes Routes) *Table {
	return &Table{routes: routes, wake: make(chan struct{}, 1), routed: newStates(), chunk: chunk}
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
	for some := range slices.Chunk(now, t.chunk) {
		t.find(some, topics)
	}
	t.loaded()
}

// find notes routes that there are.
func (t *Table) find(routes []broker.Route, topics []topic.Filter) {
	found := make([]key, 0, len(routes))
	for _, r := range routes {
		found = append(found, announced(r, topics)...)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range found {
		t.set(k, true)
		t.routed.put(k, t.routed.get(k)|isFound)
	}
}

// loaded gives up what was not found, and then lets in the changes that came
// meanwhile.
func (t *Table) loaded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for k, s := range t.routed.all() {
		if t.routed.put(k, s&^isFound); s&isFound == 0 {
			t.set(k, false)
		}
		if n++; n%t.chunk == 0 {
			t.unlocked(func() bool { return true })
		}
	}
	pending := t.pending
	t.loading, t.pending = false, nil
	for _, c := range pending {
		t.apply(c)
	}
	t.signal()
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
		if f == r.Filter {
			keys[i].filter = string(r.Filter) // one text, not two
		}
	}
	return keys
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
	s := t.routed.get(k)
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
		t.routed.delete(k)
		return
	}
	t.routed.put(k, s)
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

// all yields everything that the peer must be told after a handshake: what is
// wanted, and the deletion of what it may hold beyond that. Changes meanwhile
// are kept for [Table.changes]. What is yielded is overwritten by what follows.
func (t *Table) all() iter.Seq[[]wire.RouteOp] {
	return func(yield func([]wire.RouteOp) bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.dirty, t.live = nil, true
		var ops []wire.RouteOp
		for k := range t.routed.all() {
			if ops = t.tell(ops, k); len(ops) == t.chunk {
				if !t.unlocked(func() bool { return yield(ops) }) {
					return
				}
				ops = ops[:0]
			}
		}
		if len(ops) > 0 {
			t.unlocked(func() bool { return yield(ops) })
		}
		t.signal()
	}
}

func (t *Table) unlocked(f func() bool) bool {
	t.mu.Unlock()
	defer t.mu.Lock()
	return f()
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
	s := t.routed.get(k) &^ isDirty
	switch {
	case s&isWanted != 0:
		t.routed.put(k, s|isTold)
	case s&isTold != 0:
		t.routed.put(k, s)
	default:
		t.routed.delete(k)
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
		if op.Delete && t.routed.get(k)&(isWanted|isDirty) == 0 {
			t.routed.delete(k)
		}
	}
}

// withdrawal returns the deletion of everything that the peer may hold, but
// for what is wanted and kept.
func (t *Table) withdrawal() []wire.RouteOp {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ops []wire.RouteOp
	for k, s := range t.routed.all() {
		if _, stays := t.kept[k]; s&isTold != 0 && (!stays || s&isWanted == 0) {
			ops = append(ops, wire.RouteOp{Delete: true, Filter: k.filter, ID: k.id})
		}
	}
	return ops
}
