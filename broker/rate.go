package broker

import (
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"clink/topology"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A bucket measures a rate: it holds what a rate allows at once, gains what it
// allows in time, and may be in debt.
type bucket struct {
	tokens float64
	at     time.Time
}

// take takes n and returns how long it takes until nothing is owed.
func (b *bucket) take(r topology.Rate, n float64, now time.Time) time.Duration {
	b.fill(r, now)
	b.tokens -= n
	return b.until(r, 0)
}

func (b *bucket) fill(r topology.Rate, now time.Time) {
	most := float64(r.Count)
	if b.at.IsZero() {
		b.tokens = most
	} else {
		b.tokens = min(most, b.tokens+now.Sub(b.at).Seconds()/r.Every())
	}
	b.at = now
}

// until is how long it takes until there are n.
func (b *bucket) until(r topology.Rate, n float64) time.Duration {
	if b.tokens >= n {
		return 0
	}
	return time.Duration(math.Ceil((n - b.tokens) * r.Every() * float64(time.Second)))
}

const (
	pacedChunk = 4 << 10 // read at a time from a client whose rate is limited
	pacedNap   = time.Second
)

// A paced connection is read from no faster than its listener's rates allow:
// what the client sends too fast waits in the system's buffers, and then with
// the client (back-pressure of TCP). Nothing is dropped. While the node itself
// lets a client wait, the silence does not count against its keep-alive.
type paced struct {
	net.Conn
	limits *atomic.Pointer[limits]

	// The reader's.
	buf      []byte
	held     []byte // read, and not handed on
	frames   splitter
	messages bucket
	bytes    bucket
	owed     time.Duration

	mu     sync.Mutex
	span   time.Duration // from setting the read deadline to it; 0: none
	closed bool
	wake   chan struct{}
}

// NetConn returns the connection below.
func (p *paced) NetConn() net.Conn { return p.Conn }

func newPaced(c net.Conn, l *atomic.Pointer[limits]) *paced {
	return &paced{Conn: c, limits: l, wake: make(chan struct{})}
}

func (p *paced) Read(b []byte) (int, error) {
	for {
		if err := p.pause(); err != nil {
			return 0, err
		}
		l := p.limits.Load()
		if len(p.held) == 0 {
			if err := p.more(l.bytes); err != nil {
				return 0, err
			}
			continue
		}
		budget := math.MaxInt
		if !l.messages.IsZero() {
			p.messages.fill(l.messages, time.Now())
			budget = int(max(0, p.messages.tokens))
		}
		n, published := p.frames.upTo(p.held[:min(len(b), len(p.held))], budget)
		if n == 0 {
			p.owed = p.messages.until(l.messages, 1)
			continue
		}
		p.messages.tokens -= float64(published)
		copy(b, p.held[:n])
		p.held = p.held[n:]
		return n, nil
	}
}

// more reads from the network.
func (p *paced) more(r topology.Rate) error {
	if p.buf == nil {
		p.buf = make([]byte, pacedChunk)
	}
	n, err := p.Conn.Read(p.buf)
	p.held = p.buf[:n]
	if !r.IsZero() {
		p.owed = p.bytes.take(r, float64(n), time.Now())
	}
	if n > 0 {
		return nil
	}
	return err
}

// pause waits for as long as is owed. A rate that was raised meanwhile is felt
// soon, and a connection that is closed at once.
func (p *paced) pause() error {
	if p.owed <= 0 {
		return nil
	}
	timer := time.NewTimer(min(p.owed, pacedNap))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.wake:
		return os.ErrDeadlineExceeded
	}
	p.owed = 0
	if l := p.limits.Load(); !l.bytes.IsZero() {
		p.owed = p.bytes.take(l.bytes, 0, time.Now())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.span > 0 && !p.closed {
		p.Conn.SetReadDeadline(time.Now().Add(p.span))
	}
	return nil
}

// SetReadDeadline is told the keep-alive again and again, and a time that has
// come when the connection closes.
func (p *paced) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.span = 0
	if !t.IsZero() {
		p.span = time.Until(t)
		if p.span <= 0 && !p.closed {
			p.closed = true
			close(p.wake)
		}
	}
	return p.Conn.SetReadDeadline(t)
}

// CloseWrite is there for the goodbye of a connection.
func (p *paced) CloseWrite() error { return closeWrite(p.Conn) }

// A splitter follows the packets in a stream of bytes.
type splitter struct {
	body   int64 // bytes left of the current packet's body
	header int   // bytes of the current header seen; 0: between packets
	length int64
}

// upTo passes bytes of b up to the PUBLISH after n of them, and returns how
// many bytes these are, and how many such packets begin in them.
func (s *splitter) upTo(b []byte, n int) (passed, published int) {
	for passed < len(b) {
		if s.body > 0 {
			k := int(min(s.body, int64(len(b)-passed)))
			s.body -= int64(k)
			passed += k
			continue
		}
		x := b[passed]
		if s.header == 0 && x>>4 == packets.Publish {
			if published == n {
				return passed, published
			}
			published++
		}
		passed++
		s.head(x)
	}
	return passed, published
}

func (s *splitter) head(x byte) {
	s.header++
	if s.header == 1 {
		s.length = 0
		return
	}
	s.length |= int64(x&0x7f) << (7 * (s.header - 2))
	if x&0x80 != 0 && s.header < 5 { // a longer one is refused further on
		return
	}
	s.body, s.header = s.length, 0
}
