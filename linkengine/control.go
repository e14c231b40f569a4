package linkengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"clink/broker"
	"clink/linkengine/extrouter"
	"clink/linkengine/probe"
	"clink/linkengine/wire"
	"clink/topology"
)

// handler is the engine as the broker sees it.
type handler struct{ *Engine }

// A visitor is what a link session's actor_init said.
type visitor struct {
	actor    extrouter.Actor
	features int64
	afresh   bool // every route of this session is new to the link's supply
}

// Reasons for which what a peer sends is dropped; see also inbound.go.
const (
	badControl   = "bad-control"
	routeRefused = "route-refused"
)

// Control answers what peers publish under $LINK/ (sections 6.1 and 9.5).
func (h handler) Control(s *broker.Session, m *broker.Message) broker.Verdict {
	kind, cluster, _, ok := wire.ParseTopic(m.Topic)
	switch {
	case ok && cluster != s.Peer():
		h.fault(s.Peer(), "a peer spoke for another cluster", "cluster", short(cluster), "client", short(s.ClientID()))
		return broker.ProtocolError
	case ok && kind == wire.Route:
		return h.route(s, m)
	case ok && kind == wire.Msg:
		return h.deliver(s, m)
	}
	return broker.AckNoMatch
}

// Closed forgets the actor of a session, not its routes (section 7).
func (h handler) Closed(s *broker.Session) {
	h.mu.Lock()
	delete(h.visits, s)
	delete(h.turnedAway, s)
	h.mu.Unlock()
	if l := (*h.links.Load())[s.Peer()]; l != nil {
		l.gate.leave(s)
	}
}

// Refused notes that a peer came with a credential that does not do.
func (h handler) Refused(peer, reason string) {
	if l := (*h.links.Load())[peer]; l != nil {
		l.presence.refused(reason)
	}
	h.fault(peer, "a peer was refused", "reason", reason)
}

// route answers one packet of route replication. EMQX leaves what it does not
// know about unanswered and hangs up on what it cannot read; so does this.
func (h handler) route(s *broker.Session, m *broker.Message) broker.Verdict {
	payload, err := wire.DecodeControl(m.Payload, h.limits)
	switch {
	case errors.Is(err, wire.ErrUnknownOp) || errors.Is(err, wire.ErrMissingKey):
		h.bad(s, err)
		return broker.AckNoMatch
	case err != nil:
		h.bad(s, err)
		return broker.ProtocolError
	}
	switch p := payload.(type) {
	case wire.ActorInit:
		return h.actorInit(s, m, p)
	case wire.Routes:
		return h.routes(s, p)
	case wire.Heartbeat:
		return h.heartbeat(s, p)
	}
	return broker.AckNoMatch
}

// bad counts a faulty packet. One that comes from a session which is being ended
// here may be faulty for that alone: what it refers to is forgotten.
func (h handler) bad(s *broker.Session, err error) {
	if s.Ended() {
		return
	}
	if l := (*h.links.Load())[s.Peer()]; l != nil {
		l.counters.Note(badControl)
	}
	h.fault(s.Peer(), "a peer sent a faulty packet", "client", short(s.ClientID()), "err", short(err.Error()))
}

func (h handler) visitor(s *broker.Session) (visitor, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.visits[s]
	return v, ok
}

func (h handler) actorInit(s *broker.Session, m *broker.Message, p wire.ActorInit) broker.Verdict {
	if m.ResponseTopic == "" || len(m.CorrelationData) == 0 {
		h.bad(s, errors.New("actor_init without Response-Topic or Correlation-Data"))
		return broker.ProtocolError
	}
	ack := wire.ActorInitAck{Actor: p.Actor, Version: 1}
	h.mark(s, p.Target)
	l := (*h.links.Load())[s.Peer()]
	switch ack.Error = h.objection(l, p.Target); {
	case ack.Error != "" && probe.Is(p.Target): // somebody asks, and says nothing of the peer's half
		h.tell(slog.LevelInfo, s.Peer(), "a probe of the peer's link is answered", "reason", ack.Error)
		return h.reply(s, m, ack)
	case ack.Error != "":
		h.fault(s.Peer(), "a peer's handshake is rejected", "reason", ack.Error, "target", short(p.Target))
		if l != nil {
			h.rejected(l, s, ack.Error)
		}
		return h.reply(s, m, ack)
	}
	a := extrouter.Actor{Cluster: s.Peer(), Name: p.Actor, Incarnation: p.Incarnation}
	if v, again := h.visitor(s); again && v.actor != a {
		h.bad(s, errors.New("a second actor on one connection"))
		return broker.ProtocolError
	}
	created, err := h.ext.Init(time.Now(), a)
	if err != nil {
		h.bad(s, err)
		return broker.ProtocolError
	}
	h.mu.Lock()
	h.visits[s] = visitor{a, p.Features, l.supply.asked(p.Features&wire.FeatureRetained != 0, created)}
	delete(h.turnedAway, s)
	h.mu.Unlock()
	if now := (*h.links.Load())[s.Peer()]; now != l || h.objection(now, p.Target) != "" {
		s.Disconnect(administrativeAction) // the link has changed meanwhile, and the peer is to ask again
		return broker.AckNoMatch
	}
	if a := l.announcer.Load(); a != nil && l.presence.get().State == topology.InboundExpired {
		// EMQX up to 5.8.1 is deaf while its last link is disabled, and then
		// acknowledges routes of an actor that it has forgotten.
		a.Renew()
	}
	if l.heard(s); created {
		l.doubtFor(time.Now(), announcing)
	}
	l.hurry()
	ack.NeedBootstrap = created
	if p.Features != 0 {
		ack.Features = wire.FeatureClink
	}
	return h.reply(s, m, ack)
}

// rejected notes why a handshake was rejected, unless the peer has an actor on
// another session: then what is said to s, another of its programs perhaps, is
// not said to the peer's half.
func (h handler) rejected(l *link, s *broker.Session, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for other := range h.visits {
		if other != s && other.Peer() == s.Peer() {
			return
		}
	}
	l.presence.become(topology.InboundRejected, reason)
}

// mark notes, before it is decided, that a session's handshake may be rejected:
// so whoever makes it acceptable meanwhile finds it.
func (h handler) mark(s *broker.Session, target string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turnedAway[s] = target
}

// invite ends the sessions of a peer whose handshake was rejected and would not
// be any more: EMQX up to 5.8.1 stays connected after a rejection, and does not
// ask again.
func (e *Engine) invite(peer string) {
	l := (*e.links.Load())[peer]
	e.mu.Lock()
	defer e.mu.Unlock()
	for s, target := range e.turnedAway {
		if s.Peer() == peer && e.objection(l, target) == "" {
			s.Disconnect(administrativeAction)
		}
	}
}

// objection returns why a handshake is rejected, or "" (section 6; that a
// disabled link is told before a wrong name was seen live).
func (e *Engine) objection(l *link, target string) string {
	switch {
	case l == nil:
		return wire.UnknownCluster
	case !l.cfg.Load().Enable:
		return wire.LinkDisabled
	case target != e.opts.Cluster:
		return wire.BadRemoteName
	}
	return ""
}

func (h handler) reply(s *broker.Session, m *broker.Message, ack wire.ActorInitAck) broker.Verdict {
	if err := s.Reply(m.ResponseTopic, ack.Append(nil), m.CorrelationData); err != nil && !errors.Is(err, broker.ErrEnded) {
		h.bad(s, fmt.Errorf("actor_init cannot be answered: %w", err))
	}
	return broker.AckNoMatch
}

func (h handler) routes(s *broker.Session, p wire.Routes) broker.Verdict {
	v, ok := h.visitor(s)
	if !ok || v.actor.Name != p.Actor {
		h.bad(s, errors.New("routes of an actor that is not initialised on this connection"))
		return broker.ProtocolError
	}
	l := (*h.links.Load())[s.Peer()]
	var news []wire.RouteOp
	if l != nil && v.features&wire.FeatureRetained != 0 {
		news = l.supply.unknown(p.Ops, v.afresh)
	}
	refused, err := h.ext.Update(time.Now(), v.actor, p.Ops)
	if err != nil {
		h.bad(s, err)
		return broker.ProtocolError
	}
	if l == nil {
		return broker.AckNoMatch
	}
	l.supply.want(news)
	if refused > 0 {
		for range refused {
			l.counters.Note(routeRefused)
		}
		h.fault(s.Peer(), "routes of a peer are refused: faulty filters, or too many", "routes", refused)
	}
	l.heard(s)
	l.stillAnnouncing(time.Now())
	return broker.AckNoMatch
}

func (h handler) heartbeat(s *broker.Session, p wire.Heartbeat) broker.Verdict {
	v, ok := h.visitor(s)
	if !ok {
		return broker.AckNoMatch // ignored before actor_init
	}
	if v.actor.Name != p.Actor {
		h.bad(s, errors.New("heartbeat of an actor that is not initialised on this connection"))
		return broker.ProtocolError
	}
	if err := h.ext.Touch(time.Now(), v.actor); err != nil {
		h.bad(s, err)
		return broker.ProtocolError
	}
	if l := (*h.links.Load())[s.Peer()]; l != nil {
		l.gate.tellAll(s)
		l.sure()
		l.heard(s)
	}
	return broker.AckNoMatch
}

// heard notes a valid packet of the peer's actor.
func (l *link) heard(s *broker.Session) {
	l.gate.hear(s, time.Now())
	l.presence.online(s.Ended)
}

// hurry is for a peer that has come: whoever comes can most likely be reached,
// and may have come because the connections there were led nowhere.
func (l *link) hurry() {
	if a := l.announcer.Load(); a != nil {
		a.Hurry()
		a.Prove()
	}
	if f := l.fwd.Load(); f != nil {
		f.Hurry()
		f.Prove()
	}
}

// administrativeAction is MQTT 5.0's reason code for a connection that is ended
// because someone said so (§3.14.2.1).
const administrativeAction = 0x98

// forget drops the peer's routes, and the sessions on which it announced them,
// so that it asks again and is told. The sessions first: what they still say is
// no fault then.
func (e *Engine) forget(peer string) {
	e.mu.Lock()
	for s := range e.visits {
		if s.Peer() == peer {
			s.Disconnect(administrativeAction)
		}
	}
	e.mu.Unlock()
	e.ext.Drop(peer)
}

// faultPeriod is how long after something about a peer was logged the next of the
// same kind is not. All faults are counted.
const faultPeriod = time.Minute

// said is a kind of thing that is logged of a peer. That a connection is down
// must not hide that a disk is full.
type said struct{ peer, msg string }

func (e *Engine) fault(peer, msg string, args ...any) {
	e.tell(slog.LevelWarn, peer, msg, args...)
}

// tell logs what a peer may bring about as often as it likes.
func (e *Engine) tell(level slog.Level, peer, msg string, args ...any) {
	e.mu.Lock()
	now := time.Now()
	kind := said{peer, msg}
	quiet := now.Sub(e.logged[kind]) < faultPeriod
	if !quiet {
		e.logged[kind] = now
	}
	e.mu.Unlock()
	if !quiet {
		e.log.Log(context.Background(), level, msg, append([]any{"peer", peer}, args...)...)
	}
}

// short bounds a peer's text for the log.
func short(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
