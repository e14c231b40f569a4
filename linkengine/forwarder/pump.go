package forwarder

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"clink/linkengine/client"
	"clink/linkengine/wire"
)

const (
	batchBytes = 128 << 10 // of one write
	batchCount = 1024
	wholeBytes = 4 << 10 // from which on a payload is not copied

	pingTimeout = 5 * time.Second
)

// A pump drains a lane into one connection, in the lane's goroutine, or in that
// of a publisher or of the connection's reader as far as nothing has to be
// waited for: see Flush. Who has made it busy may use batch, and what it is encoded in.
type pump struct {
	*lane
	conn    *client.Conn
	batch   []slot
	buf     []byte
	record  []byte          // of one message, without its payload
	cuts    []cut           // where large payloads belong
	parts   [][]byte        // buf and these, as they are written
	changed <-chan struct{} // since parked entries were looked at
	busy    bool            // guarded by mu
	inline  bool            // guarded by mu: by another than the lane's goroutine
	left    bool            // guarded by mu: the lane's goroutine has to write what there is in buf
}

// A cut is a payload that belongs behind the first bytes of a buffer.
type cut struct {
	at      int
	payload []byte
}

// hold waits, after a loss, until the peer is ready or the time is over, and
// then parks what no route of the peer matches.
func (p *pump) hold(ctx context.Context) error {
	p.mu.Lock()
	lost := p.lost
	p.mu.Unlock()
	if !lost {
		return nil
	}
	until := time.Now().Add(HoldTime)
	over := time.NewTimer(HoldTime)
	defer over.Stop()
	for waiting := true; waiting; {
		ok, changed := p.opts.Peer.Ready()
		if ok {
			break
		}
		select {
		case <-changed:
		case <-over.C:
			waiting = false
		case <-p.conn.Done():
			return p.conn.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.triage(until)
	return nil
}

// triage parks the queued entries that the peer does not want at present.
func (p *pump) triage(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until, p.lost = until, false
	wants := make(map[string]bool)
	for range p.queue.len() {
		e := p.queue.popFront()
		topic := e.rec.Topic
		wanted, known := wants[topic]
		if !known {
			wanted = p.opts.Peer.Wants(topic)
			wants[topic] = wanted
		}
		if wanted {
			p.queue.pushBack(p.confirm(e))
		} else {
			p.park(e)
		}
	}
}

// confirm is for an entry that is known to be wanted now.
func (l *lane) confirm(e entry) entry {
	if e.maybe && l.opts.Wanted != nil {
		l.opts.Wanted()
	}
	e.maybe = false
	return e
}

// unpark takes the oldest parked entry.
func (l *lane) unpark() entry {
	e := l.parked.popFront()
	if l.topics[e.rec.Topic]--; l.topics[e.rec.Topic] <= 0 {
		delete(l.topics, e.rec.Topic)
	}
	if e.maybe {
		l.maybes--
	}
	return e
}

// release puts the parked entries whose topic is wanted in front of the queue,
// in order, and once their time is over drops the others.
func (l *lane) release(now time.Time, wanted func(topic string) bool) {
	var free []entry
	sure := !l.opts.Peer.Unsure()
	for range l.parked.len() {
		e := l.unpark()
		switch {
		case wanted(e.rec.Topic):
			free = append(free, l.confirm(e))
		case now.After(l.until), e.maybe && sure:
			l.discard(e, NoRoute)
		default:
			l.park(e)
		}
	}
	for i := len(free) - 1; i >= 0; i-- {
		l.queue.pushFront(free[i])
	}
}

// run sends until the connection ends, or ctx has ended and nothing is left or
// the grace is over.
func (p *pump) run(ctx context.Context, grace *atomic.Int64) error {
	ended := ctx.Done()
	var over <-chan time.Time
	for {
		changed := p.review()
		if p.begin(time.Now()) {
			if err := p.write(); err != nil {
				return err
			}
			continue
		}
		if over != nil && p.empty() {
			return ctx.Err()
		}
		select {
		case <-p.wake:
		case <-changed:
		case <-p.conn.Done():
			return p.conn.Err()
		case <-p.stalled:
			p.mu.Lock()
			p.mute = true
			p.mu.Unlock()
			return fmt.Errorf("the peer sent no PUBACK for %v", p.opts.Retry)
		case <-p.prove:
			if err := p.ping(ctx); err != nil {
				return err
			}
		case <-ended:
			if grace.Load() == 0 {
				return ctx.Err()
			}
			ended, over = nil, time.After(time.Duration(grace.Load()))
			p.finishing()
		case <-over:
			return ctx.Err()
		}
	}
}

// ping finds out whether the peer is still there, unless acknowledgements will
// tell anyway.
func (p *pump) ping(ctx context.Context) error {
	p.mu.Lock()
	busy := p.outstanding > 0
	p.mu.Unlock()
	if busy {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, pingTimeout, errors.New("the peer does not answer a ping"))
	defer cancel()
	return p.conn.Ping(ctx)
}

func (l *lane) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.len() == 0 && l.outstanding == 0
}

// review looks again at what is parked. The channel it returns is nil while
// nothing is.
func (p *pump) review() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parked.len() == 0 {
		return nil
	}
	now := time.Now()
	select {
	case <-p.changed:
	default:
		settled := p.maybes > 0 && !p.opts.Peer.Unsure()
		if p.changed != nil && !now.After(p.until) && !settled {
			return p.changed
		}
	}
	_, p.changed = p.opts.Peer.Ready()
	p.release(now, p.opts.Peer.Wants)
	return p.changed
}

// begin makes the lane's goroutine the one that sends, if there is something
// for it to send and nobody else does.
func (p *pump) begin(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy || !p.left && !p.take(now) {
		return false
	}
	p.busy = true
	return true
}

// take moves what may be sent now from the queue to sent, and copies it to the
// batch. The caller holds mu.
func (p *pump) take(now time.Time) bool {
	p.batch, p.gathered = p.batch[:0], 0
	for room := batchBytes; room > 0 && len(p.batch) < batchCount && p.queue.len() > 0; {
		e := *p.queue.at(0)
		switch {
		case p.opts.MaxAge > 0 && now.Sub(e.at) > p.opts.MaxAge, expired(e.rec, now):
			p.discard(p.queue.popFront(), Expired)
			continue
		case now.Before(p.until) && !p.opts.Peer.Wants(e.rec.Topic): // it matched a past route
			p.park(p.queue.popFront())
			p.signal() // it is the lane's goroutine that reviews it
			continue
		case p.topics[e.rec.Topic] > 0, p.wantsParked(): // its route is back, and older ones go first
			p.release(now, func(topic string) bool { return topic == e.rec.Topic || p.opts.Peer.Wants(topic) })
			continue
		}
		s := slot{entry: e, seq: p.seq + 1}
		if e.rec.QoS > 0 && !p.identify(&s, now) {
			break
		}
		p.seq++
		s.note.sent(now)
		p.queue.popFront()
		p.sent.pushBack(s)
		p.batch = append(p.batch, s)
		room -= e.size
	}
	return len(p.batch) > 0
}

// wantsParked reports whether a route of the peer matches something parked by
// now. The routes come while the queue is looked through: what was looked at
// before they did would be sent behind what was looked at after. With many
// topics that would take too long for each message; then only those of one topic
// are certain to keep their order, which is what MQTT asks for.
func (l *lane) wantsParked() bool {
	const many = 64
	if len(l.topics) > many {
		return false
	}
	for topic := range l.topics {
		if l.opts.Peer.Wants(topic) {
			return true
		}
	}
	return false
}

// expired reports whether a message has outlived its own expiry interval
// (MQTT 5.0 §3.3.2.3.3).
func expired(m *wire.Forward, now time.Time) bool {
	p := &m.Properties
	return p.HasMessageExpiry && now.UnixMilli()-m.Timestamp > int64(p.MessageExpiry)*1000
}

// identify gives a slot a packet identifier, unless the window is full.
func (l *lane) identify(s *slot, now time.Time) bool {
	if l.outstanding >= l.window {
		return false
	}
	id := l.lastID + 1
	if id == 0 {
		id = 1
	}
	at := &l.acks[int(id)&(len(l.acks)-1)]
	if *at != 0 { // an older one that the peer has passed over
		return false
	}
	*at, s.id, l.lastID = s.seq, id, id
	if l.outstanding++; l.outstanding == 1 {
		l.progress = now
	}
	return true
}

// write sends the batch, or what is left of it.
func (p *pump) write() error {
	if !p.left {
		p.encode()
	}
	if err := p.conn.WriteParts(p.parts); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = false
	p.written()
	return nil
}

// encode makes frames of the batch. Large payloads are not copied.
func (p *pump) encode() {
	p.buf, p.cuts = p.buf[:0], p.cuts[:0]
	for i := range p.batch {
		s := &p.batch[i]
		rec := p.dated(s.rec)
		p.record = rec.AppendHead(p.record[:0])
		head, start := len(p.record), len(p.buf)
		p.record = rec.AppendTail(p.record)
		payload := rec.Payload
		p.buf = client.AppendPublish(p.buf, client.Head{Topic: p.opts.Topic, QoS: min(rec.QoS, 1), Dup: s.dup, ID: s.id}, len(p.record)+len(payload))
		if len(p.buf)-start+len(p.record)+len(payload) > p.conn.MaxPacket() {
			p.buf = p.buf[:start]
			p.forget(s)
			continue
		}
		p.buf = append(p.buf, p.record[:head]...)
		if len(payload) < wholeBytes {
			p.buf = append(p.buf, payload...)
		} else {
			p.cuts = append(p.cuts, cut{len(p.buf), payload})
		}
		p.buf = append(p.buf, p.record[head:]...)
	}
	p.parts = p.parts[:0]
	from := 0
	for _, c := range p.cuts {
		p.parts = append(p.parts, p.buf[from:c.at], c.payload)
		from = c.at
	}
	if from < len(p.buf) {
		p.parts = append(p.parts, p.buf[from:])
	}
}

// dated is a message with what is left of its life.
func (p *pump) dated(m *wire.Forward) *wire.Forward {
	if !m.Properties.HasMessageExpiry || p.opts.TellLeft == nil || !p.opts.TellLeft() {
		return m
	}
	told := *m
	told.Aside = new(wire.Aside)
	if m.Aside != nil {
		*told.Aside = *m.Aside
	}
	life := int64(m.Properties.MessageExpiry) * 1000
	told.Aside.Left = max(min(life-(time.Now().UnixMilli()-m.Timestamp), life), 1)
	return &told
}

// forget drops a message that the peer would disconnect for.
func (p *pump) forget(s *slot) {
	if p.opts.Oversize != nil {
		p.opts.Oversize(s.rec.Topic)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if sent := p.find(s.seq); sent != nil {
		if s.id != 0 {
			p.acks[int(s.id)&(len(p.acks)-1)] = 0
			p.outstanding--
		}
		sent.note.dropped(TooLarge)
		p.finish(sent)
		p.opts.Counters.Drop(TooLarge)
	}
	s.seq = 0
}

// written books what needs no acknowledgement, and lets others send. The caller
// holds mu.
func (p *pump) written() {
	p.busy = false
	p.free.Broadcast()
	if cap(p.buf) > 2*batchBytes {
		p.buf = nil
	}
	clear(p.parts)
	clear(p.cuts)
	for i := range p.batch {
		if s := p.batch[i]; s.id == 0 && s.seq != 0 {
			if sent := p.find(s.seq); sent != nil {
				p.finish(sent)
				p.opts.Counters.Success.Add(1)
			}
		}
	}
	clear(p.batch) // the messages may go
}

// find returns the slot, or nil if it is done.
func (l *lane) find(seq uint64) *slot {
	if l.sent.len() == 0 || seq < l.sent.at(0).seq || seq-l.sent.at(0).seq >= uint64(l.sent.len()) {
		return nil
	}
	if s := l.sent.at(int(seq - l.sent.at(0).seq)); !s.done {
		return s
	}
	return nil
}
