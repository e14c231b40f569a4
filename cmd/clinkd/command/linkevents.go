package command

import (
	"context"
	"fmt"
	"time"

	"clink/topology"
)

// linkLook is how often the states of links are compared with what they were.
// What passes in between is not told; so no link makes more than a few events a
// second, however it flaps.
const linkLook = 250 * time.Millisecond

// A linkState is what an event is made of when it changes.
type linkState struct {
	replication, replicationReason string
	inbound, inboundReason         string
}

// tellLinks publishes an event when a link comes up, goes down or is refused,
// until ctx ends. It looks whether or not somebody listens, since whoever comes
// later may ask for what he has missed.
func (d *daemon) tellLinks(ctx context.Context) {
	tick := time.NewTicker(linkLook)
	defer tick.Stop()
	seen := map[string]map[string]linkState{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, site := range d.sites {
			seen[site] = tellSite(site, d.nodes[site].engine.Status(), seen[site], d.rec.Publish)
		}
	}
}

// tellSite publishes what is new of a site's links, and returns their states.
func tellSite(site string, links []topology.LinkStatus, seen map[string]linkState, publish func(topology.Event)) map[string]linkState {
	now := make(map[string]linkState, len(links))
	for _, l := range links {
		s := linkState{l.Replication.State, l.Replication.Reason, l.Inbound.State, l.Inbound.Reason}
		now[l.Peer] = s
		was := seen[l.Peer]
		if s.replication != was.replication || s.replicationReason != was.replicationReason {
			publish(topology.Event{Type: "link", Site: site, Peer: l.Peer, Reason: s.replication,
				Message: "route replication to the peer is " + told(s.replication, s.replicationReason, was.replication)})
		}
		if s.inbound != was.inbound || s.inboundReason != was.inboundReason {
			publish(topology.Event{Type: "link", Site: site, Peer: l.Peer, Reason: "inbound-" + s.inbound,
				Message: "the peer's half, as seen here, is " + told(s.inbound, s.inboundReason, was.inbound)})
		}
	}
	return now
}

func told(state, reason, was string) string {
	if reason != "" {
		state += fmt.Sprintf(" (%s)", reason)
	}
	if was != "" {
		state += ", was " + was
	}
	return state
}
