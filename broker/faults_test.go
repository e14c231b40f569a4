package broker

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// A logBuffer is a log to read.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A subscriber that never reads is cut off, and holds nobody up.
func TestSlowConsumer(t *testing.T) {
	for stall := 200 * time.Millisecond; !slowConsumer(t, stall); stall *= 4 {
		if stall > patience {
			t.Fatal("nothing was dropped")
		}
	}
}

// slowConsumer has a client that does not read cut off after a time. It reports
// whether messages were dropped before: a publisher that gets no processor for
// so long fills no queue.
func slowConsumer(t *testing.T, stall time.Duration) (dropped bool) {
	var text logBuffer
	n, err := New(Options{Log: slog.New(slog.NewTextHandler(&text, nil)), QueueLength: 64})
	if err != nil {
		t.Fatal(err)
	}
	n.stall = stall
	if err := n.Apply(context.Background(), anyone()); err != nil {
		t.Fatal(err)
	}
	run(t, n)
	r, _ := connectRaw(t, n, "asleep", nil)
	r.subscribe(1, "a", 0)
	other := connect(t, n, "awake")
	other.sub(t, "end")
	payload := make([]byte, 64<<10)
	for range 500 {
		if err := n.Publish(Message{Topic: "a", Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	publishNumbers(t, n, "end", 0, 1, 1)
	other.next(t)
	eventually(t, "the client that does not read is cut off", func() bool {
		st := n.Stats()
		return st.Disconnected["slow_consumer"] == 1 && st.Clients == 1 && strings.Contains(text.String(), "clientid=asleep")
	})
	if got := strings.Count(text.String(), `clientid=asleep username="" `); got != 1 || !strings.Contains(text.String(), "reason=slow_consumer") {
		t.Errorf("the log says\n%s", text.String())
	}
	return n.Stats().Dropped["queue_full"] > 0
}

// What is queued is written before the node ends.
func TestDrain(t *testing.T) {
	n, err := New(Options{QueueLength: 8192, StopTimeout: 10 * patience})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Apply(context.Background(), anyone()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	d, err := dial(addr(t, n, "tcp"), "d")
	if err != nil {
		t.Fatal(err)
	}
	d.sub(t, "a")
	asleep, _ := connectRaw(t, n, "asleep", nil) // its queue must not hold up the end
	asleep.subscribe(1, "b", 1)
	for range 100 {
		if err := n.Publish(Message{Topic: "b", Payload: make([]byte, 256<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	publishNumbers(t, n, "a", 0, 3000, 0)
	began := time.Now()
	cancel()
	expectNumbers(t, d, 0, 3000)
	if code := <-d.gone; code != 0x8b {
		t.Errorf("told %#x, want 0x8b", code)
	}
	if err := <-ended; err != nil || time.Since(began) > patience {
		t.Errorf("Run ended after %v: %v", time.Since(began), err)
	}
	for _, l := range n.Listeners() {
		if l.Err == "" {
			t.Errorf("listener %s still counts as open", l.Name)
		}
	}
}

// A client that is silent for one and a half times its keep-alive is gone
// (MQTT 5.0 §3.1.2.10), and its will goes out.
func TestHalfOpenClient(t *testing.T) {
	t.Parallel() // it waits more than it works
	n := start(t, Options{}, nil, anyone())
	w := connect(t, n, "watcher")
	w.sub(t, "will/#")
	began := time.Now()
	connectRaw(t, n, "half", func(c *packets.Connect) {
		c.KeepAlive, c.WillFlag, c.WillTopic, c.WillMessage = 1, true, "will/half", []byte("gone")
	})
	if p := w.next(t); p.Topic != "will/half" || time.Since(began) < 1500*time.Millisecond {
		t.Errorf("%s came after %v", p.Topic, time.Since(began))
	}
	eventually(t, "it is counted", func() bool { return n.Stats().Disconnected["keep_alive"] == 1 })
}

// A will goes out when another connection takes over (MQTT 5.0 §3.1.4-3),
// unless the session goes on within its delay.
func TestWillAtTakeOver(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	w := connect(t, n, "watcher")
	w.sub(t, "will/#", "end")
	connect(t, n, "a", withWill("will/a", nil), keepSession(60))
	connect(t, n, "b", delayedWill("will/b", 60), keepSession(60))
	connect(t, n, "c", delayedWill("will/c", 60), keepSession(60))
	connect(t, n, "a", keepSession(60))
	if p := w.next(t); p.Topic != "will/a" {
		t.Errorf("got %s", p.Topic)
	}
	connect(t, n, "b", keepSession(60)) // goes on
	connect(t, n, "c")                  // begins anew
	if p := w.next(t); p.Topic != "will/c" {
		t.Errorf("got %s", p.Topic)
	}
	publishNumbers(t, n, "end", 0, 1, 1)
	if p := w.next(t); p.Topic != "end" {
		t.Errorf("got %s", p.Topic)
	}
	eventually(t, "three are counted as taken over", func() bool { return n.Stats().Disconnected["taken_over"] == 3 })
}

// The life of sessions and the delay of wills do not follow the wall clock.
func TestTimesAreMonotonic(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	connect(t, n, "a", delayedWill("w", 60), keepSession(600)).drop(t, n, "a")
	n.mu.Lock()
	s := n.idle["a"]
	n.mu.Unlock()
	for _, at := range []time.Time{s.until, s.willAt} {
		if !strings.Contains(at.String(), " m=") {
			t.Errorf("%v is a time of day", at)
		}
	}
	now := time.Now()
	m := Message{Expiry: 10, HasExpiry: true, Time: now}
	for step, want := range map[time.Duration]uint32{0: 10, -time.Hour: 10, 4 * time.Second: 6} {
		if left, ok := m.remaining(now.Add(step)); !ok || left != want {
			t.Errorf("after a step of %v, %d seconds are left, want %d", step, left, want)
		}
	}
}

func TestSysTopics(t *testing.T) {
	t.Parallel() // it waits more than it works
	n := start(t, Options{Name: "a/b", SysInterval: time.Second}, nil, anyone())
	d := connect(t, n, "d")
	d.sub(t, "$SYS/#")
	want := map[string]bool{}
	for _, name := range []string{
		"$SYS/broker/version", "$SYS/broker/uptime", "$SYS/broker/clients/connected", "$SYS/broker/clients/active",
		"$SYS/broker/retained messages/count", "$SYS/broker/publish/messages/dropped", "$SYS/brokers", "$SYS/brokers/a_b/stats/sessions/count",
	} {
		want[name] = true
	}
	for len(want) > 0 {
		p := d.next(t)
		if p.Topic == "$SYS/brokers" && string(p.Payload) != "a_b" {
			t.Errorf("the node is called %s", p.Payload)
		}
		delete(want, p.Topic)
	}
	if st := n.Stats(); st.Received != 0 || st.Retained != 0 {
		t.Errorf("%d received, %d retained, though nobody published", st.Received, st.Retained)
	}
}

// TestSysCounts looks at what the engine counts, though the node runs the
// connections: $SYS must say the same whichever road a message took.
func TestSysCounts(t *testing.T) {
	t.Parallel() // it waits more than it works
	n := start(t, Options{SysInterval: time.Second}, nil, anyone())
	const each = 3
	for _, id := range []string{"one", "two"} {
		connect(t, n, id).drop(t, n, id)
	}
	d, p := connect(t, n, "d"), connect(t, n, "p")
	d.sub(t, "a")
	for range each {
		for qos := range byte(3) { // QoS 2 takes the engine's road
			p.pub(t, &paho.Publish{Topic: "a", QoS: qos, Payload: []byte("x")})
		}
		p.pub(t, &paho.Publish{Topic: "b", QoS: 1, Retain: true})
		if err := n.Publish(Message{Topic: "a", QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 * each {
		d.next(t)
	}
	want := map[string]string{
		"$SYS/broker/messages/received": "15", "$SYS/broker/publish/messages/received": "15",
		"$SYS/broker/clients/maximum": "2", "$SYS/broker/clients/connected": "2",
	}
	got := map[string]string{}
	d.sub(t, "$SYS/broker/#")
	for until := time.Now().Add(patience); !maps.Equal(got, want); {
		if time.Now().After(until) {
			t.Fatalf("$SYS says %v, want %v", got, want)
		}
		if m := d.next(t); want[m.Topic] != "" {
			got[m.Topic] = string(m.Payload)
		}
	}
}

// badPackets are inputs that follow a CONNECT and must end the connection.
var badPackets = map[string][]byte{
	"second CONNECT":                willing("again", ""),
	"type 0":                        {0x00, 0},
	"CONNACK":                       {0x20, 2, 0, 0},
	"PUBLISH QoS 3":                 {0x36, 5, 0, 1, 'a', 0, 1},
	"PUBLISH without identifier":    {0x32, 5, 0, 1, 'a', 0, 0},
	"PUBLISH with wildcard":         {0x30, 4, 0, 1, '#', 0},
	"PUBLISH short topic":           {0x30, 3, 0, 9, 'a'},
	"PUBLISH no UTF-8":              {0x30, 4, 0, 1, 0xff, 0},
	"PUBLISH without topic":         {0x30, 3, 0, 0, 0},
	"PUBACK without identifier":     {0x40, 0},
	"PUBREC without identifier":     {0x50, 1, 0},
	"PUBREL wrong flags":            {0x60, 2, 0, 1},
	"PUBCOMP short":                 {0x70, 1, 0},
	"SUBSCRIBE wrong flags":         {0x80, 7, 0, 1, 0, 0, 1, 'a', 0},
	"SUBSCRIBE without filter":      {0x82, 3, 0, 1, 0},
	"SUBSCRIBE QoS 3":               {0x82, 7, 0, 1, 0, 0, 1, 'a', 3},
	"SUBSCRIBE identifier 0":        {0x82, 7, 0, 0, 0, 0, 1, 'a', 0},
	"SUBACK":                        {0x90, 4, 0, 1, 0, 0},
	"UNSUBSCRIBE without filter":    {0xa2, 3, 0, 1, 0},
	"UNSUBSCRIBE wrong flags":       {0xa0, 6, 0, 1, 0, 0, 1, 'a'},
	"UNSUBACK":                      {0xb0, 4, 0, 1, 0, 0},
	"PINGREQ wrong flags":           {0xc1, 0},
	"PINGRESP":                      {0xd0, 0},
	"DISCONNECT wrong flags":        {0xe1, 0},
	"AUTH unasked":                  {0xf0, 2, 0x18, 0},
	"length of five bytes":          {0x30, 0xff, 0xff, 0xff, 0xff, 0x01},
	"packet beyond the limit":       {0x30, 0xff, 0xff, 0xff, 0x7f},
	"property twice":                {0x30, 14, 0, 1, 'a', 10, 0x02, 0, 0, 0, 1, 0x02, 0, 0, 0, 1},
	"topic alias 0":                 {0x30, 7, 0, 1, 'a', 3, 0x23, 0, 0},
	"property of another packet":    {0x30, 6, 0, 1, 'a', 2, 0x24, 1},
	"session expiry out of nowhere": {0xe0, 7, 0, 5, 0x11, 0, 0, 0, 60},
}

// hello4 is a CONNECT of MQTT 3.1.1.
var hello4 = []byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 1, '4'}

// tolerated are those that the engine lets pass: it does not judge what MQTT
// calls badPackets there, and they do no harm.
var tolerated = map[string]bool{"property twice": true}

func TestMalformedPackets(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	clean := func() []byte {
		cp := packets.NewControlPacket(packets.CONNECT)
		c := cp.Content.(*packets.Connect)
		c.ClientID, c.CleanStart = "5", true
		return encoded(cp)
	}()
	for name, b := range badPackets {
		for version, connect := range map[string][]byte{"5": clean, "3.1.1": hello4} {
			if version != "5" && (strings.Contains(name, "propert") || strings.Contains(name, "alias") || strings.Contains(name, "expiry")) {
				continue // there are none
			}
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			c.Write(connect)
			c.Write(b)
			if tolerated[name] {
				c.Write([]byte{packets.PINGREQ << 4, 0})
			}
			c.SetReadDeadline(time.Now().Add(patience))
			reason, open := readToEnd(c)
			c.Close()
			if open != tolerated[name] {
				t.Errorf("%s in MQTT %s: open is %v", name, version, open)
			}
			if reason != 0 && (version != "5" || reason < 0x80) {
				t.Errorf("%s in MQTT %s: DISCONNECT with %#02x", name, version, reason)
			}
		}
	}
	eventually(t, "nobody is left", func() bool { return n.Stats().Clients == 0 })
	connect(t, n, "after").pub(t, &paho.Publish{Topic: "a", QoS: 1})
}

// readToEnd reads what the node sends, and returns the reason of a DISCONNECT,
// and whether the connection is still open when the time is over, or a PINGREQ
// answered.
func readToEnd(c net.Conn) (reason byte, open bool) {
	for {
		cp, err := packets.ReadPacket(c)
		if err != nil {
			ne, ok := err.(net.Error)
			return reason, ok && ne.Timeout()
		}
		if cp.Type == packets.PINGRESP {
			return reason, true
		}
		if d, ok := cp.Content.(*packets.Disconnect); ok {
			reason = d.ReasonCode
		}
	}
}

// FuzzListener sends bytes to a listener, with or without a CONNECT before
// them: the node answers others, and the connection ends soon.
func FuzzListener(f *testing.F) {
	for _, b := range badPackets {
		f.Add(byte(5), b)
		f.Add(byte(4), b)
		f.Add(byte(0), b)
	}
	f.Add(byte(0), willing("c", "will"))
	cfg := limited(topology.MQTT{MaxSessions: 50, MaxRetained: 100, MaxSubscriptions: 100})
	n := start(f, Options{SessionExpiry: time.Second, ConnectTimeout: time.Second, MaxPacketSize: 64 << 10}, nil, cfg)
	address := addr(f, n, "tcp")
	f.Fuzz(func(t *testing.T, before byte, b []byte) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		switch before {
		case 5:
			b = append(willing("f", ""), b...)
		case 4:
			b = append(bytes.Clone(hello4), b...)
		}
		c.Write(b) // the node may have closed it already
		c.(*net.TCPConn).CloseWrite()
		c.SetReadDeadline(time.Now().Add(patience))
		buf := make([]byte, 4096)
		for err == nil {
			_, err = c.Read(buf)
		}
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Fatal("the node does not end the connection")
		}
		other, code, err := greet(address, willing("other", ""))
		if err != nil || code != 0 && code != packets.ConnackServerBusy && code != packets.ConnackQuotaExceeded {
			t.Fatalf("another client: %#02x, %v", code, err)
		}
		other.(*net.TCPConn).SetLinger(0) // ports do not run out
		other.Close()
	})
}
