//go:build unix && !linux

package sock

import "syscall"

// Read reads from a socket that does not block. The error is ErrNotYet if
// there is nothing to read.
func Read(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

type vector struct{}

// write writes bufs until one does not go whole.
func (vector) write(fd uintptr, bufs [][]byte) (int, error) {
	total := 0
	for _, b := range bufs {
		n, err := writeOne(fd, b)
		total += max(n, 0)
		if total > 0 && err == ErrNotYet {
			return total, nil
		}
		if err != nil || n < len(b) {
			return total, err
		}
	}
	return total, nil
}

func writeOne(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
