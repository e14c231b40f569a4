package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"clink/topology"
)

const (
	maxSocketPath  = 107 // bytes that the system takes
	socketMode     = 0o660
	staleCheckTime = time.Second
)

// listen opens what a listener is bound to.
func listen(l topology.Listener, base string) (net.Listener, error) {
	if l.Type != topology.Unix {
		return net.Listen("tcp", l.Bind)
	}
	path := l.Bind
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the socket %s has a name of %d bytes, and the system takes %d: bind it to a shorter or an absolute path", path, len(path), maxSocketPath)
	}
	ln, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && stale(path) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove the socket that a process left behind: %w", err)
		}
		ln, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		ln.Close()
		return nil, fmt.Errorf("let the group use the socket: %w", err)
	}
	return ln, nil
}

// stale reports whether a path is a socket that nobody listens on, as a
// process leaves it that was killed.
func stale(path string) bool {
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode()&fs.ModeSocket == 0 {
		return false
	}
	c, err := net.DialTimeout("unix", path, staleCheckTime)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// hold lets a connection wait that comes faster than the listener's rate
// allows; those behind it wait with the system, which refuses them when its
// own queue is full. False: the endpoint was closed meanwhile.
func (e *endpoint) hold() bool {
	rate := e.limits.Load().connects
	if rate.IsZero() {
		return true
	}
	wait := e.pace.take(rate, 1, time.Now())
	if wait > 0 {
		e.n.waited.Add(1)
	}
	for wait > 0 {
		ctx, cancel := context.WithTimeout(e.ctx, min(wait, pacedNap))
		<-ctx.Done()
		cancel()
		if e.ctx.Err() != nil {
			return false
		}
		if rate = e.limits.Load().connects; rate.IsZero() {
			return true
		}
		wait = e.pace.take(rate, 0, time.Now())
	}
	return true
}

// A gate is the listener of a web server: it takes connections at the
// listener's rate, and lets each have the TLS configuration of now, with
// session tickets that end with it.
type gate struct {
	net.Listener
	e *endpoint
}

func (g gate) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !g.e.hold() {
		c.Close()
		return nil, net.ErrClosed
	}
	return g.e.secure(g.e.relay(c)), nil
}

// relay is c, and where connections come through a proxy, c behind its header.
func (e *endpoint) relay(c net.Conn) net.Conn {
	if l := e.limits.Load(); l.proxy {
		return &proxied{Conn: c, timeout: l.proxyTimeout}
	}
	return c
}

// complain logs that a connection was closed before MQTT began, once a second
// at most: anybody can make it happen as often as he likes.
func (e *endpoint) complain(what string, c net.Conn, err error) {
	now := time.Now().Unix()
	if last := e.complained.Load(); last == now || !e.complained.CompareAndSwap(last, now) {
		e.silent.Add(1)
		return
	}
	e.n.log.Info(what, "listener", e.name, "remote", originOf(c).String(), "error", err, "more", e.silent.Swap(0))
}
