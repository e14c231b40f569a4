package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"clink/broker/store"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A keeper is what a node knows of its store.
type keeper struct {
	store  atomic.Pointer[store.Store] // nil: there is none, or it has failed
	reason atomic.Pointer[string]      // why it has failed, or was empty at the start
	closed atomic.Bool                 // it was in use until the node stopped
}

// storeRetry is the time between attempts to get a store back.
var storeRetry = 5 * time.Second

func (k *keeper) stats(s *Stats) {
	if st := k.store.Load(); st != nil && st.Err() == nil {
		s.StoreUp, s.StoreBytes, s.StoreRefused = true, st.Bytes(), st.Refused()
	}
	if r := k.reason.Load(); r != nil {
		s.StoreError = *r
	}
}

func (k *keeper) because(err error) {
	s := err.Error()
	k.reason.Store(&s)
}

func (n *Node) storeOptions() store.Options {
	o := store.Options{Log: n.log, Interval: n.opts.StoreSync, MaxBytes: n.opts.StoreMaxBytes}
	if o.Interval < 0 {
		o.Interval, o.Always = 0, true
	}
	return o
}

// openStore restores what the store holds. That another process uses it is an
// error. A store that cannot be used otherwise is not: the node then serves
// from memory, and tries again.
func (n *Node) openStore() error {
	if n.opts.Store == "" {
		return nil
	}
	st, saved, err := store.Open(n.opts.Store, n.storeOptions())
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("open the store: %w", err)
	}
	if err != nil {
		n.storeDown(err)
		return nil
	}
	if saved.Ignored > 0 {
		n.log.Warn("the end of the store's log is unfinished and was ignored", "directory", n.opts.Store, "bytes", saved.Ignored)
	}
	if saved.Damage != nil {
		n.keeper.because(fmt.Errorf("it was damaged (%w) and set aside to %s", saved.Damage, saved.Aside))
	}
	n.keeper.store.Store(st)
	n.restore(saved)
	return nil
}

// storeDown says once, until the store is back, that it is not used.
func (n *Node) storeDown(err error) {
	n.keeper.because(err)
	n.log.Error("the store cannot be used: the node serves from memory, and what it acknowledges is lost if it ends; it tries again",
		"directory", n.opts.Store, "every", storeRetry.String(), "error", err)
}

// startStore starts the store, and watches it until ctx ends.
func (n *Node) startStore(ctx context.Context) {
	if n.opts.Store == "" {
		return
	}
	st := n.keeper.store.Load()
	if st != nil {
		st.Start()
	}
	n.spawn(func() { n.watchStore(ctx, st) })
}

func (n *Node) watchStore(ctx context.Context, st *store.Store) {
	t := time.NewTicker(storeRetry)
	defer t.Stop()
	for {
		var failed <-chan struct{}
		if st != nil {
			failed = st.Failed()
		}
		select {
		case <-ctx.Done():
			return
		case <-failed:
			n.keeper.store.Store(nil)
			n.storeDown(st.Err())
			_ = st.Close()
			st = nil
		case <-t.C:
			if st == nil {
				st = n.rebuild(ctx)
			}
		}
	}
}

// closeStore is called when nothing changes any more.
func (n *Node) closeStore() {
	n.keeper.closed.Store(n.keeper.store.Load() != nil)
	st := n.keeper.store.Swap(nil)
	if st == nil {
		return
	}
	if err := errors.Join(st.Err(), st.Close()); err != nil {
		n.log.Error("the store was not closed properly", "directory", n.opts.Store, "error", err)
	}
}

// Keeps reports whether there is a store, so that sessions and what waits for
// them will be there when the node is made again.
func (n *Node) Keeps() bool {
	// In this order: closed is set before there is no store any more.
	return n.keeper.store.Load() != nil || n.keeper.closed.Load()
}

// Lasting returns the routes, each once, that the node will have when it is
// made again: those of the sessions that are in its store.
func (n *Node) Lasting() []Route {
	if !n.Keeps() {
		return nil
	}
	var ids []string
	n.mu.Lock()
	for id, s := range n.idle {
		if s.c.kept.Load() {
			ids = append(ids, id)
		}
	}
	for id, c := range n.live {
		if c.kept.Load() {
			ids = append(ids, id)
		}
	}
	n.mu.Unlock()
	return n.routes.of(ids)
}

// rebuild fills a new store with all there is, while the node serves. It
// returns nil if that is not possible.
func (n *Node) rebuild(ctx context.Context) *store.Store {
	st, err := store.Rebuild(n.opts.Store, n.storeOptions())
	if err != nil {
		n.keeper.because(err)
		return nil
	}
	st.Start()
	n.keeper.store.Store(st)
	n.copyState(ctx, st)
	st.Wait(ctx.Done())
	if err = st.Err(); err == nil && ctx.Err() == nil {
		err = st.Finish()
	}
	if err != nil {
		n.keeper.store.Store(nil)
		n.keeper.because(err)
		_ = st.Close()
		return nil
	}
	n.keeper.reason.Store(nil)
	n.log.Warn("the store is in use again, with all that the node has in memory", "directory", n.opts.Store)
	return st
}

// copyState stores everything. Changes go on meanwhile, and are stored by those
// who make them; so each thing is looked at again after it was stored.
func (n *Node) copyState(ctx context.Context, st *store.Store) {
	for name := range n.server.Topics.Retained.GetAll() {
		if !strings.HasPrefix(name, "$SYS/") {
			st.Admit(ctx.Done())
			n.storeRetained(st, name)
		}
	}
	n.mu.Lock()
	all := make(map[string]*client, len(n.live)+len(n.idle))
	for id, s := range n.idle {
		all[id] = s.c
	}
	for id, c := range n.live {
		all[id] = c
	}
	n.mu.Unlock()
	for id, c := range all {
		st.Admit(ctx.Done())
		n.copySession(st, id, c)
	}
}

func (n *Node) copySession(st *store.Store, id string, c *client) {
	if !c.kept.Load() {
		return
	}
	n.mu.Lock()
	if n.live[id] == c {
		st.PutSession(c.record(0, c.will, 0))
	} else {
		n.saveIdle(id)
	}
	n.mu.Unlock()
	for filter, sub := range c.cl.State.Subscriptions.GetAll() {
		sub.Filter = filter
		st.Subscribe(id, storedSubscription(&sub))
		if _, still := c.cl.State.Subscriptions.Get(filter); !still {
			st.Unsubscribe(id, filter)
		}
	}
	for _, pk := range c.cl.State.Inflight.GetAll(false) {
		if pk.FixedHeader.Type != packets.Publish {
			n.copyReleased(st, c, pk.PacketID)
			continue
		}
		c.queue(&pk)
		if now, ok := c.cl.State.Inflight.Get(pk.PacketID); !ok || now.Created != pk.Created {
			st.Done(id, pk.PacketID, pk.Created)
		}
	}
	for _, packetID := range c.inboundIDs() {
		st.Receive(id, packetID)
		if !c.inbound.has(packetID) {
			st.Forget(id, packetID)
		}
	}
}

// copyReleased stores that a PUBREL is under way. Its message is gone; a number
// that no message has stands for it.
func (n *Node) copyReleased(st *store.Store, c *client, packetID uint16) {
	seq := -int64(packetID)
	st.Queue(c.id, &store.Entry{PacketID: packetID, Seq: seq, QoS: 2, Released: true}, func() *store.Message {
		return &store.Message{Seq: seq}
	})
	if _, ok := c.cl.State.Inflight.Get(packetID); !ok {
		st.Done(c.id, packetID, seq)
	}
}

// stored returns a mark for awaitStored.
func (n *Node) stored() (*store.Store, int64) {
	st := n.keeper.store.Load()
	if st == nil {
		return nil, 0
	}
	st.Admit(nil)
	return st, st.Ops()
}

// awaitStored waits for what was put into the store since ops.
func (n *Node) awaitStored(st *store.Store, ops int64) {
	if st != nil && st.Ops() != ops {
		st.Wait(nil)
	}
}
