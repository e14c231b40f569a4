//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package command

// readOnly knows nothing here.
func readOnly(string) *bool { return nil }
