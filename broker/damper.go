package broker

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	maxGuessers  = 10_000          // addresses, users, and pairs of these that are told apart
	maxWaiting   = 256             // connects that wait for their turn
	waitingEach  = 8               // of one address
	longestTurn  = 5 * time.Second // for which a connect is let wait; further ones are refused
	provedFor    = 12 * time.Hour  // how long an address counts as one that has proved a user
	maxGuessName = 128             // bytes remembered of a user name, which may be made up
)

// A damper slows down whoever guesses passwords: by his address (of IPv6 the
// /64 that one client has to itself), by user name, and by both together. Each
// wrong password makes the next one from there wait longer.
//
// It never holds back a user name as such for long: to guess at it would be a
// way to shut out its owner. Failures from elsewhere delay a user by a second at
// most, and not at all at an address that has proved the user before; that is
// held back for this user by its own failures alone.
type damper struct {
	count atomic.Uint64 // connects delayed or refused

	mu      sync.Mutex
	address map[netip.Prefix]*guesses
	user    map[string]*guesses
	pair    map[guesser]*guesses
	proved  map[guesser]time.Time
	waiting int
}

// A guesser is somewhere and wants to be somebody.
type guesser struct {
	from netip.Prefix // the zero value: a socket in the file system, or a client that the proxy does not know
	user string
}

// guesses are wrong passwords, and until when the turns after them are taken.
type guesses struct {
	wrong   float64
	at      time.Time // of wrong
	turn    time.Time
	waiting int
}

// A scale says how wrong passwords become time: after free ones, first, and
// twice as much after each further one, up to most. One is forgiven in each.
type scale struct {
	free        float64
	first, most time.Duration
	forgive     time.Duration
}

var (
	pairScale    = scale{5, 250 * time.Millisecond, longestTurn, 20 * time.Second}
	addressScale = scale{30, 100 * time.Millisecond, time.Second, time.Second}
	userScale    = scale{30, 100 * time.Millisecond, time.Second, 2 * time.Second}
)

func newDamper() *damper {
	return &damper{
		address: map[netip.Prefix]*guesses{}, user: map[string]*guesses{},
		pair: map[guesser]*guesses{}, proved: map[guesser]time.Time{},
	}
}

// interval is the time between two tries.
func (g *guesses) interval(s scale, now time.Time) time.Duration {
	if g == nil {
		return 0
	}
	g.wrong, g.at = max(0, g.wrong-now.Sub(g.at).Seconds()/s.forgive.Seconds()), now
	if g.wrong <= s.free {
		return 0
	}
	return time.Duration(min(float64(s.most), float64(s.first)*math.Exp2(math.Floor(g.wrong-s.free))))
}

// fail notes a wrong password. What goes beyond the longest interval is not
// remembered, so that it is forgiven soon.
func (g *guesses) fail(s scale, now time.Time) {
	g.interval(s, now)
	most := s.free + 1 + math.Ceil(math.Log2(float64(s.most)/float64(s.first)))
	g.wrong = min(g.wrong+1, most)
}

// A try is a connect whose password is about to be looked at.
type try struct {
	who     guesser
	wait    time.Duration
	turns   []*guesses // those in which it took a turn
	lengths []time.Duration
	from    *guesses // counts it as waiting
}

func guesserOf(addr netip.Addr, user string) guesser {
	g := guesser{user: user[:min(len(user), maxGuessName)]}
	if addr.IsValid() {
		bits := 64
		if addr.Is4() {
			bits = 32
		}
		g.from, _ = addr.WithZone("").Prefix(bits)
	}
	return g
}

// begin gives a connect its turn. Not ok: it must be refused, its password
// unseen. Otherwise end must be called.
func (d *damper) begin(who guesser, now time.Time) (t *try, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t = &try{who: who}
	at, known := d.proved[who]
	known = known && now.Sub(at) < provedFor
	d.queue(t, d.pair[who], pairScale, now)
	if !known {
		d.queue(t, d.address[who.from], addressScale, now)
	}
	from := d.address[who.from]
	full := d.waiting >= maxWaiting || from != nil && from.waiting >= waitingEach
	if t.wait > longestTurn || t.wait > 0 && full {
		d.count.Add(1)
		return nil, false
	}
	if i := d.user[who.user].interval(userScale, now); !known && !full {
		t.wait = max(t.wait, i)
	}
	for i, g := range t.turns {
		g.turn = now.Add(t.wait + t.lengths[i])
	}
	if t.wait > 0 {
		d.count.Add(1)
		d.waiting++
		if t.from = from; from != nil {
			from.waiting++
		}
	}
	return t, true
}

func (d *damper) queue(t *try, g *guesses, s scale, now time.Time) {
	length := g.interval(s, now)
	if length == 0 {
		return
	}
	t.wait = max(t.wait, g.turn.Sub(now))
	t.turns, t.lengths = append(t.turns, g), append(t.lengths, length)
}

// An outcome is what came of a try.
type outcome int

const (
	unseen outcome = iota // the password was not looked at, or there was none
	correct
	wrong
)

// end notes what came of a try. A right password takes nobody's turn away.
func (d *damper) end(t *try, o outcome, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.wait > 0 {
		d.waiting--
		if t.from != nil {
			t.from.waiting--
		}
	}
	if o != wrong {
		for i, g := range t.turns {
			g.turn = g.turn.Add(-t.lengths[i])
		}
	}
	switch o {
	case correct:
		delete(d.pair, t.who)
		makeRoom(d.proved)
		d.proved[t.who] = now
	case wrong:
		note(d.pair, t.who, pairScale, now)
		if at, known := d.proved[t.who]; !known || now.Sub(at) >= provedFor {
			note(d.address, t.who.from, addressScale, now)
			note(d.user, t.who.user, userScale, now)
		}
	}
}

func note[K comparable](m map[K]*guesses, k K, s scale, now time.Time) {
	g := m[k]
	if g == nil {
		makeRoom(m)
		g = &guesses{at: now}
		m[k] = g
	}
	g.fail(s, now)
	if i := g.interval(s, now); i > 0 && g.turn.Before(now.Add(i)) {
		g.turn = now.Add(i)
	}
}

// makeRoom forgets some, any ones, when there are too many: all at once, so
// that a flood does not cost a search each time.
func makeRoom[K comparable, V any](m map[K]V) {
	if len(m) < maxGuessers {
		return
	}
	left := maxGuessers / 8
	for k := range m {
		delete(m, k)
		if left--; left == 0 {
			return
		}
	}
}

// admit decides about a client under a, and lets one wait, or sends it away,
// where passwords are being guessed.
func (n *Node) admit(a *access, c *client) (*right, *refusal) {
	if !c.claim.hasUser || c.claim.certUser != "" && a.grantOf(c.id) == nil {
		return a.admit(&c.claim, n.vault) // no password is looked at
	}
	t, ok := n.damper.begin(guesserOf(c.conn.from.addr.Addr(), c.claim.username), time.Now())
	if !ok {
		return nil, &refusal{packets.ErrServerBusy, "too many wrong passwords came from there; it may try again later"}
	}
	if t.wait > 0 {
		timer := time.NewTimer(t.wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.conn.done:
			n.damper.end(t, unseen, time.Now())
			return nil, &refusal{packets.ErrServerBusy, "the connection was closed while it waited"}
		}
	}
	r, no := a.admit(&c.claim, n.vault)
	o := unseen
	switch {
	case no == nil:
		o = correct
	case no.code == packets.ErrBadUsernameOrPassword:
		o = wrong
	}
	n.damper.end(t, o, time.Now())
	return r, no
}
