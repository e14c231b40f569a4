package linkengine_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// A v3 is a client of MQTT 3.1.1, as many devices still are.
type v3 struct {
	net.Conn
	r *bufio.Reader
}

func connectV3(t testing.TB, s *site, id string) *v3 {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	c := &v3{conn, bufio.NewReader(conn)}
	c.ask(t, 0x10, append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60}, text(id)...), 0x20)
	return c
}

// ask sends a packet and waits for one of the given type.
func (c *v3) ask(t testing.TB, first byte, body []byte, answer byte) {
	t.Helper()
	c.send(t, first, body)
	for {
		if got, _ := c.read(t); got&0xf0 == answer {
			return
		}
	}
}

func (c *v3) send(t testing.TB, first byte, body []byte) {
	t.Helper()
	if _, err := c.Write(append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)); err != nil {
		t.Fatal(err)
	}
}

func (c *v3) read(t testing.TB) (first byte, body []byte) {
	t.Helper()
	first, err := c.r.ReadByte()
	if err != nil {
		t.Fatal(err)
	}
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		t.Fatal(err)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		t.Fatal(err)
	}
	return first, body
}

func (c *v3) sub(t testing.TB, filter string) {
	t.Helper()
	c.ask(t, 0x82, append(append([]byte{0, 1}, text(filter)...), 1), 0x90)
}

// pub publishes a retained message at QoS 1.
func (c *v3) pub(t testing.TB, topic, payload string) {
	t.Helper()
	c.ask(t, 0x33, append(append(text(topic), 0, 7), payload...), 0x40)
}

// next returns the payload and the retain flag of the next message.
func (c *v3) next(t testing.TB) (payload string, retain bool) {
	t.Helper()
	for {
		first, body := c.read(t)
		if first&0xf0 != 0x30 {
			continue
		}
		at := 2 + int(binary.BigEndian.Uint16(body))
		if first&0x06 != 0 {
			c.send(t, 0x40, body[at:at+2])
			at += 2
		}
		return string(body[at:]), first&1 != 0
	}
}

// The retain flag crosses a link, reaches those who ask for it as published,
// and no one else; nothing is retained at the far side (wire protocol, sections
// 9.5 and 18.8).
func TestRetainFlagCrosses(t *testing.T) {
	a, b := pair(t, "t/#")
	opts := func(filter string, asPublished bool) paho.SubscribeOptions {
		return paho.SubscribeOptions{Topic: filter, QoS: 2, RetainAsPublished: asPublished}
	}
	subs := map[string]*device{}
	for name, o := range map[string]paho.SubscribeOptions{
		"plain": opts("t/#", false), "as published": opts("t/#", true),
		"shared": opts("$share/g/t/#", false), "shared as published": opts("$share/h/t/#", true),
	} {
		subs[name] = connect(t, b, name)
		subs[name].subscribe(t, o)
	}
	both := connect(t, b, "both")
	both.subscribe(t, opts("t/x", false), opts("t/+", true))
	old := connectV3(t, b, "old")
	old.sub(t, "t/#")
	a.routes(t, "b", 5)

	fresh, older := connect(t, a, "new"), connectV3(t, a, "older")
	check := func(payload string, qos byte, retain bool) {
		t.Helper()
		for name, s := range subs {
			want := retain && (name == "as published" || name == "shared as published")
			if m := s.next(t); string(m.Payload) != payload || m.Retain != want || m.QoS != qos {
				t.Errorf("%s at %s came with retain %v at QoS %d", payload, name, m.Retain, m.QoS)
			}
		}
		if m := both.next(t); m.Retain != retain {
			t.Errorf("%s at overlapping subscriptions came with retain %v", payload, m.Retain)
		}
		if got, flag := old.next(t); got != payload || flag {
			t.Errorf("%q, retain %v, came to the client of MQTT 3.1.1, want %s without", got, flag, payload)
		}
	}
	for qos := byte(0); qos <= 2; qos++ {
		for _, retain := range []bool{true, false} {
			fresh.pub(t, paho.Publish{Topic: "t/x", QoS: qos, Retain: retain, Payload: []byte{'0' + qos}})
			check(string([]byte{'0' + qos}), qos, retain)
		}
	}
	older.pub(t, "t/x", "of 3.1.1")
	check("of 3.1.1", 1, true)
	fresh.pub(t, paho.Publish{Topic: "t/x", QoS: 1, Retain: true}) // removes it where it is retained
	check("", 1, true)
	fresh.pub(t, paho.Publish{Topic: "t/x", QoS: 1, Retain: true, Payload: []byte("kept")})
	check("kept", 1, true)

	late := connect(t, b, "late")
	late.sub(t, "t/#")
	connect(t, b, "local").pub(t, paho.Publish{Topic: "t/marker", QoS: 1})
	if m := late.next(t); m.Topic != "t/marker" {
		t.Errorf("the far side retained %s %q", m.Topic, m.Payload)
	}
	if n := b.node.Stats().Retained; n != 0 {
		t.Errorf("the far side retains %d messages", n)
	}
}

// What waits in a session, of a broker that was restarted meanwhile too, has
// its flag when the client comes back; and so has what waited at the sender, on
// disk, for the far side to come back.
func TestRetainFlagOutlivesRestarts(t *testing.T) {
	dir := t.TempDir()
	a := begin(t, "a", []string{"b"}, keepIn(t.TempDir()))
	b := begin(t, "b", []string{"a"}, storeIn(dir+"/store"), keepIn(dir))
	back := linkTo("a", a.addr, "t/#")
	link := linkTo("b", b.addr)
	link.Queue.Sync = "always"
	a.put(t, link)
	b.put(t, back)
	a.online(t, "b")
	for id, asPublished := range map[string]bool{"plain": false, "as published": true} {
		d := resume(t, b, id)
		d.subscribe(t, paho.SubscribeOptions{Topic: "t/#", QoS: 1, RetainAsPublished: asPublished})
		d.Disconnect(&paho.Disconnect{})
	}
	a.routes(t, "b", 1)
	pub := connect(t, a, "pub")
	pub.pub(t, paho.Publish{Topic: "t/1", QoS: 1, Retain: true, Payload: []byte("1")})
	eventually(t, "it has crossed, and a knows", func() bool { return a.status(t, "b").Metrics.Success == 1 })
	b.stop()
	pub.pub(t, paho.Publish{Topic: "t/2", QoS: 1, Retain: true, Payload: []byte("2")})
	b = begin(t, "b", []string{"a"}, storeIn(dir+"/store"), keepIn(dir), bind(b.addr))
	b.put(t, back)
	eventually(t, "the second has crossed", func() bool { return b.status(t, "a").Metrics.Received == 1 })
	for id, want := range map[string]bool{"plain": false, "as published": true} {
		d := resume(t, b, id)
		for _, payload := range []string{"1", "2"} {
			if m := d.next(t); string(m.Payload) != payload || m.Retain != want {
				t.Errorf("%s: %q came with retain %v", id, m.Payload, m.Retain)
			}
		}
	}
	if n := b.node.Stats().Retained; n != 0 {
		t.Errorf("the far side retains %d messages", n)
	}
}
