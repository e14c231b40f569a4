package broker

import (
	"syscall"
	"unsafe"
)

// A socket that does not block is read and written without telling the
// scheduler: it would wake a thread that looks for goroutines to move.

func readSocket(fd uintptr, p []byte) (int, error) { return rawIO(syscall.SYS_READ, fd, p) }

func writeSocket(fd uintptr, p []byte) (int, error) { return rawIO(syscall.SYS_WRITE, fd, p) }

func rawIO(call, fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
