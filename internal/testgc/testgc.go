// Package testgc has tests that compile many topologies collect garbage as
// seldom as clinkd does.
package testgc

import (
	"flag"
	"runtime/debug"
)

// Set is for the beginning of a TestMain. Benchmarks it leaves as they are: they
// measure what is.
func Set() {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(512 << 20) // from here on as often as it takes
	}
}
