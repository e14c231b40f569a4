package command_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// down is what a link's status says while its peer is away.
func down(l link) bool {
	return l.Status == "disconnected" && l.NodeStatus[0].Reason != "" && l.Replication.State == "down" && l.Replication.Reason != ""
}

// A peer is killed while messages flow, and starts again: its session gets all
// of them.
func TestFaultPeerKilled(t *testing.T) {
	t.Parallel()
	r := linked(t, patient)
	r.b.kill()
	r.published()
	r.a.says("that its peer is gone", down)
	r.begin(r.b)
	r.clean()
	r.whole()
	r.nothingDropped()
}

// A peer stands still for some time: less than it takes to notice, or a minute
// with CLINK_LONG=1.
func TestFaultPeerFrozen(t *testing.T) {
	t.Parallel()
	r := linked(t, `queue: max_age: "5m"`)
	r.freeze()
	r.clean()
	r.intact()
}

// What a queue with the default max_age does not keep for a peer that stands
// still for a minute is counted to the message.
func TestFaultPeerFrozenTooLong(t *testing.T) {
	longOrSkip(t)
	t.Parallel()
	r := linked(t, "")
	r.freeze()
	r.clean()
	r.stop()
	expired := func() int { return r.a.metric("clink_link_dropped_total", `reason="expired"`) }
	arrived := 0 // of what expired: it was with the peer already, and not acknowledged
	until(t, "all but what was too old", func() bool {
		arrived = expired() - r.missing()
		return arrived >= 0 && r.a.metric("clink_link_queue_messages") == 0
	})
	if sent := r.a.metric("clink_link_retried_total"); arrived > sent {
		t.Errorf("%d messages came that are counted as expired, %d had been sent", arrived, sent)
	}
	r.ordered()
	if all := r.a.metric("clink_link_dropped_total"); all != expired() || all == 0 {
		t.Errorf("%d messages were dropped, %d because they were too old", all, expired())
	}
	r.oncePerSend()
	t.Logf("%d of %d messages were too old", expired(), r.acked())
}

// freeze stops the peer for a while.
func (r *rig) freeze() {
	r.t.Helper()
	r.b.signal(syscall.SIGSTOP)
	began := time.Now()
	r.published()
	if longOr(false, true) {
		r.a.says("that its peer is gone", down)
		r.t.Logf("noticed after %v", time.Since(began).Round(time.Second))
		<-time.After(time.Minute - time.Since(began))
		r.a.says("that its peer is silent", func(l link) bool { return down(l) && l.Inbound.State == "expired" })
	}
	r.b.signal(syscall.SIGCONT)
}

// A peer is away for longer than routes live without a sign of life, and the
// queue for it is on disk: it gets everything.
func TestFaultPeerAway(t *testing.T) {
	longOrSkip(t)
	t.Parallel()
	r := linked(t, `queue: sync: "interval"`)
	r.b.kill()
	<-time.After(90 * time.Second)
	r.a.says("that its peer is silent", func(l link) bool { return down(l) && l.Inbound.State == "expired" && l.Replication.PeerRoutes == 1 })
	r.begin(r.b)
	r.clean()
	r.whole()
	r.nothingDropped()
}

// signal is for the process alone.
func (p *place) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// Both sites are killed and start again at the same time. What was
// acknowledged is on disk.
func TestFaultBothRestart(t *testing.T) {
	t.Parallel()
	r := linked(t, `queue: sync: "always"`)
	// What the peer wants is written from time to time; for how long it is not
	// known without that, after a start, depends on how soon the peer starts.
	until(t, "the peer's routes to be written", func() bool {
		b, err := os.ReadFile(filepath.Join(r.a.data, "site-a", "peer-routes"))
		return err == nil && bytes.Contains(b, []byte("global/s/#"))
	})
	for range longOr(1, 10) {
		r.a.kill()
		r.b.kill()
		var both sync.WaitGroup
		both.Go(func() { r.begin(r.a) })
		both.Go(func() { r.begin(r.b) })
		both.Wait()
		r.flows()
	}
	r.clean()
	r.whole()
	r.nothingDropped()
}

// A clock that is set back between two runs leaves an incarnation of the
// future behind; the next ones go on from there.
func TestFaultClockSetBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, patient)
	file := filepath.Join(r.b.data, "site-b", "incarnation")
	future := time.Now().Add(24 * time.Hour).UnixMilli()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strconv.FormatInt(future, 10)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.begin(r.a)
	r.begin(r.b)
	r.flow()
	r.b.kill()
	r.begin(r.b)
	r.clean()
	r.whole()
	r.nothingDropped()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err != nil || n != future+2 {
		t.Errorf("the incarnation is %s after %d, %v", b, future, err)
	}
	if n := r.a.metric("clink_link_dropped_total", `reason="bad-control"`); n != 0 {
		t.Errorf("the peer refused %d packets", n)
	}
}

// A scripted listener stands where a peer's broker is expected.
type scripted struct {
	addr     string
	messages atomic.Int64 // forwarded to it
	visits   atomic.Int64
}

// listen accepts until the test ends, and has each connection served.
func listen(t *testing.T, serve func(s *scripted, c net.Conn)) *scripted {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{addr: ln.Addr().String()}
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.visits.Add(1)
			stop := context.AfterFunc(ctx, func() { c.Close() })
			running.Go(func() {
				defer stop()
				defer c.Close()
				serve(s, c)
			})
		}
	})
	t.Cleanup(func() { end(); ln.Close(); running.Wait() })
	return s
}

// booting is a broker whose link application does not run yet: it takes
// everything, says that nobody wanted it, and it is lost.
func booting(s *scripted, c net.Conn) {
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch m := p.Content.(type) {
		case *packets.Connect:
			c.Write([]byte{packets.CONNACK << 4, 3, 0, 0, 0})
		case *packets.Subscribe:
			c.Write([]byte{packets.SUBACK << 4, 4, byte(m.PacketID >> 8), byte(m.PacketID), 0, 1})
		case *packets.Pingreq:
			c.Write([]byte{packets.PINGRESP << 4, 0})
		case *packets.Publish:
			if strings.HasPrefix(m.Topic, "$LINK/cluster/msg/") {
				s.messages.Add(1)
			}
			if m.QoS > 0 {
				c.Write([]byte{packets.PUBACK << 4, 3, byte(m.PacketID >> 8), byte(m.PacketID), 0x10})
			}
		}
	}
}

// A peer restarts, and its listener is up before its link application: what is
// sent then would be acknowledged and lost, so nothing is.
func TestFaultPeerBoots(t *testing.T) {
	t.Parallel()
	r := linked(t, patient)
	boot := listen(t, booting)
	r.b.kill()
	r.b.road.set(func(w *road) { w.target = boot.addr })
	r.a.says("that its peer does not answer", func(l link) bool {
		return l.Status == "connected" && l.Replication.State != "online" && strings.Contains(l.Replication.Reason, "did not answer actor_init")
	})
	r.published()
	if n := boot.messages.Load(); n != 0 {
		t.Errorf("%d messages were sent to a peer that had answered nothing", n)
	}
	r.begin(r.b)
	r.b.road.set(func(w *road) { w.target = r.b.addr() })
	r.b.road.reset()
	r.clean()
	r.whole()
	r.nothingDropped()
}

// Garbage is what a peer's address answers for a while, at each stage of a
// connection.
func TestFaultPeerAnswersGarbage(t *testing.T) {
	t.Parallel()
	r := linked(t, `queue: max_age: "10m"`)
	var stage atomic.Int64
	dice := rand.NewChaCha8([32]byte{1})
	var rolling sync.Mutex
	noise := listen(t, func(_ *scripted, c net.Conn) {
		if stage.Add(1)%2 == 0 { // else it is garbage from the first byte on
			packets.ReadPacket(c)
			c.Write([]byte{packets.CONNACK << 4, 3, 0, 0, 0})
		}
		b := make([]byte, 4096)
		rolling.Lock()
		dice.Read(b)
		rolling.Unlock()
		c.Write(b)
		packets.ReadPacket(c)
	})
	r.b.kill()
	r.b.road.set(func(w *road) { w.target = noise.addr })
	for range longOr(1, 5) {
		was := noise.visits.Load()
		until(t, "more connections", func() bool { return noise.visits.Load() >= was+20 })
	}
	r.published()
	r.a.says("that its peer is faulty", func(l link) bool {
		return l.Replication.State == "down" && strings.Contains(l.Replication.Reason, "peer")
	})
	r.begin(r.b)
	r.b.road.set(func(w *road) { w.target = r.b.addr() })
	r.clean()
	r.whole()
	r.nothingDropped()
}

// A peer takes messages and acknowledges none.
func TestFaultPeerNeverAcknowledges(t *testing.T) {
	t.Parallel()
	r := linked(t, `retry_interval: "2s", `+patient)
	r.b.road.set(func(w *road) { w.mute = true })
	unwell := func(l link) bool {
		return l.Status == "disconnected" && l.NodeStatus[0].Reason == "the peer sent no PUBACK for 2s" && l.Replication.State == "online"
	}
	r.a.says("that nothing is acknowledged", unwell)
	until(t, "site-a to have connected anew", func() bool {
		return r.a.metric("clink_link_reconnects_total") >= publishers && r.a.metric("clink_link_inflight") > 0
	})
	if s := r.a.status(); !unwell(s) {
		t.Errorf("a new connection is enough to say %+v", s)
	}
	r.b.road.set(func(w *road) { w.mute = false })
	r.clean()
	r.intact()
}
