package command_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// A stream is numbered messages with QoS 1 from publishers at one address to a
// subscriber, with a lasting session, at another. All of them connect again as
// often as it takes; publishers then send once more what was not acknowledged.
type stream struct {
	t      *testing.T
	prefix string // of the topics
	from   string
	pubs   []*sender

	alive      context.Context
	endSending func()
	sending    sync.WaitGroup
	again      atomic.Int64 // messages that a publisher sent more than once
	paused     atomic.Bool  // nobody begins to send
	busy       atomic.Int64 // publishers that send

	mu         sync.Mutex
	seen       map[string]*numbers // by topic
	duplicates int
	disorder   []string
	visits     int // connections of the subscriber
}

// A sender is one publisher: all numbers below acked were acknowledged.
type sender struct {
	topic string
	acked atomic.Int64
}

// numbers are those that came of one publisher.
type numbers struct {
	next  int
	holes map[int]bool // below next
}

const (
	publishers = 3
	pace       = 4 * time.Millisecond // between two messages of a publisher, at least
)

// subscribe begins a stream with its subscriber.
func subscribe(t *testing.T, to, prefix string) *stream {
	t.Helper()
	s := &stream{t: t, prefix: prefix, seen: make(map[string]*numbers)}
	alive, end := context.WithCancel(context.Background())
	s.alive = alive
	var receiving sync.WaitGroup
	subscribed := make(chan struct{})
	receiving.Go(func() { s.receive(to, subscribed) })
	t.Cleanup(func() { end(); s.sending.Wait(); receiving.Wait() })
	select {
	case <-subscribed:
	case <-time.After(deadline):
		t.Fatalf("nobody could subscribe at %s", to)
	}
	return s
}

// publishFrom starts the publishers. The route to the subscriber must be known.
func (s *stream) publishFrom(from string, count int) {
	s.from = from
	sending, end := context.WithCancel(s.alive)
	s.endSending = end
	for i := range count {
		p := &sender{topic: fmt.Sprint(s.prefix, "/", i)}
		s.pubs = append(s.pubs, p)
		s.sending.Go(func() { s.publish(sending, p) })
	}
}

// A party is a client's end of one connection.
type party struct {
	net.Conn
	r       *bufio.Reader
	present bool // the session was there
}

// attach connects a client whose connection ends with ctx.
func attach(ctx context.Context, addr, id string, lasting bool) (*party, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	c := &party{Conn: conn, r: bufio.NewReader(conn)}
	cp := packets.NewControlPacket(packets.CONNECT)
	m := cp.Content.(*packets.Connect)
	m.ClientID, m.CleanStart = id, !lasting
	if hour := uint32(3600); lasting {
		m.Properties.SessionExpiryInterval = &hour
	}
	conn.SetReadDeadline(time.Now().Add(deadline))
	if _, err = cp.WriteTo(conn); err == nil {
		cp, err = packets.ReadPacket(c.r)
	}
	if err == nil {
		ack, ok := cp.Content.(*packets.Connack)
		if !ok || ack.ReasonCode != 0 {
			err = errors.New("refused")
		} else {
			c.present = ack.SessionPresent
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetReadDeadline(time.Time{})
	return c, nil
}

// retry waits a little before the next attempt to connect.
func retry(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

func (s *stream) receive(to string, subscribed chan struct{}) {
	for first := true; s.alive.Err() == nil; retry(s.alive) {
		c, err := attach(s.alive, to, "sub-"+strings.ReplaceAll(s.prefix, "/", "-"), true)
		if err != nil {
			continue
		}
		if !c.present {
			sp := packets.NewControlPacket(packets.SUBSCRIBE)
			m := sp.Content.(*packets.Subscribe)
			m.PacketID, m.Subscriptions = 1, []packets.SubOptions{{Topic: s.prefix + "/#", QoS: 1}}
			sp.WriteTo(c)
		} else if first {
			s.t.Error("the session was there before")
		}
		s.mu.Lock()
		s.visits++
		s.mu.Unlock()
		for {
			p, err := packets.ReadPacket(c.r)
			if err != nil {
				break
			}
			switch m := p.Content.(type) {
			case *packets.Suback:
				if first {
					close(subscribed)
					first = false
				}
			case *packets.Publish:
				s.see(m.Topic, string(m.Payload))
				if m.QoS > 0 {
					c.Write([]byte{packets.PUBACK << 4, 2, byte(m.PacketID >> 8), byte(m.PacketID)})
				}
			}
		}
		c.Close()
	}
}

func (s *stream) see(topic, payload string) {
	n, err := strconv.Atoi(payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.disorder = append(s.disorder, "not a number: "+payload)
		return
	}
	of := s.seen[topic]
	if of == nil {
		of = &numbers{holes: make(map[int]bool)}
		s.seen[topic] = of
	}
	switch {
	case n >= of.next:
		for ; of.next < n; of.next++ {
			of.holes[of.next] = true
		}
		of.next++
	case of.holes[n]:
		delete(of.holes, n)
		s.disorder = append(s.disorder, fmt.Sprintf("%s: %d came after %d", topic, n, of.next-1))
	default:
		s.duplicates++
	}
}

func (s *stream) publish(ctx context.Context, p *sender) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var c *party
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if c == nil {
			var err error
			if c, err = attach(ctx, s.from, "pub-"+strings.ReplaceAll(p.topic, "/", "-"), false); err != nil {
				retry(ctx)
				continue
			}
		}
		s.busy.Add(1)
		if s.paused.Load() {
			s.busy.Add(-1)
			continue
		}
		err := c.send(p.topic, n)
		s.busy.Add(-1)
		if err != nil {
			c.Close()
			c = nil
			s.again.Add(1)
			continue
		}
		n++
		p.acked.Store(int64(n))
	}
}

// pause keeps the publishers from sending until what it returns is called.
func (s *stream) pause() (resume func()) {
	s.t.Helper()
	s.paused.Store(true)
	until(s.t, "the publishers to pause", func() bool { return s.busy.Load() == 0 })
	return func() { s.paused.Store(false) }
}

// send publishes one number and waits for its acknowledgement.
func (c *party) send(topic string, n int) error {
	cp := packets.NewControlPacket(packets.PUBLISH)
	m := cp.Content.(*packets.Publish)
	m.Topic, m.QoS, m.PacketID, m.Payload = topic, 1, uint16(n%65535)+1, []byte(strconv.Itoa(n))
	if _, err := cp.WriteTo(c); err != nil {
		return err
	}
	p, err := packets.ReadPacket(c.r)
	if err != nil {
		return err
	}
	if ack, ok := p.Content.(*packets.Puback); !ok || ack.PacketID != m.PacketID || ack.ReasonCode >= 0x80 {
		return fmt.Errorf("%v instead of PUBACK", p)
	}
	return nil
}

// acked is how many messages were acknowledged to their publishers.
func (s *stream) acked() (n int) {
	for _, p := range s.pubs {
		n += int(p.acked.Load())
	}
	return n
}

// missing is how many of the acknowledged messages have not come.
func (s *stream) missing() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pubs {
		acked, of := int(p.acked.Load()), s.seen[p.topic]
		if of == nil {
			n += acked
			continue
		}
		n += max(acked-of.next, 0)
		for hole := range of.holes {
			if hole < acked {
				n++
			}
		}
	}
	return n
}

// flows waits until each publisher has had a message through that was
// published after the call.
func (s *stream) flows() {
	s.t.Helper()
	s.published()
	target := make([]int, len(s.pubs))
	for i, p := range s.pubs {
		target[i] = int(p.acked.Load())
	}
	until(s.t, "messages of each publisher", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, p := range s.pubs {
			if of := s.seen[p.topic]; of == nil || of.next < target[i] {
				return false
			}
		}
		return true
	})
}

// published waits until each publisher had some more messages acknowledged.
func (s *stream) published() {
	s.t.Helper()
	const some = 10
	for _, p := range s.pubs {
		target := p.acked.Load() + some
		until(s.t, "acknowledgements to "+p.topic, func() bool { return p.acked.Load() >= target })
	}
}

// stop ends the publishers.
func (s *stream) stop() {
	s.endSending()
	s.sending.Wait()
}

// whole stops the publishers and waits until all that was acknowledged has
// come, in order.
func (s *stream) whole() {
	s.t.Helper()
	s.stop()
	until(s.t, fmt.Sprintf("the last of %d messages, of which %d are missing", s.acked(), s.missing()), func() bool { return s.missing() == 0 })
	s.ordered()
}

// ordered says whether each publisher's messages came in their order.
func (s *stream) ordered() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.disorder) > 0 {
		s.t.Errorf("%d messages out of order, the first: %s", len(s.disorder), s.disorder[0])
	}
}

func (s *stream) repeated() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.duplicates
}
