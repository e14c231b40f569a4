package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"clink/topology"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	connectPacketSize = 128 << 10 // limit of a CONNECT: a will of the largest size, and as much again
	retryFirst        = 200 * time.Millisecond
	retryMost         = 10 * time.Second
)

// A ListenerStatus is a listener as it is. Err says why it does not accept
// connections, or why its new configuration is not in force.
type ListenerStatus struct {
	Name, Type string
	Addr       net.Addr // as bound, nil if it is not
	Err        string
	Lost       int // how often it was open, and lost its socket to the system
}

// An endpoint is one open listener, or one that keeps trying to open.
type endpoint struct {
	n      *Node
	name   string
	kind   string
	base   string                     // what a relative path is relative to
	pace   bucket                     // of new connections; the accepting goroutine's
	cfg    topology.Listener          // guarded by mu
	config atomic.Pointer[tls.Config] // of new connections; nil without TLS
	limits atomic.Pointer[limits]
	count  atomic.Int64
	ctx    context.Context // ends when the endpoint is closed
	cancel context.CancelFunc

	mu    sync.Mutex
	ln    net.Listener
	err   error // of opening, or what took its socket
	lost  int
	warn  error // of the configuration
	conns map[*conn]struct{}

	complained, silent atomic.Int64 // see complain
}

type limits struct {
	connections, packet       int64
	connects, messages, bytes topology.Rate
	proxy                     bool
	proxyTimeout              time.Duration
	certUser                  string // topology.PeerCertCN, topology.PeerCertSAN or ""
}

func (n *Node) newEndpoint(cfg topology.Listener, config *tls.Config) *endpoint {
	e := &endpoint{n: n, name: cfg.Name, kind: cfg.Type, base: n.base, conns: make(map[*conn]struct{})}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.configure(cfg, config)
	return e
}

// configure takes what can change while open.
func (e *endpoint) configure(cfg topology.Listener, config *tls.Config) {
	packet := cfg.MaxPacketSize.Bytes
	if packet <= 0 {
		packet = int64(e.n.opts.MaxPacketSize)
	}
	e.limits.Store(&limits{
		connections: int64(cfg.MaxConnections), packet: min(packet, maxPacket),
		connects: cfg.MaxConnRate, messages: cfg.MessagesRate, bytes: cfg.BytesRate,
		proxy: cfg.ProxyProtocol, proxyTimeout: cmp.Or(cfg.ProxyProtocolTimeout.Value, proxyTimeout), certUser: cfg.PeerCertAsUsername,
	})
	e.config.Store(config)
	e.mu.Lock()
	e.cfg, e.warn = cfg, nil
	e.mu.Unlock()
}

func (e *endpoint) status() ListenerStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := ListenerStatus{Name: e.name, Type: e.kind, Lost: e.lost}
	if e.ln != nil {
		s.Addr = e.ln.Addr()
	}
	if err := errors.Join(e.err, e.warn); err != nil {
		s.Err = err.Error()
	} else if e.ctx.Err() != nil {
		s.Err = "it is closed: the node is stopping"
	}
	return s
}

// open tries to bind once.
func (e *endpoint) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ln != nil || e.ctx.Err() != nil {
		return nil
	}
	e.ln, e.err = listen(e.cfg, e.base)
	if e.err != nil {
		e.ln = nil
		e.n.log.Warn("listener does not open", "listener", e.name, "bind", e.cfg.Bind, "error", e.err)
		return e.err
	}
	e.n.log.Info("listener up", "listener", e.name, "type", e.kind, "addr", e.ln.Addr().String())
	return nil
}

// start serves, in the background, as soon as the port can be had.
func (e *endpoint) start() { e.n.spawn(e.serve) }

// serve keeps the endpoint open until it is closed.
func (e *endpoint) serve() {
	wait := retryFirst
	for {
		if e.open() == nil {
			e.mu.Lock()
			ln := e.ln
			e.mu.Unlock()
			if ln == nil {
				return
			}
			began := time.Now()
			err := e.serveOn(ln)
			if e.ctx.Err() != nil {
				return
			}
			e.lose(ln, err)
			if time.Since(began) > retryMost {
				wait = retryFirst
			}
		}
		select {
		case <-e.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
	}
}

func (e *endpoint) serveOn(ln net.Listener) error {
	switch e.kind {
	case topology.WS, topology.WSS:
		return e.serveWeb(ln)
	}
	return e.accept(ln)
}

// lose notes that the system took the socket away, so that another is opened.
// Connections stay.
func (e *endpoint) lose(ln net.Listener, err error) {
	ln.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ln, e.err = nil, fmt.Errorf("the listening socket was lost: %w", err)
	e.lost++
	e.n.log.Error("listener lost its socket, opening it again", "listener", e.name, "bind", e.cfg.Bind, "error", err)
}

// accept takes connections until the listener is closed, or of no use any more.
func (e *endpoint) accept(ln net.Listener) error {
	var pause time.Duration
	for {
		c, err := ln.Accept()
		switch {
		case e.ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case err != nil && useless(err):
			return err
		case err != nil: // for want of descriptors, say
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			e.n.log.Warn("accept", "listener", e.name, "error", err)
			select {
			case <-e.ctx.Done():
				return nil
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		if !e.hold() || !e.n.lobby.enter(e.ctx, c, e.n.bounds.Load().idle) {
			c.Close()
			return nil
		}
		e.n.spawn(func() { e.handshake(c) })
	}
}

// useless reports whether a socket that gave err will never accept again.
func useless(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.ENOTSOCK)
}

// handshake takes a connection from where it was accepted to its end. Its frames
// and those below stay on the stack of a client that is silent: so what needs
// large ones is elsewhere, see attach.
func (e *endpoint) handshake(raw net.Conn) {
	defer e.n.lobby.leave(raw)
	if k := e.greet(raw); k != nil {
		e.serveConn(k)
	}
}

// greet does what comes before MQTT. It returns nil if the connection is not to
// go on, and has closed it then.
//
//go:noinline
func (e *endpoint) greet(raw net.Conn) *conn {
	c, from := raw, originOf(raw)
	if p, ok := e.relay(raw).(*proxied); ok {
		var err error
		if from, err = p.header(); err != nil {
			e.n.refusals.add("proxy")
			e.complain("PROXY header", raw, err)
			raw.Close()
			return nil
		}
	}
	if t, ok := e.secure(raw).(*tls.Conn); ok {
		ctx, cancel := context.WithTimeout(e.ctx, e.n.bounds.Load().idle)
		err := t.HandshakeContext(ctx)
		cancel()
		if err != nil {
			e.n.refusals.add("tls")
			e.complain("TLS handshake", raw, err)
			raw.Close()
			return nil
		}
		c, from = t, from.certified(t.ConnectionState())
	}
	return e.admit(c, from)
}

// secure is c, or with TLS c under the configuration of now.
func (e *endpoint) secure(c net.Conn) net.Conn {
	if config := e.config.Load(); config != nil {
		return tls.Server(c, config)
	}
	return c
}

// admit makes a connection of MQTT out of c, and counts it until serveConn has
// served it. It returns nil if there are too many, or the endpoint is closed.
//
//go:noinline
func (e *endpoint) admit(c net.Conn, from origin) *conn {
	l := e.limits.Load()
	if n := e.count.Add(1); l.connections > 0 && n > l.connections {
		e.n.refusals.add("listener_full")
		e.n.damped[0].log(e.n.log, slog.LevelWarn, "connection refused: the listener is full", "listener", e.name, "limit", l.connections)
		c.Close()
		e.count.Add(-1)
		return nil
	}
	if !l.messages.IsZero() || !l.bytes.IsZero() {
		c = newPaced(c, &e.limits)
	}
	var k *conn
	k = newConn(c, &e.n.buffers, e.n.spawn, func() { e.untrack(k) })
	k.from, k.limits = from, &e.limits
	k.chunkTime.Store(int64(e.n.stall))
	k.packetSize = l.packet
	k.frames.limit.Store(min(l.packet, connectPacketSize))
	c.SetReadDeadline(time.Now().Add(e.n.bounds.Load().idle))
	if !e.track(k) {
		k.abort()
		e.count.Add(-1)
		return nil
	}
	return k
}

// serveConn serves a connection that was admitted, and returns when nothing of it
// is left.
func (e *endpoint) serveConn(k *conn) {
	defer e.count.Add(-1)
	err := e.establish(k)
	k.todo.flush()
	k.Close()
	cl := k.client.Load()
	if cl == nil {
		return
	}
	e.n.leave(cl)
	e.n.farewell(cl, err)
}

// establish runs a connection. What one client sends must never end the node:
// where the engine breaks on it, only the connection ends.
func (e *endpoint) establish(k *conn) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
			e.n.log.Error("a connection ended in a panic", "listener", e.name, "remote", k.RemoteAddr().String(), "error", err, "stack", string(debug.Stack()))
		}
	}()
	cl := e.n.server.NewClient(k, e.name, "", false)
	defer cl.Stop(nil)
	c, err := e.n.attach(k, cl, e.name)
	if err != nil {
		return err
	}
	err = c.read()
	c.part(err)
	return err
}

func (e *endpoint) track(k *conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return false
	}
	e.conns[k] = struct{}{}
	return true
}

// enter counts a goroutine that net/http started among those that the end of
// Run waits for. While the endpoint is open, its own goroutine is one of them.
func (e *endpoint) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return false
	}
	e.n.wg.Add(1)
	return true
}

func (e *endpoint) untrack(k *conn) {
	e.mu.Lock()
	delete(e.conns, k)
	e.mu.Unlock()
}

// abort ends what connections there still are.
func (e *endpoint) abort() {
	for _, k := range e.connections() {
		k.abort()
	}
}

func (e *endpoint) connections() []*conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.conns))
}

// shut closes the listener and leaves its clients.
func (e *endpoint) shut() {
	e.mu.Lock()
	if e.ctx.Err() != nil {
		e.mu.Unlock()
		return
	}
	e.cancel()
	ln := e.ln
	e.mu.Unlock()
	if ln != nil {
		ln.Close()
		e.n.log.Info("listener down", "listener", e.name, "addr", ln.Addr().String())
	}
}

// close closes the listener and tells its clients why they must go.
func (e *endpoint) close(code packets.Code) {
	e.shut()
	for _, k := range e.connections() {
		if c := k.client.Load(); c != nil {
			e.n.disconnect(c, code)
		} else {
			k.abort()
		}
	}
}

// serveWeb serves MQTT over WebSocket.
func (e *endpoint) serveWeb(ln net.Listener) error {
	s := &http.Server{
		Handler:           http.HandlerFunc(e.upgrade),
		ReadHeaderTimeout: e.n.bounds.Load().idle,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if !e.n.lobby.enter(e.ctx, rawOf(c), e.n.bounds.Load().idle) {
				c.Close()
			}
			return context.WithValue(ctx, rawKey{}, rawOf(c))
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				e.n.lobby.leave(rawOf(c))
			}
		},
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	defer s.Close()
	return s.Serve(gate{ln, e})
}
