package broker

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"clink/internal/sock"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	writeBuffer  = 256 << 10        // gathered bytes beyond which writers wait
	smallBuffer  = 4 << 10          // an idle connection holds two of these at most
	writeChunk   = 64 << 10         // bytes that must get through within writeTimeout
	writeTimeout = 20 * time.Second // after it a peer that does not read is dead
	flushTimeout = time.Second      // for what is left when the connection closes
	lingerTime   = 500 * time.Millisecond

	deadlineSlack = time.Second // by which a read deadline may be late, so that it is not set for each packet
)

// swallow is the packet type that no broker of ours ever has to send. A hook
// that must not let the engine send a packet turns it into one of these, and
// the connection drops it.
const swallow = packets.Auth

// A conn is one client's connection. Writes are gathered: Write appends to a
// buffer and never blocks, and a goroutine that lives only while there is
// something to write hands on what has gathered, with a deadline. Reserve is
// where a writer waits for room, before the engine takes a lock that
// publishers need as well.
//
// Deadlines set by the engine concern reading only, and are recomputed from
// keepAlive, because the engine's own sum overflows above 43690 seconds.
type conn struct {
	net.Conn
	run    func(f func()) // runs f in a goroutine that the node waits for
	gone   func()         // called when the connection is closed for good
	frames frameGuard     // the reader's
	from   origin
	limits *atomic.Pointer[limits] // of the listener
	will   *will                   // of the CONNECT, until it is accepted

	client atomic.Pointer[client] // nil until the CONNECT is accepted
	over   atomic.Bool            // nothing is read any more but what had come when endInput was called
	hailed atomic.Bool            // a CONNACK was sent that lets the client in
	told   atomic.Bool            // there is no need to say why the connection ends

	packetSize int64 // limit once the CONNECT was accepted

	reading sync.Mutex    // held while reading from the network
	in      inbox         // guarded by reading
	todo    outbox        // the reader's
	wait    atomic.Int64  // longest silence allowed, as a time.Duration; 0: for ever
	span    time.Duration // the reader's: that the read deadline was set with
	until   time.Time     // the reader's: the read deadline
	fills   int           // the reader's: how often it has read since it wrote what it owed
	fresh   bool          // the reader's: a packet was taken since it was looked at
	readAt  time.Time     // the reader's: when bytes came last

	mu       sync.Mutex
	room     sync.Cond
	buffers  *sync.Pool // of *[]byte, large ones, shared by the node's connections
	buf      []byte
	cuts     []cut // payloads that are not copied into buf
	size     int   // of both
	spare    []byte
	parts    [][]byte    // of who has set flushing
	outlet   sock.Writer // of who has set flushing
	out      *outbox     // of a reader that will flush; nil: none has been asked
	flushing bool
	closed   bool
	err      error
	done     chan struct{} // closed by Close

	chunkTime atomic.Int64 // write deadline of a chunk
}

// reads are the buffers of all inboxes.
var reads sync.Pool

func newConn(c net.Conn, buffers *sync.Pool, run func(func()), gone func()) *conn {
	k := &conn{Conn: c, buffers: buffers, run: run, gone: gone, span: -1, done: make(chan struct{})}
	k.room.L = &k.mu
	k.in.open(c, &reads, k.settle)
	k.outlet.Open(c)
	k.chunkTime.Store(int64(writeTimeout))
	return k
}

// Read reads from the network for the engine, a packet at most, after what the
// engine need not see. Once the connection is closed it fails, even if there is
// more to read.
func (k *conn) Read(p []byte) (int, error) {
	if err := k.ingest(); err != nil {
		return 0, err
	}
	if k.in.raw == nil || k.todo.full { // without a socket it may wait without our knowing
		k.settle()
	}
	k.renew()
	k.reading.Lock()
	if k.isClosed() {
		k.reading.Unlock()
		return 0, net.ErrClosed
	}
	n, err := 0, error(nil)
	if k.in.raw != nil && k.frames.body == 0 && len(k.in.pending()) == 0 {
		err = k.in.more() // else it could not be told where the packet ends
	}
	if err == nil {
		n, err = k.in.read(p[:k.frames.most(p, k.in.pending())], k.Conn)
	}
	k.readAt = time.Now()
	k.reading.Unlock()
	if err != nil {
		k.readFailed(err)
	}
	if !k.frames.pass(p[:n]) {
		code := k.frames.fault()
		if c := k.client.Load(); c != nil {
			c.node.disconnect(c, code)
		}
		return 0, code
	}
	return n, err
}

// readFailed is told why nothing more comes.
func (k *conn) readFailed(err error) {
	c := k.client.Load()
	if ne, ok := err.(net.Error); ok && ne.Timeout() && c != nil && !k.isClosed() {
		c.node.disconnect(c, packets.ErrKeepAliveTimeout) // MQTT 5.0 §3.1.2.10
	} else if c != nil && k.over.Load() && !k.isClosed() {
		c.node.disconnect(c, packets.ErrSessionTakenOver)
	}
	k.told.Store(true)
}

// endInput lets the reader have what has come so far, and then the end, as if
// the peer had closed the connection. A client may have said its last words and
// left, and be back before they are read. It reports whether that is possible.
func (k *conn) endInput() bool {
	raw, ok := rawOf(k.Conn).(interface{ CloseRead() error })
	if !ok {
		return false
	}
	k.over.Store(true)
	return raw.CloseRead() == nil
}

// unwritten is how many bytes wait, and one more while some are being written.
func (k *conn) unwritten() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := int64(k.size)
	if k.flushing {
		n++
	}
	return n
}

func (k *conn) isClosed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.closed
}

// ended reports, without a lock, whether Close was called.
func (k *conn) ended() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}

// noteSlow marks the client as one that did not read in time, if that is why
// writing failed.
func (k *conn) noteSlow() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.client.Load(); c != nil && errors.Is(k.err, os.ErrDeadlineExceeded) && !k.closed {
		c.slow.Store(true)
	}
}

// hurry shortens the time that writing may still take.
func (k *conn) hurry(limit time.Duration) {
	k.chunkTime.Store(int64(limit))
	k.Conn.SetWriteDeadline(time.Now().Add(limit))
	k.mu.Lock()
	k.room.Broadcast()
	k.mu.Unlock()
}

// Close ends reading at once. What was written before is still flushed, then
// the peer is given a moment to read it: closing at once, with input unread,
// would make the system discard it (and the DISCONNECT with it).
func (k *conn) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.closed = true
	if c := k.client.Load(); c != nil && c.proto == 5 && k.hailed.Load() && !k.told.Load() {
		k.buf, k.size = append(k.buf, farewell[:]...), k.size+len(farewell)
	}
	close(k.done)
	k.room.Broadcast()
	k.Conn.SetReadDeadline(time.Now())
	k.chunkTime.Store(int64(flushTimeout))
	k.Conn.SetWriteDeadline(time.Now().Add(flushTimeout))
	if !k.flushing {
		k.flushing = true
		k.run(k.flush)
	}
	return nil
}

func (k *conn) finish(linger bool) {
	if w, ok := k.Conn.(interface{ CloseWrite() error }); ok && linger && w.CloseWrite() == nil {
		k.reading.Lock()
		k.Conn.SetReadDeadline(time.Now().Add(lingerTime))
		io.CopyN(io.Discard, k.Conn, 1<<20)
		k.reading.Unlock()
	}
	k.Conn.Close()
	k.gone()
}

// farewell is the DISCONNECT for a client whose packet the engine cannot read:
// malformed packet (MQTT 5.0 §4.13.1). The engine just hangs up.
var farewell = [...]byte{packets.Disconnect << 4, 1, 0x81}

// abort ends the connection without ceremony.
func (k *conn) abort() {
	k.told.Store(true)
	k.Close()
	k.Conn.Close()
}

// SetDeadline is called by the engine before each packet.
func (k *conn) SetDeadline(t time.Time) error {
	wait := time.Duration(k.wait.Load())
	if t.IsZero() {
		wait = 0
	}
	return k.refresh(wait)
}

// refresh sets the read deadline if it has become too short. It is for the
// reader alone.
func (k *conn) refresh(wait time.Duration) error {
	now := time.Now()
	if wait == k.span && (wait == 0 || k.until.Sub(now) >= wait) {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return errors.ErrUnsupported
	}
	k.span, k.until = wait, now.Add(wait+min(wait/8, deadlineSlack))
	if wait == 0 {
		k.until = time.Time{}
	}
	return k.Conn.SetReadDeadline(k.until)
}

// A frameGuard follows the packets in a stream of bytes, and refuses one
// whose size exceeds limit before its body is read (MQTT 5.0 §2.1.4).
type frameGuard struct {
	limit  atomic.Int64 // bytes of a whole packet
	body   int64        // bytes left of the current packet's body
	header int          // bytes of the current header seen; 0: between packets
	length int64        // remaining length so far
	check  checker
}

// between reports whether what comes next is the beginning of a packet.
func (g *frameGuard) between() bool { return g.header == 0 && g.body == 0 }

// most is how many of the bytes of next belong to the current packet, if it is
// known; it is at most the length of p.
func (g *frameGuard) most(p, next []byte) int {
	f, ok := frameOf(next)
	switch {
	case g.body > 0:
		return int(min(g.body, int64(len(p))))
	case len(next) == 0:
		return len(p)
	case g.header == 0 && ok:
		return min(f.total, len(p))
	}
	return min(1, len(p))
}

func (g *frameGuard) pass(p []byte) bool {
	for len(p) > 0 {
		if g.body > 0 {
			n := min(g.body, int64(len(p)))
			g.body -= n
			if g.check.wants && !g.check.body(p[:n], g.body == 0) {
				return false
			}
			p = p[n:]
			continue
		}
		b := p[0]
		p = p[1:]
		g.header++
		if g.header == 1 {
			g.length = 0
			g.check.begin(b >> 4)
			continue
		}
		g.length |= int64(b&0x7f) << (7 * (g.header - 2))
		if b&0x80 != 0 {
			if g.header >= 5 {
				return false
			}
			continue
		}
		if g.length+int64(g.header) > g.limit.Load() || !g.check.length(g.length) {
			return false
		}
		g.body, g.header = g.length, 0
	}
	return true
}
