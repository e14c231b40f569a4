//go:build !unix

package main

import (
	"os"
	"time"
)

// peakOf is not known here.
func peakOf(*os.ProcessState) int64 { return 0 }

// spent is not known here.
func spent() time.Duration { return 0 }
