package linkengine

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"clink/broker"
	"clink/linkengine/actor"
	"clink/linkengine/client"
	"clink/linkengine/forwarder"
	"clink/linkengine/wire"
	"clink/topology"
)

// finishGrace is for how long queues are still drained when the engine stops.
const finishGrace = time.Second

// minRetry is the shortest time after which an acknowledgement that did not
// come is taken for a fault of the connection.
const minRetry = 2 * time.Second

// actorPing is how often the announcing connection is tried: a road that is
// dead is noticed, and routes are announced on another, before the peer forgets
// them ([extrouter.TTL]).
const actorPing = 5 * time.Second

// reachedEvery is how often connections that can be made make others hurry.
const reachedEvery = 5 * time.Second

// A link is one link as it runs, for as long as it is in the engine. Its parts
// come and go; counters, the gate and the peer's presence stay.
type link struct {
	*Engine
	peer     string
	cfg      atomic.Pointer[topology.Link]
	gate     *gate
	injector *broker.Injector
	table    *actor.Table
	counters forwarder.Counters
	matched  atomic.Uint64
	received atomic.Uint64
	presence presence
	recent   recent
	supply   supply
	copies   copies
	reports  ration
	features atomic.Int64 // of the peer, while our actor is accepted there
	rates    rates
	idle     atomic.Int64 // since when it does not run, in Unix nanoseconds
	held     atomic.Bool  // it does not connect until it is put; see [Engine.Prepare]
	doubt    doubt
	reached  atomic.Int64 // when a connection last made the others hurry, in Unix nanoseconds

	announcer atomic.Pointer[actor.Actor]         // nil while there is none
	fwd       atomic.Pointer[forwarder.Forwarder] // nil while there is none
	swap      sync.Mutex                          // held while fwd is replaced
	disk      atomic.Pointer[disk]                // nil if messages wait in memory alone

	// Guarded by Engine.changing. There may be a forwarder without an actor:
	// then it only keeps what is queued.
	incarnation int64
	left        int  // messages in a queue on disk that was put aside
	early       bool // there is a forwarder that waits for the link's first start
	stopActor   func(withdraw bool)
	stopForward func(grace time.Duration)
}

func newLink(e *Engine, cfg topology.Link) *link {
	l := &link{
		Engine: e, peer: cfg.Name, gate: newGate(),
		injector: e.opts.Node.Injector("link:" + cfg.Name),
		table:    actor.NewTable(e.opts.Node.Routes()),
	}
	l.supply.link = l
	l.cfg.Store(&cfg)
	l.idle.Store(time.Now().UnixNano())
	l.presence.become(topology.InboundAbsent, "")
	l.restoreRecent()
	return l
}

// start brings the link to life, if it is enabled and the engine runs.
func (l *link) start() error {
	cfg := *l.cfg.Load()
	if !cfg.Enable && !l.held.Load() {
		l.clearDisk() // of an earlier run
	}
	if !cfg.Enable || !l.running || l.stopActor != nil || l.held.Load() {
		return nil
	}
	f := l.fwd.Load()
	if f == nil || l.early {
		if err := l.begin(cfg); err != nil {
			return err
		}
		f = l.fwd.Load()
	}
	l.runForwarder(f)
	l.supply.start()
	l.startActor(cfg)
	return nil
}

// begin makes what start then runs.
func (l *link) begin(cfg topology.Link) error {
	incarnation, err := l.incarnations.next(time.Now())
	if err != nil {
		return err
	}
	l.incarnation = incarnation
	if !l.early {
		l.gate.reset()
	}
	l.presence.absent(l.gate.visited) // a held link may have been found by its peer
	l.table.Follow(cfg.Topics)
	if !l.early {
		l.openDisk(cfg)
		l.fwd.Store(l.newForwarder(cfg))
	}
	l.early = false
	l.startDoubt()
	return nil
}

// rest is stop for an engine that is to run again: routes that kept sessions
// need then are not withdrawn, so that their messages wait at the peer.
func (l *link) rest() {
	l.table.Keep(l.opts.Node.Lasting())
	l.stop(context.Background(), finishGrace, true)
}

// stop ends everything, and asks the peer to forget our routes unless ctx has
// ended. What is on disk is kept if the link is to start again in another life,
// in this one with keep.
func (l *link) stop(ctx context.Context, grace time.Duration, keep bool) {
	if d := l.disk.Load(); d != nil {
		d.release()
		if !keep {
			defer l.clearDisk()
		}
	} else if !keep {
		l.clearDisk()
	}
	if l.stopForward == nil {
		return
	}
	l.supply.stop()
	var stopping sync.WaitGroup
	if l.stopActor != nil {
		stopping.Go(func() { l.stopActor(ctx.Err() == nil) })
	}
	l.swap.Lock()
	old := l.fwd.Swap(nil)
	l.swap.Unlock()
	l.stopForward(grace)
	old.Leave(nil)
	stopping.Wait()
	l.stopActor, l.stopForward, l.early = nil, nil, false
	l.idle.Store(time.Now().UnixNano())
	l.table.Stop()
}

// change makes the link what cfg says.
func (l *link) change(ctx context.Context, cfg topology.Link) error {
	old, held := *l.cfg.Load(), l.held.Swap(false)
	l.cfg.Store(&cfg)
	switch {
	case !cfg.Enable && (held || l.stopActor != nil):
		l.stop(ctx, 0, false)
		l.forget(l.peer)
		l.presence.become(topology.InboundAbsent, "")
		return nil
	case l.stopActor == nil:
		l.keepQueue(old, cfg)
		return l.start()
	case old.Equal(cfg):
		return nil
	}
	l.openDisk(cfg)
	moved := !sameRoad(old, cfg)
	if moved {
		l.gate.move(time.Now())
	}
	if moved || !samePool(old, cfg) {
		l.replaceForwarder(cfg)
	}
	if moved || old.Retained != cfg.Retained { // which the peer is told at the handshake
		l.stopActor(moved && ctx.Err() == nil && old.Address != cfg.Address)
	}
	if moved {
		l.gate.move(time.Now()) // what the old actor was answered meanwhile does not count
	}
	if !slices.Equal(old.Topics, cfg.Topics) {
		l.table.Follow(cfg.Topics)
	}
	if moved || old.Retained != cfg.Retained {
		l.startActor(cfg)
	}
	return nil
}

// keepQueue fits a forwarder that does not run to cfg.
func (l *link) keepQueue(old, cfg topology.Link) {
	if l.fwd.Load() == nil || old.Equal(cfg) {
		return
	}
	l.openDisk(cfg)
	l.parkForwarder(cfg)
	l.table.Follow(cfg.Topics)
}

// sameRoad reports whether the connections of a serve b as well.
func sameRoad(a, b topology.Link) bool {
	a.Topics, a.Export, a.HasExport, a.Inbound, a.PasswordHash, a.Retained = b.Topics, b.Export, b.HasExport, b.Inbound, b.PasswordHash, b.Retained
	a.PoolSize, a.RetryInterval, a.MaxInflight, a.ResourceOpts, a.Queue = b.PoolSize, b.RetryInterval, b.MaxInflight, b.ResourceOpts, b.Queue
	return a.Equal(b)
}

func samePool(a, b topology.Link) bool {
	return a.PoolSize == b.PoolSize && a.MaxInflight == b.MaxInflight &&
		queueBytes(a) == queueBytes(b) && queueAge(a) == queueAge(b) && a.RetryInterval.Value == b.RetryInterval.Value && a.Queue.WhenFull == b.Queue.WhenFull && durable(a) == durable(b)
}

// queueBytes is the bound of one lane's queue. EMQX's max_buffer_bytes is for
// each worker; clink's own max_bytes for the whole link.
func queueBytes(cfg topology.Link) int64 {
	if durable(cfg) { // then max_bytes is for what is on disk
		n, _ := diskLimit(cfg)
		return max(min(n/int64(max(cfg.PoolSize, 1)), laneBytes), 1)
	}
	if n := cfg.Queue.MaxBytes.Bytes; n > 0 {
		return max(n/int64(max(cfg.PoolSize, 1)), 1)
	}
	if n := cfg.ResourceOpts.MaxBufferBytes.Bytes; n > 0 {
		return n
	}
	return 256 << 20
}

func queueAge(cfg topology.Link) time.Duration {
	age := cfg.Queue.MaxAge.Value
	if age == 0 && durable(cfg) {
		age = diskAge
	}
	if age == 0 {
		age = cfg.ResourceOpts.RequestTTL.Value
	}
	if age == topology.Infinity {
		return 0
	}
	return age
}

func (l *link) startActor(cfg topology.Link) {
	a := actor.New(actor.Options{
		Cluster: l.opts.Cluster, Name: l.node, Peer: l.peer, Incarnation: l.incarnation, Table: l.table, Log: l.log,
		Dial: func(ctx context.Context, received func(client.Message)) (*client.Conn, error) {
			return l.connect(ctx, cfg, client.Options{ClientID: wire.ClientID(l.prefix(cfg), "routesync", l.node, 0), Received: received, Ping: actorPing})
		},
		Lost: func() {
			l.gate.lose(time.Now())
			if f := l.fwd.Load(); f != nil {
				f.Prove()
			}
		},
		Answered: l.gate.answer,
		Features: features(cfg), Accepted: l.features.Store, Report: l.report,
		Oversize: func(filter string) {
			l.counters.Note("route-too-large")
			l.fault(l.peer, "a route is too large for a packet of the peer", "filter", short(filter))
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var withdraw atomic.Bool
	ended := make(chan struct{})
	l.announcer.Store(a)
	go func() {
		defer close(ended)
		a.Run(ctx, withdraw.Load)
	}()
	l.stopActor = func(w bool) {
		withdraw.Store(w)
		cancel()
		<-ended
		l.announcer.CompareAndSwap(a, nil)
	}
}

// connect makes a connection, and has the others hurry: where one can be made,
// they can. A peer that ends each one soon is not called on faster for it.
func (l *link) connect(ctx context.Context, cfg topology.Link, o client.Options) (*client.Conn, error) {
	conn, err := l.dial(ctx, cfg, o)
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixNano()
	if last := l.reached.Load(); now-last > int64(reachedEvery) && l.reached.CompareAndSwap(last, now) {
		if a := l.announcer.Load(); a != nil {
			a.Hurry()
		}
		if f := l.fwd.Load(); f != nil {
			f.Hurry()
		}
	}
	return conn, nil
}

func (l *link) newForwarder(cfg topology.Link) *forwarder.Forwarder {
	return forwarder.New(forwarder.Options{
		Lanes: cfg.PoolSize, Topic: wire.MsgTopic(l.opts.Cluster),
		Window: cfg.MaxInflight, Bytes: queueBytes(cfg), MaxAge: queueAge(cfg), Retry: max(cfg.RetryInterval.Value, minRetry), WhenFull: cfg.Queue.WhenFull,
		Peer: l, Counters: &l.counters, Store: l.store(),
		Wanted:   func() { l.matched.Add(1) },
		TellLeft: func() bool { return l.features.Load()&wire.FeatureClink != 0 },
		Oversize: func(name string) {
			l.fault(l.peer, "a message is too large for a packet of the peer, and is dropped", "topic", short(name))
		},
		Dial: func(ctx context.Context, n int, acked func(uint16, byte), idle func()) (*client.Conn, error) {
			return l.connect(ctx, cfg, client.Options{ClientID: wire.ClientID(l.prefix(cfg), "msg", l.node, n), Acked: acked, Idle: idle})
		},
	})
}

func (l *link) runForwarder(f *forwarder.Forwarder) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx)
	}()
	l.stopForward = func(grace time.Duration) {
		f.Finish(grace)
		cancel()
		<-ended
	}
}

// replaceForwarder keeps what is queued. Publishers to this peer wait for it.
func (l *link) replaceForwarder(cfg topology.Link) {
	l.runForwarder(l.parkForwarder(cfg))
}

// parkForwarder puts a forwarder in the place of the one there is that takes
// messages, but does not run.
func (l *link) parkForwarder(cfg topology.Link) *forwarder.Forwarder {
	l.swap.Lock()
	defer l.swap.Unlock()
	l.stopForward(0)
	f := l.newForwarder(cfg)
	l.fwd.Load().Leave(f)
	l.park(f)
	return f
}

// park has a forwarder take messages that does not run.
func (l *link) park(f *forwarder.Forwarder) {
	l.fwd.Store(f)
	l.stopForward = func(time.Duration) {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		f.Run(ended) // lets go who waits for room
	}
}

// prefix is what the client ids of a link's connections begin with.
func (e *Engine) prefix(cfg topology.Link) string {
	if cfg.ClientID != "" {
		return cfg.ClientID
	}
	return e.opts.Cluster
}

// forward takes a message for the peer.
func (l *link) forward(m *wire.Forward, key uint64, from forwarder.Source) {
	l.matched.Add(1)
	item := forwarder.NewItem(m, key)
	item.Source = from
	l.take(item)
}

func (l *link) take(item forwarder.Item) {
	for {
		f := l.fwd.Load()
		if f == nil {
			l.leaveBehind(&item)
			return
		}
		if f.Forward(&item) {
			return
		}
		if item.Source != nil {
			item.Source.Settle()
		}
		l.awaitSwap()
	}
}

// awaitSwap returns when the forwarder is not being replaced.
func (l *link) awaitSwap() {
	l.swap.Lock()
	defer l.swap.Unlock()
}

// Lost, Ready and Wants are for the forwarder.
func (l *link) Lost() {
	l.gate.lose(time.Now())
	l.supply.lost()
	a := l.announcer.Load()
	if a == nil {
		return
	}
	a.Prove()
	// While route replication is down as well, that says it.
	if f := l.fwd.Load(); f != nil && a.Status().State == topology.ReplicationOnline {
		_, _, _, reason := f.State()
		l.fault(l.peer, "a forwarding connection is down", "reason", reason)
	}
}

func (l *link) Ready() (bool, <-chan struct{}) { return l.gate.ready() }

func (l *link) Wants(topic string) bool {
	return within((*l.exports.Load())[l.peer], topic) && l.ext.Announced(l.peer, topic)
}
