package actor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"clink/broker"
	"clink/linkengine/client"
	"clink/linkengine/wire"
	"clink/topic"
	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A peer is the far end of an actor's connections, over pipes.
type peer struct {
	suback  byte
	init    byte          // code of the PUBACK to actor_init
	silent  bool          // actor_init is not answered
	reject  string        // reason for which it is rejected
	route   byte          // code of the PUBACK to route packets
	slow    time.Duration // after which those come
	mute    string        // of these there is no PUBACK: init or route
	connack packets.Properties

	mu    sync.Mutex // of all fields
	began time.Time
	seen  []string // what came, with the second it came at
	ops   map[string]bool
	last  net.Conn
}

func (p *peer) note(format string, args ...any) {
	p.seen = append(p.seen, fmt.Sprintf("%.1f ", time.Since(p.began).Seconds())+fmt.Sprintf(format, args...))
}

func (p *peer) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *peer) dial(ctx context.Context, received func(client.Message)) (*client.Conn, error) {
	near, far := net.Pipe()
	p.change(func() { p.last = far })
	go p.serve(far)
	return client.Connect(ctx, near, client.Options{ClientID: "x", Received: received})
}

func (p *peer) serve(c net.Conn) {
	for {
		pk, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		p.handle(c, pk)
	}
}

func (p *peer) handle(c net.Conn, pk *packets.ControlPacket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m := pk.Content.(type) {
	case *packets.Connect:
		p.note("connect")
		(&packets.Connack{Properties: &p.connack}).WriteTo(c)
	case *packets.Subscribe:
		(&packets.Suback{PacketID: m.PacketID, Reasons: []byte{p.suback}, Properties: &packets.Properties{}}).WriteTo(c)
	case *packets.Pingreq:
		packets.NewControlPacket(packets.PINGRESP).WriteTo(c)
	case *packets.Publish:
		p.published(c, m)
	}
}

func (p *peer) published(c net.Conn, m *packets.Publish) {
	ack := func(code byte) {
		(&packets.Puback{PacketID: m.PacketID, ReasonCode: code, Properties: &packets.Properties{}}).WriteTo(c)
	}
	what, err := wire.DecodeControl(m.Payload, wire.DefaultLimits(0))
	if err != nil || m.Topic != "$LINK/cluster/route/a" {
		p.note("faulty packet: %v, %s", err, m.Topic)
		return
	}
	switch w := what.(type) {
	case wire.ActorInit:
		p.note("init %s %d for %s", w.Actor, w.Incarnation, w.Target)
		if p.mute != "init" {
			ack(p.init)
		}
		if p.silent {
			return
		}
		reply := &packets.Publish{Topic: m.Properties.ResponseTopic, Properties: &packets.Properties{CorrelationData: []byte("another")}}
		reply.Payload = wire.ActorInitAck{Actor: w.Actor, Error: "not meant for it"}.Append(nil)
		reply.WriteTo(c)
		reply.Properties.CorrelationData = m.Properties.CorrelationData
		reply.Payload = wire.ActorInitAck{Actor: w.Actor, Error: p.reject}.Append(nil)
		reply.WriteTo(c)
	case wire.Heartbeat:
		p.note("heartbeat at QoS %d", m.QoS)
	case wire.Routes:
		p.note("%d routes in %d bytes", len(w.Ops), len(m.Payload)+len(m.Topic)+7)
		for _, op := range w.Ops {
			p.ops[op.Filter+" "+op.ID] = !op.Delete
		}
		if p.slow > 0 {
			time.AfterFunc(p.slow, func() { ack(p.route) })
		} else if p.mute != "route" {
			ack(p.route)
		}
	}
}

// take returns what came since the last time.
func (p *peer) take() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := strings.Join(p.seen, "; ")
	p.seen = nil
	return s
}

// in runs an actor of cluster a, with the peer b, in a bubble of its own time.
func in(t *testing.T, p *peer, test func(t *testing.T, a *Actor, routes *local, lost, answered *atomic.Int64)) {
	synctest.Test(t, func(t *testing.T) {
		p.began, p.ops = time.Now(), make(map[string]bool)
		routes := newLocal()
		table := NewTable(routes)
		table.Follow([]topic.Filter{"t/#"})
		routes.set(broker.Route{Filter: "t/1"}, true)
		var lost, answered atomic.Int64
		a := New(Options{
			Cluster: "a", Name: "clink@a", Peer: "b", Incarnation: 7, Table: table, Dial: p.dial, Log: slog.New(slog.DiscardHandler),
			Lost: func() { lost.Add(1) }, Answered: func(time.Time, bool) { answered.Add(1) }, Oversize: func(string) {},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { a.Run(ctx, func() bool { return true }); close(ended) }()
		test(t, a, routes, &lost, &answered)
		cancel()
		<-ended
		p.last.Close()
		for op, there := range p.ops {
			if there && a.Status().Reason == "stopped" && p.init < 0x80 && p.route < 0x80 && !p.silent && p.mute == "" && p.reject == "" {
				t.Errorf("%s was not withdrawn", op)
			}
		}
	})
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestOnline(t *testing.T) {
	p := &peer{init: 0x10, route: 0x10}
	in(t, p, func(t *testing.T, a *Actor, routes *local, lost, answered *atomic.Int64) {
		expect(t, p.take(), "0.0 connect; 0.0 init clink@a 7 for b; 0.0 1 routes in 93 bytes; 0.0 heartbeat at QoS 0")
		if s := a.Status(); s.State != topology.ReplicationOnline || s.Reason != "" || answered.Load() != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Second)
		routes.set(broker.Route{Filter: "t/2"}, true)
		routes.set(broker.Route{Filter: "t/3"}, true)
		routes.set(broker.Route{Filter: "u/3"}, true)
		routes.set(broker.Route{Filter: "t/1"}, false)
		time.Sleep(collect)
		expect(t, p.take(), "1.0 3 routes in 131 bytes")
		time.Sleep(20 * time.Second)
		expect(t, p.take(), "10.0 heartbeat at QoS 0; 20.0 heartbeat at QoS 0")
		p.last.Close()
		time.Sleep(time.Second)
		if s := p.take(); !strings.Contains(s, "2 routes in 111 bytes; 21.") || !strings.HasSuffix(s, "heartbeat at QoS 0") || strings.Count(s, "init clink@a 7 for b") != 1 {
			t.Error(s)
		}
		if lost.Load() != 1 || answered.Load() != 2 {
			t.Errorf("%d losses, %d answers", lost.Load(), answered.Load())
		}
		a.Prove()
		synctest.Wait()
		if answered.Load() != 3 {
			t.Errorf("%d answers", answered.Load())
		}
	})
}

func TestBootWindow(t *testing.T) {
	p := &peer{init: 0x10, silent: true}
	in(t, p, func(t *testing.T, a *Actor, _ *local, lost, answered *atomic.Int64) {
		time.Sleep(handshakeTimeout + time.Millisecond)
		if s := p.take(); s != "0.0 connect; 0.0 init clink@a 7 for b" {
			t.Error(s)
		}
		if s := a.Status(); s.State != topology.ReplicationDown || !strings.Contains(s.Reason, "did not answer") || answered.Load() != 0 || lost.Load() != 1 {
			t.Errorf("%+v", s)
		}
		p.change(func() { p.silent = false })
		time.Sleep(time.Second)
		if s := a.Status(); s.State != topology.ReplicationOnline {
			t.Errorf("%+v", s)
		}
	})
}

func TestRejected(t *testing.T) {
	p := &peer{init: 0x10, reject: "unknown_cluster"}
	in(t, p, func(t *testing.T, a *Actor, _ *local, lost, answered *atomic.Int64) {
		time.Sleep(22 * time.Second)
		s := p.take()
		if n := strings.Count(s, "init"); n < 9 || n > 11 { // after 0, .2, .4, .8, 1.6, 3.2, 5, 5 and 5 s at the latest
			t.Errorf("%d attempts: %s", n, s)
		}
		if s := a.Status(); s.State != topology.ReplicationRejected || s.Reason != "unknown_cluster" || time.Since(s.Since) != 22*time.Second || answered.Load() < 9 {
			t.Errorf("%+v, %d answers", s, answered.Load())
		}
		p.change(func() { p.reject = "" })
		a.Hurry()
		time.Sleep(200 * time.Millisecond) // there is so much between attempts at least
		synctest.Wait()
		if s := a.Status(); s.State != topology.ReplicationOnline {
			t.Errorf("%+v", s)
		}
	})
}

// However long a peer's word is, and whatever is in it, it fits into a status
// and a line of the log.
func TestLongRejection(t *testing.T) {
	p := &peer{init: 0x10, reject: "\xff" + strings.Repeat("é", 10_000)}
	in(t, p, func(t *testing.T, a *Actor, _ *local, lost, answered *atomic.Int64) {
		time.Sleep(time.Second)
		s := a.Status()
		if s.State != topology.ReplicationRejected || len(s.Reason) > 256 || !utf8.ValidString(s.Reason) || !strings.HasSuffix(s.Reason, "é…") {
			t.Errorf("state %s, reason of %d bytes: %.300q", s.State, len(s.Reason), s.Reason)
		}
	})
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name string
		peer *peer
		want string
	}{
		{"no subscription", &peer{suback: 0x87}, "subscribe to $LINK/cluster/resp/a/clink@a: the peer refused: not authorized (0x87)"},
		{"no actor_init", &peer{init: 0x87}, "actor_init: the peer answered PUBACK 0x87"},
		{"no routes", &peer{route: 0x87}, "bootstrap: route: the peer answered PUBACK 0x87"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, tt.peer, func(t *testing.T, a *Actor, _ *local, lost, _ *atomic.Int64) {
				synctest.Wait()
				if s := a.Status(); s.State != topology.ReplicationDown || s.Reason != tt.want {
					t.Errorf("%+v", s)
				}
				time.Sleep(250 * time.Millisecond)
				if synctest.Wait(); lost.Load() < 2 {
					t.Error("it was not tried again")
				}
			})
		})
	}
}

// TestBatches announces to a peer that takes packets of 1000 bytes only.
func TestBatches(t *testing.T) {
	limit := uint32(1000)
	p := &peer{connack: packets.Properties{MaximumPacketSize: &limit}}
	in(t, p, func(t *testing.T, a *Actor, routes *local, _, _ *atomic.Int64) {
		synctest.Wait()
		p.take()
		for i := range 200 {
			routes.set(broker.Route{Filter: topic.Filter(fmt.Sprintf("t/%03d", i))}, true)
		}
		routes.set(broker.Route{Filter: topic.Filter("t/" + strings.Repeat("x", 600))}, true) // fits no packet
		time.Sleep(time.Second)
		sum := 0
		for _, s := range strings.Split(p.take(), "; ") {
			var at float64
			var n, size int
			if _, err := fmt.Sscanf(s, "%f %d routes in %d bytes", &at, &n, &size); err != nil || size > 1000 {
				t.Errorf("%s: %v", s, err)
			}
			sum += n
		}
		if sum != 200 {
			t.Errorf("%d routes", sum)
		}
	})
}

func TestDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := 0
		a := New(Options{Table: NewTable(newLocal()), Log: slog.New(slog.DiscardHandler), Lost: func() { lost++ }, Dial: func(context.Context, func(client.Message)) (*client.Conn, error) {
			return nil, errors.New("secret file://x: no such file")
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a.Run(ctx, func() bool { return true })
		if lost < 12 || lost > 100 {
			t.Errorf("%d attempts in a minute", lost)
		}
	})
}
