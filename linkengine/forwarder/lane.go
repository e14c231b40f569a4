package forwarder

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"clink/linkengine/client"
	"clink/linkengine/wire"
)

// settled is how long a connection must have lasted for the next attempt to be
// the first of its kind again.
const settled = 5 * time.Second

// An entry is a message on its way.
type entry struct {
	rec    *wire.Forward
	key    uint64
	at     time.Time
	size   int
	dup    bool   // was sent before
	maybe  bool   // nobody knows yet whether the peer wants it
	stored uint64 // its number in the store; 0: it is not there
	note   *note  // usually nil: nobody asks
}

// A slot is an entry that was written, in the order of writing.
type slot struct {
	entry
	seq  uint64 // position in sent since the lane was made, plus one
	id   uint16 // packet identifier; 0 at QoS 0
	done bool
}

// A lane is one connection and its queue.
type lane struct {
	opts Options
	n    int

	mu          sync.Mutex
	queue       deque[entry]
	parked      deque[entry] // held back: no route of the peer matches them now
	sent        deque[slot]  // from the oldest that is not done
	acks        []uint64     // seq by packet identifier, modulo its length
	seq         uint64
	lastID      uint16
	window      int
	outstanding int            // QoS 1 entries in sent that are not done
	bytes       int64          // of all entries
	topics      map[string]int // of parked
	maybes      int            // of parked
	until       time.Time      // when parked entries are given up
	closed      bool
	room        sync.Cond
	pump        *pump     // that sends; nil while none does
	free        sync.Cond // the pump is not busy
	ending      bool      // what is queued is being finished
	gathered    int       // bytes queued since a batch was taken
	wake        chan struct{}
	hurry       chan struct{}
	more        chan struct{} // there may be room for what is stored

	progress time.Time // last PUBACK, or the first message in flight
	stalled  chan struct{}

	prove chan struct{} // see [Forwarder.Prove]

	lost      bool // a connection was lost, or not made, since the last drain began
	connected bool
	mute      bool   // it may be connected, but the peer has stopped acknowledging
	reason    string // why it is not connected, or what is wrong
}

func newLane(n int, opts Options, more chan struct{}) *lane {
	l := &lane{opts: opts, n: n, more: more, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), stalled: make(chan struct{}, 1), prove: make(chan struct{}, 1), topics: make(map[string]int)}
	l.room.L, l.free.L = &l.mu, &l.mu
	ready, _ := opts.Peer.Ready()
	l.lost = !ready || opts.Store != nil && opts.Store.Waiting() // in another life
	return l
}

// push queues an entry as far as there is room, and has it sent. It reports
// false if the lane has ended.
func (l *lane) push(e entry, from Source) bool {
	queued, ok := l.enqueue(e, from)
	switch {
	case queued == 0:
	case from == nil:
		l.signal()
	case queued >= inlineBytes:
		l.Flush()
	default:
		from.Soon(l)
	}
	return ok
}

// enqueue returns the size of what was queued since a batch was taken, 0 if the
// entry is not queued. It reports false if the lane has ended.
func (l *lane) enqueue(e entry, from Source) (queued int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e.stored == 0 && l.opts.Bytes > 0 && l.bytes+int64(e.size) > l.opts.Bytes && !l.closed {
		if from != nil && !e.maybe && l.opts.WhenFull == Block { // it is going to wait, and others may wait for what it has put off
			l.mu.Unlock()
			from.Settle()
			l.mu.Lock()
			l.signal()
			from = nil
			continue
		}
		if int64(e.size) > l.opts.Bytes || e.maybe && l.opts.WhenFull == Block || !l.makeRoom() {
			l.opts.Counters.Drop(QueueFull)
			return 0, true
		}
	}
	if l.closed {
		return 0, false
	}
	l.bytes += int64(e.size)
	if e.maybe && !l.lost && !l.opts.Peer.Wants(e.rec.Topic) {
		if until := e.at.Add(HoldTime); until.After(l.until) {
			l.until = until
		}
		l.park(e)
		l.signal()
		return 0, true
	}
	l.queue.pushBack(e)
	l.gathered += e.size
	return l.gathered, true
}

// park holds an entry back until a route matches it, or the time is over.
func (l *lane) park(e entry) {
	l.parked.pushBack(e)
	l.topics[e.rec.Topic]++
	if e.maybe {
		l.maybes++
	}
}

// roomFor reports whether a stored message may be kept in memory as well.
func (l *lane) roomFor(size int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opts.Bytes == 0 || l.bytes+int64(size) <= l.opts.Bytes
}

// makeRoom drops the oldest entry, waits, or reports that there is no room.
func (l *lane) makeRoom() bool {
	switch {
	case l.opts.WhenFull == Block:
		l.room.Wait()
	case l.opts.WhenFull == DropNew:
		return false
	case l.parked.len() > 0:
		l.discard(l.unpark(), QueueFull)
	case l.queue.len() > 0:
		l.discard(l.queue.popFront(), QueueFull)
	default: // all of it is in flight
		return false
	}
	return true
}

// discard counts an entry that was taken out of its queue.
func (l *lane) discard(e entry, reason string) {
	l.bytes -= int64(e.size)
	e.note.dropped(reason)
	l.over(&e)
	if !e.maybe { // else nobody is known to miss it
		l.opts.Counters.Drop(reason)
	}
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run keeps the lane connected until ctx ends.
func (l *lane) run(ctx context.Context, grace *atomic.Int64) {
	var backoff client.Backoff
	for ctx.Err() == nil {
		started := time.Now()
		conn, err := l.opts.Dial(ctx, l.n, l.acked, l.Flush)
		if err == nil {
			l.status(true, "")
			err = l.serve(ctx, conn, grace)
			conn.Close()
			l.requeue()
			if ctx.Err() == nil {
				l.opts.Counters.Reconnects.Add(1)
			}
			if time.Since(started) > settled {
				backoff.Reset()
			}
		}
		if ctx.Err() != nil {
			break
		}
		l.status(false, err.Error())
		l.opts.Peer.Lost()
		client.Wait(ctx, backoff.Next(), l.hurry)
	}
	l.status(false, "stopped")
}

func (l *lane) status(connected bool, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected = connected
	if !l.mute || !connected {
		l.reason = reason
	}
	if !connected {
		l.lost = true
	}
}

// unmute notes that the peer acknowledges, or that there is nothing to
// acknowledge any more. The lock is held.
func (l *lane) unmute() {
	if l.mute = false; l.connected {
		l.reason = ""
	}
}

// serve sends over conn until it ends, or until ctx has ended and what is
// queued is sent or the grace is over.
func (l *lane) serve(ctx context.Context, conn *client.Conn, grace *atomic.Int64) error {
	p := &pump{lane: l, conn: conn}
	l.start(conn)
	if err := p.hold(ctx); err != nil {
		return err
	}
	p.post()
	defer p.retire()
	return p.run(ctx, grace)
}

// start prepares the account of packet identifiers for a new connection.
func (l *lane) start(conn *client.Conn) {
	window := conn.ReceiveMaximum()
	if l.opts.Window > 0 {
		window = min(window, l.opts.Window)
	}
	n := 1
	for n < 2*window { // twice, so that one late acknowledgement holds up little
		n *= 2
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks = make([]uint64, n)
	l.window, l.outstanding, l.lastID = window, 0, 0
	select {
	case <-l.stalled: // was meant for the connection before
	default:
	}
}

// requeue puts what was not acknowledged back in front, in order, and behind
// what is parked: that is older.
func (l *lane) requeue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := l.sent.len() - 1; i >= 0; i-- {
		if s := l.sent.at(i); !s.done {
			e := s.entry
			e.dup = s.id != 0
			l.opts.Counters.Retried.Add(1)
			l.queue.pushFront(e)
		}
	}
	l.sent = deque[slot]{}
	l.outstanding = 0
	for i := l.parked.len() - 1; i >= 0; i-- {
		l.queue.pushFront(*l.parked.at(i))
	}
	l.parked = deque[entry]{}
	l.maybes = 0
	clear(l.topics)
}

// leave takes everything out of a lane that has ended.
func (l *lane) leave() []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []entry
	for l.queue.len() > 0 {
		all = append(all, l.queue.popFront())
	}
	l.bytes = 0
	return all
}

// adopt takes over an entry of a lane that has ended.
func (l *lane) adopt(e entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += int64(e.size)
	l.queue.pushBack(e)
	l.lost = true // the connection it was meant for is gone
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.room.Broadcast()
}

// expire drops the entries in front that are too old.
func (l *lane) expire(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := func(d *deque[entry]) bool {
		return l.opts.MaxAge > 0 && d.len() > 0 && now.Sub(d.at(0).at) > l.opts.MaxAge
	}
	for old(&l.parked) {
		l.discard(l.unpark(), Expired)
	}
	for old(&l.queue) {
		l.discard(l.queue.popFront(), Expired)
	}
	if l.parked.len() > 0 && now.After(l.until) || l.maybes > 0 && !l.opts.Peer.Unsure() {
		l.signal()
	}
	if l.mute && l.queue.len()+l.parked.len()+l.sent.len() == 0 {
		l.unmute()
	}
	if l.opts.Retry > 0 && l.outstanding > 0 && now.Sub(l.progress) > l.opts.Retry {
		select {
		case l.stalled <- struct{}{}:
		default:
		}
	}
	l.room.Broadcast()
}

// acked books a PUBACK. What is not in flight any more has been counted: who
// sees nothing under way must not find another one counted later.
func (l *lane) acked(id uint16, code byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.acks) == 0 || id == 0 {
		return
	}
	at := &l.acks[int(id)&(len(l.acks)-1)]
	if *at == 0 {
		return
	}
	s := l.find(*at)
	if s == nil || s.id != id {
		return
	}
	l.opts.Counters.answered(code)
	*at = 0
	l.outstanding--
	l.progress = time.Now()
	if l.mute {
		l.unmute()
	}
	s.note.answered(code)
	l.finish(s)
	if l.ending {
		l.signal()
	}
}

// finish marks a slot done and clears away the done ones in front.
func (l *lane) finish(s *slot) {
	s.done = true
	s.rec = nil
	l.over(&s.entry)
	l.bytes -= int64(s.size)
	for l.sent.len() > 0 && l.sent.at(0).done {
		l.sent.popFront()
	}
	if l.opts.WhenFull == Block {
		l.room.Broadcast()
	}
}
