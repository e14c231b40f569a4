package forwarder_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"clink/linkengine/client"
	"clink/linkengine/forwarder"
	"clink/linkengine/wire"

	"github.com/eclipse/paho.golang/packets"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A far end is the peer's broker at the other end of a pipe: it accepts the
// connection, keeps what is published, and acknowledges when it is told to.
type farEnd struct {
	conn net.Conn
	got  chan *packets.Publish
	deaf atomic.Bool // answers no ping
}

func (f *farEnd) serve(connack *packets.Connack) {
	defer close(f.got)
	for {
		p, err := packets.ReadPacket(f.conn)
		if err != nil {
			return
		}
		switch m := p.Content.(type) {
		case *packets.Connect:
			connack.WriteTo(f.conn)
		case *packets.Publish:
			f.got <- m
		case *packets.Pingreq:
			if !f.deaf.Load() {
				packets.NewControlPacket(packets.PINGRESP).WriteTo(f.conn)
			}
		}
	}
}

func (f *farEnd) ack(id uint16, code byte) {
	(&packets.Puback{PacketID: id, ReasonCode: code, Properties: &packets.Properties{}}).WriteTo(f.conn)
}

// topics takes what has come so far, as "1:t/a*" for topic t/a with packet
// identifier 1, and a star if it was marked as sent before.
func (f *farEnd) topics(t *testing.T) string {
	t.Helper()
	synctest.Wait()
	var all []string
	for {
		select {
		case m := <-f.got:
			if m == nil {
				return strings.Join(all, " ")
			}
			r, err := wire.DecodeForward(m.Payload, wire.DefaultLimits(0))
			if err != nil || m.QoS != min(r.QoS, 1) || m.Topic != "$LINK/cluster/msg/a" {
				t.Errorf("%v, %v", m, err)
			}
			star := ""
			if m.Duplicate {
				star = "*"
			}
			all = append(all, fmt.Sprintf("%d:%s%s", m.PacketID, r.Topic, star))
		default:
			return strings.Join(all, " ")
		}
	}
}

// A world is what a forwarder works in.
type world struct {
	*forwarder.Forwarder
	counters forwarder.Counters
	ends     chan *farEnd
	down     bool // dialling fails
	connack  packets.Properties

	mu      sync.Mutex
	ready   bool
	wanted  map[string]bool
	changed chan struct{}
	losses  int
	unsure  bool
	asked   func(topic string) // told of each answer of Wants
}

func (w *world) Lost() { w.mu.Lock(); defer w.mu.Unlock(); w.losses++ }

func (w *world) Ready() (bool, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ready, w.changed
}

func (w *world) Wants(topic string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked != nil {
		defer w.asked(topic)
	}
	return w.wanted[topic]
}

func (w *world) Unsure() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.unsure }

func (w *world) doubt(unsure bool) { w.mu.Lock(); defer w.mu.Unlock(); w.unsure = unsure }

// perhaps sends what the peer may want.
func (w *world) perhaps(topics ...string) {
	for _, topic := range topics {
		i := forwarder.NewItem(&wire.Forward{QoS: 1, Topic: topic}, 0)
		i.Perhaps()
		w.Forward(&i)
	}
}

func (w *world) set(ready bool, wanted ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready, w.wanted = ready, make(map[string]bool)
	for _, topic := range wanted {
		w.wanted[topic] = true
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) dial(ctx context.Context, n int, acked func(uint16, byte), idle func()) (*client.Conn, error) {
	w.mu.Lock()
	down := w.down
	w.mu.Unlock()
	if down {
		return nil, errors.New("nobody is there")
	}
	near, far := net.Pipe()
	end := &farEnd{conn: far, got: make(chan *packets.Publish, 1000)}
	go end.serve(&packets.Connack{Properties: &w.connack})
	w.ends <- end
	return client.Connect(ctx, near, client.Options{ClientID: "x", Acked: acked, Idle: idle})
}

// in runs a test in a bubble of its own time.
func in(t *testing.T, opts forwarder.Options, connack packets.Properties, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ends: make(chan *farEnd, 100), connack: connack, changed: make(chan struct{}), ready: true, wanted: map[string]bool{}}
		opts.Topic, opts.Dial, opts.Peer, opts.Counters = "$LINK/cluster/msg/a", w.dial, w, &w.counters
		w.Forwarder = forwarder.New(opts)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.Run(ctx); close(ended) }()
		test(t, w)
		cancel()
		<-ended
		close(w.ends)
		for e := range w.ends {
			e.conn.Close()
		}
	})
}

func (w *world) send(qos byte, topics ...string) {
	for _, topic := range topics {
		forward(w, &wire.Forward{QoS: qos, Topic: topic}, 0)
	}
}

// hangUp ends the connection from the far side and returns the next one.
func (w *world) hangUp(f *farEnd) *farEnd {
	f.conn.Close()
	return <-w.ends
}

func (w *world) check(t *testing.T, success, failed, dropped uint64, reasons string) {
	t.Helper()
	synctest.Wait()
	c := &w.counters
	got := fmt.Sprint(c.Success.Load(), c.Failed.Load(), c.Dropped.Load(), c.Reasons())
	if want := fmt.Sprint(success, failed, dropped, " map["+reasons+"]"); got != want {
		t.Errorf("success, failed, dropped, reasons: %s, want %s", got, want)
	}
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// taker is a forwarder.
type taker interface{ Forward(*forwarder.Item) bool }

func forward(f taker, m *wire.Forward, key uint64) bool {
	i := forwarder.NewItem(m, key)
	return f.Forward(&i)
}
