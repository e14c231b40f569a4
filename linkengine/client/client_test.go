package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"clink/linkengine/client"

	"github.com/eclipse/paho.golang/packets"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// accept reads CONNECT at the far end of a pipe and answers with frames.
func accept(far net.Conn, answer ...[]byte) {
	if _, err := packets.ReadPacket(far); err == nil {
		for _, b := range answer {
			far.Write(b)
		}
	}
}

var connack = []byte{0x20, 3, 0, 0, 0}

// connected is a connection over a pipe, and its far end.
func connected(t *testing.T, opts client.Options) (*client.Conn, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	go accept(far, connack)
	c, err := client.Connect(t.Context(), near, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c, far
}

func TestConnect(t *testing.T) {
	properties := func(p packets.Properties) []byte {
		var b bytes.Buffer
		(&packets.Connack{Properties: &p}).WriteTo(&b)
		return b.Bytes()
	}
	receive, size, qos := uint16(7), uint32(1000), byte(0)
	tests := []struct {
		name   string
		answer []byte
		want   string // in the error; "" = accepted
	}{
		{"accepted", connack, ""},
		{"with limits", properties(packets.Properties{ReceiveMaximum: &receive, MaximumPacketSize: &size}), ""},
		{"no QoS 1", properties(packets.Properties{MaximumQOS: &qos}), "QoS 1"},
		{"refused", []byte{0x20, 3, 0, 0x86, 0}, "bad user name or password (0x86)"},
		{"refused with an unknown code", []byte{0x20, 3, 0, 0xfe, 0}, "reason 0xfe"},
		{"another packet", []byte{0xd0, 0}, "PINGRESP instead of CONNACK"},
		{"no MQTT at all", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), ""},
		{"a packet of type 0", []byte{0, 0}, "type 0"},
		{"too long", []byte{0x20, 0xff, 0xff, 0xff, 0x7f}, "at most"},
		{"malformed length", []byte{0x20, 0xff, 0xff, 0xff, 0xff, 1}, "malformed"},
		{"cut short", []byte{0x20, 3, 0}, "closed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			near, far := net.Pipe()
			go func() {
				accept(far, tt.answer)
				if tt.want != "" || tt.name == "no MQTT at all" {
					far.Close()
				}
			}()
			c, err := client.Connect(t.Context(), near, client.Options{Address: "peer:1", ClientID: "x", Username: "u", Password: "hidden"})
			if tt.name == "no MQTT at all" {
				if err == nil {
					t.Fatal("accepted")
				}
				return
			}
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v", err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "peer:1") || strings.Contains(err.Error(), "hidden") {
					t.Errorf("%v", err)
				}
				return
			}
			if tt.name == "with limits" && (c.ReceiveMaximum() != 7 || c.MaxPacket() != 1000) {
				t.Errorf("%d, %d", c.ReceiveMaximum(), c.MaxPacket())
			}
			go func() { packets.ReadPacket(far); far.Close() }()
			c.Close()
			if !errors.Is(c.Err(), client.ErrClosed) {
				t.Errorf("%v", c.Err())
			}
		})
	}
}

// A severed connection takes no more bytes, as one that the peer has closed.
type severed struct {
	net.Conn
	since atomic.Bool
}

func (s *severed) Write(b []byte) (int, error) {
	if s.since.Load() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: errors.New("broken pipe")}
	}
	return s.Conn.Write(b)
}

// cutOff is a connection over which nothing can be written any more, and its far
// end.
func cutOff(t *testing.T) (*client.Conn, *severed, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	s := &severed{Conn: near}
	go accept(far, connack)
	c, err := client.Connect(t.Context(), s, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.since.Store(true)
	return c, s, far
}

// What the peer says when it hangs up is the reason, though a write fails before
// it is read; without that the write is.
func TestWriteFailsBeforeTheLastWords(t *testing.T) {
	tests := []struct {
		name string
		last []byte // that the peer sends
		want string
		ask  func(c *client.Conn) error
	}{
		{"said, and written", []byte{0xe0, 1, 0x87}, "the peer disconnected: not authorized (0x87)", func(c *client.Conn) error { return c.Write([]byte{0xc0, 0}) }},
		{"not said, and written", nil, "write: broken pipe", func(c *client.Conn) error { return c.Write([]byte{0xc0, 0}) }},
		{"said, and asked", []byte{0xe0, 1, 0x98}, "the peer disconnected: administrative action (0x98)", func(c *client.Conn) error { return c.Subscribe(context.Background(), "t") }},
		{"said behind a message", append([]byte{0x32, 6, 0, 1, 't', 0, 1, 0}, 0xe0, 1, 0x8b), "the peer disconnected: server shutting down (0x8b)", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _, far := cutOff(t)
				defer far.Close()
				defer c.Close()
				go func() {
					time.Sleep(100 * time.Millisecond)
					far.Write(tt.last)
				}()
				if tt.ask != nil {
					if err := tt.ask(c); err == nil || !strings.HasSuffix(err.Error(), tt.want) {
						t.Errorf("it fails with %v", err)
					}
				}
				<-c.Done()
				if c.Err().Error() != tt.want {
					t.Errorf("it ended with %v", c.Err())
				}
			})
		})
	}
}

// A write that fails is told at once to who does not wait, and to all who come
// after.
func TestNoWriteAfterOneThatFailed(t *testing.T) {
	c, s, far := cutOff(t)
	defer far.Close()
	for range 2 {
		if err := c.Write([]byte{0xc0, 0}); err == nil || err.Error() != "write: broken pipe" {
			t.Errorf("%v", err)
		}
		s.since.Store(false)
	}
	c.Close()
}

func TestConnectGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go accept(far)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("too slow"))
		defer cancel()
		_, err := client.Connect(ctx, near, client.Options{})
		if err == nil || !strings.Contains(err.Error(), "too slow") {
			t.Error(err)
		}
		far.Close()
	})
}

func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		c, far := connected(t, client.Options{
			Received: func(m client.Message) { got = append(got, m.Topic+string(m.Correlation)) },
			Acked:    func(id uint16, code byte) { got = append(got, fmt.Sprint(id, code)) },
		})
		sent := make(chan *packets.ControlPacket, 10)
		go func() {
			for {
				p, err := packets.ReadPacket(far)
				if err != nil {
					close(sent)
					return
				}
				sent <- p
			}
		}()
		answer := func(b ...byte) { far.Write(b) }
		id := func() byte { return byte((<-sent).PacketID()) }

		go func() { answer(0x40, 3, 0, id(), 0x10) }()
		if code, err := c.Publish(t.Context(), client.Message{Topic: "t", Correlation: []byte("c")}); code != 0x10 || err != nil {
			t.Errorf("publish: %#x, %v", code, err)
		}
		go func() { answer(0x40, 8, 0, id(), 0x97, 4, 0x1f, 0, 1, 'x') }() // with a reason string
		if code, err := c.Publish(t.Context(), client.Message{Topic: "t"}); code != 0x97 || err != nil {
			t.Errorf("publish: %#x, %v", code, err)
		}
		go func() { answer(0x90, 4, 0, id(), 0, 1) }()
		if err := c.Subscribe(t.Context(), "f"); err != nil {
			t.Error(err)
		}
		go func() { answer(0x90, 4, 0, id(), 0, 0x87) }()
		if err := c.Subscribe(t.Context(), "f"); err == nil || !strings.Contains(err.Error(), "not authorized") {
			t.Error(err)
		}
		go func() { <-sent; answer(0xd0, 0) }()
		if err := c.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		answer(0x40, 2, 0, 99)
		answer(0x40, 3, 0, 98, 0x83)
		answer(0x30, 9, 0, 1, 'q', 5, 9, 0, 2, 'c', 'o')
		answer(0x32, 6, 0, 1, 'r', 0, 5, 0)
		if p := <-sent; p.Type != packets.PUBACK || p.PacketID() != 5 {
			t.Errorf("%v", p)
		}
		if want := "[99 0 98 131 qco r]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
		late, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("no answer"))
		if _, err := c.Publish(late, client.Message{Topic: "t"}); err == nil || err.Error() != "no answer" {
			t.Error(err)
		}
		cancel()
		<-sent
		go func() { <-sent; answer(0xe0, 1, 0x8b) }()
		if _, err := c.Publish(t.Context(), client.Message{Topic: "t"}); err == nil || !strings.Contains(err.Error(), "server shutting down") {
			t.Errorf("a DISCONNECT does not end a publish: %v", err)
		}
		c.Close()
	})
}

// TestKeepAlive has a peer that first answers pings, and then does not.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := connected(t, client.Options{})
		began := time.Now()
		go func() {
			for {
				if _, err := packets.ReadPacket(far); err != nil {
					return
				}
				if time.Since(began) < 5*time.Minute {
					far.Write([]byte{0xd0, 0})
				}
			}
		}()
		<-c.Done()
		if d := time.Since(began); d < 5*time.Minute || d > 6*time.Minute+time.Second {
			t.Errorf("ended after %v", d)
		}
		if !strings.Contains(c.Err().Error(), "no sign of life") {
			t.Error(c.Err())
		}
		c.Close()
	})
}

// TestServerKeepAlive has a peer that wants to hear more often than it is told.
func TestServerKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go accept(far, []byte{0x20, 6, 0, 0, 3, 0x13, 0, 4})
		c, err := client.Connect(t.Context(), near, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 10 {
			if p, err := packets.ReadPacket(far); err != nil || p.Type != packets.PINGREQ {
				t.Fatalf("%v, %v", p, err)
			}
		}
		if d := time.Since(began); d > 40*time.Second {
			t.Errorf("ten pings in %v", d)
		}
		go func() { packets.ReadPacket(far); far.Close() }()
		c.Close()
	})
}

// TestDrip has a peer that sends a packet a byte a second: that is no sign of
// life.
func TestDrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := connected(t, client.Options{})
		began := time.Now()
		go func() {
			for {
				if _, err := packets.ReadPacket(far); err != nil {
					return
				}
			}
		}()
		dripped := make(chan struct{})
		go func() {
			defer close(dripped)
			for b := []byte{0x30, 0xff, 0x7f}; ; b = []byte{0} {
				if _, err := far.Write(b); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		<-c.Done()
		if d := time.Since(began); d > time.Minute+time.Second {
			t.Errorf("ended after %v", d)
		}
		if !strings.Contains(c.Err().Error(), "no sign of life") {
			t.Error(c.Err())
		}
		c.Close()
		<-dripped
	})
}

func TestAppendPublish(t *testing.T) {
	for _, size := range []int{0, 100, 127, 128, 16_000, 16_383, 16_384, 3_000_000} {
		payload := bytes.Repeat([]byte{'x'}, size)
		for _, h := range []client.Head{{Topic: "t"}, {Topic: "a/b", QoS: 1, ID: 300}, {Topic: "t", QoS: 1, Dup: true, ID: 65535}} {
			b := append(client.AppendPublish([]byte("before"), h, size), payload...)
			r := bytes.NewReader(b[6:])
			p, err := packets.ReadPacket(r)
			if err != nil {
				t.Fatal(err)
			}
			m := p.Content.(*packets.Publish)
			if string(b[:6]) != "before" || r.Len() != 0 || m.Topic != h.Topic || m.QoS != h.QoS || m.Duplicate != h.Dup || m.PacketID != h.ID || !bytes.Equal(m.Payload, payload) {
				t.Errorf("%d bytes, %+v: %d left, %+v", size, h, r.Len(), m.Topic)
			}
		}
	}
}

// Many connections that break at once do not come back at once.
func TestBackoffIsSpread(t *testing.T) {
	const many, parts = 10_000, 10
	for attempt := range 6 {
		var counts [parts]int
		for range many {
			var b client.Backoff
			for range attempt {
				b.Next()
			}
			bound := min(200*time.Millisecond<<attempt, 5*time.Second)
			counts[min(int(b.Next()*parts/bound), parts-1)]++
		}
		for i, n := range counts {
			if n > many/parts*5/2 { // the shortest of the first ones are a little longer
				t.Errorf("attempt %d: %d of %d waits are in part %d of %d", attempt, n, many, i, parts)
			}
		}
	}
}

func TestBackoff(t *testing.T) {
	var b client.Backoff
	for _, want := range []time.Duration{200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, 1600 * time.Millisecond, 3200 * time.Millisecond, 5 * time.Second, 5 * time.Second} {
		if got := b.Full(); got > want || got < want*3/4 {
			t.Errorf("%v, want up to %v", got, want)
		}
	}
	for range 100 {
		if d := b.Next(); d < 20*time.Millisecond || d > 5*time.Second {
			t.Errorf("%v", d)
		}
	}
	b.Reset()
	if d := b.Next(); d > 200*time.Millisecond {
		t.Errorf("%v after a reset", d)
	}
	synctest.Test(t, func(t *testing.T) {
		hurry := make(chan struct{}, 1)
		wait := func(d time.Duration) time.Duration {
			began := time.Now()
			client.Wait(t.Context(), d, hurry)
			return time.Since(began)
		}
		if d := wait(5 * time.Second); d != 5*time.Second {
			t.Errorf("waited %v", d)
		}
		hurry <- struct{}{}
		if d := wait(5 * time.Second); d != 200*time.Millisecond {
			t.Errorf("waited %v in a hurry", d)
		}
		if d := wait(100 * time.Millisecond); d != 100*time.Millisecond {
			t.Errorf("waited %v", d)
		}
	})
}

// FuzzRead lets the peer send anything after CONNACK: the connection ends, with
// a reason, and nothing else happens.
func FuzzRead(f *testing.F) {
	for _, b := range [][]byte{connack, {0x40, 2, 0, 1}, {0x40, 1, 0}, {0x90, 4, 0, 1, 0, 1}, {0x32, 6, 0, 1, 'r', 0, 5, 0}, {0xe0, 0}, {0xe0, 2, 0, 5}, {0x34, 2, 0, 0}, {0xf0, 0}, {0x30, 0xff, 0xff, 0x7f}, {0x90, 3, 0, 1, 0x85}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := net.Pipe()
		go func() {
			accept(far, connack, b)
			far.Close()
		}()
		c, err := client.Connect(t.Context(), near, client.Options{MaxPacket: 1 << 16})
		if err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if c.Err() == nil {
			t.Error("ended without a reason")
		}
		c.Close()
	})
}
