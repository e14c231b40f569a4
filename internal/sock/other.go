//go:build !unix

package sock

import (
	"errors"
	"net"
)

// ErrNotYet is what a socket says that has nothing to read, or no room.
var ErrNotYet = errors.ErrUnsupported

// bare is false where sockets cannot be used without waiting.
func bare(any) bool { return false }

// Read is not possible here; nobody has a socket to read from.
func Read(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

type vector struct{}

func (vector) write(uintptr, [][]byte) (int, error) { return 0, errors.ErrUnsupported }

// ReadBoth is Read into p; a system that can do more also reads into q.
func ReadBoth(fd uintptr, p, q []byte) (int, error) { return Read(fd, p) }

// Leave closes a listener.
func Leave(ln net.Listener) error { return ln.Close() }
