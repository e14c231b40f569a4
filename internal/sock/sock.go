// Package sock reads and writes sockets without waiting for them, and leaves
// their addresses without delay. On Linux the
// scheduler is not told: a call that does not block would have it wake a thread
// that looks for goroutines to move, at a price above that of the call.
package sock

import (
	"net"
	"syscall"
)

// Raw returns the socket of a connection whose bytes are the socket's, none of
// them read ahead or encrypted; nil if c is no such connection.
func Raw(c any) syscall.RawConn {
	s, ok := c.(syscall.Conn)
	if !ok || !bare(c) {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// A Writer writes to a socket as much as it takes at once. It is for one
// goroutine at a time; one that was not opened takes nothing.
type Writer struct {
	raw  syscall.RawConn
	send func(fd uintptr) // made once, so that no write allocates
	bufs [][]byte
	n    int
	err  error
	vector
}

// Open makes w write to c, and reports whether that is possible.
func (w *Writer) Open(c any) bool {
	w.raw = Raw(c)
	w.send = func(fd uintptr) { w.n, w.err = w.write(fd, w.bufs) }
	return w.raw != nil
}

// Ready reports whether Open was successful.
func (w *Writer) Ready() bool { return w.raw != nil }

// Write returns how many bytes of bufs, one after the other, the socket took.
func (w *Writer) Write(bufs [][]byte) (n int, err error) {
	if w.raw == nil {
		return 0, nil
	}
	w.bufs, w.n, w.err = bufs, 0, nil
	if err := w.raw.Control(w.send); err != nil {
		return 0, err
	}
	w.bufs = nil
	if w.err == ErrNotYet {
		w.err = nil
	}
	return max(w.n, 0), w.err
}

// WriteAll writes bufs, which it may change, to any connection, and waits.
func WriteAll(c net.Conn, bufs [][]byte) error {
	if len(bufs) == 1 {
		_, err := c.Write(bufs[0])
		return err
	}
	b := net.Buffers(bufs)
	_, err := b.WriteTo(c)
	return err
}

// Rest returns bufs without their first n bytes. The slice is changed.
func Rest(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}
