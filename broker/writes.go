package broker

import (
	"net"
	"time"

	"clink/internal/sock"
)

// Write takes p, whole packets as the engine writes them, and returns at once.
func (k *conn) Write(p []byte) (int, error) { return k.put(p, nil) }

// put is Write by the reader that out belongs to, if there is one.
func (k *conn) put(p []byte, out *outbox) (int, error) {
	if len(p) > 0 && p[0]>>4 == swallow {
		return len(p), nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.err != nil {
		return 0, net.ErrClosed
	}
	k.grow(len(p))
	k.buf, k.size = append(k.buf, p...), k.size+len(p)
	k.due(out)
	return len(p), nil
}

// begin lets flush run. The caller holds mu.
func (k *conn) begin() {
	if !k.flushing {
		k.flushing = true
		k.run(k.flush)
	}
}

// grow replaces a small buffer by a large one before n bytes outgrow it.
func (k *conn) grow(n int) {
	if need := len(k.buf) + n; need <= cap(k.buf) || need <= smallBuffer || cap(k.buf) > smallBuffer {
		return
	}
	if large, ok := k.buffers.Get().(*[]byte); ok {
		k.buf = append((*large)[:0], k.buf...)
	}
}

// release gives large buffers back: a connection holds them only while it has
// something to write. Very large ones, for a huge packet, are left to the
// garbage collector.
func (k *conn) release() {
	for _, b := range []*[]byte{&k.buf, &k.spare} {
		if cap(*b) <= smallBuffer {
			continue
		}
		if large := (*b)[:0]; cap(large) <= 2*writeBuffer {
			k.buffers.Put(&large)
		}
		*b = nil
	}
}

// full reports whether a writer would have to wait.
func (k *conn) full() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.size > writeBuffer
}

// start runs f in a goroutine that the node waits for, unless the connection
// is closed.
func (k *conn) start(f func()) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.run(f)
	return true
}

// reserve waits until there is room for another packet, or the connection has
// ended.
func (k *conn) reserve() {
	k.mu.Lock()
	for k.size > writeBuffer && !k.closed && k.err == nil {
		k.room.Wait()
	}
	k.mu.Unlock()
}

// flush writes until nothing is left.
func (k *conn) flush() {
	k.mu.Lock()
	for k.size > 0 && k.err == nil {
		b, parts := k.take(nil)
		k.mu.Unlock()
		err := k.writeOut(parts)
		k.mu.Lock()
		k.spare = b
		if err != nil {
			k.err = err
		}
		k.room.Broadcast()
	}
	k.flushing = false
	k.release()
	closed, failed := k.closed, k.err != nil
	k.mu.Unlock()
	switch {
	case closed:
		k.finish(!failed)
	case failed:
		k.noteSlow()
		k.Conn.Close() // the engine's reader fails next
	}
}

// writeOut writes parts, with a deadline for each piece.
func (k *conn) writeOut(parts net.Buffers) error {
	for len(parts) > 0 {
		var piece net.Buffers
		for room := writeChunk; room > 0 && len(parts) > 0; {
			n := min(room, len(parts[0]))
			piece = append(piece, parts[0][:n])
			parts = sock.Rest(parts, n)
			room -= n
		}
		k.Conn.SetWriteDeadline(time.Now().Add(time.Duration(k.chunkTime.Load())))
		if _, err := piece.WriteTo(k.Conn); err != nil {
			return err
		}
	}
	return nil
}

// A cut is a payload that belongs behind the first bytes of a buffer.
type cut struct {
	at      int
	payload []byte
}

// take takes what has gathered, appends it to parts, and returns the buffer
// that is used for it. The caller holds mu and has set flushing.
func (k *conn) take(parts [][]byte) ([]byte, [][]byte) {
	b, from := k.buf, 0
	for _, c := range k.cuts {
		if c.at > from {
			parts = append(parts, b[from:c.at])
		}
		parts, from = append(parts, c.payload), c.at
	}
	if from < len(b) {
		parts = append(parts, b[from:])
	}
	clear(k.cuts)
	k.buf, k.spare, k.cuts, k.size = k.spare[:0], nil, k.cuts[:0], 0
	return b, parts
}
