package broker

import (
	"context"
	"slices"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

func withWill(name string, change func(*paho.Connect)) connectOption {
	return func(c *paho.Connect) {
		c.WillMessage = &paho.WillMessage{Topic: name, QoS: 1, Payload: []byte("gone")}
		c.WillProperties = &paho.WillProperties{}
		if change != nil {
			change(c)
		}
	}
}

func TestWill(t *testing.T) {
	h := &recorder{}
	n := start(t, Options{}, h, anyone())
	w := connect(t, n, "watcher")
	w.subOpts(t, paho.SubscribeOptions{Topic: "will/#", QoS: 1, RetainAsPublished: true})

	d := dialRaw(t, addr(t, n, "tcp"))
	props := []byte{0x02, 0, 0, 0, 60, 0x03, 0, 2, 'c', 't', 0x08, 0, 4, 'b', 'a', 'c', 'k', 0x09, 0, 4, 'c', 'o', 'r', 'r', 0x26, 0, 1, 'k', 0, 1, 'v'}
	hello := append([]byte{0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 5, 0x2e, 0, 60, 0, 0, 1, 'd', byte(len(props))}, props...)
	hello = append(append(hello, 0, 9), "will/full"...)
	hello = append(hello, 0, 1, 'x')
	hello[1] = byte(len(hello) - 2)
	if _, err := d.Write(hello); err != nil {
		t.Fatal(err)
	}
	d.read()
	d.Close()
	p := w.next(t)
	if p.Topic != "will/full" || !p.Retain || p.Properties.ContentType != "ct" || p.Properties.ResponseTopic != "back" ||
		string(p.Properties.CorrelationData) != "corr" || p.Properties.User.Get("k") != "v" || p.Properties.MessageExpiry == nil {
		t.Errorf("will came as %+v %+v", p, p.Properties)
	}
	h.mu.Lock()
	if len(h.published) != 1 || h.published[0].ClientID != "d" || h.published[0].ContentType != "ct" {
		t.Errorf("the handler saw %+v", h.published)
	}
	h.mu.Unlock()

	connect(t, n, "bye", withWill("will/bye", nil)).Disconnect(&paho.Disconnect{})
	connect(t, n, "with", withWill("will/with", nil)).Disconnect(&paho.Disconnect{ReasonCode: 4})
	empty, _ := connectRaw(t, n, "empty", func(c *packets.Connect) { c.WillFlag, c.WillTopic = true, "will/empty" })
	if p := w.next(t); p.Topic != "will/with" {
		t.Errorf("got %s, want will/with", p.Topic)
	}
	empty.Close()
	if p := w.next(t); p.Topic != "will/empty" {
		t.Errorf("got %s, want will/empty", p.Topic)
	}
}

func delayedWill(name string, delay uint32) connectOption {
	return withWill(name, func(c *paho.Connect) {
		c.WillProperties.WillDelayInterval = &delay
	})
}

func TestDelayedWill(t *testing.T) {
	t.Parallel() // it waits more than it works
	n := start(t, Options{}, nil, anyone())
	w := connect(t, n, "watcher")
	w.sub(t, "will/#")
	connect(t, n, "back", delayedWill("will/back", 3600), keepSession(3600)).drop(t, n, "back")
	connect(t, n, "back", keepSession(3600)) // in time
	connect(t, n, "clean", delayedWill("will/clean", 3600), keepSession(3600)).drop(t, n, "clean")
	connect(t, n, "clean") // ends the session, so the will goes out
	if p := w.next(t); p.Topic != "will/clean" {
		t.Errorf("got %s, want will/clean", p.Topic)
	}
	connect(t, n, "nosession", delayedWill("will/nosession", 3600)).drop(t, n, "nosession")
	if p := w.next(t); p.Topic != "will/nosession" {
		t.Errorf("got %s, want will/nosession", p.Topic)
	}
	began := time.Now()
	connect(t, n, "late", delayedWill("will/late", 1), keepSession(3600)).drop(t, n, "late")
	connect(t, n, "over", delayedWill("will/over", 3600), keepSession(1)).drop(t, n, "over")
	got := []string{w.next(t).Topic, w.next(t).Topic}
	slices.Sort(got)
	if !slices.Equal(got, []string{"will/late", "will/over"}) || time.Since(began) < time.Second {
		t.Errorf("got %q after %v", got, time.Since(began))
	}
}

func TestWillIsChecked(t *testing.T) {
	cfg := anyone()
	cfg.Access.ACL = []topology.Rule{{Permit: "deny", Topics: []string{"no/#"}}, {Permit: "allow"}}
	n := start(t, Options{}, nil, cfg)
	for name, want := range map[string]string{
		"no/way": "0x87", "$LINK/cluster/msg/x": "0x90", "$SYS/x": "0x90", "a/+": "0x90",
	} {
		if _, err := dial(addr(t, n, "tcp"), "c", withWill(name, nil)); err == nil || err.Error() != "refused with "+want {
			t.Errorf("will to %s: %v, want %s", name, err, want)
		}
	}
	// Rights are asked again when it is published.
	w := connect(t, n, "watcher")
	w.sub(t, "a/#", "end")
	d := connect(t, n, "d", withWill("a/b", nil))
	cfg.Access.ACL = []topology.Rule{{Permit: "deny", Action: "publish", Topics: []string{"a/#"}}, {Permit: "allow"}}
	if err := n.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	d.drop(t, n, "d")
	publishNumbers(t, n, "end", 0, 1, 1)
	if p := w.next(t); p.Topic != "end" {
		t.Errorf("a will that is not allowed any more was published to %s", p.Topic)
	}
}

func TestRetained(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	p := connect(t, n, "p")
	p.pub(t, &paho.Publish{Topic: "r/1", QoS: 1, Retain: true, Payload: []byte("kept")})
	if err := n.Publish(Message{Topic: "r/2", Retain: true, Payload: []byte("kept too")}); err != nil {
		t.Fatal(err)
	}
	s := connect(t, n, "s")
	s.sub(t, "r/#")
	for range 2 {
		if m := s.next(t); !m.Retain {
			t.Errorf("%s came without the retain flag", m.Topic)
		}
	}
	p.pub(t, &paho.Publish{Topic: "r/1", QoS: 1, Retain: true})
	if m := s.next(t); m.Retain || len(m.Payload) != 0 {
		t.Errorf("the removal came as %+v", m)
	}
	l := connect(t, n, "l")
	l.sub(t, "r/#")
	if m := l.next(t); m.Topic != "r/2" {
		t.Errorf("got %s, want r/2", m.Topic)
	}
}

func TestSessionExpiryIsBoundedAndTold(t *testing.T) {
	n := start(t, Options{SessionExpiry: time.Minute}, nil, anyone())
	d := connect(t, n, "d", keepSession(3600))
	if got := d.ack.Properties.SessionExpiryInterval; got == nil || *got != 60 {
		t.Errorf("told %v, want 60", got)
	}
	d.sub(t, "x")
	zero := uint32(0)
	d.Disconnect(&paho.Disconnect{Properties: &paho.DisconnectProperties{SessionExpiryInterval: &zero}})
	eventually(t, "the session ended with the connection", func() bool { return n.Routes().Len() == 0 && n.Stats().Sessions == 0 })
}

// A session ends when its time is over, not when somebody looks at the clock.
func TestSessionIsNotTakenUpTooLate(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	w := connect(t, n, "watcher")
	w.sub(t, "will/#")
	for i := range 5 { // at times it is found before it is taken up
		d := connect(t, n, "d", delayedWill("will/d", 3600), keepSession(3600))
		d.sub(t, "x")
		d.drop(t, n, "d")
		n.mu.Lock()
		n.idle["d"].until = time.Now()
		n.mu.Unlock()
		d = connect(t, n, "d", keepSession(3600))
		if d.ack.SessionPresent {
			t.Errorf("attempt %d: the session is still present", i)
		}
		if p := w.next(t); p.Topic != "will/d" {
			t.Errorf("got %s, want will/d", p.Topic)
		}
		d.drop(t, n, "d")
	}
}

// A client that had to wait for its turn has as much time as any other for the
// connection that it replaces to end.
func TestNewcomerThatHasWaited(t *testing.T) {
	t.Parallel() // it waits more than it works
	for limit := 400 * time.Millisecond; !takesOver(t, limit); limit *= 4 {
		if limit > patience {
			t.Fatal("this machine is too slow to tell")
		}
	}
}

// takesOver has a client wait three quarters of a limit for its turn, and then
// for the other connection. It reports false if the machine made it longer.
func takesOver(t *testing.T, limit time.Duration) (told bool) {
	h := &recorder{held: make(chan struct{}, 1), hold: make(chan struct{})}
	n, err := New(Options{StopTimeout: patience / 2})
	if err != nil {
		t.Fatal(err)
	}
	n.succession = limit
	n.Intercept(h)
	apply(t, n, anyone())
	run(t, n)
	first, _ := connectRaw(t, n, "d", nil)
	first.publish("x", 1, 1, nil)
	<-h.held // so it does not end
	n.mu.Lock()
	old := n.live["d"]
	n.mu.Unlock()
	n.ids.lock("d", nil)
	code := make(chan byte, 1)
	go func() {
		c, got, err := greet(addr(t, n, "tcp"), willing("d", ""))
		if err != nil {
			got = 0xff
		} else {
			defer c.Close()
		}
		code <- got
	}()
	eventually(t, "the second waits for its turn", func() bool {
		n.ids.mu.Lock()
		defer n.ids.mu.Unlock()
		return n.ids.m["d"].refs == 2
	})
	<-time.After(limit * 3 / 4)
	n.ids.unlock("d")
	began := time.Now()
	eventually(t, "the first is being ended, or the second gives up", func() bool { return old.conn.over.Load() || len(code) > 0 })
	begun := old.conn.over.Load()
	<-time.After(limit * 3 / 4)
	close(h.hold)
	got, took := <-code, time.Since(began)
	switch {
	case !begun, took >= limit:
		return false
	case got != 0:
		t.Errorf("it is refused with %#02x after %v", got, took)
	}
	return true
}

// MQTT 3.1.1, byte by byte.
func TestVersion311(t *testing.T) {
	cfg := anyone()
	cfg.Access = topology.Access{Users: []topology.User{{Name: "u", Password: ref(t, "p")}}, ACL: []topology.Rule{{Permit: "deny", Topics: []string{"no/#"}}, {Permit: "allow"}}}
	n := start(t, Options{}, nil, cfg)
	hello := func(password string) []byte {
		b := append([]byte{0x10, 0, 0, 4}, "MQTT"...)
		b = append(b, 4, 0xc2, 0, 60, 0, 1, 'c', 0, 1, 'u', 0, 1)
		b = append(b, password...)
		b[1] = byte(len(b) - 2)
		return b
	}
	exchange := func(r *rawClient, send, want []byte) {
		t.Helper()
		if _, err := r.Write(send); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		r.SetReadDeadline(time.Now().Add(patience))
		if _, err := readFull(r, got); err != nil || !slices.Equal(got, want) {
			t.Fatalf("% x is answered with % x (%v), want % x", send, got, err, want)
		}
	}
	r := dialRaw(t, addr(t, n, "tcp"))
	exchange(r, hello("x"), []byte{0x20, 2, 0, 4})
	r = dialRaw(t, addr(t, n, "tcp"))
	exchange(r, hello("p"), []byte{0x20, 2, 0, 0})
	exchange(r, append([]byte{0x82, 6, 0, 1, 0, 1, 'a'}, 1), []byte{0x90, 3, 0, 1, 1})
	exchange(r, append([]byte{0x82, 9, 0, 2, 0, 4, 'n', 'o', '/', 'x'}, 1), []byte{0x90, 3, 0, 2, 0x80})
	// Not allowed: acknowledged, and goes nowhere (MQTT 3.1.1 §3.3.5).
	exchange(r, append([]byte{0x32, 9, 0, 4, 'n', 'o', '/', 'x', 0, 3}, 'm'), []byte{0x40, 2, 0, 3})
	exchange(r, []byte{0x32, 6, 0, 1, 'a', 0, 4, 'm'}, []byte{0x40, 2, 0, 4})
	exchange(r, nil, []byte{0x32, 6, 0, 1, 'a', 0, 1, 'm'})
	exchange(r, []byte{0xc0, 0}, []byte{0xd0, 0})
	// A server may not send DISCONNECT: the connection just ends.
	if err := n.Apply(context.Background(), Config{Listeners: cfg.Listeners}); err != nil {
		t.Fatal(err)
	}
	if m, err := readFull(r, make([]byte, 1)); m != 0 || err == nil {
		t.Error("something was sent before the end")
	}
}

func readFull(r *rawClient, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := r.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
