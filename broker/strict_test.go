package broker

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A SUBSCRIBE that ends before its options makes the engine read beyond the
// packet's end, which would be the end of the process.
func TestTruncatedSubscribe(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	bad := framed(kSubscribe<<4|2, u16(1), properties(), text("x"))
	err := attempt(func() {
		p := come(address, 5, hello{id: "p"})
		p.send(bad)
		told(p, 0x81)
		q := open(address, 5) // in one piece with its CONNECT
		q.send(join(hello{id: "q"}.encode(5), bad))
		q.over()
		come(address, 5, hello{id: "p"}).quiet("the node lives")
	})
	if err != nil {
		t.Error(err)
	}
}

func FuzzWellFormed(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 1, 'x', 0}, byte(5))
	f.Add([]byte{0, 1, 0, 1, 'x', 0}, byte(4))
	f.Add([]byte{0, 1, 2, 0x0b, 7, 0, 1, 'x', 0x2c}, byte(5))
	f.Fuzz(func(t *testing.T, body []byte, proto byte) {
		if !wellFormed(body, proto) {
			return
		}
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, ProtocolVersion: proto}
		_ = pk.SubscribeDecode(body) // must not panic
	})
}
