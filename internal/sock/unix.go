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
