package command

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"clink/httpapi"
	"clink/reconciler"
	"clink/topology"
)

// The methods below make the daemon the REST API's store: what it shows is
// asked of the parts at each request, and kept nowhere else.

// Sites implements [httpapi.Store].
func (d *daemon) Sites() []string { return d.sites }

// Links implements [httpapi.Store]. It shows what runs, so that a link held
// back is shown as it is in force, not as it is written.
func (d *daemon) Links(ctx context.Context, site string) ([]httpapi.Link, error) {
	node, ok := d.nodes[site]
	if !ok {
		return nil, fmt.Errorf("no site %q here", site)
	}
	state := d.rec.State() // before the links, so that it claims nothing newer than them
	links, err := node.Links(ctx)
	if err != nil {
		return nil, err
	}
	status, err := node.Status(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]httpapi.Link, 0, len(links))
	of := make(map[string]int, len(status))
	for i := range status {
		of[status[i].Peer] = i
	}
	for _, l := range links {
		i, ok := of[l.Name]
		if !ok {
			continue // removed between the two questions
		}
		shown := httpapi.Link{Link: l, Observed: status[i], Revision: cmp.Or(state.Sites[site].Revision, state.Revision)}
		if n := slices.IndexFunc(state.Suspensions, func(s topology.Suspension) bool { return s.Site == site && s.Peer == l.Name }); n >= 0 {
			shown.Suspension = &state.Suspensions[n]
			shown.Enable = true // only such links are suspended: the source says so
		}
		list = append(list, shown)
	}
	return list, nil
}

// Brokers implements [httpapi.Store].
func (d *daemon) Brokers() []httpapi.Broker {
	list := make([]httpapi.Broker, 0, len(d.sites))
	for _, name := range d.sites {
		e := d.nodes[name]
		st := e.node.Stats()
		b := httpapi.Broker{Site: name, Clients: st.Clients, Received: st.Received, Sent: st.Sent, DroppedBy: st.Dropped,
			Sessions: st.Sessions, Subscriptions: st.Subscriptions, Retained: st.Retained, RefusedBy: st.Refused, ConnectWaited: st.Waited, ConnectDamped: st.Damped, DisconnectedBy: st.Disconnected,
			StoreUp: st.StoreUp, StoreBytes: st.StoreBytes, StoreRefused: st.StoreRefused}
		for _, l := range e.node.Listeners() {
			address := e.bind(l.Name)
			if l.Addr != nil {
				address = l.Addr.String()
			}
			b.Listeners = append(b.Listeners, httpapi.Listener{Name: l.Name, Type: l.Type, Address: address, Error: l.Err})
		}
		list = append(list, b)
	}
	return list
}

// State implements [httpapi.Store].
func (d *daemon) State() httpapi.State {
	s := d.rec.State()
	sites, links := d.loader.size()
	inForce := make(map[string]string, len(s.Sites))
	for name, site := range s.Sites {
		inForce[name] = site.Revision
	}
	return httpapi.State{
		InForce: inForce,
		Started: d.started, Revision: s.Revision, Commit: s.Commit, Findings: s.Findings, Waived: s.Waived,
		AllSites: sites, AllLinks: links, Held: s.Held, Suspensions: s.Suspensions, Git: d.git.status(), NotReady: d.notReady(s),
		LastReload: s.Loaded, ReloadOK: s.LoadError == "" && len(s.Held) == 0, ReloadError: s.LoadError,
		ReloadTook: s.Duration, Applied: s.Changes, ReadOnly: readOnly(d.options.dir),
	}
}

// notReady says why the process cannot serve what the source wants: a site
// that has not been brought up, a listener that does not accept, or a source
// that could not be read whole since the start.
func (d *daemon) notReady(s reconciler.State) []string {
	var why []string
	if !d.loader.good() {
		why = append(why, "the source has not been readable as a whole since the start: "+whyNot(s))
	}
	for _, b := range d.Brokers() {
		if s.Sites[b.Site].Revision == "" || s.Sites[b.Site].Held {
			why = append(why, "site "+b.Site+" has not been brought up")
		}
		for _, l := range b.Listeners {
			if l.Error != "" {
				why = append(why, fmt.Sprintf("site %s, listener %s: %s%s", b.Site, l.Name, l.Error, d.loader.clash(b.Site, l.Name)))
			}
		}
	}
	return why
}

func whyNot(s reconciler.State) string {
	if s.LoadError != "" {
		return s.LoadError
	}
	for _, h := range s.Held {
		if h.Peer == "" {
			return fmt.Sprintf("site %s is held back by %s: %s", h.Site, h.Rule, h.Why)
		}
	}
	return "it is being read"
}
