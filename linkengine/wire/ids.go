package wire

import (
	"encoding/binary"
	"sync"
	"time"
)

// IDs makes message ids of 16 bytes (section 9.3): eight of time in Unix
// microseconds, six of a mark, two of a counter, all big endian. No generator
// gives an id twice, even where its clock steps back; two generators differ by
// their marks. It may be used from any number of goroutines.
type IDs struct {
	now  func() time.Time
	mark [6]byte

	mu     sync.Mutex
	micros uint64
	serial uint16
}

// NewIDs makes a generator that asks now for the time. The mark must be random,
// or it does not set this process apart from others.
func NewIDs(now func() time.Time, mark [6]byte) *IDs {
	return &IDs{now: now, mark: mark}
}

// Next returns a new id, larger than all before it.
func (g *IDs) Next() [16]byte {
	micros, serial := g.step(uint64(max(g.now().UnixMicro(), 0)))
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], micros)
	copy(id[8:14], g.mark[:])
	binary.BigEndian.PutUint16(id[14:], serial)
	return id
}

func (g *IDs) step(now uint64) (micros uint64, serial uint16) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now > g.micros {
		g.micros, g.serial = now, 0
		return g.micros, g.serial
	}
	if g.serial++; g.serial == 0 {
		g.micros++
	}
	return g.micros, g.serial
}
