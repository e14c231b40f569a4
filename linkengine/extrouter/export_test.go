package extrouter

import (
	"encoding/binary"
	"hash/crc32"
)

// Empty reports whether nothing is left of any route.
func (t *Table) Empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.past {
		if len(c.actors) == 0 {
			return false
		}
	}
	for _, c := range t.clusters {
		if c.routes != 0 || c.bytes != 0 || c.levels != 0 || len(c.others) != 0 {
			return false
		}
		for _, a := range c.actors {
			if a.routes != 0 {
				return false
			}
		}
	}
	return t.exact.live == 0 && t.levels.live == 0 && t.root.kids == 0 && t.root.below.Load() == nil
}

// Whole makes records what [Table.Load] takes for a whole file.
func Whole(records []byte) []byte {
	b := append([]byte(savedAs), records...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

const PastTime = pastTime
