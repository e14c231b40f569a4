package broker

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A publisher that has looked up a subscriber may store its message only when
// the session has moved on, by however many connections. The message follows.
func TestMessageOfASlowPublisherFollowsTheSession(t *testing.T) {
	for moves := range 3 {
		for _, online := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d moves, online %v", moves, online), func(t *testing.T) {
				n := start(t, Options{}, nil, anyone())
				address := addr(t, n, "tcp")
				h := hello{id: "s", resume: true, props: property(0x11, u32(600))}
				err := attempt(func() {
					p := come(address, 5, h)
					p.subscribe(1, "q", 1)
					c := n.connected("s")
					for range moves {
						p.Close()
						p = come(address, 5, h)
						must(len(p.ping()) == 0, "something came")
					}
					if !online {
						p.Close()
						awaitGone(t, n, "s")
					}
					for i, deliver := range []func(packets.Packet){
						func(pk packets.Packet) { c.handAssured(&pk, nil) },
						func(pk packets.Packet) { // as the engine does it
							pk.PacketID, pk.FixedHeader.Qos = 40_000, 1
							c.cl.State.Inflight.Set(pk)
							atomic.AddInt64(&n.server.Info.Inflight, 1)
							(&hook{n: n}).OnQosPublish(c.cl, pk, 0, 0)
						},
					} {
						if moves == 0 && i == 1 && online {
							continue // the engine would send it, who is not here
						}
						deliver(packets.Packet{
							FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, ProtocolVersion: 5,
							TopicName: "q", Payload: []byte{byte('0' + i)}, Created: n.seq.Add(1),
						})
						if !online {
							continue
						}
						m := p.next().message()
						must(m.payload == string(byte('0'+i)), "%q came", m.payload)
						p.answer(kPuback, m.id)
					}
					if !online {
						p = come(address, 5, h)
						for i := range 2 {
							m := p.next().message()
							must(m.payload == string(byte('0'+i)), "%q came", m.payload)
							p.answer(kPuback, m.id)
						}
					}
					must(len(p.ping()) == 0, "something came twice")
				})
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, "nothing is under way", func() bool { return n.server.Info.Clone().Inflight == 0 })
			})
		}
	}
}

// What a connection that ends at once has collected is there for the next one.
func TestHaltingConnectionsLoseNothing(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	h := hello{id: "s", resume: true, props: property(0x11, u32(600))}
	err := attempt(func() {
		p := come(address, 5, h)
		p.subscribe(1, "q", 1)
		c := n.connected("s")
		held := n.grace.enter() // a publisher that is held up
		p.Close()
		p = come(address, 5, h)
		next := n.connected("s")
		c.cl.State.Inflight.Set(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, ProtocolVersion: 5,
			TopicName: "q", Payload: []byte("late"), Created: n.seq.Add(1), PacketID: 9,
		})
		atomic.AddInt64(&n.server.Info.Inflight, 1)
		p.Close()
		<-next.ended
		n.grace.leave(held)
		p = come(address, 5, h)
		must(p.next().message().payload == "late", "it is lost")
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A blocker keeps the reader of a client that publishes to one topic.
type blocker struct {
	nobody
	topic string
	held  chan struct{} // says that it does
	until chan struct{}
}

func (b *blocker) Published(m *Message) {
	if m.Topic == b.topic {
		b.held <- struct{}{}
		<-b.until
	}
}

// What is published while a connection has ended, and the engine does not know
// yet, is kept for the session, however much there is.
func TestEndingConnectionsLoseNothing(t *testing.T) {
	const many = channelLength + 50
	b := &blocker{topic: "hold", held: make(chan struct{}), until: make(chan struct{})}
	n := start(t, Options{}, b, anyone())
	address := addr(t, n, "tcp")
	h := hello{id: "s", resume: true, props: property(0x11, u32(600))}
	err := attempt(func() {
		p := come(address, 5, h)
		p.subscribe(1, "q", 2)
		pub := come(address, 5, hello{id: "p"})
		c := n.connected("s")
		p.publishRaw(0, "hold", 0, "")
		<-b.held
		c.conn.Close()
		c.conn.mu.Lock() // keeps the write loop
		done := make(chan error, 1)
		go func() {
			done <- attempt(func() {
				for i := range many {
					pub.publish(2, "q", i+1, fmt.Sprint(i))
				}
			})
		}()
		var failed error
		for ended := false; !ended && c.overflow.aboard.Load() <= channelLength; {
			select {
			case failed = <-done:
				ended, done = true, nil
			case <-time.After(time.Millisecond):
			}
		}
		c.conn.mu.Unlock()
		if done != nil {
			failed = <-done
		}
		must(failed == nil, "publish: %v", failed)
		close(b.until)
		p = come(address, 5, h)
		for i := range many {
			k := p.next()
			for k.kind == kPubrel {
				p.answer(kPubcomp, k.id())
				k = p.next()
			}
			m := k.message()
			must(m.payload == fmt.Sprint(i), "%s came for %d", m.payload, i)
			p.answer(kPubrec, m.id)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestGraceOutlivesAWaitThatGaveUp(t *testing.T) {
	var g grace
	first := g.enter()
	for range 2 {
		if g.wait(time.Millisecond, nil) {
			t.Error("a wait is over before all have left")
		}
	}
	done := make(chan struct{})
	close(done)
	if g.wait(time.Hour, done) {
		t.Error("a wait that is called off reports success")
	}
	g.leave(first)
	second := g.enter()
	if g.wait(time.Millisecond, nil) {
		t.Error("a wait is over before all have left")
	}
	g.leave(second)
	if !g.wait(time.Hour, nil) {
		t.Error("a wait has given up")
	}
}

// However publishers come and go, a wait ends when those have left that had
// entered before it.
func TestGraceIsToldOfThoseWhoLeave(t *testing.T) {
	var g grace
	var busy sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					g.leave(g.enter())
				}
			}
		})
	}
	for range 200 {
		held := g.enter()
		go g.leave(held)
		if !g.wait(patience, nil) {
			t.Error("a wait has not ended")
		}
	}
	close(stop)
	busy.Wait()
}
