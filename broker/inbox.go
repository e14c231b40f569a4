package broker

import (
	"io"
	"sync"
	"syscall"

	"clink/internal/sock"
)

// readChunk is how much is read from a connection at once.
const readChunk = 16 << 10

// An inbox reads a connection's bytes in large pieces, and holds a buffer only
// while there is something in it: it waits for the socket first, and takes a
// buffer when there is something to read. Ten thousand clients that are silent
// hold none.
type inbox struct {
	raw     syscall.RawConn       // nil: the connection does its own buffering
	ready   func(fd uintptr) bool // made once, so that no read allocates
	buffers *sync.Pool            // of *[readChunk]byte

	buf  *[readChunk]byte // nil if empty
	r, w int              // what is in it
	err  error            // of the last read
}

// open begins to read from a connection that is a bare socket. Others, TLS
// and WebSocket, have buffers of their own.
func (b *inbox) open(c any, buffers *sync.Pool) {
	raw := sock.Raw(c)
	if raw == nil {
		return
	}
	b.raw, b.buffers, b.ready = raw, buffers, b.readReady
}

// waits reports whether read may wait.
func (b *inbox) waits() bool { return b.buf == nil }

// pending is what there is to be read. It is valid until more.
func (b *inbox) pending() []byte {
	if b.buf == nil {
		return nil
	}
	return b.buf[b.r:b.w]
}

// skip takes n bytes of pending.
func (b *inbox) skip(n int) {
	if b.r += n; b.r == b.w {
		b.release()
	}
}

// more waits for bytes and adds them to those that are pending. It is not for
// a full inbox.
func (b *inbox) more() error {
	if b.buf != nil && b.r > 0 {
		b.w = copy(b.buf[:], b.buf[b.r:b.w])
		b.r = 0
	}
	if err := b.raw.Read(b.ready); err != nil {
		return err
	}
	return b.err
}

// direct reads into p, past the inbox, which must be empty.
func (b *inbox) direct(p []byte) (n int, err error) {
	waited := b.raw.Read(func(fd uintptr) bool {
		n, err = sock.Read(fd, p)
		return err != sock.ErrNotYet
	})
	switch {
	case waited != nil:
		return 0, waited
	case n == 0 && err == nil:
		return 0, io.EOF
	}
	return max(n, 0), err
}

// read waits for bytes and returns some. A large piece is not copied through
// the buffer, unless there is something in it.
func (b *inbox) read(p []byte, direct io.Reader) (int, error) {
	if b.raw == nil || b.buf == nil && len(p) >= readChunk {
		return direct.Read(p)
	}
	if b.buf == nil {
		if err := b.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.pending())
	b.skip(n)
	return n, nil
}

// readReady reads into the buffer if the socket has something, and reports
// whether it had, or never will.
func (b *inbox) readReady(fd uintptr) bool {
	if b.buf == nil {
		b.r, b.w = 0, 0
		if b.buf, _ = b.buffers.Get().(*[readChunk]byte); b.buf == nil {
			b.buf = new([readChunk]byte)
		}
	}
	n, err := sock.Read(fd, b.buf[b.w:])
	b.err = err
	if err == nil && n == 0 {
		b.err = io.EOF
	}
	if b.w += max(n, 0); b.r == b.w {
		b.release()
	}
	return err != sock.ErrNotYet
}

func (b *inbox) release() {
	b.buffers.Put(b.buf)
	b.buf, b.r, b.w = nil, 0, 0
}
