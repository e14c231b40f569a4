package broker

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// However the bytes are cut, a splitter lets as many PUBLISH packets begin as
// it is told.
func TestSplitter(t *testing.T) {
	publish := append([]byte{0x30, 0x83, 0x01}, make([]byte, 131)...)
	ping := []byte{0xc0, 0}
	var stream []byte
	for range 3 {
		stream = append(append(stream, publish...), ping...)
	}
	for chunk := 1; chunk <= len(stream); chunk++ {
		var s splitter
		at, seen := 0, 0
		for at < len(stream) {
			n, k := s.upTo(stream[at:min(len(stream), at+chunk)], 1)
			if k > 1 || n == 0 {
				t.Fatalf("chunks of %d: %d bytes, %d packets", chunk, n, k)
			}
			at, seen = at+n, seen+k
		}
		if seen != 3 {
			t.Fatalf("chunks of %d: %d packets", chunk, seen)
		}
		if n, _ := s.upTo(publish, 0); n != 0 {
			t.Fatalf("chunks of %d: %d bytes of a packet pass that may not", chunk, n)
		}
	}
}

// As many connections as a rate allows are taken at once, and the others wait
// and are counted.
func TestConnectionsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{}
		e := &endpoint{n: n, ctx: t.Context()}
		e.limits.Store(&limits{connects: topology.Rate{Count: 5, Per: 10 * time.Second}})
		began := time.Now()
		for i := range 10 {
			if !e.hold() {
				t.Fatalf("connection %d is refused", i)
			}
			if took, want := time.Since(began), time.Duration(max(0, 2*(i-4)))*time.Second; took < want || took > want+100*time.Millisecond {
				t.Errorf("connection %d is taken after %v, want %v", i, took, want)
			}
		}
		if got := n.waited.Load(); got != 5 {
			t.Errorf("%d are counted, want 5", got)
		}
	})
}

// Connections that come too fast wait, and are counted; none is refused.
func TestConnectionRate(t *testing.T) {
	cfg := anyone()
	cfg.Listeners[0].MaxConnRate = topology.Rate{Count: 5, Per: 100 * time.Millisecond}
	cfg.Listeners = append(cfg.Listeners, topology.Listener{Name: "ws", Type: topology.WS, Enable: true, Bind: "127.0.0.1:0", MaxConnRate: topology.Rate{Count: 5, Per: 100 * time.Millisecond}})
	n := start(t, Options{}, nil, cfg)
	for _, name := range []string{"tcp", "ws"} {
		const many = 10
		began := time.Now()
		closed := make(chan error, many)
		for range many {
			go func() {
				c, err := net.Dial("tcp", addr(t, n, name))
				if err == nil {
					_, err = c.Write([]byte("no MQTT, and no HTTP\r\n\r\n"))
					c.SetReadDeadline(time.Now().Add(patience))
					for err == nil {
						_, err = c.Read(make([]byte, 100))
					}
					c.Close()
				}
				if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
					err = nil
				}
				closed <- err
			}()
		}
		for range many {
			if err := <-closed; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if took := time.Since(began); took < 90*time.Millisecond {
			t.Errorf("%s: %d connections were taken within %v", name, many, took)
		}
	}
	// A rate that is taken away is so at once, also for one that waits.
	for i := range cfg.Listeners {
		cfg.Listeners[i].MaxConnRate = topology.Rate{Count: 1, Per: 24 * time.Hour}
	}
	apply(t, n, cfg)
	var waiting []*rawClient
	for _, name := range []string{"tcp", "ws"} {
		before := n.Stats().Waited
		for range 6 {
			waiting = append(waiting, dialRaw(t, addr(t, n, name)))
		}
		eventually(t, name+": one waits", func() bool { return n.Stats().Waited > before })
	}
	for i := range cfg.Listeners {
		cfg.Listeners[i].MaxConnRate = topology.Rate{}
	}
	apply(t, n, cfg)
	waiting[5].write(packets.NewControlPacket(packets.CONNECT))
	waiting[5].read()
	waiting[11].Write([]byte("no HTTP\r\n\r\n"))
	waiting[11].SetReadDeadline(time.Now().Add(patience))
	if answer, err := io.ReadAll(waiting[11]); err != nil || len(answer) == 0 {
		t.Errorf("ws: %q, %v", answer, err)
	}
}

// A client that publishes too fast is read from more slowly. It loses nothing,
// and its keep-alive does not end it meanwhile; others are not held up.
func TestClientRates(t *testing.T) {
	t.Parallel() // it waits more than it works
	for name, change := range map[string]func(*topology.Listener){
		"messages": func(l *topology.Listener) { l.MessagesRate = topology.Rate{Count: 10, Per: 24 * time.Hour} },
		"bytes":    func(l *topology.Listener) { l.BytesRate = topology.Rate{Count: 10 * 104, Per: 24 * time.Hour} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits more than it works
			cfg := anyone()
			cfg.Listeners = append(cfg.Listeners, topology.Listener{Name: "free", Type: topology.TCP, Enable: true, Bind: "127.0.0.1:0"})
			change(&cfg.Listeners[0])
			n := start(t, Options{}, nil, cfg)
			sub, err := dial(addr(t, n, "free"), "sub")
			if err != nil {
				t.Fatal(err)
			}
			defer sub.raw.Close()
			sub.sub(t, "slow", "fast")
			r, _ := connectRaw(t, n, "r", func(c *packets.Connect) { c.KeepAlive = 2 })
			const many = 100
			for range many {
				r.publish("slow", 0, 0, func(p *packets.Publish) { p.Payload = make([]byte, 95) })
			}
			other, err := dial(addr(t, n, "free"), "other")
			if err != nil {
				t.Fatal(err)
			}
			defer other.raw.Close()
			other.pub(t, &paho.Publish{Topic: "fast", QoS: 1})
			slow := 0
			for ; sub.next(t).Topic != "fast"; slow++ {
			}
			// More than half of it goes on at a rate that takes longer than
			// one and a half times the keep-alive.
			l := &cfg.Listeners[0]
			for _, r := range []*topology.Rate{&l.MessagesRate, &l.BytesRate} {
				if !r.IsZero() {
					r.Per = 700 * time.Millisecond
				}
			}
			began := time.Now()
			apply(t, n, cfg)
			for ; slow < many; slow++ {
				if p := sub.next(t); p.Topic != "slow" {
					t.Fatalf("%s came twice", p.Topic)
				}
			}
			if took := time.Since(began); took < 3*time.Second {
				t.Errorf("%d messages within %v", many, took)
			}
			r.silent("after all")
		})
	}
}
