// Package httpapi is the REST API of clinkd: EMQX's cluster links in both of
// its path families, with the same shapes and error codes, and clink's own
// view of the whole fleet beside them; health; metrics for Prometheus.
//
// It shows what a [Store] says, hands what is to be changed to a [Writer] and
// an [Operator], and tells what an [Observer] sees. It checks who asks and the
// form of what is asked, and decides nothing else: it knows no broker, no
// source and no target.
package httpapi

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
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
	Observed   topology.LinkStatus
	Revision   string               // of the source that it was written in
	Suspension *topology.Suspension // nil: it is not suspended
}

// A Broker is the figures of one site's embedded node.
type Broker struct {
	Site           string
	Listeners      []Listener
	Clients        int
	Sessions       int // without a connection
	Subscriptions  int
	Retained       int
	Received, Sent uint64
	DroppedBy      map[string]uint64
	RefusedBy      map[string]uint64
	ConnectWaited  uint64
	ConnectDamped  uint64
	DisconnectedBy map[string]uint64
	StoreUp        bool  // sessions and retained messages outlive the process
	StoreBytes     int64 // of the store's files
	StoreRefused   uint64
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
	InForce          map[string]string // by site: the revision that its links were last brought to
	Findings         diagnostic.List
	Waived           diagnostic.List // what waivers accept
	AllSites         int             // in the source
	AllLinks         int
	Held             []topology.Held
	Suspensions      []topology.Suspension
	Git              *Git     // nil: nothing is committed
	NotReady         []string // why the process is not ready; empty: it is
	LastReload       time.Time
	ReloadOK         bool
	ReloadError      string
	ReloadTook       time.Duration
	ReadOnly         *bool             // whether the source lets itself be written; nil: unknown
	Applied          map[string]uint64 // changes applied since the start, by kind
}

// Options are what the API needs besides its store. What a nil Writer,
// Operator or Observer would do is answered 501.
type Options struct {
	Keys     *Keys
	Log      *slog.Logger
	Version  string
	Writer   Writer
	Operator Operator
	Observer Observer
	Pages    http.Handler    // the dashboard: /, /index.html and /assets/…; nil: there is none
	Token    string          // signs in once, within 10 minutes; "": there is none
	Hosts    []string        // names that the process answers to, besides its addresses and localhost
	Rate     int             // requests a second that one key may make; 0: 500
	Done     <-chan struct{} // closed when the process stops: streams end

	// ACL is a site's derived access in the form of EMQX's acl.conf.
	ACL func(*topology.Site) []byte
	// Graph draws a topology as SVG, with a word for how each half stands, by
	// site and peer, where that is known.
	Graph func(t *topology.Topology, states map[[2]string]string, lang string) []byte
}

type api struct {
	store Store
	Options
	sessions *sessions
	damper   *damper
	requests *buckets // by key
	streams  chan struct{}
	feeds    *feeds
	known    knownFlows
	router   *mux.Router
}

const defaultRate = 500

// New returns the API over store.
func New(store Store, o Options) http.Handler {
	a := newAPI(store, o)
	return a.logged(a.ownHost(a.router))
}

func newAPI(store Store, o Options) *api {
	if o.Rate <= 0 {
		o.Rate = defaultRate
	}
	a := &api{
		store: store, Options: o, sessions: newSessions(o.Token), damper: newDamper(),
		requests: newBuckets(float64(o.Rate), 2*float64(o.Rate)), streams: make(chan struct{}, maxStreams),
		// A path is taken as it comes: ".." in it is the name of no link.
		router: mux.NewRouter().UseEncodedPath().SkipClean(true),
	}
	a.feeds = &feeds{api: a, every: map[time.Duration]*feed{}}
	a.router.NotFoundHandler = a.answered(a.guard(a.noSuchPath))
	a.router.MethodNotAllowedHandler = a.answered(a.guard(a.wrongMethod))
	a.routeProcess()
	a.routePages()
	for _, base := range []string{"", "/api/v5"} {
		a.routeFleet(base)
		for _, site := range []string{"", "/sites/{site}"} {
			a.routeLinks(site + base + "/cluster/links")
			a.handle("POST", site+base+"/trace", a.administer(a.trace))
		}
	}
	return a
}

func (a *api) handle(method, path string, h handler) {
	methods := []string{method}
	if method == http.MethodGet {
		methods = append(methods, http.MethodHead)
	}
	// The path first: with the method first, another path of that method would
	// make the router forget that this one takes others.
	a.router.Path(path).Methods(methods...).Handler(a.answered(h))
}

// routeProcess serves what is at the root alone.
func (a *api) routeProcess() {
	a.handle("GET", "/livez", a.livez)
	a.handle("GET", "/readyz", a.readyz)
	a.handle("GET", "/status", a.guard(a.status))
	a.handle("GET", "/metrics", a.guard(a.metrics()))
	a.handle("GET", "/openapi.json", a.guard(a.document))
}

// routeFleet serves what is about the whole fleet.
func (a *api) routeFleet(base string) {
	a.handle("GET", base+"/sites", a.guard(a.sites))
	a.handle("GET", base+"/findings", a.guard(a.findings))
	a.handle("GET", base+"/topology", a.guard(a.topology))
	a.handle("GET", base+"/flows", a.guard(a.flows))
	a.handle("GET", base+"/graph.svg", a.guard(a.graph))
	a.handle("GET", base+"/sites/{site}/acl", a.guard(a.acl))
	a.handle("GET", base+"/revisions", a.guard(a.revisions))
	a.handle("GET", base+"/revisions/{revision}", a.guard(a.revision))
	a.handle("GET", base+"/events", a.guard(a.events))
	a.handle("POST", base+"/session", a.signIn)
	a.handle("DELETE", base+"/session", a.guard(a.signOut))
}

// routeLinks serves the links of one site, in both families of paths.
func (a *api) routeLinks(links string) {
	a.handle("GET", links, a.guard(a.links))
	a.handle("POST", links, a.administer(a.createLink))
	a.handle("PUT", links, a.administer(a.putLinks))
	a.handle("POST", links+"/probe", a.administer(a.probeBody))
	// The family that EMQX serves comes first: a link called "metrics" is
	// found there, and no link may be called "link".
	for _, link := range []string{links + "/link/{name}", links + "/{name}"} {
		a.handle("GET", link, a.guard(a.link))
		a.handle("PUT", link, a.administer(a.putLink))
		a.handle("DELETE", link, a.administer(a.deleteLink))
		a.handle("GET", link+"/metrics", a.guard(a.linkMetrics))
		a.handle("GET", link+"/source", a.guard(a.source))
		a.handle("PUT", link+"/metrics/reset", a.administer(a.resetMetrics))
		a.handle("PUT", link+"/suspend", a.administer(a.suspend))
		a.handle("PUT", link+"/resume", a.administer(a.resume))
		a.handle("POST", link+"/probe", a.administer(a.probe))
	}
}

// wrongMethod says which methods the path takes.
func (a *api) wrongMethod(w http.ResponseWriter, r *http.Request) error {
	var allow []string
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE"} {
		other, match := r.Clone(r.Context()), mux.RouteMatch{}
		other.Method = method
		if a.router.Match(other, &match) && match.MatchErr == nil {
			allow = append(allow, method)
		}
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	return &problem{status: http.StatusMethodNotAllowed, code: "METHOD_NOT_ALLOWED", message: "This path takes " + strings.Join(allow, ", ") + " only"}
}

//go:embed openapi.json
var document []byte

// Document returns the OpenAPI document of the API, as JSON.
func Document() []byte { return slices.Clone(document) }

// documentTag never changes for one build.
var documentTag = fmt.Sprintf("%x", sha256.Sum256(document))[:16]

func (a *api) document(w http.ResponseWriter, r *http.Request) error {
	if unchanged(w, r, documentTag) {
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(document)
	return nil
}
