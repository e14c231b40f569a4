package linkengine

import (
	"context"
	"crypto/tls"
	"fmt"

	"clink/linkengine/probe"
	"clink/linkengine/wire"
	"clink/topology"
)

// Probe tries the link l from this end, whether or not it is in the engine, and
// says what came of each step. It neither touches a running link nor leaves
// anything with the peer, whose worst is a handshake that it rejects.
func (e *Engine) Probe(ctx context.Context, l topology.Link) topology.Probe {
	o := probe.Options{
		Cluster: e.opts.Cluster, Actor: e.node, Prefix: e.prefix(l), Address: address(l), Link: l,
		Password: func() (string, error) { return l.Password.Resolve(e.opts.BaseDir) },
		Socket:   socket(l.TCPOpts),
		Known:    func() probe.Known { return e.known(l) },
	}
	if l.SSL.Enable {
		o.TLS = func() (*tls.Config, error) { return clientTLS(l.SSL, o.Address, e.opts.BaseDir) }
	}
	return probe.Run(ctx, o)
}

// known is what the running link tells of its peer, if it goes the same way to
// the same peer as l.
func (e *Engine) known(l topology.Link) (k probe.Known) {
	running := (*e.links.Load())[l.Name]
	if running == nil || !sameRoad(*running.cfg.Load(), l) {
		return k
	}
	a := running.announcer.Load()
	if a == nil {
		return k
	}
	switch s := a.Status(); {
	case s.State == topology.ReplicationOnline, s.State == topology.ReplicationBootstrapping:
		k.Name = probe.Right
	case s.State == topology.ReplicationRejected && s.Reason == wire.BadRemoteName:
		k.Name = probe.Wrong
	}
	if p := running.presence.get(); p.State != topology.InboundOnline {
		k.Other = fmt.Sprintf("but the peer's own half has not come here (%s): until it does, nothing is sent from here to the peer; probe its link to %s from its end", p.State, e.opts.Cluster)
		if p.Reason != "" {
			k.Other = fmt.Sprintf("but the peer's own half is not welcome here (%s: %s): until it is, nothing is sent from here to the peer", p.State, p.Reason)
		}
	}
	return k
}
