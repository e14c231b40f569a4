package broker

import (
	"io"
	"sync"
	"syscall"
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
	s, ok := c.(syscall.Conn)
	if !ok || !bareSocket(c) {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	b.raw, b.buffers, b.ready = raw, buffers, b.readReady
}

// waits reports whether read may wait.
func (b *inbox) waits() bool { return b.buf == nil }

// read waits for bytes and returns some. A large piece is not copied through
// the buffer, unless there is something in it.
func (b *inbox) read(p []byte, direct io.Reader) (int, error) {
	if b.raw == nil || b.buf == nil && len(p) >= readChunk {
		return direct.Read(p)
	}
	if b.buf == nil {
		if err := b.raw.Read(b.ready); err != nil {
			return 0, err
		}
		if b.err != nil {
			return 0, b.err
		}
	}
	n := copy(p, b.buf[b.r:b.w])
	if b.r += n; b.r == b.w {
		b.release()
	}
	return n, nil
}

// readReady fills the buffer if the socket has something, and reports whether
// it had, or never will.
func (b *inbox) readReady(fd uintptr) bool {
	b.buf, _ = b.buffers.Get().(*[readChunk]byte)
	if b.buf == nil {
		b.buf = new([readChunk]byte)
	}
	n, err := readSocket(fd, b.buf[:])
	b.r, b.w, b.err = 0, max(n, 0), err
	if err == nil && n == 0 {
		b.err = io.EOF
	}
	if n <= 0 {
		b.release()
	}
	return err != errNotYet
}

func (b *inbox) release() {
	b.buffers.Put(b.buf)
	b.buf, b.r, b.w = nil, 0, 0
}
