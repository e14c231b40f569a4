package broker

import (
	"fmt"
	"testing"

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
				n := start(b, Options{QueueLength: 1 << 20, MaxInflight: 65535}, nil, anyone())
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
