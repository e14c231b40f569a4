package broker

import (
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
}

type limits struct{ connections, packet int64 }

func (n *Node) newEndpoint(cfg topology.Listener, config *tls.Config) *endpoint {
	e := &endpoint{n: n, name: cfg.Name, kind: cfg.Type, conns: make(map[*conn]struct{})}
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
	e.limits.Store(&limits{int64(cfg.MaxConnections), min(packet, maxPacket)})
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
	e.ln, e.err = net.Listen("tcp", e.cfg.Bind)
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
		if !e.n.lobby.enter(e.ctx, c, e.n.bounds.Load().idle) {
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

func (e *endpoint) handshake(c net.Conn) {
	defer e.n.lobby.leave(c)
	config := e.config.Load()
	if config == nil {
		e.serveConn(c, "")
		return
	}
	t := tls.Server(c, config)
	ctx, cancel := context.WithTimeout(e.ctx, e.n.bounds.Load().idle)
	err := t.HandshakeContext(ctx)
	cancel()
	if err != nil {
		e.n.refusals.add("tls")
		e.n.damped[0].log(e.n.log, slog.LevelInfo, "TLS handshake", "listener", e.name, "remote", c.RemoteAddr().String(), "error", err)
		c.Close()
		return
	}
	e.serveConn(t, commonName(t.ConnectionState()))
}

// serveConn lets the engine serve a connection, and returns when nothing of it
// is left.
func (e *endpoint) serveConn(c net.Conn, commonCN string) {
	l := e.limits.Load()
	defer e.count.Add(-1)
	if n := e.count.Add(1); l.connections > 0 && n > l.connections {
		e.n.refusals.add("listener_full")
		e.n.damped[0].log(e.n.log, slog.LevelWarn, "connection refused: the listener is full", "listener", e.name, "limit", l.connections)
		c.Close()
		return
	}
	var k *conn
	k = newConn(c, &e.n.buffers, e.n.spawn, func() { e.untrack(k) })
	k.commonCN = commonCN
	k.chunkTime.Store(int64(e.n.stall))
	k.packetSize = l.packet
	k.frames.limit.Store(min(l.packet, connectPacketSize))
	c.SetReadDeadline(time.Now().Add(e.n.bounds.Load().idle))
	if !e.track(k) {
		k.abort()
		return
	}
	err := e.n.server.EstablishConnection(e.name, k)
	k.Close()
	cl := k.client.Load()
	if cl == nil {
		return
	}
	e.n.leave(cl)
	e.n.farewell(cl, err)
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
	if e.kind == topology.WSS {
		ln = tls.NewListener(ln, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return e.config.Load(), nil }})
	}
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
	return s.Serve(ln)
}
