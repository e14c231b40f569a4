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
// one million routes and 256 MiB of text.
type Limits struct {
	Routes int
	Bytes  int64
}

// Stats are the figures of one cluster. Routes counts a route once however
// many actors announce it; Refused counts since the table was made.
type Stats struct {
	Routes, Actors int
	Refused        uint64
}

// A Table is the routes of all clusters. Its methods may be called at the same
// time.
type Table struct {
	limits  Limits
	version atomic.Uint64
	exact   index // whole filters without wildcards
	levels  index // one node for each level of the others
	root    node

	mu       sync.Mutex
	lastID   uint32
	clusters map[string]*cluster
}

type cluster struct {
	name    string
	routes  map[routeKey]uint64 // a bit for each actor that announced it
	actors  map[string]*actor
	bytes   int64
	used    uint64 // bits of actors
	refused uint64
}

type routeKey struct{ filter, id string }

type actor struct {
	incarnation int64
	bit         uint64
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
	t := &Table{limits: limits, clusters: make(map[string]*cluster)}
	t.exact.init()
	t.levels.init()
	return t
}

// Version changes whenever a route was added or deleted.
func (t *Table) Version() uint64 { return t.version.Load() }

// Init makes the actor known or renews it. It reports whether the actor was
// made anew, without routes: the first time, or because its incarnation is
// higher than the one known, whose routes are gone when Init returns.
func (t *Table) Init(now time.Time, a Actor) (created bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clusters[a.Cluster]
	if c == nil {
		c = &cluster{name: a.Cluster, routes: make(map[routeKey]uint64), actors: make(map[string]*actor)}
		t.clusters[a.Cluster] = c
	}
	known := c.actors[a.Name]
	switch {
	case known == nil && c.used == 1<<MaxActors-1:
		return false, fmt.Errorf("actor %.80q of %.80q: %w", a.Name, a.Cluster, ErrActors)
	case known == nil:
		known = &actor{bit: 1 << bits.TrailingZeros64(^c.used)}
		c.used |= known.bit
		c.actors[strings.Clone(a.Name)] = known
		created = true
	case a.Incarnation < known.incarnation:
		return false, fmt.Errorf("actor %.80q of %.80q, incarnation %d, known %d: %w", a.Name, a.Cluster, a.Incarnation, known.incarnation, ErrOld)
	case a.Incarnation > known.incarnation:
		t.wipe(c, known.bit)
		created = true
	}
	known.incarnation, known.expires = a.Incarnation, now.Add(TTL)
	return created, nil
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
			t.remove(c, routeKey{op.Filter, op.ID}, who.bit)
		case !t.add(c, routeKey{op.Filter, op.ID}, who.bit):
			refused++
		}
	}
	c.refused += uint64(refused)
	t.version.Add(1)
	return refused, nil
}

func (t *Table) add(c *cluster, key routeKey, bit uint64) bool {
	holders, known := c.routes[key]
	if known {
		c.routes[key] = holders | bit
		return true
	}
	size := int64(len(key.filter) + len(key.id))
	if len(c.routes) >= t.limits.Routes || c.bytes+size > t.limits.Bytes || !servable(key.filter) {
		return false
	}
	c.routes[key] = bit
	c.bytes += size
	t.insert(key.filter, c)
	return true
}

func servable(filter string) bool {
	if strings.Count(filter, "/") >= maxLevels || strings.HasPrefix(filter, "$LINK/") {
		return false
	}
	_, err := topic.Parse(filter)
	return err == nil
}

func (t *Table) remove(c *cluster, key routeKey, bit uint64) {
	holders := c.routes[key]
	switch {
	case holders&bit == 0:
	case holders != bit:
		c.routes[key] = holders &^ bit
	default:
		delete(c.routes, key)
		c.bytes -= int64(len(key.filter) + len(key.id))
		t.withdraw(key.filter, c)
	}
}

func (t *Table) wipe(c *cluster, bit uint64) {
	for key := range c.routes {
		t.remove(c, key, bit)
	}
	t.version.Add(1)
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
	return gone
}

func (t *Table) forget(c *cluster, name string, a *actor) {
	t.wipe(c, a.bit)
	c.used &^= a.bit
	delete(c.actors, name)
}

// Drop forgets everything that the cluster announced.
func (t *Table) Drop(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clusters[name]
	if c == nil {
		return
	}
	for key := range c.routes {
		t.withdraw(key.filter, c)
	}
	delete(t.clusters, name)
	t.version.Add(1)
}

// Stats returns the figures of one cluster.
func (t *Table) Stats(name string) Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clusters[name]
	if c == nil {
		return Stats{}
	}
	return Stats{Routes: len(c.routes), Actors: len(c.actors), Refused: c.refused}
}
