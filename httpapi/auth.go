package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard lets a request with a good key or a session through, and answers any
// other as EMQX does.
func (a *api) guard(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		who, byCookie, err := a.authenticate(r)
		if err != nil {
			challenge(w, r)
			return err
		}
		callOf(r).actor = who
		if wait := a.requests.take(who.name); wait > 0 {
			return tooMany(wait, "This key asks too often")
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if err := ownPage(r, byCookie); err != nil {
				return err
			}
		}
		return next(w, r)
	}
}

// administer lets administrators through.
func (a *api) administer(next handler) handler {
	return a.guard(func(w http.ResponseWriter, r *http.Request) error {
		if who := callOf(r).actor; who.role != administrator {
			return &problem{status: http.StatusForbidden, code: "UNAUTHORIZED_ROLE", message: "The role of this key is " + who.role + ", which reads and changes nothing; use the key of an administrator"}
		}
		return next(w, r)
	})
}

func unauthorized(code, message string) error {
	return &problem{status: http.StatusUnauthorized, code: code, message: message}
}

// authenticate returns who a request comes from. A header beats a cookie.
func (a *api) authenticate(r *http.Request) (who actor, byCookie bool, err error) {
	if r.Header.Get("Authorization") == "" {
		c, err := r.Cookie(cookieName(r))
		if err != nil {
			return actor{}, false, unauthorized("AUTHORIZATION_HEADER_ERROR", "Support authorization: basic. Send the API key and its secret; clinkd says at its start where they are")
		}
		who, ok := a.sessions.find(c.Value, a.Keys.proof)
		if !ok {
			return actor{}, true, unauthorized("TOKEN_TIME_OUT", "The session has ended; sign in again")
		}
		return who, true, nil
	}
	name, given, ok := r.BasicAuth()
	if !ok {
		return actor{}, false, unauthorized("AUTHORIZATION_HEADER_ERROR", "Support authorization: basic. Send the API key and its secret; clinkd says at its start where they are")
	}
	who, err = a.check(r, name, given)
	return who, false, err
}

// check returns who proves a key's secret, unless too many have failed to.
func (a *api) check(r *http.Request, name, given string) (actor, error) {
	from := network(r.RemoteAddr)
	if wait := a.damper.wait(from, name); wait > 0 {
		return actor{}, tooMany(wait, "Too many wrong secrets")
	}
	role, ok := a.Keys.role(name, given)
	if !ok {
		a.damper.failed(from, name)
		return actor{}, unauthorized("BAD_API_KEY_OR_SECRET", "Check the API key and its secret")
	}
	a.damper.passed(from, name)
	return actor{name, role}, nil
}

// challenge says how to authenticate. A page's own requests are not asked for
// a key, since the browser would put up its own window.
func challenge(w http.ResponseWriter, r *http.Request) {
	scheme := `Basic Realm="clink"`
	if r.Header.Get("Sec-Fetch-Dest") == "empty" {
		scheme = `Session Realm="clink"`
	}
	w.Header().Set("WWW-Authenticate", scheme)
}

var errOrigin = &problem{status: http.StatusForbidden, code: "CROSS_ORIGIN",
	message: "This request comes from a page of another origin, or does not say where it comes from; send it from the dashboard, or with an API key from a program"}

// ownPage refuses what another site's page makes a browser send. Browsers add
// cookies, and the keys that they were told, by themselves.
func ownPage(r *http.Request, byCookie bool) error {
	given, same := sameOrigin(r)
	if given && !same || byCookie && !given {
		return errOrigin
	}
	if byCookie && r.Method != http.MethodDelete && !isJSON(r) {
		return errMediaType
	}
	return nil
}

// sameOrigin reports whether a browser says where a request comes from, and
// whether that is here.
func sameOrigin(r *http.Request) (given, same bool) {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	same = site == "" || site == "same-origin"
	if origin != "" {
		u, err := url.Parse(origin)
		same = same && err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
	}
	return site != "" || origin != "", same
}

// ownHost refuses a request that was sent to a name that is not this
// process's: a page whose name was made to point here must not be answered.
func (a *api) ownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		health := r.URL.Path == "/livez" || r.URL.Path == "/readyz" // probes come by any name, and nothing is told them
		if health || a.knownHost(r) {
			next.ServeHTTP(w, r)
			return
		}
		fail(w, http.StatusMisdirectedRequest, "HOST_NOT_ALLOWED",
			"This process does not answer to the name in the Host header; use its address or localhost, or start clinkd with --http-host and that name")
	})
}

func (a *api) knownHost(r *http.Request) bool {
	host := strings.ToLower(strings.TrimSuffix(hostOnly(r.Host), "."))
	if slices.ContainsFunc(a.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback() || ip.Unmap() == localAddr(r)
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func hostOnly(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// localAddr is the address that the request's connection came in at.
func localAddr(r *http.Request) netip.Addr {
	addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if addr == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
