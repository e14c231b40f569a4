package broker

import (
	"testing"
)

// However the bytes are cut, a splitter lets as many PUBLISH packets begin as
// it is told.
func TestSplitter(t *testing.T) {
	publish := append([]byte{0x30, 0x83, 0x01}, make([]byte, 131)...)
	ping := []byte{0xc0, 0}
	var stream []byte
	for range 3 {
		stream = append(append(stream, publish...), ping...)
	}
	for chunk := 1; chunk <= len(stream); chunk++ {
		var s splitter
		at, seen := 0, 0
		for at < len(stream) {
			n, k := s.upTo(stream[at:min(len(stream), at+chunk)], 1)
			if k > 1 || n == 0 {
				t.Fatalf("chunks of %d: %d bytes, %d packets", chunk, n, k)
			}
			at, seen = at+n, seen+k
		}
		if seen != 3 {
			t.Fatalf("chunks of %d: %d packets", chunk, seen)
		}
		if n, _ := s.upTo(publish, 0); n != 0 {
			t.Fatalf("chunks of %d: %d bytes of a packet pass that may not", chunk, n)
		}
	}
}
