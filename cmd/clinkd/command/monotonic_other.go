//go:build !linux

package command

import "time"

// monotonic is for systemd, which there is on Linux alone.
func monotonic() time.Duration { return 0 }
