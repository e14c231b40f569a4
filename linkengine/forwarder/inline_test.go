package forwarder_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"clink/linkengine/client"
	"clink/linkengine/forwarder"
	"clink/linkengine/wire"

	"github.com/eclipse/paho.golang/packets"
)

// A socketPeer is a peer's broker at the other end of real sockets, which
// acknowledges everything that it reads.
type socketPeer struct {
	*forwarder.Forwarder
	counters forwarder.Counters
	ln       net.Listener
	got      chan int      // numbers of messages, in the order in which they come
	reading  atomic.Bool   // else it reads nothing
	wake     chan struct{} // closed when reading becomes true
	most     atomic.Int64  // packets of a connection, after which it breaks; 0: it does not
	conns    sync.WaitGroup
}

func (p *socketPeer) Lost()                          {}
func (p *socketPeer) Ready() (bool, <-chan struct{}) { return true, nil }
func (p *socketPeer) Wants(string) bool              { return true }
func (p *socketPeer) Unsure() bool                   { return false }

func (p *socketPeer) dial(ctx context.Context, n int, acked func(uint16, byte), idle func()) (*client.Conn, error) {
	return client.Dial(ctx, client.Options{Address: p.ln.Addr().String(), ClientID: "x", Acked: acked, Idle: idle})
}

func startPeer(t *testing.T, opts forwarder.Options) *socketPeer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &socketPeer{ln: ln, got: make(chan int, 100_000), wake: make(chan struct{})}
	opts.Topic, opts.Dial, opts.Peer, opts.Counters = "$LINK/cluster/msg/a", p.dial, p, &p.counters
	p.Forwarder = forwarder.New(opts)
	p.conns.Go(p.accept)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { p.Run(ctx); close(ended) }()
	t.Cleanup(func() {
		cancel()
		ln.Close()
		<-ended
		p.conns.Wait()
	})
	until(func() bool { up, _, _, _ := p.State(); return up > 0 })
	return p
}

// until waits for a condition.
func until(ok func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		<-tick.C
	}
}

func (p *socketPeer) read() {
	p.reading.Store(true)
	close(p.wake)
}

func (p *socketPeer) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.conns.Go(func() { p.serve(c) })
	}
}

func (p *socketPeer) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for n := int64(0); ; n++ {
		cp, err := packets.ReadPacket(r)
		if err != nil {
			return
		}
		switch m := cp.Content.(type) {
		case *packets.Connect:
			(&packets.Connack{Properties: &packets.Properties{}}).WriteTo(c)
			if !p.reading.Load() {
				<-p.wake
			}
		case *packets.Publish:
			rec, err := wire.DecodeForward(m.Payload, wire.DefaultLimits(0))
			number, bad := strconv.Atoi(rec.Topic)
			if err != nil || bad != nil || !whole(rec.Payload, number) {
				number = -1
			}
			p.got <- number
			if m.QoS > 0 {
				(&packets.Puback{PacketID: m.PacketID, Properties: &packets.Properties{}}).WriteTo(c)
			}
		case *packets.Pingreq:
			packets.NewControlPacket(packets.PINGRESP).WriteTo(c)
		}
		if most := p.most.Load(); most > 0 && n > most {
			return
		}
	}
}

func payload(number, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(number + i)
	}
	return b
}

func whole(b []byte, number int) bool {
	for i := range b {
		if b[i] != byte(number+i) {
			return false
		}
	}
	return true
}

// A source puts off what it is told, as a publisher's connection does.
type source struct {
	todo    []interface{ Flush() }
	settled int
}

func (s *source) Soon(f interface{ Flush() }) { s.todo = append(s.todo, f) }
func (s *source) Settle()                     { s.settled++; s.flush() }

func (s *source) flush() {
	for _, f := range s.todo {
		f.Flush()
	}
	s.todo = nil
}

func (p *socketPeer) send(number, size int, qos byte, from forwarder.Source) bool {
	i := forwarder.NewItem(&wire.Forward{QoS: qos, Topic: strconv.Itoa(number), Payload: payload(number, size)}, 0)
	i.Source = from
	return p.Forward(&i)
}

// next is the next message that came.
func (p *socketPeer) next(t *testing.T) int {
	t.Helper()
	select {
	case n := <-p.got:
		return n
	case <-time.After(time.Minute):
		t.Fatal("no message came")
		return 0
	}
}

// Whoever sends, the publisher, the lane or the reader of the acknowledgements,
// messages come once, whole, and in order.
func TestSendersKeepOrder(t *testing.T) {
	for _, window := range []int{4, 1000} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			p := startPeer(t, forwarder.Options{Lanes: 1, Window: window})
			p.read()
			const total = 1500
			sizes := []int{10, 10, 10, 1000, 5000, 40_000}
			go func() {
				s := &source{}
				for n := range total {
					var from forwarder.Source = s
					if rand.IntN(4) == 0 {
						from = nil
					}
					p.send(n, sizes[rand.IntN(len(sizes))], byte(rand.IntN(2)), from)
					if rand.IntN(3) == 0 {
						s.flush()
					}
				}
				s.flush()
			}()
			for n := range total {
				if got := p.next(t); got != n {
					t.Fatalf("message %d came in the place of %d", got, n)
				}
			}
			until(func() bool { return p.Gauges() == (forwarder.Gauges{}) })
			if n := p.counters.Success.Load(); n != total {
				t.Errorf("%d of %d are counted", n, total)
			}
		})
	}
}

// A peer that does not read holds up no publisher; what its queue has no room
// for is dropped, and the rest comes in order.
func TestStuckPeerHoldsUpNobody(t *testing.T) {
	p := startPeer(t, forwarder.Options{Lanes: 1, Window: 100, Bytes: 1 << 20})
	const total = 3000
	s := &source{}
	for n := range total {
		p.send(n, 8000, 0, s)
		s.flush()
	}
	dropped := int(p.counters.Dropped.Load())
	if dropped == 0 || s.settled > 0 {
		t.Errorf("%d dropped, settled %d times", dropped, s.settled)
	}
	p.read()
	last := -1
	for range total - dropped {
		n := p.next(t)
		if n <= last {
			t.Fatalf("%d after %d", n, last)
		}
		last = n
	}
	if last != total-1 {
		t.Errorf("the last one is %d", last)
	}
}

// noted is what else a publisher has put off.
type noted struct{ flushed atomic.Bool }

func (n *noted) Flush() { n.flushed.Store(true) }

// A publisher that a full queue makes wait has first done what it has put off.
func TestBlockedPublisherOwesNothing(t *testing.T) {
	p := startPeer(t, forwarder.Options{Lanes: 1, Window: 4, Bytes: 100_000, WhenFull: forwarder.Block})
	const total = 2000
	other := &noted{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s := &source{}
		for n := range total {
			s.Soon(other)
			if n == 0 {
				other.flushed.Store(false)
			}
			p.send(n, 8000, 1, s)
		}
		s.flush()
	}()
	until(other.flushed.Load) // it waits: nothing else flushes in the loop
	select {
	case <-ended:
		t.Error("the publisher did not wait")
	default:
	}
	p.read()
	for n := range total {
		if got := p.next(t); got != n {
			t.Fatalf("message %d came in the place of %d", got, n)
		}
	}
	<-ended
}

// Over connections that break again and again everything comes, for the first
// time in order, whoever was sending.
func TestSendersSurviveBreaks(t *testing.T) {
	p := startPeer(t, forwarder.Options{Lanes: 1, Window: 16})
	p.most.Store(150) // a few breaks: the wait between them doubles
	p.read()
	const total = 400
	go func() {
		s := &source{}
		for n := range total {
			p.send(n, []int{10, 6000}[n%2], 1, s)
			if rand.IntN(3) == 0 {
				s.flush()
			}
		}
		s.flush()
	}()
	for next := 0; next < total; {
		n := p.next(t)
		if n < 0 || n > next {
			t.Fatalf("message %d came before %d", n, next)
		}
		if n == next {
			next++
		}
	}
	if p.counters.Reconnects.Load() == 0 {
		t.Error("no connection broke")
	}
}
