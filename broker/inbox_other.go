//go:build !unix

package broker

import "errors"

var errNotYet = errors.ErrUnsupported

// bareSocket is false where sockets cannot be waited for without a buffer.
func bareSocket(any) bool { return false }

func readSocket(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func writeSocket(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
