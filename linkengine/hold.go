package linkengine

import (
	"context"
	"fmt"
	"maps"
	"time"

	"clink/topology"
)

// minPatience is for how long the routes of a peer that is out of reach are kept
// at least: what is published in that time waits for it as long as the queue
// lets it.
const minPatience = 10 * time.Minute

func patience(cfg topology.Link) time.Duration {
	if age := queueAge(cfg); age > 0 {
		return max(age, minPatience)
	}
	return max(diskAge, minPatience)
}

// outOfReach reports whether the peer's silence says nothing about what it
// wants: it does not answer us either.
func (l *link) outOfReach() bool {
	a := l.announcer.Load()
	if a == nil {
		return false
	}
	switch a.Status().State {
	case topology.ReplicationOnline, topology.ReplicationRejected:
		return false
	}
	return true
}

// Prepare is the first half of a change ([topology.Change], Hold): [Engine.Put]
// or [Engine.Remove] must follow. In between, the link answers its peer, and
// connects to nothing that it is not connected with already:
//
// A link that is to go, or to be disabled, ends its connections, and takes
// what its peer still says and sends. A link that is to come, or to be enabled,
// is known to its peer. One whose connections the link as wanted cannot use
// ends them, is as wanted otherwise, and keeps what is queued. Any other is as
// wanted when Prepare returns.
func (e *Engine) Prepare(ctx context.Context, c topology.Change) error {
	if c.Peer == "" || c.Peer == e.opts.Cluster {
		return fmt.Errorf("link to %q: a link needs the name of another cluster", c.Peer)
	}
	e.changing.Lock()
	defer e.changing.Unlock()
	defer e.invite(c.Peer)
	links := *e.links.Load()
	if known := links[c.Peer]; known != nil {
		if err := known.prepare(ctx, c); err != nil {
			return fmt.Errorf("link to %s: %w", c.Peer, err)
		}
		return nil
	}
	if c.Op == topology.Delete {
		return nil
	}
	added := newLink(e, c.Link)
	added.held.Store(true)
	links = maps.Clone(links)
	links[c.Peer] = added
	e.links.Store(&links)
	added.takeEarly()
	return nil
}

func (l *link) prepare(ctx context.Context, c topology.Change) error {
	old := *l.cfg.Load()
	if c.Op == topology.Delete || !c.Link.Enable {
		l.held.Store(old.Enable)
		l.stop(ctx, 0, true)
		return l.putAside()
	}
	cfg := c.Link
	switch {
	case l.stopActor == nil:
		l.cfg.Store(&cfg)
		l.keepQueue(old, cfg)
	case sameRoad(old, cfg):
		return l.change(ctx, cfg)
	default:
		l.cfg.Store(&cfg)
		l.gate.move(time.Now())
		l.parkForwarder(cfg)
		l.stopActor(ctx.Err() == nil && old.Address != cfg.Address)
		l.stopActor = nil
		l.gate.move(time.Now()) // what the old actor was answered meanwhile does not count
		l.idle.Store(time.Now().UnixNano())
		l.table.Follow(cfg.Topics)
	}
	l.held.Store(true)
	return nil
}
