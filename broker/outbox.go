package broker

import "syscall"

// A goroutine that is woken for each message costs more than the message. So
// what a reader causes to be written, acknowledgements and messages for
// subscribers, gathers at the connections, and the reader writes it itself, as
// far as that needs no waiting, before it waits for more input.

const (
	inlineBytes = 32 << 10 // gathered at one connection; what is more is not left to a reader
	inlineConns = 32       // connections that one reader serves; others are served at the same time
)

// An outbox is what a reader has to do before it waits.
type outbox struct{ todo []interface{ Flush() } }

// take reports whether the reader will call f.Flush.
func (o *outbox) take(f interface{ Flush() }) bool {
	if len(o.todo) >= inlineConns {
		return false
	}
	o.todo = append(o.todo, f)
	return true
}

// flush is to be called by the reader before it waits for anything. Nil has
// nothing to do.
func (o *outbox) flush() {
	if o == nil || len(o.todo) == 0 {
		return
	}
	for i, f := range o.todo {
		if k, ok := f.(*conn); ok {
			k.leave(o)
		}
		f.Flush()
		o.todo[i] = nil
	}
	o.todo = o.todo[:0]
}

// An outlet writes to a socket without waiting.
type outlet struct {
	raw  syscall.RawConn // nil: that is not possible
	send func(fd uintptr)
	p    []byte
	n    int
	err  error
}

func (o *outlet) open(c any) {
	s, ok := c.(syscall.Conn)
	if !ok || !bareSocket(c) {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		o.raw, o.send = raw, func(fd uintptr) { o.n, o.err = writeSocket(fd, o.p) }
	}
}

// try writes as much of p as the socket takes now.
func (o *outlet) try(p []byte) (n int, err error) {
	if o.raw == nil {
		return 0, nil
	}
	o.p, o.n, o.err = p, 0, nil
	if err := o.raw.Control(o.send); err != nil {
		return 0, err
	}
	o.p = nil
	if o.err == errNotYet {
		o.err = nil
	}
	return max(o.n, 0), o.err
}

// due sees to it that what was appended gets written: by the reader that out
// belongs to, or else by a goroutine that begins now. The caller holds mu.
func (k *conn) due(out *outbox) {
	switch {
	case k.flushing:
	case out == nil || k.outlet.raw == nil || len(k.buf) > inlineBytes:
		k.begin()
	case k.out == out:
	case out.take(k):
		k.out = out
	default:
		k.begin()
	}
}

// leave takes the connection out of a reader's outbox.
func (k *conn) leave(o *outbox) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.out == o {
		k.out = nil
	}
}

// Flush writes what has gathered as far as that needs no waiting, and leaves
// the rest to a goroutine.
func (k *conn) Flush() {
	k.mu.Lock()
	if k.flushing || k.closed || k.err != nil || len(k.buf) == 0 {
		k.mu.Unlock()
		return
	}
	b := k.buf
	k.buf, k.spare, k.flushing = k.spare[:0], nil, true
	k.mu.Unlock()
	n, err := k.outlet.try(b)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil:
		k.err = err
	case n < len(b):
		k.run(func() { k.flushRest(b, n) })
		return
	}
	k.spare = b
	if k.err != nil || k.closed || len(k.buf) > 0 {
		k.run(k.flush)
		return
	}
	k.flushing = false
	k.release()
}

// flushRest goes on where Flush ended.
func (k *conn) flushRest(b []byte, n int) {
	err := k.writeOut(b[n:])
	k.mu.Lock()
	k.spare, k.err = b, err
	k.room.Broadcast()
	k.mu.Unlock()
	k.flush()
}
