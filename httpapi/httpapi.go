// Package httpapi is the REST API of clinkd: EMQX's cluster links in both of
// its path families, with the same shapes and error codes, and clink's own
// view of the whole fleet beside them; health; metrics for Prometheus.
//
// It shows what a [Store] says and decides nothing: it knows no broker, no
// source and no target. This is the reading half; a write is answered 405.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"clink/diagnostic"
	"clink/topology"

	"github.com/gorilla/mux"
)

// A Store is what the API shows. Its methods may be called at any time from
// any goroutine.
type Store interface {
	// Sites returns the names of the sites that this process runs, in order.
	Sites() []string
	// Links returns the links of one of them, in order of name.
	Links(ctx context.Context, site string) ([]Link, error)
	// Brokers returns the figures of the embedded nodes, in order of site.
	Brokers() []Broker
	// State returns where the process stands as a whole.
	State() State
}

// A Link is one link with what is observed of it and where it was written.
type Link struct {
	topology.Link
	Observed topology.LinkStatus
	Revision string // of the source that it was written in
}

// A Broker is the figures of one site's embedded node.
type Broker struct {
	Site           string
	Listeners      []Listener
	Clients        int
	Received, Sent uint64
	DroppedBy      map[string]uint64
}

// A Listener is one listener of a node as it stands.
type Listener struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Address string `json:"address"`         // bound; as configured where it is not
	Error   string `json:"error,omitempty"` // why it is not open
}

// State is where the process stands: the source, what is held back, the last
// reload.
type State struct {
	Started          time.Time
	Revision, Commit string
	Findings         diagnostic.List
	AllSites         int // in the source
	AllLinks         int
	Held             []topology.Held
	NotReady         []string // why the process is not ready; empty: it is
	LastReload       time.Time
	ReloadOK         bool
	ReloadError      string
	ReloadTook       time.Duration
	Applied          map[string]uint64 // changes applied since the start, by kind
}

// Options are what the API needs besides its store.
type Options struct {
	Keys    *Keys
	Log     *slog.Logger
	Version string
}

type api struct {
	store Store
	Options
}

// New returns the API over store.
func New(store Store, o Options) http.Handler {
	a := &api{store: store, Options: o}
	r := mux.NewRouter().UseEncodedPath()
	r.NotFoundHandler = a.guard(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "NOT_FOUND", "No such path; GET /sites and GET /cluster/links are good places to begin")
	})
	r.MethodNotAllowedHandler = a.guard(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "This path is read only; change the topology's source, clinkd applies it on save")
	})
	get := func(path string, h http.HandlerFunc) { r.Methods("GET", "HEAD").Path(path).Handler(h) }
	get("/livez", a.livez)
	get("/readyz", a.readyz)
	get("/status", a.guard(a.status))
	get("/metrics", a.guard(a.metrics()))
	for _, base := range []string{"", "/api/v5"} {
		get(base+"/sites", a.guard(a.sites))
		get(base+"/findings", a.guard(a.findings))
		for _, site := range []string{"", "/sites/{site}"} {
			links := site + base + "/cluster/links"
			get(links, a.guard(a.links))
			// The family that EMQX serves comes first: a link called
			// "metrics" is found there, and no link may be called "link".
			get(links+"/link/{name}", a.guard(a.link))
			get(links+"/link/{name}/metrics", a.guard(a.linkMetrics))
			get(links+"/{name}", a.guard(a.link))
			get(links+"/{name}/metrics", a.guard(a.linkMetrics))
		}
	}
	return secure(r)
}

// secure sets what every answer carries.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (a *api) livez(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (a *api) readyz(w http.ResponseWriter, _ *http.Request) {
	reasons := a.store.State().NotReady
	if len(reasons) > 0 {
		reply(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "reasons": reasons})
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (a *api) sites(w http.ResponseWriter, _ *http.Request) {
	type site struct {
		Name      string     `json:"name"`
		Listeners []Listener `json:"listeners"`
	}
	brokers := a.store.Brokers()
	list := []site{}
	for _, name := range a.store.Sites() {
		s := site{Name: name, Listeners: []Listener{}}
		if i := slices.IndexFunc(brokers, func(b Broker) bool { return b.Site == name }); i >= 0 {
			s.Listeners = append(s.Listeners, brokers[i].Listeners...)
		}
		list = append(list, s)
	}
	a.tagged(w, http.StatusOK, list)
}

func (a *api) findings(w http.ResponseWriter, _ *http.Request) {
	s := a.store.State()
	w.Header().Set("ETag", `"`+s.Revision+`"`)
	w.Header().Set("Content-Type", "application/json")
	report := diagnostic.Report{Revision: s.Revision, Findings: s.Findings, Sites: s.AllSites, Links: s.AllLinks}
	if err := report.WriteJSON(w); err != nil {
		a.Log.Debug("answer /findings", "err", err)
	}
}

func (a *api) status(w http.ResponseWriter, _ *http.Request) {
	s := a.store.State()
	held := s.Held
	if held == nil {
		held = []topology.Held{}
	}
	a.tagged(w, http.StatusOK, map[string]any{
		"version": a.Version, "started": s.Started, "sites": a.store.Sites(),
		"revision": s.Revision, "commit": s.Commit,
		"findings": map[string]int{"errors": s.Findings.Count(diagnostic.Error), "warnings": s.Findings.Count(diagnostic.Warning)},
		"held":     held,
		"reload":   map[string]any{"at": s.LastReload, "ok": s.ReloadOK, "error": s.ReloadError},
		"ready":    len(s.NotReady) == 0, "not_ready": append([]string{}, s.NotReady...),
	})
}

// site returns the site that a request is about, or answers it.
func (a *api) site(w http.ResponseWriter, r *http.Request) (string, bool) {
	names := a.store.Sites()
	if name, ok := pathVar(r, "site"); ok {
		if slices.Contains(names, name) {
			return name, true
		}
		fail(w, http.StatusNotFound, "NOT_FOUND", "This process runs no site of that name; it runs "+strings.Join(names, ", "))
		return "", false
	}
	if len(names) == 1 {
		return names[0], true
	}
	reply(w, http.StatusBadRequest, map[string]any{
		"code":    "SITE_REQUIRED",
		"message": "This process runs several sites: put /sites/NAME in front of the path, NAME one of " + strings.Join(names, ", "),
		"sites":   names,
	})
	return "", false
}

// siteLinks returns the links of the request's site, or answers it.
func (a *api) siteLinks(w http.ResponseWriter, r *http.Request) ([]Link, bool) {
	site, ok := a.site(w, r)
	if !ok {
		return nil, false
	}
	links, err := a.store.Links(r.Context(), site)
	if err != nil {
		a.Log.Error("answer links", "site", site, "err", err)
		status := http.StatusInternalServerError
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			status = http.StatusServiceUnavailable
		}
		fail(w, status, "INTERNAL_ERROR", "The links of "+site+" could not be read; see the log")
		return nil, false
	}
	return links, true
}

func (a *api) links(w http.ResponseWriter, r *http.Request) {
	links, ok := a.siteLinks(w, r)
	if !ok {
		return
	}
	list := make([]linkAnswer, len(links))
	for i, l := range links {
		list[i] = answer(l)
	}
	a.tagged(w, http.StatusOK, list)
}

func (a *api) namedLink(w http.ResponseWriter, r *http.Request) (Link, bool) {
	links, ok := a.siteLinks(w, r)
	if !ok {
		return Link{}, false
	}
	name, _ := pathVar(r, "name")
	i := slices.IndexFunc(links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		fail(w, http.StatusNotFound, "NOT_FOUND", "Cluster link not found")
		return Link{}, false
	}
	return links[i], true
}

func (a *api) link(w http.ResponseWriter, r *http.Request) {
	if l, ok := a.namedLink(w, r); ok {
		a.tagged(w, http.StatusOK, answer(l))
	}
}

func (a *api) linkMetrics(w http.ResponseWriter, r *http.Request) {
	if l, ok := a.namedLink(w, r); ok {
		reply(w, http.StatusOK, metricsAnswer(l.Observed))
	}
}

// tagged answers with the source's revision as ETag.
func (a *api) tagged(w http.ResponseWriter, status int, body any) {
	w.Header().Set("ETag", `"`+a.store.State().Revision+`"`)
	reply(w, status, body)
}
