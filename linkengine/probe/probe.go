// Package probe tries a link from its own end, one step after the other, and
// says in words what came of each: name resolution, TCP, TLS, CONNACK,
// permission on $LINK/, and the answer to a handshake.
//
// It goes the link's way, with its addresses, credentials and certificates, but
// on a connection of its own, under a client id that no session of the link
// has, and asks for a cluster that does not exist: the handshake of a peer that
// works is rejected, and so nothing is left there. What would only show in a
// handshake that is accepted, whether the peer bears the name by which it is
// linked, the running link must tell ([Options.Known]).
//
// It reads no files and keeps nothing; credentials are asked for when they are
// sent, and never get into a detail.
package probe

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"clink/linkengine/client"
	"clink/linkengine/wire"
	"clink/topology"
)

// The steps, in their order.
const (
	stepDNS        = "dns"
	stepTCP        = "tcp"
	stepTLS        = "tls" // only where ssl is enabled
	stepConnack    = "connack"
	stepPermission = "permission"
	stepHandshake  = "handshake"
)

// Options say what to try. Link, Cluster, Actor, Prefix and Address are needed.
type Options struct {
	Cluster string // ours
	Actor   string // of the link: its answers come to a topic of this name
	Prefix  string // of the link's client ids
	Address string // host:port
	Link    topology.Link

	TLS      func() (*tls.Config, error) // how the link does TLS; nil: not at all
	Password func() (string, error)      // nil: none
	Socket   func(*net.TCPConn) error    // sets the link's socket options; may be nil

	// Known says what is known of the peer from elsewhere, and is asked when its
	// half answers; may be nil.
	Known func() Known

	Step, Whole time.Duration // at most; default 5 s and 15 s
	Resolver    *net.Resolver // nil: the system's
}

// Known is what the running link knows of the peer. All may be empty.
type Known struct {
	Name  Naming // whether the peer bears the name of the link
	Other string // what else there is to say of it
}

// Naming says what is known of the peer's name.
type Naming byte

// What is known of the peer's name: it accepted the link, or it rejected it
// because it bears another name.
const (
	Unproven Naming = iota
	Right
	Wrong
)

// A try is one probe under way.
type try struct {
	Options
	id    string // what tells this try from others, at random
	probe topology.Probe

	raw     net.Conn // until there is conn
	head    *head
	conn    *client.Conn
	tcpTook time.Duration
	tls     handshaken
	inbox   string // where the answer to the handshake comes
	replies chan answer

	correlation string        // of the actor_init that is answered
	ended       error         // the peer ended the connection on actor_init
	asked       time.Time     // when it was sent
	took        time.Duration // what a step took, where that is not how long it ran
}

// Run tries the link until a step fails, or ctx ends.
func Run(ctx context.Context, o Options) topology.Probe {
	if o.Step <= 0 {
		o.Step = 5 * time.Second
	}
	if o.Whole <= 0 {
		o.Whole = 15 * time.Second
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Whole, fmt.Errorf("the probe as a whole took longer than %v", o.Whole))
	defer cancel()
	t := &try{Options: o, id: random(), correlation: random(), replies: make(chan answer, 1)}
	t.probe.Steps = []topology.ProbeStep{}
	defer t.close()
	t.probe.OK = t.step(ctx, stepDNS, t.resolve) && t.step(ctx, stepTCP, t.connect) &&
		(o.TLS == nil || t.step(ctx, stepTLS, t.secure)) &&
		t.step(ctx, stepConnack, t.enter) && t.step(ctx, stepPermission, t.permission) && t.step(ctx, stepHandshake, t.handshake)
	return t.probe
}

func random() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// An earlier is a fault that shows in one step and belongs to the one before.
type earlier struct{ error }

func (e earlier) Unwrap() error { return e.error }

// step runs one step and books it.
func (t *try) step(whole context.Context, name string, do func(context.Context) (string, error)) bool {
	ctx, cancel := context.WithTimeoutCause(whole, t.Step, fmt.Errorf("no answer within %v", t.Step))
	defer cancel()
	began := time.Now()
	t.took = 0
	detail, err := do(ctx)
	if t.took == 0 {
		t.took = time.Since(began)
	}
	s := topology.ProbeStep{Name: name, OK: err == nil, Millis: millis(t.took), Detail: detail}
	switch {
	case err != nil && errors.Is(whole.Err(), context.Canceled): // not the peer's fault
		s.Detail = "the probe was stopped before this step came to an end"
	case err != nil:
		s.Detail = err.Error()
	}
	s.Detail = clean(s.Detail)
	var before earlier
	if last := len(t.probe.Steps) - 1; errors.As(err, &before) {
		s.Name = t.probe.Steps[last].Name
		s.Millis += t.probe.Steps[last].Millis
		t.probe.Steps = t.probe.Steps[:last]
	}
	t.probe.Steps = append(t.probe.Steps, s)
	return s.OK
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// close leaves without a trace: with DISCONNECT 0x00, where it came that far.
func (t *try) close() {
	switch {
	case t.conn != nil:
		t.conn.Close()
	case t.raw != nil:
		t.raw.Close()
	}
}

// An answer is what came for actor_init, and when.
type answer struct {
	payload []byte
	at      time.Time
}

// clean makes a text that may hold what a peer said fit to be shown.
func clean(s string) string {
	const most = 1200
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// short bounds one name of a peer's, so that the text around it stays whole.
func short(s string) string {
	const most = 120
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// targets is what begins every target of a probe: a name that no cluster has, so
// that none accepts the handshake.
const targets = "clink-probe/"

// Is reports whether a handshake that names this target is a probe's.
func Is(target string) bool { return strings.HasPrefix(target, targets) }

func (t *try) target() string { return targets + t.id }

// clientID is one that rules for the link's connections let in, those that name
// its kinds of connection too, and that none of them has: where it says probe,
// theirs have eight hexadecimal digits.
func (t *try) clientID() string { return t.Prefix + ":routesync:probe-" + t.id }

// actor is who asks. It is not the link's actor, so that not even a peer that
// accepted the handshake could mix the two up.
func (t *try) actor() string { return "clink-probe-" + t.id + "@" + t.Cluster }

// A head is a connection that remembers the first bytes that came over it.
type head struct {
	net.Conn
	first []byte
}

// remembered is less than the fixed part of a CONNECT: should the far end send
// back what it got, nothing secret is among it.
const remembered = 12

func (h *head) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if room := remembered - len(h.first); n > 0 && room > 0 {
		h.first = append(h.first, b[:min(n, room)]...)
	}
	return n, err
}

// handshaken is what is known of the TLS handshake.
type handshaken struct {
	asked, given bool   // for a client certificate; one was sent
	name         string // that the peer's certificate must bear
	certs        []*x509.Certificate
}

// needs is what a link must be allowed to do.
func (t *try) needs() string {
	return fmt.Sprintf("publish on %s and %s, subscribe to %s, for client ids %s:…",
		wire.RouteTopic(t.Cluster), wire.MsgTopic(t.Cluster), wire.RespTopic(t.Cluster, "+"), t.Prefix)
}
