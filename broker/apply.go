package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"clink/topology"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Apply brings the node to cfg, before or during Run, and touches only what
// differs. A client that would no longer be let in, or whose subscriptions are
// no longer allowed, is disconnected. A listener whose address is taken is
// tried again in the background, and [Node.Listeners] says so. The error joins
// what could not be done: a secret or certificate that cannot be read leaves
// what was in force before (nothing, if it is new); the rest is applied.
func (n *Node) Apply(ctx context.Context, cfg Config) error {
	n.applying.Lock()
	defer n.applying.Unlock()
	if n.state == stopped {
		return errors.New("broker: the node has stopped")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	n.bounds.Store(newBounds(&n.opts, cfg.MQTT))
	n.shortenIdle(n.bounds.Load().expiry)
	n.keepalive.Store(int64(serverKeepalive))
	if d := cfg.MQTT.ServerKeepalive; !d.IsZero() {
		n.keepalive.Store(int64(d.Value))
	}
	a, err := newAccess(cfg, n.access.Load(), n.vault)
	n.access.Store(a)
	n.sure.Store(err == nil)
	err = errors.Join(err, n.applyListeners(cfg)) // a listener may say who its clients are
	n.enforce(a)
	return err
}

// enforce lets connected clients and waiting sessions feel a change of access.
func (n *Node) enforce(a *access) {
	n.mu.Lock()
	var live []*client
	for _, c := range n.live {
		live = append(live, c)
	}
	var waiting []*idle
	for _, s := range n.idle {
		waiting = append(waiting, s)
	}
	n.mu.Unlock()
	for _, c := range live {
		if code := n.recheck(a, c); code != packets.CodeSuccess {
			n.log.Info("client disconnected: its access has changed", "clientid", c.id, "username", c.username)
			c.revoked.Store(true)
			n.disconnect(c, code)
		}
	}
	for _, s := range waiting {
		n.enforceIdle(a, s)
	}
}

// recheck gives c its rights under a, and says with which code it must go.
func (n *Node) recheck(a *access, c *client) packets.Code {
	claim := c.claim
	if c.conn != nil && c.conn.limits != nil {
		claim.certUser = c.conn.from.user(c.conn.limits.Load().certUser)
	}
	r, no := a.admit(&claim, n.vault)
	if no != nil {
		return packets.ErrNotAuthorized
	}
	was := c.granted.Load()
	if was == nil && claim.certUser != c.claim.certUser { // it would be somebody else now
		return packets.ErrAdministrativeAction
	}
	if (r.grant == nil) != (was == nil) || was != nil && was.Peer != r.grant.Peer {
		return packets.ErrAdministrativeAction
	}
	c.granted.Store(r.grant)
	c.right.Store(r)
	if n.dropSubscriptions(c, r) > 0 {
		return packets.ErrAdministrativeAction
	}
	return packets.CodeSuccess
}

// rejudge looks at c's subscriptions again if its rights changed while some
// were taken in: whoever changed them may not have seen these.
func (n *Node) rejudge(c *client) {
	now := c.right.Load()
	if now == c.request.judged || n.dropSubscriptions(c, now) == 0 {
		return
	}
	c.revoked.Store(true)
	n.disconnect(c, packets.ErrAdministrativeAction)
}

func (n *Node) enforceIdle(a *access, s *idle) {
	if !n.ids.tryLock(s.c.id) {
		return // its client is coming back, and is checked itself
	}
	defer n.ids.unlock(s.c.id)
	n.mu.Lock()
	there := n.idle[s.c.id] == s
	n.mu.Unlock()
	if !there {
		return
	}
	if code := n.recheck(a, s.c); code != packets.ErrNotAuthorized {
		return
	}
	if s.c.claim.restored && !n.sure.Load() {
		return // perhaps only its credential cannot be read at the moment
	}
	n.mu.Lock()
	delete(n.idle, s.c.id)
	n.mu.Unlock()
	s.will = nil
	n.endSession(s)
}

// applyListeners closes what is no longer wanted before it opens what is new,
// which may want the same port.
func (n *Node) applyListeners(cfg Config) error {
	plans := make(map[string]plan)
	for _, l := range cfg.Listeners {
		if !l.Enable {
			continue
		}
		p := plan{listener: l}
		e := n.endpoints[l.Name]
		if p.same = e != nil && e.is(l) && n.base == cfg.BaseDir; !p.same {
			p.config, p.err = prepare(l, cfg.BaseDir)
		}
		plans[l.Name] = p
	}
	n.base = cfg.BaseDir
	gone := make(map[string]*endpoint)
	for name, e := range n.endpoints {
		if p, wanted := plans[name]; !wanted || e.dead() || !p.same && p.err == nil && !e.fits(p.listener) {
			gone[name] = e
		}
	}
	n.closeEndpoints(gone, packets.ErrServerShuttingDown)
	for name := range gone {
		delete(n.endpoints, name)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(plans)) {
		errs = append(errs, n.applyListener(plans[name]))
	}
	return errors.Join(errs...)
}

// A plan is what becomes of one enabled listener.
type plan struct {
	listener topology.Listener
	same     bool // as it is
	config   *tls.Config
	err      error
}

// prepare checks a listener and reads its certificates.
func prepare(l topology.Listener, base string) (*tls.Config, error) {
	switch {
	case l.Mountpoint != "":
		return nil, errors.New("a mount point is not supported")
	case l.Type == topology.TCP, l.Type == topology.WS, l.Type == topology.Unix:
		return nil, nil
	case l.Type == topology.SSL, l.Type == topology.WSS:
		return serverTLS(l.SSL, base)
	}
	return nil, fmt.Errorf("type %q is none of tcp, ssl, ws, wss and unix", l.Type)
}

func (n *Node) closeEndpoints(es map[string]*endpoint, code packets.Code) {
	for _, e := range es {
		e.close(code)
	}
}

// is reports whether e is open as l wants it.
func (e *endpoint) is(l topology.Listener) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cfg.Equal(l) && e.warn == nil
}

// dead reports whether e never opened, because of its configuration.
func (e *endpoint) dead() bool { return e.ctx.Err() != nil }

// fits reports whether e can become l while it stays open.
func (e *endpoint) fits(l topology.Listener) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.kind == l.Type && e.cfg.Bind == l.Bind
}

// keep notes that e stays as it is because of err.
func (e *endpoint) keep(err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.warn = err
	return fmt.Errorf("listener %q: %w", e.name, err)
}

func (n *Node) applyListener(p plan) error {
	l := p.listener
	e := n.endpoints[l.Name]
	switch {
	case e != nil && p.same:
		return nil
	case e != nil && p.err != nil:
		return e.keep(p.err)
	case e != nil:
		e.configure(l, p.config)
		return nil
	}
	e = n.newEndpoint(l, p.config)
	n.endpoints[l.Name] = e
	if p.err != nil {
		e.cancel() // only its status lives
		return e.keep(p.err)
	}
	e.open() // an error is in the status, and not final
	if n.state == running {
		e.start()
	}
	return nil
}

// Listeners returns the enabled listeners, in order of name.
func (n *Node) Listeners() []ListenerStatus {
	n.applying.Lock()
	defer n.applying.Unlock()
	out := make([]ListenerStatus, 0, len(n.endpoints))
	for _, e := range n.endpoints {
		out = append(out, e.status())
	}
	slices.SortFunc(out, func(a, b ListenerStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}
