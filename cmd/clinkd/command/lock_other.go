//go:build !unix

package command

import "os"

// lockFile opens path. Here nothing keeps a second process out but the
// listeners, which only one can open.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
