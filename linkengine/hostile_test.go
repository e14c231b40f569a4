package linkengine_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// newLiar listens, and says the same to everybody who connects.
func newLiar(t testing.TB, says func(c net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			running.Go(func() {
				defer c.Close()
				says(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return ln.Addr().String()
}

// hello answers CONNECT as a good peer does, and then sends bytes.
func hello(then ...[]byte) func(c net.Conn) {
	return func(c net.Conn) {
		l := newLine(c)
		if f, err := l.read(); err != nil || f.kind != kConnect {
			return
		}
		l.send(kConnack<<4, []byte{0, 0}, sized())
		l.Write(join(then...))
		for { // until it is hung up on
			if _, err := l.read(); err != nil {
				return
			}
		}
	}
}

// replies answers whatever is asked, an actor_init with a payload of its own.
func replies(payload []byte) func(c net.Conn) {
	return func(c net.Conn) {
		l := newLine(c)
		for {
			f, err := l.read()
			if err != nil {
				return
			}
			switch f.kind {
			case kConnect:
				l.send(kConnack<<4, []byte{0, 0}, sized())
			case kSubscribe:
				l.send(kSuback<<4, u16(f.id()), sized(), []byte{1})
			case kPublish:
				p, _ := f.publish()
				l.ack(p, 0x10)
				l.publish(publish{topic: p.reply, qos: 1, id: 1, correlation: p.correlation, payload: payload})
			}
		}
	}
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestHostileListeners dials listeners that are no peers, or bad ones. Each is
// told in the status, what it sends is bounded, another link works all the
// while, and when a good peer is there at last, so does this one.
func TestHostileListeners(t *testing.T) {
	v := version{cast: fives}
	good := linkBeside(t, v)
	bomb := deflated(make([]byte, 64<<20))
	deep := join([]byte{131}, bytes.Repeat([]byte{104, 1}, 1<<15))
	huge := []byte{kPublish << 4, 0xff, 0xff, 0xff, 0x7f}
	tests := []struct {
		name string
		says func(c net.Conn)
		want string // in the reason
	}{
		{"hangs up", func(net.Conn) {}, "connect to"},
		{"speaks HTTP", func(c net.Conn) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, "connect to"},
		{"noise", func(c net.Conn) { c.Write(noise(1 << 16)) }, "connect to"},
		{"a long CONNACK", func(c net.Conn) { c.Write([]byte{kConnack << 4, 0xff, 0xff, 0xff, 0x7f}) }, "at most"},
		{"a length without end", func(c net.Conn) { c.Write(bytes.Repeat([]byte{0xff}, 100)) }, "malformed packet length"},
		{"noise after CONNACK", hello(noise(1 << 16)), ""},
		{"a long packet", hello(huge, noise(100)), "at most"},
		{"half a packet", func(c net.Conn) {
			l := newLine(c)
			l.read()
			l.send(kConnack<<4, []byte{0, 0}, sized())
			l.read()
			l.Write([]byte{kPublish << 4, 100, 0})
		}, "closed the connection"},
		{"a SUBACK of nothing", hello([]byte{kSuback << 4, 3, 0, 1, 0}), "SUBACK"},
		{"PUBREL", hello([]byte{kPubrel<<4 | 2, 2, 0, 1}), "must not"},
		{"an answer that is no term", replies([]byte("garbage")), "answer to actor_init"},
		{"an empty answer", replies(nil), "answer to actor_init"},
		{"a bomb", replies(bomb), "answer to actor_init"},
		{"a deep answer", replies(deep), "answer to actor_init"},
		{"another answer", replies(captured(t, "emqx-5.8.9/029-heartbeat")), "answered actor_init with"},
		{"an answer without a result", replies(captured(t, "emqx-5.8.9/024-actor_init")), "answered actor_init with"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			link := linkTo(v.peer, newLiar(t, tt.says), "#")
			good.put(t, link)
			eventually(t, "the status says why", func() bool {
				r := good.status(t, v.peer).Replication
				return r.State == topology.ReplicationDown && r.Reason != "not connected yet" && r.Reason != "disabled" && strings.Contains(r.Reason, tt.want)
			})
			good.crosses(t)
			link.Address = v.stand(t).addr
			good.put(t, link)
			good.announced(t, v.peer)
			link.Enable = false
			good.put(t, link)
		})
	}
}

// beside is a site that works with another, whatever a bad peer does to it.
type beside struct {
	*site
	pub, sub *device
	n        int
}

func linkBeside(t testing.TB, v version) *beside {
	t.Helper()
	a, b := begin(t, v.us, []string{"other", v.peer}), begin(t, "other", []string{v.us})
	a.put(t, linkTo("other", b.addr, "good/#"))
	b.put(t, linkTo(v.us, a.addr, "good/#"))
	a.online(t, "other")
	b.online(t, v.us)
	good := &beside{site: a, pub: connect(t, a, "pub"), sub: connect(t, b, "sub")}
	good.sub.sub(t, "good/#")
	a.routes(t, "other", 1)
	return good
}

// crosses sends a message over the good link.
func (b *beside) crosses(t testing.TB) {
	t.Helper()
	b.n++
	b.pub.pub(t, paho.Publish{Topic: fmt.Sprint("good/", b.n), QoS: 1})
	if m := b.sub.next(t); m.Topic != fmt.Sprint("good/", b.n) {
		t.Fatalf("%v instead of message %d", m, b.n)
	}
}

// TestHostileVisitors comes with a peer's client id and sends all kinds of
// rubbish. The node hangs up or passes over it, a good link works all the while,
// and nothing is left behind.
func TestHostileVisitors(t *testing.T) {
	v := versions[2]
	good := linkBeside(t, v)
	good.put(t, linkTo(v.peer, v.stand(t).addr, "#"))
	good.announced(t, v.peer)
	route, msg := "$LINK/cluster/route/"+v.peer, "$LINK/cluster/msg/"+v.peer
	whole := func(p publish) []byte {
		first, header := p.head()
		return framed(first, header, p.payload)
	}
	deep := join([]byte{131}, bytes.Repeat([]byte{116, 0, 0, 0, 1, 97, 1}, 1<<14))
	bomb := deflated(make([]byte, 64<<20))
	var rubbish [][]byte
	for _, topic := range []string{route, msg} {
		for qos := range byte(3) {
			for _, payload := range [][]byte{nil, noise(1000), deep, bomb, {131, 116, 255, 255, 255, 255}, {131, 109, 127, 255, 255, 255}, {131, 80, 255, 255, 255, 255}} {
				rubbish = append(rubbish, whole(publish{topic: topic, qos: qos, id: 1, payload: payload}))
			}
		}
	}
	first, header := publish{topic: msg, qos: 1, id: 1}.head()
	rubbish = append(rubbish, noise(1<<16), []byte{kPublish << 4, 0xff, 0xff, 0xff, 0xff, 1}, []byte{kPublish<<4 | 2, 0xff, 0xff, 0xff, 0x7f}, framed(first, header)[:20], whole(publish{topic: "$LINK/x", qos: 1, id: 1}), whole(publish{topic: strings.Repeat("/", 65535)}), bytes.Repeat(framed(kPubrel<<4|2, u16(5)), 100))
	round := func() {
		for i, b := range rubbish {
			p := v.come(t, good.site, []string{"msg", "routesync"}[i%2])
			p.Write(b)
			p.send(kPingreq << 4)
			p.CloseWrite()
			for f := p.until(); f.kind != 0; f = p.until() {
			}
		}
		eventually(t, "all have gone", func() bool { return good.engine.Visits() == 1 }) // the good peer's
		good.crosses(t)
	}
	round()
	before := runtime.NumGoroutine()
	for range 3 {
		round()
	}
	eventually(t, fmt.Sprintf("there are no more than %d goroutines", before), func() bool { return runtime.NumGoroutine() <= before })
	v.accepted(t, good.site).announce(v.plainRoute(t, true))
	good.routes(t, v.peer, 1)
	if m := good.status(t, v.peer).Metrics; m.DroppedBy["bad-record"] == 0 || m.DroppedBy["bad-control"] == 0 {
		t.Errorf("%+v", m)
	}
}

// CloseWrite says that nothing more comes.
func (p *importer) CloseWrite() { p.Conn.(*net.TCPConn).CloseWrite() }
