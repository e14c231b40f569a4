package broker

import (
	"container/list"
	"context"
	"net"
	"sync"
	"time"
)

const (
	maxGuests  = 4096        // connections at a time that are not let in yet
	crowdedAge = time.Second // silence for which one may be cut off when there are so many
)

// A lobby holds the connections whose client is not let in yet: in a TLS or
// WebSocket handshake, sending its CONNECT, or being checked. Each may be there
// for a limited time, and when there are as many as may be, no more are
// accepted: they wait in the system's queue, until one leaves or has been
// silent for so long that it makes room.
type lobby struct {
	max    int
	age    time.Duration
	missed func(reason string) // told of each that was cut off

	mu     sync.Mutex
	guests map[net.Conn]*guest
	silent list.List // of *guest without a CONNECT, oldest first
	freed  chan struct{}
}

type guest struct {
	c     net.Conn
	since time.Time
	timer *time.Timer
	place *list.Element // nil once its CONNECT came
}

func newLobby(missed func(string)) *lobby {
	return &lobby{max: maxGuests, age: crowdedAge, missed: missed, guests: make(map[net.Conn]*guest), freed: make(chan struct{}, 1)}
}

// enter lets a connection in that was just accepted, when there is room. Limit
// is how long it may stay.
func (l *lobby) enter(ctx context.Context, c net.Conn, limit time.Duration) bool {
	for {
		wait := l.tryEnter(c, limit)
		if wait == 0 {
			return true
		}
		t := time.NewTimer(wait)
		select {
		case <-l.freed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		}
		t.Stop()
	}
}

// tryEnter returns 0, or how long it may take until there is room.
func (l *lobby) tryEnter(c net.Conn, limit time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(l.guests) >= l.max {
		oldest := l.silent.Front()
		if oldest == nil {
			return limit
		}
		g := oldest.Value.(*guest)
		if age := now.Sub(g.since); age < l.age {
			return l.age - age
		}
		l.cut(g, "crowded")
	}
	g := &guest{c: c, since: now}
	g.place = l.silent.PushBack(g)
	g.timer = time.AfterFunc(limit, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.guests[c] == g {
			l.cut(g, "timeout")
		}
	})
	l.guests[c] = g
	return 0
}

func (l *lobby) cut(g *guest, reason string) {
	l.remove(g)
	go g.c.Close() // may take a moment with TLS
	l.missed(reason)
}

func (l *lobby) remove(g *guest) {
	g.timer.Stop()
	delete(l.guests, g.c)
	if g.place != nil {
		l.silent.Remove(g.place)
		g.place = nil
	}
	select {
	case l.freed <- struct{}{}:
	default:
	}
}

// heard notes that a guest's CONNECT came: it does not have to make room.
func (l *lobby) heard(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g := l.guests[c]; g != nil && g.place != nil {
		l.silent.Remove(g.place)
		g.place = nil
	}
}

// leave ends a stay, if it has not ended.
func (l *lobby) leave(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g := l.guests[c]; g != nil {
		l.remove(g)
	}
}

func (l *lobby) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.guests)
}

// rawOf is the connection that was accepted, below TLS and WebSocket.
func rawOf(c net.Conn) net.Conn {
	switch t := c.(type) {
	case *webConn:
		return rawOf(t.Conn)
	case interface{ NetConn() net.Conn }:
		return rawOf(t.NetConn())
	}
	return c
}
