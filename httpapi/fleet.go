package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"clink/flow"
	"clink/topology"
)

// wanted returns what is wanted of all sites.
func (a *api) wanted() (*topology.Topology, string, error) {
	if a.Observer == nil {
		return nil, "", errNotBuilt
	}
	t, revision := a.Observer.Topology()
	if t == nil {
		return nil, "", &problem{status: http.StatusServiceUnavailable, code: "SERVICE_UNAVAILABLE", message: "The source has not been readable since the start; GET /status says why"}
	}
	return t, revision, nil
}

// flows answers what can travel between which sites.
func (a *api) flows(w http.ResponseWriter, r *http.Request) error {
	t, revision, err := a.wanted()
	if err != nil || unchanged(w, r, revision) {
		return err
	}
	reply(w, http.StatusOK, map[string]any{"revision": revision, "flows": a.known.of(t)})
	return nil
}

// knownFlows are the flows of the topology that was asked for last: in a large
// fleet with long lists of topics they take long.
type knownFlows struct {
	mu   sync.Mutex
	t    *topology.Topology
	list []flow.Flow
}

func (k *knownFlows) of(t *topology.Topology) []flow.Flow {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.t != t {
		k.t, k.list = t, flow.Flows(t)
	}
	return k.list
}

// acl answers who may speak as a link peer at any site of the topology, in the
// form that EMQX reads.
func (a *api) acl(w http.ResponseWriter, r *http.Request) error {
	if a.ACL == nil {
		return errNotBuilt
	}
	t, revision, err := a.wanted()
	if err != nil {
		return err
	}
	name, _ := pathVar(r, "site")
	s, ok := t.Sites[name]
	if !ok {
		return &problem{status: http.StatusNotFound, code: "NOT_FOUND", message: "The topology has no site of that name; it has " + strings.Join(t.Names(), ", ")}
	}
	if unchanged(w, r, revision) {
		return nil
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(a.ACL(s)) // whoever has gone misses nothing
	return nil
}

// picturePolicy lets a picture that is looked at by itself have its own style.
const picturePolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

// graph draws all sites, and how the links stand that this process runs.
func (a *api) graph(w http.ResponseWriter, r *http.Request) error {
	if a.Graph == nil {
		return errNotBuilt
	}
	lang := r.URL.Query().Get("lang")
	switch lang {
	case "":
		lang = "en"
	case "en", "zh":
	default:
		return bad("lang is en or zh")
	}
	t, _, err := a.wanted()
	if err != nil {
		return err
	}
	states, err := a.linkStates(r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Content-Security-Policy", picturePolicy)
	w.Write(a.Graph(t, states, lang))
	return nil
}

// linkStates returns a word for each half that this process runs, by site and
// peer.
func (a *api) linkStates(r *http.Request) (map[[2]string]string, error) {
	all, err := a.Observer.Observed(r.Context())
	if err != nil {
		return nil, fmt.Errorf("look at the links: %w", err)
	}
	states := make(map[[2]string]string, len(all))
	for _, o := range all {
		states[[2]string{o.Site, o.Status.Peer}] = linkState(o)
	}
	return states, nil
}

// linkState is one word for how a half stands: what it has come to, or what is
// in its way.
func linkState(o Observed) string {
	s := o.Status
	switch {
	case o.Suspended:
		return "suspended"
	case !s.Enable:
		return "disabled"
	case s.Replication.State == topology.ReplicationRejected:
		return "rejected"
	case s.State != topology.Connected:
		return "down"
	case s.Replication.State != topology.ReplicationOnline:
		return "connected"
	case s.Metrics.Rate > 0:
		return "flowing"
	}
	return "replicating"
}

// sourceAnswer is where a link is declared: its first place, and where it has
// several, the others.
type sourceAnswer struct {
	Block
	More []Block `json:"more"`
}

// source answers the lines of the source that declare a link, of any site of
// the topology.
func (a *api) source(w http.ResponseWriter, r *http.Request) error {
	if a.Observer == nil {
		return errNotBuilt
	}
	site, ok := pathVar(r, "site")
	if !ok {
		var err error
		if site, err = a.site(r); err != nil {
			return err
		}
	}
	name, err := linkName(r)
	if err != nil {
		return err
	}
	blocks := a.Observer.Source(site, name)
	if len(blocks) == 0 {
		return &Refusal{Kind: NotFound, Message: "The source declares no such link, or its file cannot be read now; GET /findings would say so"}
	}
	a.tagged(w, http.StatusOK, sourceAnswer{blocks[0], full(blocks[1:])})
	return nil
}
