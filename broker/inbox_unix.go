//go:build unix

package broker

import (
	"net"
	"syscall"
)

// errNotYet is what a socket says that has nothing to read.
const errNotYet = syscall.EAGAIN

// bareSocket reports whether c's bytes are its socket's, none of them read
// ahead.
func bareSocket(c any) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}
