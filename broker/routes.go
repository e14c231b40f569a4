package broker

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"clink/topic"
)

// A Route is a topic filter that at least one client of the node subscribes
// to. Group is the share group of a shared subscription (MQTT 5.0 §4.8.2), or
// "" for a plain one.
type Route struct {
	Filter topic.Filter
	Group  string
}

// Routes is the table of a node's routes: exact filters, each counted once a
// client. Link sessions and the node itself are not in it.
type Routes struct {
	mu       sync.Mutex
	clients  map[string]*routeSet
	count    routeMap[int32] // clients
	subs     int
	watchers map[*watcher]struct{}
}

type watcher struct{ f func(Route, bool) }

func newRoutes() *Routes {
	return &Routes{clients: make(map[string]*routeSet), count: newRouteMap[int32](), watchers: make(map[*watcher]struct{})}
}

// Len returns the number of routes.
func (r *Routes) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count.len()
}

// Watch returns the routes there are, in no order, and from then on calls f
// for every route that comes or goes, in order, none missed and none twice,
// until stop is called; after stop has returned f is not called again. F must
// not block, and must not call methods of r.
func (r *Routes) Watch(f func(r Route, added bool)) (now []Route, stop func()) {
	w := &watcher{f}
	r.mu.Lock()
	defer r.mu.Unlock()
	now = make([]Route, 0, r.count.len())
	for route := range r.count.keys() {
		now = append(now, route)
	}
	r.watchers[w] = struct{}{}
	return now, func() {
		r.mu.Lock()
		delete(r.watchers, w)
		r.mu.Unlock()
	}
}

// of returns the routes of some clients, each once.
func (r *Routes) of(clients []string) []Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[Route]struct{})
	for _, id := range clients {
		if own := r.clients[id]; own != nil {
			for route := range own.all() {
				all[route] = struct{}{}
			}
		}
	}
	return slices.Collect(maps.Keys(all))
}

// subscriptions returns the number of subscriptions of all clients.
func (r *Routes) subscriptions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.subs
}

func (r *Routes) add(client string, route Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.clients[client]
	if own == nil {
		own = new(routeSet)
		r.clients[client] = own
	}
	if !own.add(route) {
		return
	}
	r.subs++
	n, _ := r.count.get(route)
	r.count.put(route, n+1)
	if n == 0 {
		r.tell(route, true)
	}
}

func (r *Routes) remove(client string, route Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.clients[client]
	if own == nil || !own.remove(route) {
		return
	}
	if own.len() == 0 {
		delete(r.clients, client)
	}
	r.subs--
	n, _ := r.count.get(route)
	if n > 1 {
		r.count.put(route, n-1)
		return
	}
	r.count.delete(route)
	r.tell(route, false)
}

func (r *Routes) tell(route Route, added bool) {
	for w := range r.watchers {
		w.f(route, added)
	}
}

const sharePrefix = "$share/"

// parseRoute reads a subscription's filter (MQTT 5.0 §4.7, §4.8.2), and
// reports whether it is one. A prefix that the engine takes for $share, but
// that is spelt otherwise, is refused.
func parseRoute(s string) (Route, bool) {
	group := ""
	if len(s) >= len(sharePrefix)-1 && strings.EqualFold(s[:len(sharePrefix)-1], sharePrefix[:len(sharePrefix)-1]) &&
		(len(s) == len(sharePrefix)-1 || s[len(sharePrefix)-1] == '/') {
		rest, exact := strings.CutPrefix(s, sharePrefix)
		var more bool
		group, s, more = strings.Cut(rest, "/")
		if !exact || !more || group == "" || strings.ContainsAny(group, "+#") {
			return Route{}, false
		}
	}
	f, err := topic.Parse(s)
	return Route{f, group}, err == nil
}
