//go:build linux

package sock

import (
	"syscall"
	"unsafe"
)

// Read reads from a socket that does not block. The error is ErrNotYet if
// there is nothing to read.
func Read(fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return call(syscall.SYS_READ, fd, unsafe.Pointer(&p[0]), len(p))
}

// A vector is what the system is told to write.
type vector struct{ parts []syscall.Iovec }

const mostParts = 64 // that are written at once

func (v *vector) write(fd uintptr, bufs [][]byte) (int, error) {
	v.parts = v.parts[:0]
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		if len(v.parts) == mostParts {
			break
		}
		part := syscall.Iovec{Base: &b[0]}
		part.SetLen(len(b))
		v.parts = append(v.parts, part)
	}
	if len(v.parts) == 0 {
		return 0, nil
	}
	defer clear(v.parts)
	return call(syscall.SYS_WRITEV, fd, unsafe.Pointer(&v.parts[0]), len(v.parts))
}

func call(number, fd uintptr, p unsafe.Pointer, n int) (int, error) {
	for {
		done, _, errno := syscall.RawSyscall(number, fd, uintptr(p), uintptr(n))
		switch errno {
		case 0:
			return int(done), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
