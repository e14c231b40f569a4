package command_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// A road leads TCP connections to a target and is where a network's faults are
// made. What it does with the bytes of a connection is asked anew for each
// piece, so that a fault can begin and end under a connection that stands.
type road struct {
	addr string

	mu     sync.Mutex
	target string
	closed bool          // new connections are reset
	black  bool          // bytes go nowhere, and nobody is told
	mute   bool          // acknowledgements of forwarded messages are left out
	delay  time.Duration // each way
	loss   float64       // how often a piece is sent again, after resend
	dice   *rand.Rand
	trips  map[*trip]struct{}
}

// resend is how long a lost segment holds up those behind it, beyond the delay.
const resend = 900 * time.Millisecond

// A trip is one connection on a road.
type trip struct {
	in, out net.Conn
	lost    bool // its bytes go nowhere for good
	msg     bool // it is one for forwarded messages
}

func newRoad(t *testing.T, target string) *road {
	t.Helper()
	return newRoadAt(t, "127.0.0.1:0", target)
}

func newRoadAt(t *testing.T, addr, target string) *road {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &road{addr: ln.Addr().String(), target: target, dice: rand.New(rand.NewPCG(1, 2)), trips: make(map[*trip]struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { r.travel(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		r.set(func(r *road) { r.closed = true })
		r.reset()
		running.Wait()
	})
	return r
}

// set changes what the road does from now on.
func (r *road) set(change func(*road)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// reset breaks all connections with a RST.
func (r *road) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.trips {
		c.end()
	}
}

// end breaks both halves with a RST.
func (c *trip) end() {
	for _, half := range []net.Conn{c.in, c.out} {
		half.(*net.TCPConn).SetLinger(0)
		half.Close()
	}
}

// swallow has every byte go nowhere from now on, without a word.
func (r *road) swallow() {
	r.set(func(r *road) {
		r.black = true
		for c := range r.trips {
			c.lost = true
		}
	})
}

// heal lets new connections through. Those that lost bytes never recover, as
// after a firewall has forgotten them.
func (r *road) heal() { r.set(func(r *road) { r.black, r.closed = false, false }) }

func (r *road) travel(in net.Conn) {
	defer in.Close()
	r.mu.Lock()
	target, closed := r.target, r.closed
	r.mu.Unlock()
	if closed {
		in.(*net.TCPConn).SetLinger(0)
		return
	}
	out, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer out.Close()
	c := &trip{in: in, out: out}
	r.set(func(r *road) { r.trips[c] = struct{}{} })
	defer r.set(func(r *road) { delete(r.trips, c) })
	var both sync.WaitGroup
	both.Go(func() { r.carry(c, in, out, pieces) })
	both.Go(func() { r.carry(c, out, in, frames) })
	both.Wait()
}

// A piece is some bytes, and when they are due at the other end.
type piece struct {
	due time.Time
	b   []byte
}

// carry moves bytes one way until either half ends.
func (r *road) carry(c *trip, from, to net.Conn, read func(*bufio.Reader) ([]byte, error)) {
	way := make(chan piece, 4096)
	var arrival sync.WaitGroup
	arrival.Go(func() {
		for p := range way {
			if wait := time.Until(p.due); wait > 0 {
				time.Sleep(wait) // the delay is what the road is for
			}
			if _, err := to.Write(p.b); err != nil {
				from.Close()
			}
		}
		from.Close()
		to.Close()
	})
	defer arrival.Wait()
	defer close(way)
	in := bufio.NewReaderSize(from, 64<<10)
	var last time.Time
	for {
		b, err := read(in)
		if err != nil {
			return
		}
		if due, kept := r.fate(c, b, from == c.out); kept {
			if due.Before(last) {
				due = last
			}
			last = due
			way <- piece{due, b}
		}
	}
}

// fate says when a piece arrives, if it does.
func (r *road) fate(c *trip, b []byte, back bool) (due time.Time, kept bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.lost = c.lost || r.black
	c.msg = c.msg || !back && b[0]>>4 == packets.CONNECT && bytes.Contains(b, []byte(":msg:"))
	if c.lost || back && r.mute && c.msg && b[0]>>4 == packets.PUBACK {
		return due, false
	}
	if r.delay > 0 {
		due = time.Now().Add(r.delay)
		if r.dice.Float64() < r.loss {
			due = due.Add(resend)
		}
	}
	return due, true
}

// pieces reads what is there.
func pieces(r *bufio.Reader) ([]byte, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	b := make([]byte, r.Buffered())
	_, err := io.ReadFull(r, b)
	return b, err
}

// frames reads one MQTT packet. Whatever is none goes its way as it is.
func frames(r *bufio.Reader) ([]byte, error) {
	if _, err := r.Peek(2); err != nil {
		return nil, errors.Join(err, io.EOF)
	}
	length := 0
	for i := 1; i < 5; i++ {
		head, err := r.Peek(i + 1)
		if err != nil {
			break
		}
		if length |= int(head[i]&0x7f) << (7 * (i - 1)); head[i] < 0x80 && length < 1<<20 {
			b := make([]byte, i+1+length)
			_, err := io.ReadFull(r, b)
			return b, err
		}
	}
	return pieces(r)
}
