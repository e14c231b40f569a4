package broker

import (
	"slices"

	"clink/internal/sock"
)

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

func (o *outbox) has(f interface{ Flush() }) bool { return slices.Contains(o.todo, f) }

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

// due sees to it that what was appended gets written: by the reader that out
// belongs to, or else by a goroutine that begins now. The caller holds mu.
func (k *conn) due(out *outbox) {
	switch {
	case k.flushing:
	case out == nil || !k.outlet.Ready() || k.size > inlineBytes:
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
	if k.flushing || k.closed || k.err != nil || k.size == 0 {
		k.mu.Unlock()
		return
	}
	k.flushing = true
	size := k.size
	b, parts := k.take(k.parts[:0])
	k.parts = parts
	k.mu.Unlock()
	n, err := k.outlet.Write(parts)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil && n < size {
		k.parts = nil
		k.run(func() { k.flushRest(b, sock.Rest(parts, n)) })
		return
	}
	clear(parts)
	k.spare, k.err = b, err
	if k.err != nil || k.closed || k.size > 0 {
		k.run(k.flush)
		return
	}
	k.flushing = false
	k.release()
}

// flushRest goes on where Flush ended.
func (k *conn) flushRest(b []byte, parts [][]byte) {
	err := k.writeOut(parts)
	k.mu.Lock()
	k.spare, k.err = b, err
	k.room.Broadcast()
	k.mu.Unlock()
	k.flush()
}
