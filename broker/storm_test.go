package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
)

// long picks how much a test does: with CLINK_LONG=1 as much as is promised.
func long[T any](short, promised T) T {
	if os.Getenv("CLINK_LONG") != "" {
		return promised
	}
	return short
}

// hello is a CONNECT of MQTT 5.0 with an expiry of a minute and, if name is
// not empty, a will of QoS 0.
func willing(id, name string) []byte {
	cp := packets.NewControlPacket(packets.CONNECT)
	c := cp.Content.(*packets.Connect)
	minute := uint32(60)
	c.ClientID, c.KeepAlive, c.CleanStart, c.Properties.SessionExpiryInterval = id, 60, true, &minute
	if name != "" {
		c.WillFlag, c.WillTopic, c.WillMessage = true, name, []byte("gone")
	}
	return encoded(cp)
}

func encoded(cp *packets.ControlPacket) []byte {
	var b writer
	if _, err := cp.WriteTo(&b); err != nil {
		panic(err)
	}
	return b
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// greet connects, and returns the connection and its CONNACK's reason code.
func greet(address string, connect []byte) (net.Conn, byte, error) {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, 0, err
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(connect); err != nil {
		c.Close()
		return nil, 0, err
	}
	cp, err := packets.ReadPacket(c)
	if err != nil {
		c.Close()
		return nil, 0, err
	}
	ack, ok := cp.Content.(*packets.Connack)
	if !ok {
		c.Close()
		return nil, 0, fmt.Errorf("got %s", cp.PacketType())
	}
	return c, ack.ReasonCode, nil
}

// storm calls f for 0 to count-1, all at once.
func storm(count int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// descriptors is how many more files the process may open.
func descriptors(t testing.TB) int {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	return int(min(l.Cur, 1<<20)) - 200
}

// Many clients connect at once, then all die, and their wills go out.
func TestConnectAndWillStorm(t *testing.T) {
	count := min(long(1000, 10_000), descriptors(t)/2)
	n := start(t, Options{ConnectTimeout: 10 * patience}, nil, anyone())
	watcher := connect(t, n, "watcher")
	watcher.sub(t, "will/#")
	address := addr(t, n, "tcp")
	conns := make([]net.Conn, count)
	began := time.Now()
	storm(count, func(i int) {
		connect := willing(fmt.Sprint("c", i), fmt.Sprint("will/", i))
		c, code, err := greet(address, connect)
		if err != nil || code != 0 {
			t.Errorf("client %d: %#02x, %v", i, code, err)
			return
		}
		conns[i] = c
	})
	t.Logf("%d connects in %v", count, time.Since(began))
	if t.Failed() {
		return
	}
	if got := n.lobby.len(); got != 0 {
		t.Errorf("%d connections are counted as not let in", got)
	}
	var most atomic.Int64
	stop := make(chan struct{})
	var sampler sync.WaitGroup
	sampler.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-tick.C:
				most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
			case <-stop:
				tick.Stop()
				return
			}
		}
	})
	before := runtime.NumGoroutine()
	for _, c := range conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	for range count {
		watcher.next(t)
	}
	close(stop)
	sampler.Wait()
	if most.Load() > int64(before+count+100) {
		t.Errorf("%d goroutines before, %d while %d wills were published", before, most.Load(), count)
	}
	eventually(t, "only the watcher is connected", func() bool { return n.Stats().Clients == 1 })
}

// Clients with one id take over from each other: one stays.
func TestManyTakeOvers(t *testing.T) {
	count := long(300, 1000)
	n := start(t, Options{ConnectTimeout: 10 * patience}, nil, anyone())
	address := addr(t, n, "tcp")
	var in, busy atomic.Int64
	var mu sync.Mutex
	var conns []net.Conn
	storm(count, func(int) {
		c, code, err := greet(address, willing("same", ""))
		switch {
		case err != nil: // cut off before its answer was written: also an end
			return
		case code == 0:
			in.Add(1)
		case code == packets.ConnackServerBusy:
			busy.Add(1)
		default:
			t.Errorf("refused with %#02x", code)
		}
		mu.Lock()
		conns = append(conns, c)
		mu.Unlock()
	})
	if in.Load() == 0 {
		t.Errorf("none was let in, %d told to wait", busy.Load())
	}
	eventually(t, "one client is left, and no session besides", func() bool { st := n.Stats(); return st.Clients == 1 && st.Sessions == 0 })
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "one session is left", func() bool { st := n.Stats(); return st.Clients == 0 && st.Sessions == 1 })
	n.ids.mu.Lock()
	defer n.ids.mu.Unlock()
	if len(n.ids.m) != 0 {
		t.Errorf("%d locks are left", len(n.ids.m))
	}
}

// Nothing that is not let in stays for longer than the time for it.
func TestStrangersAreCutOff(t *testing.T) {
	dir := t.TempDir()
	newCA(t, dir).issue("one", "localhost")
	cfg := anyone()
	cfg.BaseDir = dir
	for _, kind := range []string{topology.SSL, topology.WS, topology.WSS} {
		cfg.Listeners = append(cfg.Listeners, topology.Listener{Name: kind, Type: kind, Enable: true, Bind: "127.0.0.1:0", SSL: serverSSL("one")})
	}
	n := start(t, Options{ConnectTimeout: 300 * time.Millisecond}, nil, cfg)
	// A byte now and then, and never all, for as long as the test may take.
	trickle := func(c net.Conn, head string) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for _, x := range append([]byte(head), make([]byte, patience/(20*time.Millisecond))...) {
			<-tick.C
			if _, err := c.Write([]byte{x}); err != nil {
				return
			}
		}
	}
	strangers := map[string]func(net.Conn){
		"tcp silent":     func(net.Conn) {},
		"tcp slow":       func(c net.Conn) { trickle(c, "\x10\xff\x7f") },
		"ssl silent":     func(net.Conn) {},
		"ssl slow":       func(c net.Conn) { trickle(c, "\x16\x03\x01\x3f\xff") },
		"ssl no connect": func(c net.Conn) { tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake() },
		"ws silent":      func(net.Conn) {},
		"ws slow":        func(c net.Conn) { trickle(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Padding: ") },
		"ws no upgrade":  func(c net.Conn) { fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") },
		"ws no connect": func(c net.Conn) {
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")
		},
		"wss silent": func(net.Conn) {},
	}
	var wg sync.WaitGroup
	for name, act := range strangers {
		var kind string
		fmt.Sscan(name, &kind)
		address := addr(t, n, kind)
		wg.Go(func() {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			defer c.Close()
			go act(c)
			c.SetReadDeadline(time.Now().Add(patience))
			b := make([]byte, 4096)
			for err == nil {
				_, err = c.Read(b)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: is still there", name)
			}
		})
	}
	wg.Wait()
	eventually(t, "nobody is left", func() bool { return n.lobby.len() == 0 })
	if got := n.Stats().Refused["timeout"]; got < 5 {
		t.Errorf("%d time-outs counted", got)
	}
}

// When there are too many strangers the oldest silent ones make room.
func TestCrowdedLobby(t *testing.T) {
	n, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	n.lobby.max, n.lobby.age = 4, 50*time.Millisecond
	if err := n.Apply(context.Background(), anyone()); err != nil {
		t.Fatal(err)
	}
	run(t, n)
	address := addr(t, n, "tcp")
	for range 20 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "the lobby is full", func() bool { return n.lobby.len() == 4 })
	c, code, err := greet(address, willing("c", ""))
	if err != nil || code != 0 {
		t.Fatalf("%#02x, %v", code, err)
	}
	c.Close()
	if got := n.Stats().Refused["crowded"]; got < 17 {
		t.Errorf("%d made room, want 17 at least", got)
	}
}

// A CONNECT is read up to a bound, whatever its header says.
func TestConnectSize(t *testing.T) {
	n := start(t, Options{MaxPacketSize: 8 * mib}, nil, anyone())
	r := dialRaw(t, addr(t, n, "tcp"))
	r.Write([]byte{0x10, 0x80, 0x80, 0x40}) // 1 MiB
	r.ended()
	big, code, err := greet(addr(t, n, "tcp"), func() []byte {
		cp := packets.NewControlPacket(packets.CONNECT)
		c := cp.Content.(*packets.Connect)
		c.ClientID, c.CleanStart = "big", true
		c.WillFlag, c.WillTopic, c.WillMessage = true, "w", make([]byte, 65535)
		return encoded(cp)
	}())
	if err != nil || code != 0 {
		t.Fatalf("with the largest will: %#02x, %v", code, err)
	}
	big.Close()
}
