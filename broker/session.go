package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// An idle is a session without a connection.
type idle struct {
	c      *client
	until  time.Time
	will   *will // still to be published, at willAt or when the session ends
	willAt time.Time
}

// takeOver makes c the only connection of its client id. It waits for the
// one before to be gone altogether, so that nothing of it, the engine's
// bookkeeping by client id above all, falls on its successor. Then it settles
// what becomes of the session. On success c holds the id lock.
func (n *Node) takeOver(c *client, clean bool) *refusal {
	deadline := time.NewTimer(n.succession)
	defer deadline.Stop()
	busy := &refusal{packets.ErrServerBusy, "the client id is still in use"}
	if !n.ids.lock(c.id, deadline.C) {
		return busy
	}
	// One that has waited for its turn must not end the connection there is only
	// to give up itself: then nobody would be left.
	deadline.Reset(n.succession)
	n.mu.Lock()
	old := n.live[c.id]
	n.mu.Unlock()
	if old != nil && !n.replace(old, deadline.C) {
		n.ids.unlock(c.id)
		return busy
	}
	c.holdsID = true
	n.mu.Lock()
	if n.state == stopped {
		n.mu.Unlock()
		n.ids.unlock(c.id)
		c.holdsID = false
		return &refusal{packets.ErrServerShuttingDown, "the node is stopping"}
	}
	s := n.idle[c.id]
	if n.overSessions(c, s != nil) || n.overLinks(c, s != nil) {
		n.mu.Unlock()
		n.ids.unlock(c.id)
		c.holdsID = false
		return &refusal{packets.ErrQuotaExceeded, "there are as many sessions as may be"}
	}
	delete(n.idle, c.id)
	n.live[c.id] = c
	n.countLive()
	n.mu.Unlock()
	if s == nil && old == nil {
		return nil
	}
	// One whose time is over has ended, whether or not keepHouse has come by.
	if s != nil && (clean || time.Now().After(s.until) || s.c.principal() != c.principal()) {
		n.endSession(s)
		s = nil
	}
	if s == nil {
		n.grace.wait(straggle, nil) // what is being delivered to the old session must not reach the new one
		return nil
	}
	n.dropSubscriptions(s.c, c.right.Load())
	s.will = nil
	c.took = s
	c.inbound = s.c.inbound
	c.reached.Store(s.c.reached.Load())
	c.joinPairs(s.c.cl)
	s.c.heir.Store(c)
	return nil
}

// replace ends a connection for its successor, and waits until nothing of it is
// left, unless giveUp says that it takes too long.
func (n *Node) replace(old *client, giveUp <-chan time.Time) bool {
	if old.conn.endInput() {
		patient := time.NewTimer(lastWords)
		defer patient.Stop()
		select {
		case <-old.ended:
			return true
		case <-patient.C:
		case <-giveUp:
			return false
		}
	}
	n.disconnect(old, packets.ErrSessionTakenOver)
	select {
	case <-old.ended:
		return true
	case <-giveUp:
		return false
	}
}

// overLinks reports whether c would begin one more session of a link's peer than
// a peer may have. The caller holds n.mu.
func (n *Node) overLinks(c *client, continues bool) bool {
	g := c.granted.Load()
	if g == nil || continues || n.live[c.id] != nil {
		return false
	}
	same := 0
	count := func(o *client) {
		if other := o.granted.Load(); other != nil && other.Peer == g.Peer {
			same++
		}
	}
	for _, o := range n.live {
		count(o)
	}
	for _, s := range n.idle {
		count(s.c)
	}
	return same >= n.opts.linkSessions
}

// overSessions reports whether c would begin a session beyond the limit. Links
// have one of their own. The caller holds n.mu.
func (n *Node) overSessions(c *client, continues bool) bool {
	most := n.bounds.Load().sessions
	return most > 0 && !continues && c.session == nil && n.live[c.id] == nil && len(n.live)+len(n.idle) >= most
}

// endSession forgets a session that has no connection: its will goes out now,
// its filters and messages are dropped. The caller holds the id lock and has
// taken it out of n.idle.
func (n *Node) endSession(s *idle) {
	if st := n.keeper.store.Load(); st != nil {
		st.EndSession(s.c.id)
	}
	if s.will != nil {
		n.publishWill(s.c, s.will)
		s.will = nil
	}
	n.endEngineSession(s.c.cl)
}

func (n *Node) endEngineSession(cl *mqtt.Client) {
	n.server.UnsubscribeClient(cl)
	cl.ClearInflights()
	n.server.Clients.Delete(cl.ID)
}

// dropSubscriptions removes the subscriptions of c that r does not allow, and
// returns how many.
func (n *Node) dropSubscriptions(c *client, r *right) int {
	dropped := 0
	for filter, sub := range c.cl.State.Subscriptions.GetAll() {
		route, ok := parseRoute(filter)
		if ok && r.subscribe(route.Filter, sub.Qos) {
			continue
		}
		c.cl.State.Subscriptions.Delete(filter)
		c.dropFilter(filter)
		n.routes.remove(c.id, route)
		c.unsubscribed(filter)
		dropped++
	}
	n.matches.changed()
	c.subs.Add(1)
	return dropped
}

// parting is called in the connection's goroutine when its reader has ended.
// Ends says that the session ends with the connection.
func (n *Node) parting(c *client, ends bool) {
	c.acks.free()
	if c.will == nil {
		return
	}
	if c.bye || c.revoked.Load() || n.stopping() {
		c.will = nil
		return
	}
	if ends || c.will.delay == 0 {
		n.publishWill(c, c.will)
		c.will = nil
	}
}

// leave ends what takeOver began, when nothing else of the connection runs.
func (n *Node) leave(c *client) {
	n.grace.leave(c.ticket) // the engine gave up between two hooks
	n.large.leave(c.entered)
	c.acks.free()
	if !c.established {
		n.leaveEarly(c)
	} else if c.sending != nil {
		<-c.sending // what it collects must be there for the next connection
	}
	if c.session != nil && n.handler != nil && c.established {
		n.handler.Closed(c.session)
	}
	n.mu.Lock()
	if kept, ok := n.server.Clients.Get(c.id); ok && kept == c.cl {
		now := time.Now()
		s := &idle{c: c, until: now.Add(c.expiry), will: c.will}
		if c.will != nil {
			s.willAt = now.Add(min(c.will.delay, c.expiry))
		}
		n.idle[c.id] = s
	}
	if n.live[c.id] == c {
		delete(n.live, c.id)
	}
	n.countLive()
	n.saveIdle(c.id)
	n.mu.Unlock()
	if c.holdsID {
		n.ids.unlock(c.id)
		c.holdsID = false
	}
	close(c.ended)
}

// countLive tells the engine, where what is published under $SYS is counted, how
// many clients are connected. The caller holds n.mu.
func (n *Node) countLive() {
	info, live := n.server.Info, int64(len(n.live))
	atomic.StoreInt64(&info.ClientsConnected, live)
	atomic.StoreInt64(&info.ClientsMaximum, max(atomic.LoadInt64(&info.ClientsMaximum), live))
}

// leaveEarly is for a connection that broke before its session began: the
// engine has no hook for it and forgets nothing.
func (n *Node) leaveEarly(c *client) {
	c.will = nil
	kept, ok := n.server.Clients.Get(c.id)
	if ok {
		c.splitPairs(kept)
	}
	switch {
	case ok && kept == c.cl:
		if c.took != nil {
			c.collect()
		}
		if c.expiry == 0 {
			n.endEngineSession(c.cl)
		}
	case ok && c.took != nil && kept == c.took.c.cl:
		c.took.c.heir.Store(nil)
		n.mu.Lock()
		n.idle[c.id] = c.took
		n.mu.Unlock()
	}
}

// keepHouse ends sessions, publishes wills and removes messages whose time has
// come, until ctx ends.
func (n *Node) keepHouse(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			n.expireEach(now)
			if due := n.due(now); len(due) > 0 && n.settling.CompareAndSwap(false, true) {
				n.spawn(func() { // a handler may hold up a will
					defer n.settling.Store(false)
					for _, s := range due {
						n.settle(s, now)
					}
				})
			}
		}
	}
}

func (n *Node) due(now time.Time) []*idle {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []*idle
	for _, s := range n.idle {
		if now.After(s.until) || s.will != nil && now.After(s.willAt) {
			out = append(out, s)
		}
	}
	return out
}

// shortenIdle gives sessions without a connection no longer life than the
// configuration allows: restored ones had another, perhaps.
func (n *Node) shortenIdle(most time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, s := range n.idle {
		if s.c.expiry <= most {
			continue
		}
		s.until = s.until.Add(most - s.c.expiry)
		s.c.expiry = most
		n.saveIdle(id)
	}
}

// settle does what is due for one session, unless its client is just coming
// back.
func (n *Node) settle(s *idle, now time.Time) {
	id := s.c.id
	if !n.ids.tryLock(id) {
		return
	}
	defer n.ids.unlock(id)
	n.mu.Lock()
	if n.idle[id] != s {
		n.mu.Unlock()
		return
	}
	over := now.After(s.until)
	w := s.will
	if w != nil && !s.c.right.Load().judged() {
		n.mu.Unlock()
		return // nobody knows yet whether its client may publish it
	}
	s.will = nil
	if over {
		delete(n.idle, id)
	}
	n.mu.Unlock()
	if w != nil {
		n.publishWill(s.c, w)
	}
	if over {
		n.endSession(s)
	}
}

// idLocks lets one connection at a time deal with a client id.
type idLocks struct {
	mu sync.Mutex
	m  map[string]*idLock
}

type idLock struct {
	held chan struct{}
	refs int
}

func (l *idLocks) ref(id string) *idLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.m[id]
	if k == nil {
		if l.m == nil {
			l.m = make(map[string]*idLock)
		}
		k = &idLock{held: make(chan struct{}, 1)}
		l.m[id] = k
	}
	k.refs++
	return k
}

func (l *idLocks) unref(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.m[id]
	if k.refs--; k.refs == 0 {
		delete(l.m, id)
	}
}

func (l *idLocks) lock(id string, giveUp <-chan time.Time) bool {
	k := l.ref(id)
	select {
	case k.held <- struct{}{}:
		return true
	case <-giveUp:
		l.unref(id)
		return false
	}
}

func (l *idLocks) tryLock(id string) bool {
	k := l.ref(id)
	select {
	case k.held <- struct{}{}:
		return true
	default:
		l.unref(id)
		return false
	}
}

func (l *idLocks) unlock(id string) {
	l.mu.Lock()
	k := l.m[id]
	l.mu.Unlock()
	<-k.held
	l.unref(id)
}
