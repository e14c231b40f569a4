package broker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// once runs a node with a store until end is called.
func once(t testing.TB, dir string) (n *Node, end func()) {
	t.Helper()
	return onceWith(t, Options{Store: dir})
}

func onceWith(t testing.TB, o Options) (n *Node, end func()) {
	t.Helper()
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Apply(context.Background(), anyone()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stopped := false
	end = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(end)
	return n, end
}

func TestStoreKeepsSessions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	n, end := once(t, dir)
	s := connect(t, n, "sub", keepSession(3600))
	s.subOpts(t, paho.SubscribeOptions{Topic: "a/#", QoS: 1, NoLocal: true})
	s.subOpts(t, paho.SubscribeOptions{Topic: "$share/g/b/+", QoS: 2})
	s.drop(t, n, "sub")
	p := connect(t, n, "pub")
	for i := range 50 {
		p.pub(t, &paho.Publish{Topic: fmt.Sprintf("a/%d", i), QoS: 1, Payload: fmt.Append(nil, i), Retain: i == 7,
			Properties: &paho.PublishProperties{ContentType: "ct", User: paho.UserProperties{{Key: "k", Value: "v"}}}})
	}
	p.pub(t, &paho.Publish{Topic: "b/x", QoS: 2, Payload: []byte("shared")})
	p.pub(t, &paho.Publish{Topic: "gone", QoS: 0, Retain: true, Payload: []byte("x")})
	p.pub(t, &paho.Publish{Topic: "gone", QoS: 1, Retain: true})
	end()

	n, end = once(t, dir)
	defer end()
	if got := n.Stats(); got.Sessions != 1 || !got.StoreUp || got.StoreBytes == 0 || got.Subscriptions != 2 {
		t.Errorf("after the restart: %+v", got)
	}
	if routes, stop := n.Routes().Watch(func(Route, bool) {}); len(routes) != 2 {
		t.Errorf("routes %v", routes)
	} else {
		stop()
	}
	s = connect(t, n, "sub", keepSession(3600))
	if !s.ack.SessionPresent {
		t.Error("the session is gone")
	}
	for i := range 50 {
		m := s.next(t)
		if m.Topic != fmt.Sprintf("a/%d", i) || string(m.Payload) != fmt.Sprint(i) || m.QoS != 1 || m.Properties.ContentType != "ct" || m.Properties.User.Get("k") != "v" {
			t.Fatalf("message %d came as %+v", i, m)
		}
	}
	if m := s.next(t); m.Topic != "b/x" || m.QoS != 2 {
		t.Errorf("came %+v", m)
	}
	r := connect(t, n, "reader")
	r.sub(t, "#")
	if m := r.next(t); m.Topic != "a/7" || !m.Retain {
		t.Errorf("retained came %+v", m)
	}
	// Sequence goes on after what was restored.
	connect(t, n, "pub").pub(t, &paho.Publish{Topic: "a/new", QoS: 1})
	if m := s.next(t); m.Topic != "a/new" {
		t.Errorf("came %+v", m)
	}
	if m := r.next(t); m.Topic != "a/new" {
		t.Errorf("the reader got %s: a deleted retained message is back", m.Topic)
	}
}

func TestStoreForgets(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := filepath.Join(t.TempDir(), "store")
	n, end := once(t, dir)
	connect(t, n, "short", keepSession(1)).drop(t, n, "short")
	connect(t, n, "clean", keepSession(3600)).drop(t, n, "clean")
	connect(t, n, "clean").Disconnect(&paho.Disconnect{})
	left := connect(t, n, "left", keepSession(3600))
	left.sub(t, "t")
	zero := uint32(0)
	left.Disconnect(&paho.Disconnect{Properties: &paho.DisconnectProperties{SessionExpiryInterval: &zero}})
	awaitGone(t, n, "left")
	over := time.Now().Add(1100 * time.Millisecond)
	end()
	time.Sleep(time.Until(over)) // the time that a session has is told by the clock alone
	n, _ = once(t, dir)
	if got := n.Stats(); got.Sessions != 0 || got.Subscriptions != 0 {
		t.Errorf("restored: %+v", got)
	}
}

func TestStoreIsLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	once(t, dir)
	if _, err := New(Options{Store: dir}); err == nil || err.Error() != "broker: open the store: "+dir+": another process uses this store" {
		t.Errorf("a second node on the store: %v", err)
	}
}

func TestStoreDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	n, end := once(t, dir)
	connect(t, n, "sub", keepSession(3600)).drop(t, n, "sub")
	end()
	bases, _ := filepath.Glob(filepath.Join(dir, "*", "base"))
	if len(bases) != 1 {
		t.Fatalf("bases: %q", bases)
	}
	b, _ := os.ReadFile(bases[0])
	for i := range b[4096*2:] {
		b[4096*2+i] ^= 0x55
	}
	if err := os.WriteFile(bases[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	n, _ = once(t, dir)
	got := n.Stats()
	aside, _ := filepath.Glob(dir + ".damaged-*")
	if got.Sessions != 0 || !got.StoreUp || got.StoreError == "" || len(aside) != 1 {
		t.Errorf("with a damaged store: %+v, aside %q", got, aside)
	}
	connect(t, n, "sub", keepSession(3600))
}
