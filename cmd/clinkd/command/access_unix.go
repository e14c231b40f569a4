//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package command

import "syscall"

// mayWrite is access(2)'s word for writing.
const mayWrite = 2

// readOnly reports whether files of a directory cannot be replaced; nil: it is
// not known.
func readOnly(dir string) *bool {
	no := syscall.Access(dir, mayWrite) != nil
	return &no
}
