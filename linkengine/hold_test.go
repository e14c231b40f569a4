package linkengine_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

const heldReason = "waits until both ends are ready for a change"

func (s *site) prepare(t testing.TB, op string, l topology.Link) {
	t.Helper()
	if err := s.engine.Prepare(t.Context(), topology.Change{Op: op, Peer: l.Name, Link: l, Hold: true}); err != nil {
		t.Fatal(err)
	}
}

func (s *site) remove(t testing.TB, peer string) {
	t.Helper()
	if err := s.engine.Remove(t.Context(), peer); err != nil {
		t.Fatal(err)
	}
}

// held waits until s connects to the peer no more.
func (s *site) held(t testing.TB, peer string) {
	t.Helper()
	if st := s.status(t, peer); st.Replication.State != topology.ReplicationDown || st.Replication.Reason != heldReason || st.State == topology.Connected {
		t.Errorf("%s's link to %s is held as %+v", s.name, peer, st)
	}
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func logTo(w *buffer) siteOption {
	return func(o *siteOptions) { o.log = slog.New(slog.NewTextHandler(w, nil)) }
}

func TestHeldLinkAcceptsAndDoesNotConnect(t *testing.T) {
	var log buffer
	a, b := begin(t, "a", []string{"b"}, logTo(&log)), begin(t, "b", []string{"a"}, logTo(&log))
	a.prepare(t, topology.Create, linkTo("b", b.addr, "t/#"))
	b.put(t, linkTo("a", a.addr, "t/#"))
	eventually(t, "b is accepted", func() bool {
		return b.status(t, "a").Replication.State == topology.ReplicationOnline && a.status(t, "b").Inbound.State == topology.InboundOnline
	})
	a.held(t, "b")
	if st := b.status(t, "a"); st.Inbound.State != topology.InboundAbsent {
		t.Errorf("b sees a as %+v", st.Inbound)
	}
	a.put(t, linkTo("b", b.addr, "t/#"))
	if st := a.status(t, "b").Inbound; st.State != topology.InboundOnline {
		t.Errorf("when it is put, the peer that is here is seen as %+v", st)
	}
	a.online(t, "b")
	b.online(t, "a")
	if strings.Contains(log.String(), "reject") || strings.Contains(log.String(), "refused") || strings.Contains(log.String(), "is down") {
		t.Errorf("somebody was turned away:\n%s", &log)
	}
}

func TestHeldBeforeItsEnd(t *testing.T) {
	for _, op := range []string{topology.Delete, topology.Update} {
		t.Run(op, func(t *testing.T) {
			a, b := pair(t, "t/#")
			end := linkTo("b", b.addr, "t/#")
			end.Enable = op == topology.Delete
			sub, pub := connect(t, a, "sub"), connect(t, b, "pub")
			sub.sub(t, "t/x")
			b.routes(t, "a", 1)

			a.prepare(t, op, end)
			a.held(t, "b")
			b.routes(t, "a", 0) // a took back what it asked for
			eventually(t, "b sees that a is gone", func() bool { return b.status(t, "a").Replication.State == topology.ReplicationOnline })
			if links := a.engine.Links(); len(links) != 1 || !links[0].Enable {
				t.Errorf("until it is final there is %+v", links)
			}
			// Somebody thinks better of it.
			a.put(t, linkTo("b", b.addr, "t/#"))
			a.online(t, "b")
			b.routes(t, "a", 1)
			pub.pub(t, paho.Publish{Topic: "t/x", QoS: 1})
			sub.next(t)

			b.prepare(t, topology.Delete, linkTo("a", a.addr, "t/#"))
			a.prepare(t, op, end)
			if op == topology.Delete {
				a.remove(t, "b")
			} else {
				a.put(t, end)
				if st := a.status(t, "b"); st.Replication.Reason != "disabled" || st.Inbound.State != topology.InboundAbsent {
					t.Errorf("in the end %+v", st)
				}
			}
			b.remove(t, "a")
		})
	}
}

// While the connections of a link are replaced, what is published for the peer
// waits, and comes in order.
func TestHeldQueueIsKept(t *testing.T) {
	a, b := pair(t, "t/#")
	sub, pub := connect(t, b, "sub"), connect(t, a, "pub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	no := false
	moved, again := linkTo("b", b.addr, "t/#"), linkTo("b", b.addr, "t/#")
	moved.TCPOpts = &topology.TCPOpts{NoDelay: &no}
	again.TCPOpts, again.PoolSize = moved.TCPOpts, 3
	incarnations := b.status(t, "a").Replication

	a.prepare(t, topology.Update, moved)
	a.held(t, "b")
	for i := range 10 {
		pub.pub(t, paho.Publish{Topic: "t/x", QoS: 1, Payload: fmt.Append(nil, i)})
	}
	if m := a.status(t, "b").Metrics; m.Queuing != 10 || m.Dropped != 0 {
		t.Errorf("while it is held: %+v", m)
	}
	a.prepare(t, topology.Update, again)
	if m := a.status(t, "b").Metrics; m.Queuing != 10 || m.Dropped != 0 {
		t.Errorf("held anew: %+v", m)
	}
	a.put(t, again)
	for i := range 10 {
		if m := sub.next(t); string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.Payload)
		}
	}
	a.online(t, "b")
	if now := b.status(t, "a").Replication; now.State != incarnations.State || !now.Since.Equal(incarnations.Since) {
		t.Errorf("b's own half noticed: %+v, was %+v", now, incarnations)
	}
}

// Who waits for room in the queue of a held link is let go when that ends.
func TestHeldQueueThatIsFull(t *testing.T) {
	for _, end := range []string{"put", "removed", "stopped"} {
		t.Run(end, func(t *testing.T) {
			b := begin(t, "b", []string{"a"})
			a := begin(t, "a", []string{"b"})
			l := linkTo("b", b.addr, "t/#")
			l.PoolSize, l.Queue = 1, topology.Queue{WhenFull: "block", MaxBytes: topology.Size{Bytes: 2000}}
			a.put(t, l)
			b.put(t, linkTo("a", a.addr, "t/#"))
			a.online(t, "b")
			connect(t, b, "sub").sub(t, "t/#")
			a.routes(t, "b", 1)
			no := false
			l.TCPOpts = &topology.TCPOpts{NoDelay: &no}
			a.prepare(t, topology.Update, l)
			pub := connect(t, a, "pub")
			published := make(chan error, 1)
			go func() {
				var err error
				for range 10 {
					if _, e := pub.Publish(context.Background(), &paho.Publish{Topic: "t/x", Payload: make([]byte, 500)}); e != nil {
						err = e
					}
				}
				published <- err
			}()
			eventually(t, "the queue is full", func() bool { return a.status(t, "b").Metrics.QueueBytes > 1000 })
			switch end {
			case "put":
				a.put(t, l)
				eventually(t, "all is sent", func() bool { return a.status(t, "b").Metrics.Success == 10 })
			case "removed":
				a.remove(t, "b")
			case "stopped":
				a.stop()
			}
			<-published
		})
	}
}

func TestPrepareLeavesConnectionsThatServe(t *testing.T) {
	a, b := pair(t, "t/#")
	since := a.status(t, "b").Replication.Since
	sub := connect(t, a, "sub")
	sub.sub(t, "u/#")
	wider := linkTo("b", b.addr, "t/#", "u/#")
	a.prepare(t, topology.Update, wider)
	b.routes(t, "a", 1)
	a.put(t, wider)
	if st := a.status(t, "b"); !st.Replication.Since.Equal(since) || st.Replication.State != topology.ReplicationOnline || st.Metrics.Reconnects != 0 {
		t.Errorf("%+v", st)
	}
	if err := a.engine.Prepare(t.Context(), topology.Change{Op: topology.Delete, Peer: "nobody", Hold: true}); err != nil {
		t.Errorf("of a link that there is not: %v", err)
	}
	if err := a.engine.Prepare(t.Context(), topology.Change{Op: topology.Create, Peer: "a", Hold: true}); err == nil {
		t.Error("a link to itself is prepared")
	}
}

// A client that comes before the links are put, as it can once there is a
// listener, publishes for peers all the same.
func TestHeldLinkKeepsWhatComesBeforeIt(t *testing.T) {
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	toA, toB := linkTo("a", a.addr, "t/#"), linkTo("b", b.addr, "t/#")
	sub := connect(t, b, "sub")
	sub.sub(t, "t/1")
	a.prepare(t, topology.Create, toB)
	b.prepare(t, topology.Create, toA)
	pub := connect(t, a, "pub")
	for _, name := range []string{"t/2", "t/1"} { // the first is of interest to nobody
		pub.pub(t, paho.Publish{Topic: name, QoS: 1})
	}
	a.put(t, toB)
	b.put(t, toA)
	if m := sub.next(t); m.Topic != "t/1" {
		t.Errorf("%s came", m.Topic)
	}
	eventually(t, "the other is forgotten", func() bool { return a.status(t, "b").Metrics.Queuing == 0 })
	if m := a.status(t, "b").Metrics; m.Matched != 1 || m.Dropped != 0 {
		t.Errorf("%+v", m)
	}
}

// A link that is held and then goes leaves nothing behind.
func TestHeldLinkGoesAgain(t *testing.T) {
	a := begin(t, "a", []string{"b"})
	toB := linkTo("b", "127.0.0.1:1", "t/#")
	for range 3 {
		a.prepare(t, topology.Create, toB)
		connect(t, a, "pub").pub(t, paho.Publish{Topic: "t/1", QoS: 1})
		a.remove(t, "b")
	}
	a.prepare(t, topology.Create, toB)
}
