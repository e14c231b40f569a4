package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A cutProxy passes TCP connections on to a target, until it is cut: then it
// resets all of them and refuses new ones, as a peer's machine does that has
// lost its broker.
type cutProxy struct {
	addr, target string

	mu    sync.Mutex
	ln    net.Listener // nil while it is cut
	conns map[net.Conn]struct{}
	first time.Time // when the first connection came since it was last restored
	wg    sync.WaitGroup
}

func newCutProxy(target string) (*cutProxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("put a proxy in front of %s: %w", target, err)
	}
	x := &cutProxy{addr: ln.Addr().String(), target: target, conns: map[net.Conn]struct{}{}}
	x.open(ln)
	return x, nil
}

func (x *cutProxy) open(ln net.Listener) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ln, x.first = ln, time.Time{}
	x.wg.Go(func() { x.accept(ln) })
}

func (x *cutProxy) accept(ln net.Listener) {
	for {
		near, err := ln.Accept()
		if err != nil {
			return
		}
		if !x.keep(ln, near) {
			return
		}
		x.wg.Go(func() { x.pass(ln, near) })
	}
}

// keep takes a connection that came to ln, or ends it if the proxy has been cut
// since.
func (x *cutProxy) keep(ln net.Listener, c net.Conn) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ln != ln {
		abrupt(c)
		c.Close()
		return false
	}
	if x.first.IsZero() {
		x.first = time.Now()
	}
	x.conns[c] = struct{}{}
	return true
}

// pass joins a connection with one to the target until either ends.
func (x *cutProxy) pass(ln net.Listener, near net.Conn) {
	defer x.drop(near)
	far, err := net.DialTimeout("tcp", x.target, 5*time.Second)
	if err != nil || !x.keep(ln, far) {
		return
	}
	defer x.drop(far)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			io.Copy(way[0], way[1])
			way[0].Close()
			way[1].Close()
		})
	}
	both.Wait()
}

func (x *cutProxy) drop(c net.Conn) {
	c.Close()
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.conns, c)
}

// cut may be called again while it is cut.
func (x *cutProxy) cut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ln == nil {
		return
	}
	x.ln.Close()
	x.ln = nil
	for c := range x.conns { // all before any: one that ends takes its other half with it
		abrupt(c)
	}
	for c := range x.conns {
		c.Close()
	}
}

// abrupt makes closing a reset.
func abrupt(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
}

// restore lets connections through again, at the same address.
func (x *cutProxy) restore(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	x.mu.Lock()
	open := x.ln != nil
	x.mu.Unlock()
	for !open {
		ln, err := net.Listen("tcp", x.addr)
		if err == nil {
			x.open(ln)
			return nil
		}
		select { // another process may have got the port for a moment
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("let connections to %s through again: %w", x.target, err)
		}
	}
	return nil
}

// firstSince is when the first connection came after restore; zero: none yet.
func (x *cutProxy) firstSince() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.first
}

// close ends it for good.
func (x *cutProxy) close() {
	x.cut()
	x.wg.Wait()
}
