package broker

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

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
	told   atomic.Bool            // there is no need to say why the connection ends

	packetSize int64 // limit once the CONNECT was accepted

	reading sync.Mutex    // held while reading from the network
	in      inbox         // guarded by reading
	todo    outbox        // the reader's
	wait    atomic.Int64  // longest silence allowed, as a time.Duration; 0: for ever
	span    time.Duration // the reader's: that the read deadline was set with
	until   time.Time     // the reader's: the read deadline

	mu       sync.Mutex
	room     sync.Cond
	buffers  *sync.Pool // of *[]byte, large ones, shared by the node's connections
	buf      []byte
	spare    []byte
	outlet   outlet  // of who has set flushing
	out      *outbox // of a reader that will flush; nil: none has been asked
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
	k.in.open(c, &reads)
	k.outlet.open(c)
	k.chunkTime.Store(int64(writeTimeout))
	return k
}

// Read reads from the network. Once the connection is closed it fails, even
// if there is more to read.
func (k *conn) Read(p []byte) (int, error) {
	k.reading.Lock()
	if k.isClosed() {
		k.reading.Unlock()
		return 0, net.ErrClosed
	}
	if k.in.waits() {
		k.todo.flush()
	}
	n, err := k.in.read(p, k.Conn)
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
	}
	k.told.Store(true)
}

// unwritten is how many bytes wait, and one more while some are being written.
func (k *conn) unwritten() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := int64(len(k.buf))
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

// Write takes p, whole packets as the engine writes them, and returns at once.
func (k *conn) Write(p []byte) (int, error) { return k.put(p, nil) }

// put is Write by the reader that out belongs to, if there is one.
func (k *conn) put(p []byte, out *outbox) (int, error) {
	if len(p) > 0 && p[0]>>4 == swallow {
		return len(p), nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.err != nil {
		return 0, net.ErrClosed
	}
	k.grow(len(p))
	k.buf = append(k.buf, p...)
	k.due(out)
	return len(p), nil
}

// begin lets flush run. The caller holds mu.
func (k *conn) begin() {
	if !k.flushing {
		k.flushing = true
		k.run(k.flush)
	}
}

// grow replaces a small buffer by a large one before n bytes outgrow it.
func (k *conn) grow(n int) {
	if need := len(k.buf) + n; need <= cap(k.buf) || need <= smallBuffer || cap(k.buf) > smallBuffer {
		return
	}
	if large, ok := k.buffers.Get().(*[]byte); ok {
		k.buf = append((*large)[:0], k.buf...)
	}
}

// release gives large buffers back: a connection holds them only while it has
// something to write. Very large ones, for a huge packet, are left to the
// garbage collector.
func (k *conn) release() {
	for _, b := range []*[]byte{&k.buf, &k.spare} {
		if cap(*b) <= smallBuffer {
			continue
		}
		if large := (*b)[:0]; cap(large) <= 2*writeBuffer {
			k.buffers.Put(&large)
		}
		*b = nil
	}
}

// full reports whether a writer would have to wait.
func (k *conn) full() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.buf) > writeBuffer
}

// start runs f in a goroutine that the node waits for, unless the connection
// is closed.
func (k *conn) start(f func()) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.run(f)
	return true
}

// reserve waits until there is room for another packet, or the connection has
// ended.
func (k *conn) reserve() {
	k.mu.Lock()
	for len(k.buf) > writeBuffer && !k.closed && k.err == nil {
		k.room.Wait()
	}
	k.mu.Unlock()
}

// flush writes until nothing is left.
func (k *conn) flush() {
	k.mu.Lock()
	for len(k.buf) > 0 && k.err == nil {
		b := k.buf
		k.buf, k.spare = k.spare[:0], nil
		k.mu.Unlock()
		err := k.writeOut(b)
		k.mu.Lock()
		k.spare = b
		if err != nil {
			k.err = err
		}
		k.room.Broadcast()
	}
	k.flushing = false
	k.release()
	closed, failed := k.closed, k.err != nil
	k.mu.Unlock()
	switch {
	case closed:
		k.finish(!failed)
	case failed:
		k.noteSlow()
		k.Conn.Close() // the engine's reader fails next
	}
}

func (k *conn) writeOut(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), writeChunk)
		k.Conn.SetWriteDeadline(time.Now().Add(time.Duration(k.chunkTime.Load())))
		n, err := k.Conn.Write(b[:n])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
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
	if c := k.client.Load(); c != nil && c.proto == 5 && !k.told.Load() {
		k.buf = append(k.buf, farewell[:]...)
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
	wait, now := time.Duration(k.wait.Load()), time.Now()
	if t.IsZero() {
		wait = 0
	}
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
		if g.length+int64(g.header) > g.limit.Load() {
			return false
		}
		g.body, g.header = g.length, 0
	}
	return true
}
