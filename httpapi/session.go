package httpapi

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Sessions end 12 hours after their last use and 7 days after the sign-in.
// They are kept in memory: a restart ends them all.
const (
	sessionIdle = 12 * time.Hour
	sessionLife = 7 * 24 * time.Hour
	maxSessions = 1000
	tokenLife   = 10 * time.Minute // of the one-time token
)

// An actor is who a request comes from.
type actor struct{ name, role string }

// sessions are the sign-ins of browsers, by the digest of the cookie's value.
type sessions struct {
	mu       sync.Mutex
	byDigest map[[sha256.Size]byte]session
	once     string // the one-time token, "" if there is none
	used     bool   // it has been
	onceEnds time.Time
}

type session struct {
	actor
	proof        [sha256.Size]byte // of the key that opened it; zero: of none
	opened, used time.Time
}

func newSessions(once string) *sessions {
	return &sessions{byDigest: map[[sha256.Size]byte]session{}, once: once, onceEnds: time.Now().Add(tokenLife)}
}

func (s session) ended(now time.Time) bool {
	return now.Sub(s.used) >= sessionIdle || now.Sub(s.opened) >= sessionLife
}

func (s session) ends() time.Time {
	idle, life := s.used.Add(sessionIdle), s.opened.Add(sessionLife)
	if life.Before(idle) {
		return life
	}
	return idle
}

// open begins a session and returns the cookie's value.
func (s *sessions) open(who actor, proof [sha256.Size]byte) (string, time.Time) {
	random := make([]byte, 32)
	rand.Read(random) // never fails
	value := base64.RawURLEncoding.EncodeToString(random)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byDigest) >= maxSessions {
		s.makeRoom()
	}
	now := time.Now()
	opened := session{who, proof, now, now}
	s.byDigest[sha256.Sum256([]byte(value))] = opened
	return value, opened.ends()
}

// makeRoom forgets the sessions that have ended, or where none has, the one
// that was not used for longest.
func (s *sessions) makeRoom() {
	now := time.Now()
	var oldest [sha256.Size]byte
	var at time.Time
	for digest, one := range s.byDigest {
		if one.ended(now) {
			delete(s.byDigest, digest)
		} else if at.IsZero() || one.used.Before(at) {
			oldest, at = digest, one.used
		}
	}
	if len(s.byDigest) >= maxSessions {
		delete(s.byDigest, oldest)
	}
}

// find returns whose session a cookie's value names, and counts it as used. One
// whose key is no longer as it was, as proof tells, has ended.
func (s *sessions) find(value string, proof func(key string) [sha256.Size]byte) (actor, bool) {
	digest := sha256.Sum256([]byte(value))
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.byDigest[digest]
	if !ok {
		return actor{}, false
	}
	now := time.Now()
	if one.ended(now) || one.proof != [sha256.Size]byte{} && one.proof != proof(one.name) {
		delete(s.byDigest, digest)
		return actor{}, false
	}
	one.used = now
	s.byDigest[digest] = one
	return one.actor, true
}

func (s *sessions) close(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byDigest, sha256.Sum256([]byte(value)))
}

// What comes of a one-time token.
const (
	tokenGood = iota
	tokenWrong
	tokenUsed
	tokenLate
)

// redeem says what comes of a token, and spends the one-time token.
func (s *sessions) redeem(token string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.once == "" || subtle.ConstantTimeCompare([]byte(s.once), []byte(token)) != 1:
		return tokenWrong
	case s.used:
		return tokenUsed
	case !time.Now().Before(s.onceEnds):
		return tokenLate
	}
	s.used = true
	return tokenGood
}

// cookieName tells the daemons of one machine apart: browsers send a cookie
// to every port of a host.
func cookieName(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		if port = "80"; r.TLS != nil {
			port = "443"
		}
	}
	return "clink_session_" + port
}

func setCookie(w http.ResponseWriter, r *http.Request, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(r), Value: value, Path: "/", MaxAge: int(age / time.Second),
		HttpOnly: true, Secure: underTLS(r), SameSite: http.SameSiteStrictMode,
	})
}

// underTLS reports whether the browser speaks TLS, if only to what stands in
// front of clinkd.
func underTLS(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(r.Header.Get("Origin"), "https://")
}

// oneTime is the name under which the holder of the one-time token acts: it
// was printed by the process itself, to whoever started it.
const oneTime = "one-time-token"

func (a *api) signIn(w http.ResponseWriter, r *http.Request) error {
	if given, same := sameOrigin(r); given && !same {
		return errOrigin
	}
	if err := readFlags(r.URL.RawQuery, nil); err != nil {
		return err
	}
	body, err := readObject(w, r)
	if err != nil {
		return err
	}
	who, proof, err := a.credentials(r, body)
	if err != nil {
		return err
	}
	value, ends := a.sessions.open(who, proof)
	setCookie(w, r, value, time.Until(ends).Round(time.Second))
	callOf(r).actor = who
	reply(w, http.StatusOK, map[string]any{"key": who.name, "role": who.role, "expires": ends.UTC()})
	return nil
}

// credentials returns who a sign-in proves to be, and what stands for the key
// that it took.
func (a *api) credentials(r *http.Request, body map[string]any) (who actor, proof [sha256.Size]byte, err error) {
	token, byToken := body["token"].(string)
	key, byKey := body["key"].(string)
	sec, hasSecret := body["secret"].(string)
	switch {
	case byToken && len(body) == 1:
		who, err = a.checkToken(r, token)
		return who, proof, err
	case byKey && hasSecret && len(body) == 2:
		proof = a.Keys.proof(key) // before the check: a key that changes meanwhile opens none
		who, err = a.check(r, key, sec)
		return who, proof, err
	}
	return who, proof, bad(`Sign in with {"key":"…","secret":"…"} or with {"token":"…"}, the one-time token that clinkd prints at its start`)
}

func (a *api) checkToken(r *http.Request, token string) (actor, error) {
	from := network(r.RemoteAddr)
	if wait := a.damper.wait(from, oneTime); wait > 0 {
		return actor{}, tooMany(wait, "Too many failed sign-ins from this address")
	}
	const instead = "; sign in with an API key and its secret, or with the token that clinkd prints at its next start"
	why := ""
	switch a.sessions.redeem(token) {
	case tokenGood:
		return actor{oneTime, administrator}, nil
	case tokenUsed:
		why = "The one-time token has been used"
	case tokenLate:
		why = "The one-time token is older than 10 minutes"
	default:
		a.damper.failed(from, oneTime)
		why = "The one-time token is wrong"
	}
	return actor{}, unauthorized("BAD_TOKEN", why+instead)
}

func (a *api) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := readFlags(r.URL.RawQuery, nil); err != nil {
		return err
	}
	if c, err := r.Cookie(cookieName(r)); err == nil {
		a.sessions.close(c.Value)
	}
	setCookie(w, r, "", -time.Second)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
