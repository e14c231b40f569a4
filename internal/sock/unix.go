//go:build unix

package sock

import (
	"net"
	"syscall"
)

// ErrNotYet is what a socket says that has nothing to read, or no room.
const ErrNotYet = syscall.EAGAIN

func bare(c any) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// Leave closes a listener so that its address can be had at once. A program that
// is being started has a copy of every open file of this process for a moment,
// and what it still listened on with that would be taken.
func Leave(ln net.Listener) error {
	if l, ok := ln.(*net.TCPListener); ok {
		if raw, err := l.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
		}
	}
	return ln.Close()
}
