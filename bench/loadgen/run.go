package loadgen

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A run is one call of Run: its clients and what they share.
type run struct {
	Config
	fail   context.CancelCauseFunc
	id     string // in client ids and topics, against meeting another run
	topic  string // without the publisher's number
	start  time.Time
	stop   chan struct{}  // closed when the publishers shall end
	ending atomic.Bool    // connections that break now are not faults
	wg     sync.WaitGroup // readers
	pubs   []*publisher
	subs   []*subscriber

	measuring atomic.Bool
	received  atomic.Uint64 // deliveries, for waiting for the last ones
}

func newRun(c Config, fail context.CancelCauseFunc) *run {
	var id [6]byte
	rand.Read(id[:])
	name := hex.EncodeToString(id[:])
	return &run{Config: c, fail: fail, start: time.Now(), stop: make(chan struct{}), id: name, topic: c.TopicPrefix + "/" + name}
}

// clock is the time since the run's start, which is what payloads are stamped
// with: it cannot jump as the time of day can.
func (r *run) clock() int64 { return int64(time.Since(r.start)) }

func (r *run) do(ctx context.Context) (Result, error) {
	if err := r.connect(ctx); err != nil {
		return Result{}, err
	}
	var senders sync.WaitGroup
	for _, p := range r.pubs {
		senders.Go(func() { r.check(p.send(r.stop)) })
	}
	res := r.measure(ctx)
	close(r.stop)
	for _, p := range r.pubs { // a broker that has stopped reading must not keep them
		p.conn.SetWriteDeadline(time.Now().Add(r.DrainWithin))
	}
	senders.Wait()
	r.drain(ctx)
	r.close()
	for _, p := range r.pubs {
		res.Sent += p.sent.Load()
		res.Refused += p.refused.Load()
	}
	r.tally(&res)
	return res, nil
}

// check ends the run with err, unless it is ending anyway.
func (r *run) check(err error) {
	if err != nil && !r.ending.Load() {
		r.fail(err)
	}
}

// connect brings all clients up and returns when every subscriber has got a
// message from a publisher: a subscription may take its time to be known at
// the other end of a link.
func (r *run) connect(life context.Context) error {
	ctx, cancel := context.WithTimeout(life, r.ConnectWithin)
	defer cancel()
	for i := range r.Publishers {
		r.pubs = append(r.pubs, newPublisher(r, i))
	}
	for i := range r.Subscribers {
		s := newSubscriber(r)
		if err := s.connect(ctx, i); err != nil {
			return fmt.Errorf("subscriber %d at %s: %w", i, r.SubscribeAt, err)
		}
		s.endWith(life)
		r.subs = append(r.subs, s)
		r.wg.Go(func() { r.check(s.read()) })
	}
	for i, p := range r.pubs {
		if err := p.connect(ctx); err != nil {
			return fmt.Errorf("publisher %d at %s: %w", i, r.PublishTo, err)
		}
		p.endWith(life)
		r.wg.Go(func() { r.check(p.read()) })
	}
	return r.probe(ctx)
}

// probe sends small messages until each subscriber has seen one.
func (r *run) probe(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i, s := range r.subs {
		for waiting := true; waiting; {
			if err := r.pubs[0].probe(); err != nil {
				return fmt.Errorf("publisher 0 at %s: %w", r.PublishTo, err)
			}
			select {
			case <-s.reached:
				waiting = false
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("nothing published at %s reached subscriber %d at %s within %v", r.PublishTo, i, r.SubscribeAt, r.ConnectWithin)
			}
		}
	}
	return nil
}

func (r *run) measure(ctx context.Context) Result {
	sleep(ctx, r.WarmUp)
	before := r.usage()
	begin := time.Now()
	r.measuring.Store(true)
	sleep(ctx, r.Duration)
	r.measuring.Store(false)
	elapsed := time.Since(begin)
	after := r.usage()
	res := Result{CPU: after.CPU - before.CPU, RSS: after.RSS}
	for _, s := range r.subs {
		res.Delivered += s.measured.Load()
	}
	res.Rate = float64(res.Delivered) / elapsed.Seconds()
	return res
}

func (r *run) usage() Usage {
	if r.Probe == nil {
		return Usage{}
	}
	return r.Probe()
}

// drain waits for what is still on the way.
func (r *run) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.DrainWithin)
	defer cancel()
	var owed uint64
	for _, p := range r.pubs {
		owed += p.sent.Load() * uint64(r.Subscribers)
	}
	last, since := r.received.Load(), time.Now()
	for ctx.Err() == nil && last < owed && time.Since(since) < r.Quiet {
		sleep(ctx, 5*time.Millisecond)
		if now := r.received.Load(); now != last {
			last, since = now, time.Now()
		}
	}
}

func (r *run) tally(res *Result) {
	var h histogram
	var unique uint64
	for _, s := range r.subs {
		h.merge(&s.latency)
		for i := range s.from {
			t := &s.from[i]
			unique += t.unique()
			res.Duplicates += t.duplicates
			res.Reordered += t.reordered
		}
	}
	res.Received = unique + res.Duplicates
	res.Lost = res.Sent*uint64(len(r.subs)) - unique
	res.P50, res.P99, res.P999, res.Max = h.quantile(.5), h.quantile(.99), h.quantile(.999), h.quantile(1)
}

// close disconnects everybody and waits for the readers. It may be called
// twice.
func (r *run) close() {
	r.ending.Store(true)
	for _, p := range r.pubs {
		p.disconnect()
	}
	for _, s := range r.subs {
		s.disconnect()
	}
	r.wg.Wait()
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
