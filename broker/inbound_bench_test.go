package broker

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// BenchmarkInbound is the road of a client's publish that nobody subscribes
// to, with its acknowledgements.
func BenchmarkInbound(b *testing.B) {
	for _, qos := range []byte{1, 2} {
		b.Run([]string{"", "QoS1", "QoS2"}[qos], func(b *testing.B) {
			n := start(b, Options{}, nil, anyone())
			c, err := net.Dial("tcp", addr(b, n, "tcp"))
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			r := bufio.NewReaderSize(c, 64<<10)
			c.Write([]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 1, 'p'})
			io.CopyN(io.Discard, r, 4)
			const window = 500
			var out []byte
			ack := make([]byte, 4)
			exchange := func(first byte, from, batch int) {
				out = out[:0]
				for i := range batch {
					if first == 0x62 {
						out = append(out, first, 2)
					} else {
						out = append(out, first, 2+5+64)
						out = append(out, 0, 3, 'a', '/', 'b')
					}
					out = binary.BigEndian.AppendUint16(out, uint16(from+i+1))
					if first != 0x62 {
						out = append(out, make([]byte, 64)...)
					}
				}
				if _, err := c.Write(out); err != nil {
					b.Fatal(err)
				}
				for range batch {
					if _, err := io.ReadFull(r, ack); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; left -= window {
				batch := min(left, window)
				exchange(0x30|qos<<1, 0, batch)
				if qos == 2 {
					exchange(0x62, 0, batch)
				}
			}
		})
	}
}
