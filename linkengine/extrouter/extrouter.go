// Package extrouter keeps the routes that remote clusters announced to this
// one, and answers which clusters want a message of a given topic (Cluster
// Linking protocol, sections 4, 6.1, 7 and 8).
//
// Routes belong to actors: several actors (the nodes of a cluster, its durable
// sessions) announce for one cluster, and an actor's routes live as long as
// the actor does. A topic is matched without locks and without allocating;
// changes exclude each other. The package has no clock and no goroutine: the
// caller says what time it is, and when to look for what has expired.
//
// When an actor comes back from a restart, or this process does, what it had
// announced is past: served for a while, so that messages which are published
// before it has announced everything anew find their routes.
//
// It does not decide who may announce what, and it does not send.
package extrouter

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"clink/linkengine/wire"
	"clink/topic"
)

// TTL is how long an actor lives without a sign of life (section 7).
const TTL = 30 * time.Second

// MaxActors is how many actors one cluster may have at a time.
const MaxActors = 64

// maxLevels bounds what one filter can cost; it is EMQX's own bound of a
// listener's topics.
const maxLevels = 128

// Errors of [Table.Init], [Table.Update] and [Table.Touch].
var (
	ErrOld     = errors.New("the incarnation is lower than the one known")
	ErrNoActor = errors.New("the actor is not initialised")
	ErrActors  = errors.New("the cluster has too many actors")
)

// An Actor is one independent announcer of a cluster.
type Actor struct {
	Cluster, Name string
	Incarnation   int64
}

// Limits bound what one cluster may announce; zero fields mean the defaults,
// one million routes and 256 MiB of text. The levels of its filters with
// wildcards are bounded as well, by sixteen for each route that is allowed.
type Limits struct {
	Routes int
	Bytes  int64
}

// Stats are the figures of one cluster. Routes counts a route once however
// many actors announce it, and past ones not; Refused counts since the table
// was made.
type Stats struct {
	Routes, Actors int
	Refused        uint64
}

// A Table is the routes of all clusters. Its methods may be called at the same
// time.
type Table struct {
	limits  Limits
	version atomic.Uint64
	exact   index[exact, *exact]
	levels  index[node, *node]
	root    node

	mu       sync.Mutex
	lastID   uint32
	number   int
	era      uint64 // changes when an actor comes or goes
	clusters map[string]*cluster
	past     map[string]*cluster // see past.go
	shared   map[holders]*holders
}

// A cluster's routes are where its filters are, as holders; here is what does
// not fit in there.
type cluster struct {
	name    string
	number  int
	past    atomic.Bool
	actors  map[string]*actor
	used    uint64              // bits of actors
	others  map[routeKey]uint64 // a bit for each actor, of the routes whose ID is not their filter
	routes  int
	bytes   int64
	levels  int
	refused uint64
}

type routeKey struct{ filter, id string }

type actor struct {
	incarnation int64
	bit         uint64
	routes      int
	expires     time.Time
}

// New returns an empty table.
func New(limits Limits) *Table {
	if limits.Routes <= 0 {
		limits.Routes = 1_000_000
	}
	if limits.Bytes <= 0 {
		limits.Bytes = 256 << 20
	}
	t := &Table{limits: limits, clusters: make(map[string]*cluster), past: make(map[string]*cluster), shared: make(map[holders]*holders)}
	t.exact.init()
	t.levels.init()
	return t
}

// Version changes whenever a route was added or deleted.
func (t *Table) Version() uint64 { return t.version.Load() }

// Init makes the actor known or renews it. It reports whether the actor was
// made anew, without routes: the first time, or because its incarnation is
// higher than the one known, whose routes are past when Init returns.
func (t *Table) Init(now time.Time, a Actor) (created bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cluster(a.Cluster)
	known := c.actors[a.Name]
	switch {
	case known != nil && a.Incarnation < known.incarnation:
		return false, fmt.Errorf("actor %.80q of %.80q, incarnation %d, known %d: %w", a.Name, a.Cluster, a.Incarnation, known.incarnation, ErrOld)
	case known != nil && a.Incarnation > known.incarnation:
		t.retire(now, c, a.Name, known)
		c, known = t.cluster(a.Cluster), nil
	case known == nil:
		t.comeAgain(now, a)
	}
	if known == nil {
		if known = c.take(a.Name, a.Incarnation); known == nil {
			return false, fmt.Errorf("actor %.80q of %.80q: %w", a.Name, a.Cluster, ErrActors)
		}
		created = true
		t.era++
	}
	known.expires = now.Add(TTL)
	return created, nil
}

// cluster returns the cluster, which is made if it is not known.
func (t *Table) cluster(name string) *cluster {
	c := t.clusters[name]
	if c == nil {
		c = t.newCluster(name)
		t.clusters[c.name] = c
	}
	return c
}

func (t *Table) newCluster(name string) *cluster {
	t.number++
	return &cluster{name: strings.Clone(name), number: t.number, others: make(map[routeKey]uint64), actors: make(map[string]*actor)}
}

// take makes an actor, or returns nil if there are too many.
func (c *cluster) take(name string, incarnation int64) *actor {
	if c.used == 1<<MaxActors-1 {
		return nil
	}
	a := &actor{incarnation: incarnation, bit: 1 << bits.TrailingZeros64(^c.used)}
	c.used |= a.bit
	c.actors[strings.Clone(name)] = a
	return a
}

// actor returns the actor if it is known in this incarnation, and renews it.
func (t *Table) actor(now time.Time, a Actor) (*cluster, *actor, error) {
	if c := t.clusters[a.Cluster]; c != nil {
		if known := c.actors[a.Name]; known != nil && known.incarnation == a.Incarnation {
			known.expires = now.Add(TTL)
			return c, known, nil
		}
	}
	return nil, nil, fmt.Errorf("actor %.80q of %.80q, incarnation %d: %w", a.Name, a.Cluster, a.Incarnation, ErrNoActor)
}

// Touch renews the actor.
func (t *Table) Touch(now time.Time, a Actor) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _, err := t.actor(now, a)
	return err
}

// Update changes the routes of the actor and renews it. Adding a route twice
// and deleting one that is not there do nothing. Refused counts additions
// that are no filters, lie under $LINK/ or are beyond the limits; the others
// are in force when Update returns. The table keeps the texts of ops.
func (t *Table) Update(now time.Time, a Actor, ops []wire.RouteOp) (refused int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, who, err := t.actor(now, a)
	if err != nil {
		return 0, err
	}
	for _, op := range ops {
		switch {
		case op.Delete:
			t.remove(c, who, op)
			t.removePast(a, op)
		case !t.add(c, who, op):
			refused++
		}
	}
	c.refused += uint64(refused)
	return refused, nil
}

// add adds a route of an actor. It reports false if it is refused.
func (t *Table) add(c *cluster, who *actor, op wire.RouteOp) bool {
	at := t.spot(op.Filter, false)
	var part holders
	if at.at != nil {
		if known := at.at.Load().of(c); known != nil {
			part = *known
		}
	}
	part.cluster = c
	plain := op.ID == op.Filter
	held := part.plain
	if !plain {
		held = c.others[routeKey{op.Filter, op.ID}]
	}
	if held&who.bit != 0 {
		return true
	}
	if held == 0 && !t.admit(c, op) {
		return false
	}
	who.routes++
	t.version.Add(1)
	switch {
	case plain:
		part.plain |= who.bit
	default:
		c.others[routeKey{op.Filter, op.ID}] = held | who.bit
		if held != 0 {
			return true
		}
		part.others++
	}
	if at.at == nil {
		at = t.spot(op.Filter, true)
	}
	at.at.Store(t.with(at.at.Load(), part))
	return true
}

// admit counts one more route of the cluster, if it may have it.
func (t *Table) admit(c *cluster, op wire.RouteOp) bool {
	size, levels := cost(op)
	if c.routes >= t.limits.Routes || c.bytes+size > t.limits.Bytes || c.levels+levels > 16*t.limits.Routes || !servable(op.Filter) {
		return false
	}
	c.routes++
	c.bytes += size
	c.levels += levels
	return true
}

// dismiss counts one route of the cluster less.
func (c *cluster) dismiss(op wire.RouteOp) {
	size, levels := cost(op)
	c.routes--
	c.bytes -= size
	c.levels -= levels
}

// cost is what a route takes: bytes of text, and nodes.
func cost(op wire.RouteOp) (size int64, levels int) {
	if strings.ContainsAny(op.Filter, "+#") {
		levels = strings.Count(op.Filter, "/") + 1
	}
	return int64(len(op.Filter) + len(op.ID)), levels
}

func servable(filter string) bool {
	if strings.Count(filter, "/") >= maxLevels || strings.HasPrefix(filter, "$LINK/") {
		return false
	}
	_, err := topic.Parse(filter)
	return err == nil
}

// remove removes a route of an actor, if there is one.
func (t *Table) remove(c *cluster, who *actor, op wire.RouteOp) {
	at := t.spot(op.Filter, false)
	if at.at == nil {
		return
	}
	known := at.at.Load().of(c)
	switch {
	case known == nil:
	case op.ID == op.Filter:
		t.removePlain(c, who, at, *known, op)
	default:
		t.removeOther(c, who, at, *known, op)
	}
}

func (t *Table) removePlain(c *cluster, who *actor, at spot, part holders, op wire.RouteOp) {
	if part.plain&who.bit == 0 {
		return
	}
	who.routes--
	t.version.Add(1)
	if part.plain &^= who.bit; part.plain == 0 {
		c.dismiss(op)
	}
	t.set(at, t.with(at.at.Load(), part))
}

func (t *Table) removeOther(c *cluster, who *actor, at spot, part holders, op wire.RouteOp) {
	key := routeKey{op.Filter, op.ID}
	held := c.others[key]
	if held&who.bit == 0 {
		return
	}
	who.routes--
	t.version.Add(1)
	if held &^= who.bit; held != 0 {
		c.others[key] = held
		return
	}
	delete(c.others, key)
	c.dismiss(op)
	part.others--
	t.set(at, t.with(at.at.Load(), part))
}

// wipe removes all routes of an actor. It looks at all that other clusters
// have as well, until it has found as many as there are.
func (t *Table) wipe(c *cluster, who *actor) {
	if who.routes == 0 {
		return
	}
	for key, held := range c.others {
		if held&who.bit != 0 {
			t.remove(c, who, wire.RouteOp{Filter: key.filter, ID: key.id})
		}
	}
	for at := range t.spots() {
		if who.routes == 0 {
			break
		}
		if known := at.at.Load().of(c); known != nil && known.plain&who.bit != 0 {
			filter := at.filter()
			t.removePlain(c, who, at, *known, wire.RouteOp{Filter: filter, ID: filter})
		}
	}
}

// Spare has the actors of a cluster live for [TTL] from now on, though they give
// no sign of life.
func (t *Table) Spare(now time.Time, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.clusters[name]; c != nil {
		for _, a := range c.actors {
			a.expires = now.Add(TTL)
		}
	}
}

// Expire removes the actors that have given no sign of life for [TTL], with
// their routes, and returns them.
func (t *Table) Expire(now time.Time) []Actor {
	t.mu.Lock()
	defer t.mu.Unlock()
	var gone []Actor
	for _, c := range t.clusters {
		for name, a := range c.actors {
			if !now.Before(a.expires) {
				t.forget(c, name, a)
				gone = append(gone, Actor{c.name, name, a.incarnation})
			}
		}
	}
	t.expirePast(now)
	return gone
}

func (t *Table) forget(c *cluster, name string, a *actor) {
	t.wipe(c, a)
	c.used &^= a.bit
	delete(c.actors, name)
	t.era++
}

// Drop forgets everything that the cluster announced.
func (t *Table) Drop(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, in := range []map[string]*cluster{t.clusters, t.past} {
		if c := in[name]; c != nil {
			for name, a := range c.actors {
				t.forget(c, name, a)
			}
			delete(in, name)
		}
	}
	clear(t.shared) // or it holds on to them
}

// Stats returns the figures of one cluster.
func (t *Table) Stats(name string) Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clusters[name]
	if c == nil {
		return Stats{}
	}
	return Stats{Routes: c.routes, Actors: len(c.actors), Refused: c.refused}
}
