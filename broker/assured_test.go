package broker

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// stream is what one subscriber gets: the messages of each publisher, in order,
// until each has sent its last. Acknowledgements come late, in bursts, so that
// identifiers have to be unique among several.
func (r *rawClient) stream(publishers, each int, qos byte) map[byte][]uint32 {
	got := make(map[byte][]uint32)
	owed := make(map[uint16]bool)
	for n := 0; n < publishers*each; n++ {
		p, ok := r.read().Content.(*packets.Publish)
		if !ok || p.QoS != qos || p.Duplicate || p.Retain || len(p.Payload) != 5 || p.Topic != "s/t" {
			r.t.Errorf("got %v, want a message with QoS %d", p, qos)
			return got
		}
		got[p.Payload[0]] = append(got[p.Payload[0]], binary.BigEndian.Uint32(p.Payload[1:]))
		if qos == 0 {
			continue
		}
		if p.PacketID == 0 || owed[p.PacketID] {
			r.t.Errorf("identifier %d is not free", p.PacketID)
		}
		owed[p.PacketID] = true
		if len(owed) == 20 || n == publishers*each-1 {
			for id := range owed {
				r.puback(id)
			}
			clear(owed)
		}
	}
	return got
}

func inOrder(t *testing.T, who string, got map[byte][]uint32, publishers, each int) {
	t.Helper()
	if len(got) != publishers {
		t.Errorf("%s: messages of %d publishers", who, len(got))
	}
	for from, list := range got {
		for i, v := range list {
			if int(v) != i {
				t.Errorf("%s: message %d of publisher %d came in the place of %d", who, v, from, i)
				return
			}
		}
		if len(list) != each {
			t.Errorf("%s: %d messages of publisher %d", who, len(list), from)
		}
	}
}

// Whatever road the messages take, alone or mixed, each subscriber gets the
// same: all of them, with its QoS, each publisher's in order, with identifiers
// of their own.
func TestAssuredRoadsAgree(t *testing.T) {
	publishers, each := 4, 600
	if testing.Short() {
		each = 200
	}
	for name, long := range map[string]func(i int) bool{
		"short": func(int) bool { return false },
		"long":  func(int) bool { return true },
		"mixed": func(i int) bool { return i/50%3 == 1 },
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, Options{QueueLength: 10_000, MaxInflight: 10_000}, nil, anyone())
			var wg sync.WaitGroup
			for i, most := range []uint16{0, 0, 1, 7, 0} {
				qos := byte(1)
				if i == 0 {
					qos = 0
				}
				r, _ := connectRaw(t, n, fmt.Sprint("r", i), func(c *packets.Connect) {
					if most > 0 {
						c.Properties = &packets.Properties{ReceiveMaximum: &most}
					}
				})
				r.subscribe(1, "s/+", qos)
				if most > 0 {
					wg.Go(func() {
						inOrder(t, fmt.Sprint("Receive Maximum ", most), r.oneByOne(publishers*each), publishers, each)
					})
				} else {
					wg.Go(func() { inOrder(t, fmt.Sprint("subscriber ", i), r.stream(publishers, each, qos), publishers, each) })
				}
			}
			for p := range publishers {
				wg.Go(func() {
					for i := range each {
						m := Message{Topic: "s/t", QoS: 1, Payload: binary.BigEndian.AppendUint32([]byte{byte(p)}, uint32(i))}
						if long(i) {
							m.ContentType = "x"
						}
						if err := n.Publish(m); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			eventually(t, "everything is acknowledged", func() bool { return atomic.LoadInt64(&n.server.Info.Inflight) == 0 })
			if d := n.Stats().Dropped; d["queue_full"]+d["inflight_full"] != 0 {
				t.Errorf("dropped: %v", d)
			}
		})
	}
}

// oneByOne acknowledges each message as it comes.
func (r *rawClient) oneByOne(count int) map[byte][]uint32 {
	got := make(map[byte][]uint32)
	for range count {
		p := r.read().Content.(*packets.Publish)
		got[p.Payload[0]] = append(got[p.Payload[0]], binary.BigEndian.Uint32(p.Payload[1:]))
		r.puback(p.PacketID)
	}
	return got
}

// What was written by the short road and not acknowledged comes again over the
// next connection, marked, in order; what comes while nobody is connected
// follows.
func TestAssuredComesAgain(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	keep := func(c *packets.Connect) {
		hour := uint32(3600)
		c.CleanStart, c.Properties = false, &packets.Properties{SessionExpiryInterval: &hour}
	}
	r, _ := connectRaw(t, n, "r", keep)
	r.subscribe(1, "s/t", 1)
	r.silent("after the SUBACK") // when a SUBSCRIBE is through, subscribers are forgotten once more
	warm(t, n, "s/t")
	for range 3 {
		r.read()
	}
	send := func(i int) {
		if err := n.Publish(Message{Topic: "s/t", QoS: 1, Payload: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	ids := make(map[string]uint16)
	for i := range 10 {
		send(i)
		p := r.read().Content.(*packets.Publish)
		ids[string(p.Payload)] = p.PacketID
	}
	r.puback(ids["3"])
	r.silent("after the last message")
	r.Close()
	eventually(t, "the client is gone", func() bool { return n.connected("r") == nil })
	send(10)
	r, _ = connectRaw(t, n, "r", keep)
	for i := range 11 {
		if i == 3 {
			continue
		}
		p := r.read().Content.(*packets.Publish)
		if string(p.Payload) != fmt.Sprint(i) || p.QoS != 1 || p.Duplicate != (i < 10) && i < 10 {
			t.Fatalf("got %v in the place of %d", p, i)
		}
		if i < 10 && p.PacketID != ids[string(p.Payload)] {
			t.Errorf("message %d has identifier %d, had %d", i, p.PacketID, ids[string(p.Payload)])
		}
		r.puback(p.PacketID)
	}
	r.silent("after what was sent again")
	eventually(t, "everything is acknowledged", func() bool { return atomic.LoadInt64(&n.server.Info.Inflight) == 0 })
}

// A plain publish with QoS 1 takes the short road.
func TestAssuredIsShort(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	r, _ := connectRaw(t, n, "r", nil)
	r.subscribe(1, "s/t", 1)
	r.silent("after the SUBACK") // when a SUBSCRIBE is through, subscribers are forgotten once more
	warm(t, n, "s/t")
	m := Message{Topic: "s/t", QoS: 1, Payload: []byte("x")}
	pk := m.packet(0)
	eventually(t, "nothing is on the engine's road", func() bool { return n.connected("r").overflow.aboard.Load() == 0 })
	if !n.spread(&pk, nil) {
		t.Error("it took the engine's road")
	}
	pk.TopicName = "$x"
	if n.spread(&pk, nil) {
		t.Error("a $ topic did not take the engine's road")
	}
}
