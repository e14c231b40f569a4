// Package actor announces the routes of this cluster to the peer of a link: the
// importer's side of the Cluster Linking protocol, sections 4 to 7.
//
// An actor connects, shakes hands, tells the peer everything it wants (after
// every handshake, whatever the peer says it remembers, because some versions
// say so wrongly), and then each change. It keeps its incarnation for life, and
// asks for its routes to be deleted before it goes.
//
// It knows nothing of messages, and does not choose its incarnation.
package actor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"clink/linkengine/client"
	"clink/linkengine/wire"
	"clink/topology"
)

const (
	handshakeTimeout = 2 * time.Second // for PUBACK and reply each; see section 6.2
	routeTimeout     = 10 * time.Second
	withdrawTimeout  = 2 * time.Second
	heartbeatEvery   = 10 * time.Second
	collect          = 10 * time.Millisecond
	settled          = 5 * time.Second // how long a connection lasts that was no failure
	maxOps           = 4000
	maxBatch         = 512 << 10 // bytes, where the peer names no bound
)

// Options say who announces what to whom.
type Options struct {
	Cluster, Name string // ours; the actor's name
	Peer          string
	Incarnation   int64
	Table         *Table
	// Dial connects to the peer, or gives up after a time; received gets the
	// peer's messages.
	Dial func(ctx context.Context, received func(client.Message)) (*client.Conn, error)
	Log  *slog.Logger

	// Lost is called when the connection was lost or could not be made;
	// Answered when the peer has answered on a connection made, or to a ping
	// sent, at the given time: then the peer's link application runs. Remembered
	// says that the peer is the same process as before, or claims to be.
	Lost     func()
	Answered func(at time.Time, remembered bool)
	// Oversize is called for each route that no packet of the peer can hold.
	Oversize func(filter string)

	Features int64 // that the peer is told of; see [wire.ActorInit]
	// Accepted, if not nil, is told which ones the peer has when it has accepted
	// the handshake, and zero when the connection has ended.
	Accepted func(features int64)
	// Report, if not nil, gets the peer's reports on probes. It must not block.
	Report func(client.Message)
}

// ReportPrefix is what the Correlation-Data of a report begins with. Those of
// handshakes are hexadecimal digits.
const ReportPrefix = "trace:"

// An Actor is one announcer.
type Actor struct {
	opts  Options
	prove chan struct{}
	hurry chan struct{}
	renew chan struct{}

	failed int // attempts since it was online; belongs to Run

	mu    sync.Mutex
	state topology.Replication
}

// rejection is the peer's word for why it does not want us.
type rejection string

func (r rejection) Error() string { return "the peer rejected the handshake: " + string(r) }

// rejectedFor makes a rejection of a peer's word, which may be anything.
func rejectedFor(word string) rejection {
	const most = 200
	if len(word) > most {
		word = strings.ToValidUTF8(word[:most], "") + "…"
	}
	return rejection(strings.ToValidUTF8(word, "\uFFFD"))
}

// New returns an actor that does nothing before Run.
func New(opts Options) *Actor {
	return &Actor{
		opts:  opts,
		prove: make(chan struct{}, 1),
		hurry: make(chan struct{}, 1),
		renew: make(chan struct{}, 1),
		state: topology.Replication{State: topology.ReplicationDown, Reason: "not connected yet", Since: time.Now()},
	}
}

// Status says how far announcing has come.
func (a *Actor) Status() topology.Replication {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

// Prove asks the actor to find out whether the peer still answers. It does not
// wait.
func (a *Actor) Prove() {
	select {
	case a.prove <- struct{}{}:
	default:
	}
}

// Hurry makes the next attempt to connect come soon: there is reason to believe
// that it will do.
func (a *Actor) Hurry() {
	select {
	case a.hurry <- struct{}{}:
	default:
	}
}

// Renew makes the actor shake hands again over a new connection, if it is
// online: there is reason to believe that the peer has forgotten it, and would
// not say so.
func (a *Actor) Renew() {
	select {
	case a.renew <- struct{}{}:
	default:
	}
}

// become sets the state. A rejected actor stays so until something better, or
// another fault, is known.
func (a *Actor) become(state, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if state == topology.ReplicationHandshaking {
		if a.state.State == topology.ReplicationRejected {
			return
		}
		reason = a.state.Reason
	}
	if a.state.State != state {
		a.state.Since = time.Now()
	}
	a.state.State, a.state.Reason = state, reason
}

// Run announces until ctx ends, then withdraws what was announced if withdraw
// is true by then, and leaves nothing running.
func (a *Actor) Run(ctx context.Context, withdraw func() bool) {
	var backoff client.Backoff
	for ctx.Err() == nil {
		began := time.Now()
		err := a.attempt(ctx, withdraw)
		a.opts.Table.away()
		a.accepted(0)
		if ctx.Err() != nil {
			break
		}
		a.opts.Lost()
		if time.Since(began) > settled {
			backoff.Reset()
		}
		client.Wait(ctx, a.fault(err, &backoff), a.hurry)
	}
	a.become(topology.ReplicationDown, "stopped")
}

// fault takes note of why the actor is not online, and says for how long to
// wait. The log gets each reason once in a row.
func (a *Actor) fault(err error, backoff *client.Backoff) time.Duration {
	state, reason, wait := topology.ReplicationDown, err.Error(), time.Duration(0)
	var rejected rejection
	if errors.As(err, &rejected) {
		state, reason, wait = topology.ReplicationRejected, string(rejected), backoff.Full()
	} else {
		wait = backoff.Next()
	}
	before := a.Status()
	a.become(state, reason)
	a.failed++
	switch same := before.State == state && before.Reason == reason; {
	case a.failed == 1 && state == topology.ReplicationDown:
		// A peer that starts at the same time, or a connection that is cut,
		// is back at the next attempt more often than not.
		a.opts.Log.Info("route replication is down, trying again", "peer", a.opts.Peer, "reason", reason)
	case !same || a.failed == 2:
		a.opts.Log.Warn("route replication is "+state, "peer", a.opts.Peer, "reason", reason)
	}
	return wait
}

func (a *Actor) accepted(features int64) {
	if a.opts.Accepted != nil {
		a.opts.Accepted(features)
	}
}

// A visit is one connection of the actor.
type visit struct {
	*Actor
	conn    *client.Conn
	replies chan client.Message
	began   time.Time
	beats   sync.WaitGroup
}

func (a *Actor) attempt(ctx context.Context, withdraw func() bool) error {
	v := &visit{Actor: a, replies: make(chan client.Message, 1), began: time.Now()}
	conn, err := a.opts.Dial(ctx, v.received)
	if err != nil {
		return err
	}
	v.conn = conn
	select {
	case <-a.renew: // so it is
	default:
	}
	defer v.beats.Wait()
	defer conn.Close()
	if err := v.shake(ctx); err != nil {
		return err
	}
	v.beats.Go(v.beat)
	if err = v.bootstrap(ctx); err == nil {
		err = v.stay(ctx)
	}
	if ctx.Err() != nil && withdraw() {
		v.withdraw()
	}
	return err
}

// received keeps the newest message for whoever waits for a reply.
func (v *visit) received(m client.Message) {
	if v.opts.Report != nil && strings.HasPrefix(string(m.Correlation), ReportPrefix) {
		v.opts.Report(m)
		return
	}
	select {
	case <-v.replies:
	default:
	}
	v.replies <- m
}

// shake is the handshake (section 6, 1 to 3).
func (v *visit) shake(ctx context.Context) error {
	v.become(topology.ReplicationHandshaking, "")
	inbox := wire.RespTopic(v.opts.Cluster, v.opts.Name)
	asking, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, errors.New("no SUBACK in time"))
	defer cancel()
	if err := v.conn.Subscribe(asking, inbox); err != nil {
		return err
	}
	var random [8]byte
	rand.Read(random[:])
	correlation := hex.EncodeToString(random[:])
	init := wire.ActorInit{Actor: v.opts.Name, Incarnation: v.opts.Incarnation, Target: v.opts.Peer, Version: 1, Features: v.opts.Features}
	err := v.publish(ctx, handshakeTimeout, client.Message{
		Topic: wire.RouteTopic(v.opts.Cluster), Payload: init.Append(nil),
		ResponseTopic: inbox, Correlation: []byte(correlation),
	})
	if err != nil {
		return fmt.Errorf("actor_init: %w", err)
	}
	ack, err := v.reply(ctx, correlation)
	if err != nil {
		return err
	}
	v.opts.Answered(v.began, ack.Error == "" && !ack.NeedBootstrap)
	if ack.Error != "" {
		return rejectedFor(ack.Error)
	}
	v.accepted(ack.Features)
	return nil
}

// publish sends one control packet and waits for its acknowledgement.
func (v *visit) publish(ctx context.Context, limit time.Duration, m client.Message) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no PUBACK within %v", limit))
	defer cancel()
	code, err := v.conn.Publish(ctx, m)
	if err == nil && code >= 0x80 {
		return fmt.Errorf("the peer answered PUBACK 0x%02x", code)
	}
	return err
}

func (v *visit) reply(ctx context.Context, correlation string) (wire.ActorInitAck, error) {
	late := time.NewTimer(handshakeTimeout)
	defer late.Stop()
	for {
		select {
		case m := <-v.replies:
			if string(m.Correlation) != correlation {
				continue
			}
			answer, err := wire.DecodeControl(m.Payload, wire.Limits{Packet: 64 << 10, Control: 64 << 10})
			if err != nil {
				return wire.ActorInitAck{}, fmt.Errorf("the peer's answer to actor_init: %w", err)
			}
			if ack, ok := answer.(wire.ActorInitAck); ok {
				return ack, nil
			}
			return wire.ActorInitAck{}, fmt.Errorf("the peer answered actor_init with %T", answer)
		case <-v.conn.Done():
			return wire.ActorInitAck{}, v.conn.Err()
		case <-late.C:
			return wire.ActorInitAck{}, fmt.Errorf("the peer did not answer actor_init within %v: it is still starting, or links are not served there", handshakeTimeout)
		case <-ctx.Done():
			return wire.ActorInitAck{}, ctx.Err()
		}
	}
}

// beat sends heartbeats by the clock, whatever else is going on.
func (v *visit) beat() {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-v.conn.Done():
			return
		case <-tick.C:
			v.heartbeat()
		}
	}
}

func (v *visit) heartbeat() {
	b := wire.Heartbeat{Actor: v.opts.Name, Incarnation: v.opts.Incarnation}.Append(nil)
	v.conn.Write(append(client.AppendPublish(nil, client.Head{Topic: wire.RouteTopic(v.opts.Cluster)}, len(b)), b...))
}

func (v *visit) bootstrap(ctx context.Context) error {
	v.become(topology.ReplicationBootstrapping, "")
	for ops := range v.opts.Table.all() {
		if err := v.send(ctx, ops); err != nil {
			return fmt.Errorf("bootstrap: %w", err)
		}
	}
	v.heartbeat() // tells a peer that waits for more that there is none
	v.become(topology.ReplicationOnline, "")
	v.failed = 0
	v.opts.Log.Info("route replication is online", "peer", v.opts.Peer, "routes", v.opts.Table.Len())
	return nil
}

// stay tells the peer of changes until the connection or ctx ends.
func (v *visit) stay(ctx context.Context) error {
	for {
		select {
		case <-v.opts.Table.wake:
			select {
			case <-time.After(collect):
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := v.send(ctx, v.opts.Table.changes()); err != nil {
				return err
			}
		case <-v.prove:
			at := time.Now()
			pinging, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, errors.New("the peer does not answer a ping"))
			err := v.conn.Ping(pinging)
			cancel()
			if err != nil {
				return err
			}
			v.opts.Answered(at, true)
		case <-v.renew:
			return errors.New("the peer's half is back after a silence, and may have forgotten this one")
		case <-v.conn.Done():
			return v.conn.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send sends route operations in batches that the peer takes, one at a time.
func (v *visit) send(ctx context.Context, ops []wire.RouteOp) error {
	topic := wire.RouteTopic(v.opts.Cluster)
	routes := wire.Routes{Actor: v.opts.Name, Incarnation: v.opts.Incarnation}
	const packet = 5 + 2 + 2 + 1 // fixed header, topic length, packet identifier, no properties
	overhead := packet + len(topic) + len(routes.Append(nil))
	batches, oversize := wire.SplitOps(ops, overhead, maxOps, min(v.conn.MaxPacket(), maxBatch))
	for _, op := range oversize {
		if !op.Delete {
			v.opts.Oversize(op.Filter)
		}
	}
	for _, batch := range batches {
		routes.Ops = batch
		if err := v.publish(ctx, routeTimeout, client.Message{Topic: topic, Payload: routes.Append(nil)}); err != nil {
			return fmt.Errorf("route: %w", err)
		}
		v.opts.Table.done(batch)
	}
	return nil
}

// withdraw deletes what the peer holds, so that it does not go on sending for
// half a minute to no one (section 16, point 14).
func (v *visit) withdraw() {
	ctx, cancel := context.WithTimeout(context.Background(), withdrawTimeout)
	defer cancel()
	if err := v.send(ctx, v.opts.Table.withdrawal()); err != nil {
		v.opts.Log.Info("routes were not withdrawn", "peer", v.opts.Peer, "reason", err)
	}
}
