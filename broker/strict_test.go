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

func FuzzFitConnect(f *testing.F) {
	will := lastWill{topic: "w", props: property(0x18, u32(1))}
	for _, h := range []hello{{id: "a"}, {id: "a", props: property(0x21, u16(0))}, {id: "a", will: &will, user: "u"}} {
		f.Add(h.encode(5)[2:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_ = fitConnect(body) // must not panic
	})
}

// faultyConnectV5: MQTT 5.0 §3.1.2.11.
func faultyConnectV5(a string) {
	for name, props := range map[string][]byte{
		"Receive Maximum 0":        property(0x21, u16(0)),
		"Maximum Packet Size 0":    property(0x27, u32(0)),
		"Request Problem 2":        property(0x17, []byte{2}),
		"Request Response 2":       property(0x19, []byte{2}),
		"data, but no method":      property(0x16, text("x")),
		"expiry twice":             join(expiry(1), expiry(1)),
		"Receive Maximum twice":    join(property(0x21, u16(5)), property(0x21, u16(5))),
		"method twice":             join(property(0x15, text("a")), property(0x15, text("a"))),
		"Topic Alias Max., thrice": join(property(0x22, u16(5)), property(0x22, u16(5)), property(0x22, u16(5))),
	} {
		p, ack := meet(a, 5, hello{id: "p", props: props})
		must(ack.code() == 0x82, "%s: %v", name, ack)
		p.over()
	}
	for name, will := range map[string][]byte{
		"will delay twice": join(property(0x18, u32(1)), property(0x18, u32(1))),
		"payload format 2": property(0x01, []byte{2}),
	} {
		p, ack := meet(a, 5, hello{id: "p", will: &lastWill{topic: "w", props: will}})
		must(ack.code() == 0x82, "%s: %v", name, ack)
		p.over()
	}
	user := property(0x26, join(text("k"), text("v")))
	fine := join(user, expiry(0), property(0x21, u16(1)), property(0x27, u32(200)), user, property(0x17, []byte{0}), property(0x19, []byte{1}))
	come(a, 5, hello{id: "p", props: fine, will: &lastWill{topic: "w", props: join(user, property(0x01, []byte{1}), user)}}).bye()
	p := open(a, 5) // in small pieces
	for _, b := range (hello{id: "p", props: property(0x21, u16(0))}).encode(5) {
		p.send([]byte{b})
	}
	must(p.next().code() == 0x82, "in small pieces")
}
