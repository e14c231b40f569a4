package linkengine_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A proxy passes TCP connections on, counts them, and can cut them and refuse
// new ones.
type proxy struct {
	addr string

	mu       sync.Mutex
	target   string
	refusing bool
	accepted int
	conns    map[net.Conn]struct{}
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: ln.Addr().String(), target: target, conns: make(map[net.Conn]struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.pass(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.cut()
		running.Wait()
	})
	return p
}

func (p *proxy) pass(in net.Conn) {
	defer in.Close()
	p.mu.Lock()
	p.accepted++
	target, refusing := p.target, p.refusing
	p.mu.Unlock()
	if refusing || !p.hold(in) {
		return
	}
	defer p.release(in)
	out, err := net.Dial("tcp", target)
	if err != nil || !p.hold(out) {
		return
	}
	defer p.release(out)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			io.Copy(way[1], way[0])
			in.Close()
			out.Close()
		})
	}
	both.Wait()
}

func (p *proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing {
		c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *proxy) release(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.Close()
	delete(p.conns, c)
}

// cut ends all connections and refuses new ones until mend.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = true
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	}
}

// mend lets connections through again, from now on to target if it is given.
func (p *proxy) mend(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = false
	if target != "" {
		p.target = target
	}
}

func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}
