package broker_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"clink/broker"
	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
)

// TestSoak has publishers and subscribers in pairs, with QoS 0, 1 and 2, on a
// node without a store and on one with a store. Subscribers break their
// connections and take over their own sessions. In the end no message with QoS
// 1 or 2 that was acknowledged is missing, memory is what it was after a
// quarter of the time, and goroutines are what they were before the first
// client. With CLINK_LONG=1 it has 2,000 clients and takes ten minutes for
// each node, or as long as CLINK_SOAK says.
func TestSoak(t *testing.T) {
	t.Run("memory", func(t *testing.T) { soakNode(t, "") })
	t.Run("store", func(t *testing.T) { soakNode(t, t.TempDir()) })
}

func soakNode(t *testing.T, store string) {
	clients, length, pace := 200, 5*time.Second, 50*time.Millisecond
	if os.Getenv("CLINK_LONG") != "" {
		clients, length, pace = 2000, 10*time.Minute, 250*time.Millisecond
	}
	if s := os.Getenv("CLINK_SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		length = 3 * time.Second
	}
	s := newSoak(t, pace, store)
	before := s.atRest()
	pairs := make([]*pair, clients/2)
	var publishers, subscribers sync.WaitGroup
	for i := range pairs {
		pairs[i] = &pair{soak: s, i: i, ready: make(chan struct{})}
		subscribers.Go(pairs[i].subscribe)
		publishers.Go(pairs[i].publish)
	}
	for _, p := range pairs { // the time is for what they do, on a busy machine too
		select {
		case <-p.ready:
		case <-time.After(5 * time.Minute):
			t.Fatalf("subscriber %d never subscribed", p.i)
		}
	}
	s.wait(length / 4)
	heap, _ := measure()
	s.wait(length * 3 / 4)
	close(s.noMore)
	publishers.Wait()
	for _, p := range pairs {
		p.settle(t)
	}
	endHeap, _ := measure()
	if endHeap > heap+heap/4+8<<20 {
		t.Errorf("the heap grew from %d to %d KiB", heap>>10, endHeap>>10)
	}
	s.await("the publishers are gone", func() bool { st := s.node.Stats(); return st.Clients+st.Sessions <= len(pairs) })
	st := s.node.Stats()
	if (store != "") != st.StoreUp || st.StoreRefused > 0 {
		t.Errorf("the store is up: %v, it refused %d records", st.StoreUp, st.StoreRefused)
	}
	close(s.done)
	for _, p := range pairs {
		p.mu.Lock()
		if p.conn != nil {
			p.conn.Close()
		}
		p.mu.Unlock()
	}
	subscribers.Wait()
	after := s.goroutines(before)
	t.Logf("heap %d to %d KiB, goroutines %d to %d; %+v", heap>>10, endHeap>>10, before, after, st)
	if after > before {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines before the first client, %d after the last:\n%s", before, after, buf[:runtime.Stack(buf, true)])
	}
}

// atRest is how many goroutines there are when a first client has come and
// gone: by then all that the node runs for itself is there.
func (s *soak) atRest() int {
	if c, _ := s.dial("first", true, s.done); c != nil {
		c.Close()
	}
	s.await("the first client is gone", func() bool { return s.node.Stats().Clients == 0 })
	return runtime.NumGoroutine()
}

// await waits for a condition.
func (s *soak) await(what string, ok func() bool) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("not within a minute: %s; %+v", what, s.node.Stats())
		}
	}
}

// goroutines is their number once it is down to what it was, or after a minute.
// Not one of the many thousand connections may leave one behind.
func (s *soak) goroutines(before int) int {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		n := runtime.NumGoroutine()
		if n <= before {
			return n
		}
		select {
		case <-tick.C:
		case <-deadline:
			return n
		}
	}
}

func measure() (heap uint64, routines int) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, runtime.NumGoroutine()
}

type soak struct {
	t            *testing.T
	node         *broker.Node
	address      string
	pace         time.Duration
	noMore, done chan struct{} // to publish; to receive
}

func newSoak(t *testing.T, pace time.Duration, store string) *soak {
	n, err := broker.New(broker.Options{Name: "soak", Store: store})
	if err != nil {
		t.Fatal(err)
	}
	err = n.Apply(context.Background(), broker.Config{
		Listeners: []topology.Listener{{Name: "tcp", Type: topology.TCP, Enable: true, Bind: "127.0.0.1:0"}},
		Access:    topology.Access{Anonymous: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &soak{t: t, node: n, address: n.Listeners()[0].Addr.String(), pace: pace, noMore: make(chan struct{}), done: make(chan struct{})}
}

func (s *soak) wait(d time.Duration) { <-time.After(d) }

// dial connects until it is let in; nil at the end.
func (s *soak) dial(id string, clean bool, over <-chan struct{}) (net.Conn, *packets.Connack) {
	for {
		select {
		case <-over:
			return nil, nil
		default:
		}
		c, err := net.DialTimeout("tcp", s.address, time.Minute)
		if err != nil {
			s.t.Errorf("%s: %v", id, err)
			return nil, nil
		}
		cp := packets.NewControlPacket(packets.CONNECT)
		m := cp.Content.(*packets.Connect)
		expiry := uint32(3600)
		m.ClientID, m.CleanStart, m.KeepAlive = id, clean, 60
		if !clean {
			m.Properties.SessionExpiryInterval = &expiry
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		cp.WriteTo(c)
		if answer, err := packets.ReadPacket(c); err == nil {
			if ack, ok := answer.Content.(*packets.Connack); ok && ack.ReasonCode == 0 {
				c.SetDeadline(time.Time{})
				return c, ack
			}
		}
		c.Close()
	}
}

// A pair is a publisher and the subscriber of its topic.
type pair struct {
	*soak
	i     int
	ready chan struct{} // closed when it has subscribed

	mu    sync.Mutex
	acked map[uint64]bool // with QoS 1 and 2, until they have come
	early map[uint64]bool // came before they were acknowledged
	conn  net.Conn

	subscribed sync.Once
}

// publish publishes numbers, each with the QoS that is its remainder by 3, and
// waits for its acknowledgement.
func (p *pair) publish() {
	select {
	case <-p.ready:
	case <-p.noMore:
		p.t.Errorf("subscriber %d never subscribed", p.i)
		return
	}
	c, _ := p.dial(fmt.Sprint("pub", p.i), true, p.noMore)
	if c == nil {
		return
	}
	defer c.Close()
	tick := time.NewTicker(p.pace)
	defer tick.Stop()
	for n := uint64(0); ; n++ {
		select {
		case <-p.noMore:
			return
		case <-tick.C:
		}
		if err := p.publishOne(c, n); err != nil {
			p.t.Errorf("publisher %d: %v", p.i, err)
			return
		}
		if n%3 != 0 {
			p.note(&p.acked, &p.early, n)
		}
	}
}

// note moves a number that was acknowledged, or came, out of the one set or
// into the other.
func (p *pair) note(into, from *map[uint64]bool, n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if (*from)[n] {
		delete(*from, n)
		return
	}
	if *into == nil {
		*into = make(map[uint64]bool)
	}
	(*into)[n] = true
}

func (p *pair) publishOne(c net.Conn, n uint64) error {
	cp := packets.NewControlPacket(packets.PUBLISH)
	m := cp.Content.(*packets.Publish)
	m.Topic, m.QoS, m.Payload = fmt.Sprint("soak/", p.i), byte(n%3), binary.BigEndian.AppendUint64(nil, n)
	if m.QoS > 0 {
		m.PacketID = uint16(n%60_000) + 1
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := cp.WriteTo(c); err != nil || m.QoS == 0 {
		return err
	}
	answer, err := packets.ReadPacket(c)
	if err != nil || m.QoS == 1 {
		return err
	}
	if answer.Type != packets.PUBREC {
		return fmt.Errorf("got %s for QoS 2", answer.PacketType())
	}
	rel := packets.NewControlPacket(packets.PUBREL)
	rel.Content.(*packets.Pubrel).PacketID = m.PacketID
	if _, err := rel.WriteTo(c); err != nil {
		return err
	}
	_, err = packets.ReadPacket(c)
	return err
}

// subscribe receives, and now and then breaks its connection, or begins
// another before it has ended.
func (p *pair) subscribe() {
	var seen numbers // what came; it may come again
	var old net.Conn
	for {
		c, ack := p.dial(fmt.Sprint("sub", p.i), false, p.done)
		if old != nil {
			old.Close()
		}
		if c == nil {
			return
		}
		p.mu.Lock()
		p.conn = c
		p.mu.Unlock()
		select {
		case <-p.done: // too late for it to be closed by others
			c.Close()
		default:
		}
		if !ack.SessionPresent {
			cp := packets.NewControlPacket(packets.SUBSCRIBE)
			m := cp.Content.(*packets.Subscribe)
			m.PacketID, m.Subscriptions = 60_001, []packets.SubOptions{{Topic: fmt.Sprint("soak/", p.i), QoS: 2}}
			cp.WriteTo(c)
		}
		p.receive(c, 20+rand.IntN(200), &seen)
		old = c
		if rand.IntN(2) == 0 {
			c.Close()
			old = nil
		}
	}
}

// numbers is a set that stays small, so that the heap is the node's.
type numbers []uint64

// add is false if n was there.
func (s *numbers) add(n uint64) bool {
	for uint64(len(*s)) <= n/64 {
		*s = append(*s, 0)
	}
	word, bit := &(*s)[n/64], uint64(1)<<(n%64)
	had := *word&bit != 0
	*word |= bit
	return !had
}

// receive takes a number of messages, or until the connection ends.
func (p *pair) receive(c net.Conn, count int, seen *numbers) {
	for range count {
		cp, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch m := cp.Content.(type) {
		case *packets.Suback:
			p.subscribed.Do(func() { close(p.ready) })
		case *packets.Publish:
			n := binary.BigEndian.Uint64(m.Payload)
			if m.QoS > 0 && seen.add(n) {
				p.note(&p.early, &p.acked, n)
			}
			answer(c, m)
		case *packets.Pubrel:
			comp := packets.NewControlPacket(packets.PUBCOMP)
			comp.Content.(*packets.Pubcomp).PacketID = m.PacketID
			comp.WriteTo(c)
		}
	}
}

func answer(c net.Conn, m *packets.Publish) {
	switch m.QoS {
	case 1:
		cp := packets.NewControlPacket(packets.PUBACK)
		cp.Content.(*packets.Puback).PacketID = m.PacketID
		cp.WriteTo(c)
	case 2:
		cp := packets.NewControlPacket(packets.PUBREC)
		cp.Content.(*packets.Pubrec).PacketID = m.PacketID
		cp.WriteTo(c)
	}
}

// settle waits until all that was acknowledged has come.
func (p *pair) settle(t *testing.T) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		p.mu.Lock()
		missing := len(p.acked)
		p.mu.Unlock()
		if missing == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("pair %d: %d messages were acknowledged and never came", p.i, missing)
		}
	}
}
