package broker

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// drain reads messages as fast as they come, and acknowledges them.
func drain(b *testing.B, r *rawClient, n int) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range n {
			cp, err := packets.ReadPacket(r)
			if err != nil {
				return
			}
			if p, ok := cp.Content.(*packets.Publish); ok && p.QoS == 1 {
				ack := packets.NewControlPacket(packets.PUBACK)
				ack.Content.(*packets.Puback).PacketID = p.PacketID
				if _, err := ack.WriteTo(r); err != nil {
					return
				}
			}
		}
	}()
	return done
}

func BenchmarkInject(b *testing.B) {
	for _, size := range []int{64, 1024, 16384} {
		for qos := range byte(2) {
			b.Run(fmt.Sprintf("%dB/QoS%d", size, qos), func(b *testing.B) {
				n := start(b, Options{QueueLength: 1 << 20, MaxInflight: maxInflight}, nil, anyone())
				r, _ := connectRaw(b, n, "r", nil)
				r.subscribe(65535, "a/+", qos)
				i := n.Injector("peer")
				m := &Message{Topic: "a/b", QoS: qos, Payload: make([]byte, size)}
				b.ReportAllocs()
				const window = 1000
				for left := b.N; left > 0; left -= window {
					batch := min(left, window)
					done := drain(b, r, batch)
					for range batch {
						if err := i.Inject(m); err != nil {
							b.Fatal(err)
						}
					}
					<-done
				}
			})
		}
	}
}

type nobody struct{}

func (nobody) Published(*Message)                 {}
func (nobody) Control(*Session, *Message) Verdict { return Ack }
func (nobody) Closed(*Session)                    {}
func (nobody) Refused(string, string)             {}

// BenchmarkPublish is the road of a message that nobody here subscribes to:
// hook, handler, match.
func BenchmarkPublish(b *testing.B) {
	n := start(b, Options{}, nobody{}, anyone())
	m := Message{Topic: "a/b/c", QoS: 1, Payload: make([]byte, 64)}
	b.ReportAllocs()
	for b.Loop() {
		if err := n.Publish(m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkACL(b *testing.B) {
	var rules []rule
	for i := range 20 {
		rules = append(rules, mustRule(b, fmt.Sprintf("site/%d/${clientid}/+/up", i)))
	}
	r := &right{shared: shareRules(nil), rules: bind(rules, "u", "c")}
	b.ReportAllocs()
	for b.Loop() {
		if !r.publish("site/19/c/x/up", 1, false) {
			b.Fatal("denied")
		}
	}
}

// BenchmarkFan is a plain message on its way to many subscribers, who read as
// fast as it comes.
func BenchmarkFan(b *testing.B) {
	for _, subscribers := range []int{1, 100} {
		for qos := range byte(2) {
			b.Run(fmt.Sprintf("%d/QoS%d", subscribers, qos), func(b *testing.B) {
				n := start(b, Options{QueueLength: 10_000, MaxInflight: 10_000}, nil, anyone())
				var readers []*rawClient
				for i := range subscribers {
					r, _ := connectRaw(b, n, fmt.Sprint("r", i), nil)
					r.subscribe(65535, "a/+", qos)
					r.SetDeadline(time.Time{}) // however long it takes
					readers = append(readers, r)
				}
				m := Message{Topic: "a/b", QoS: qos, Payload: make([]byte, 64)}
				b.ReportAllocs()
				const window = 500
				for left := b.N; left > 0; left -= window {
					batch := min(left, window)
					var done []chan struct{}
					for _, r := range readers {
						done = append(done, drainFrames(r, batch, qos))
					}
					for range batch {
						if err := n.Publish(m); err != nil {
							b.Fatal(err)
						}
					}
					for _, d := range done {
						<-d
					}
				}
			})
		}
	}
}

// drainFrames is drain for messages of 64 B at a/b, without allocations of its
// own.
func drainFrames(r *rawClient, n int, qos byte) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		var room [74]byte
		frame := room[:72+2*int(qos)]
		in := bufio.NewReader(r)
		for range n {
			if _, err := io.ReadFull(in, frame); err != nil {
				return
			}
			if qos == 0 {
				continue
			}
			if _, err := r.Write([]byte{0x40, 2, frame[7], frame[8]}); err != nil {
				return
			}
		}
	}()
	return done
}

// BenchmarkSpread is the short road itself: who gets a message that nobody
// wants is looked up.
func BenchmarkSpread(b *testing.B) {
	n := start(b, Options{}, nil, anyone())
	connectRaw(b, n, "c", nil) // so that Run has started
	warm(b, n, "a/b/c")
	m := Message{Topic: "a/b/c", Payload: make([]byte, 64)}
	pk := m.packet(0)
	b.ReportAllocs()
	for b.Loop() {
		if !n.spread(&pk, nil) {
			b.Fatal("it took the engine's road")
		}
	}
}

// BenchmarkEncode appends a plain message to a connection's buffer.
func BenchmarkEncode(b *testing.B) {
	k := &conn{flushing: true}
	payload := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		k.buf, k.cuts, k.size = k.buf[:0], nil, 0
		if k.putPlain("site/1/device/2/up", payload, 5, 0, nil) == 0 {
			b.Fatal("not written")
		}
	}
}

// BenchmarkAck is a publisher's message at QoS 1 and its PUBACK, many on the
// way.
func BenchmarkAck(b *testing.B) {
	n := start(b, Options{}, nil, anyone())
	r, _ := connectRaw(b, n, "p", nil)
	cp := packets.NewControlPacket(packets.PUBLISH)
	p := cp.Content.(*packets.Publish)
	p.Topic, p.QoS, p.Payload = "a/b", 1, make([]byte, 64)
	b.ReportAllocs()
	const window = 500
	for left := b.N; left > 0; left -= window {
		batch := min(left, window)
		var out bytes.Buffer
		for i := range batch {
			p.PacketID = uint16(i + 1)
			if _, err := cp.WriteTo(&out); err != nil {
				b.Fatal(err)
			}
		}
		done := drain(b, r, batch)
		if _, err := r.Write(out.Bytes()); err != nil {
			b.Fatal(err)
		}
		<-done
	}
}
