// Package freeport finds ports of the loopback interface for programs that are
// told where to listen: in tests and measurements.
package freeport

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"

	"clink/internal/sock"
)

// Ports are chosen below those that systems hand out for port 0, and for the
// near end of a connection (from 32768 up): a program that starts a moment
// later would find one of those taken.
const (
	first = 10000
	count = 22000
	tries = 1000
)

// Take returns a port of 127.0.0.1 that nobody listens on. Until it is given
// back, no other call, in whatever process, returns the same port; on systems
// other than Linux that is left to chance.
func Take() (port string, give io.Closer, err error) {
	for range tries {
		port = fmt.Sprint(first + rand.IntN(count))
		give, err = reserve(port)
		if err != nil {
			continue
		}
		var ln net.Listener
		if ln, err = net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, give, sock.Leave(ln)
		}
		give.Close()
	}
	return "", nil, fmt.Errorf("find a free port of 127.0.0.1 from %d to %d: %w", first, first+count-1, err)
}

// Addresses returns some addresses of 127.0.0.1 that nobody listens on now.
func Addresses(n int) (addrs []string, err error) {
	for range n {
		port, give, err := Take()
		if err != nil {
			return nil, err
		}
		defer give.Close() // all at once in the end, so that no port comes twice
		addrs = append(addrs, "127.0.0.1:"+port)
	}
	return addrs, nil
}

// reserve takes the one name that stands for a port. The system takes it back
// when the process ends, however that comes about.
func reserve(port string) (io.Closer, error) {
	if runtime.GOOS != "linux" {
		return nothing{}, nil
	}
	c, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@clink-port-" + port, Net: "unix"})
	if err != nil {
		return nil, errors.Join(errors.New("the port is reserved"), err)
	}
	return c, nil
}

type nothing struct{}

func (nothing) Close() error { return nil }
