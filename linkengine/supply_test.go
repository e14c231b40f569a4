package linkengine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"clink/linkengine/client"
	"clink/linkengine/wire"
	"clink/topic"
	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// retaining is a link that asks for retained messages.
func retaining(peer, addr string, topics ...topic.Filter) topology.Link {
	l := linkTo(peer, addr, topics...)
	l.Retained = true
	return l
}

// unlinked is two sites without links: what is published now is held back for
// nobody.
func unlinked(t testing.TB) (a, b *site) {
	t.Helper()
	return begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
}

// tie links two sites; back is b's half.
func tie(t testing.TB, a, b *site, back topology.Link) {
	t.Helper()
	a.put(t, linkTo("b", b.addr))
	b.put(t, back)
	a.online(t, "b")
	b.online(t, "a")
}

// keep publishes messages that are to be retained.
func (d *device) keep(t testing.TB, topics ...string) {
	t.Helper()
	for _, topic := range topics {
		d.pub(t, paho.Publish{Topic: topic, QoS: 1, Retain: true, Payload: []byte("of " + d.ClientID())})
	}
}

// holds waits until a site retains so many messages.
func (s *site) holds(t testing.TB, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s retains %d messages", s.name, n), func() bool { return s.node.Stats().Retained == n })
}

// quiet checks that nothing but a marker, published at s now, reaches d, which
// subscribes to everything.
func (d *device) quiet(t testing.TB, s *site) {
	t.Helper()
	connect(t, s, "marker").pub(t, paho.Publish{Topic: "marker", QoS: 1})
	if m := d.next(t); m.Topic != "marker" {
		t.Errorf("%s %q came", m.Topic, m.Payload)
	}
}

// acknowledged returns when the site has what d, which gets everything, has
// acknowledged: d does so before it takes the next message, and then asks for
// something on the same connection.
func (d *device) acknowledged(t testing.TB, s *site) {
	t.Helper()
	connect(t, s, "marker").pub(t, paho.Publish{Topic: "marker"})
	if m := d.next(t); m.Topic != "marker" {
		t.Errorf("%s %q came", m.Topic, m.Payload)
	}
	d.sub(t, "acknowledged")
}

func (s *site) copies(t testing.TB, peer string) (sent, stored, unchanged uint64) {
	m := s.status(t, peer).Metrics
	return m.CopiesSent, m.CopiesStored, m.CopiesUnchanged
}

// What is published is retained at the far side if the link asks for that, with
// all that belongs to it, and removed there too.
func TestRetainedAtTheFarSide(t *testing.T) {
	a, b := unlinked(t)
	tie(t, a, b, retaining("a", a.addr, "t/#"))
	first := connect(t, b, "first")
	first.sub(t, "t/#")
	a.routes(t, "b", 1)
	pub := connect(t, a, "pub")
	expiry := uint32(100)
	pub.pub(t, paho.Publish{Topic: "t/1", QoS: 2, Retain: true, Payload: []byte("x"), Properties: &paho.PublishProperties{
		MessageExpiry: &expiry, ContentType: "ct", User: paho.UserProperties{{Key: "k", Value: "v"}},
	}})
	pub.pub(t, paho.Publish{Topic: "t/2", QoS: 1, Payload: []byte("not retained")})
	for _, topic := range []string{"t/1", "t/2"} {
		if m := first.next(t); m.Topic != topic || m.Retain {
			t.Errorf("%s came with retain %v", m.Topic, m.Retain)
		}
	}
	late := connect(t, b, "late")
	late.sub(t, "#")
	m := late.next(t)
	if p := m.Properties; m.Topic != "t/1" || !m.Retain || m.QoS != 2 || *p.MessageExpiry > 100 || *p.MessageExpiry < 95 || p.ContentType != "ct" || len(p.User) != 1 {
		t.Errorf("%v %v", m, p)
	}
	pub.pub(t, paho.Publish{Topic: "t/1", QoS: 1, Retain: true})
	if m := late.next(t); m.Topic != "t/1" || len(m.Payload) != 0 {
		t.Errorf("%v", m)
	}
	b.holds(t, 0)
}

// An EMQX peer's messages are retained likewise: it knows of no copies.
func TestRetainedFromEMQX(t *testing.T) {
	s := begin(t, "a", []string{"b"})
	s.put(t, retaining("b", "127.0.0.1:1", "t/#"))
	emqx := foreignPeer(t, s, "b", "msg")
	forward := func(topic, payload string, retain bool) {
		t.Helper()
		r := wire.Forward{Topic: topic, Payload: []byte(payload), QoS: 1, From: "c", Retain: retain, Timestamp: time.Now().UnixMilli()}
		if code, err := emqx.send(t, client.Message{Topic: wire.MsgTopic("b"), Payload: r.Append(nil)}); code >= 0x80 || err != nil {
			t.Fatalf("%#02x, %v", code, err)
		}
	}
	forward("t/1", "x", true)
	forward("t/2", "x", false)
	forward("u/1", "x", true) // outside the link's topics
	s.holds(t, 1)
	forward("t/1", "", true)
	s.holds(t, 0)
}

// A new route brings the retained messages that match it, once, to those who
// have subscribed already and to those who come later.
func TestRetainedSync(t *testing.T) {
	a, b := unlinked(t)
	pub := connect(t, a, "pub")
	pub.keep(t, "t/1", "t/2", "t/3", "u/1", "v/1")
	pub.pub(t, paho.Publish{Topic: "t/gone", QoS: 1, Retain: true, Payload: []byte("x")})
	pub.pub(t, paho.Publish{Topic: "t/gone", QoS: 1, Retain: true})
	a.holds(t, 5)
	tie(t, a, b, retaining("a", a.addr, "t/#", "u/#"))
	sub := connect(t, b, "sub")
	sub.subscribe(t, paho.SubscribeOptions{Topic: "t/+", QoS: 1, RetainAsPublished: true})
	got := map[string]bool{}
	for range 3 {
		m := sub.next(t)
		got[m.Topic] = m.Retain && string(m.Payload) == "of pub" && m.QoS == 1
	}
	if len(got) != 3 || !got["t/1"] || !got["t/2"] || !got["t/3"] {
		t.Errorf("%v came", got)
	}
	late := connect(t, b, "late")
	late.sub(t, "t/1")
	if m := late.next(t); m.Topic != "t/1" || !m.Retain {
		t.Errorf("%v", m)
	}
	sub.sub(t, "u/#", "v/#")
	if m := sub.next(t); m.Topic != "u/1" {
		t.Errorf("%v", m)
	}
	b.holds(t, 4)
	eventually(t, "all is counted", func() bool {
		sent, _, _ := a.copies(t, "b")
		_, stored, _ := b.copies(t, "a")
		return sent >= 4 && stored == 4
	})
	if n := a.node.Stats().Retained; n != 5 {
		t.Errorf("a retains %d", n)
	}
}

// After a reconnect nobody hears again of what is there already, but of what
// has changed meanwhile, removals too.
func TestRetainedSyncAfterAnOutage(t *testing.T) {
	dir := t.TempDir()
	a := begin(t, "a", []string{"b"})
	b := begin(t, "b", []string{"a"}, storeIn(dir+"/store"), keepIn(dir))
	pub := connect(t, a, "pub")
	pub.keep(t, "same", "changed", "removed")
	a.holds(t, 3)
	tie(t, a, b, retaining("a", a.addr, "#"))
	sub := resume(t, b, "sub")
	sub.sub(t, "#")
	for range 3 {
		sub.next(t)
	}
	sub.acknowledged(t, b)
	if err := b.engine.Remove(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	a.routes(t, "b", 0)
	pub.pub(t, paho.Publish{Topic: "changed", QoS: 1, Retain: true, Payload: []byte("2")})
	pub.pub(t, paho.Publish{Topic: "removed", QoS: 1, Retain: true})
	pub.keep(t, "new")
	a.holds(t, 3)
	addr := b.addr
	b.stop()
	b = begin(t, "b", []string{"a"}, storeIn(dir+"/store"), keepIn(dir), bind(addr))
	sub = resume(t, b, "sub")
	b.put(t, retaining("a", a.addr, "#"))
	got := map[string]string{}
	for range 3 {
		m := sub.next(t)
		got[m.Topic] = string(m.Payload)
	}
	if fmt.Sprint(got) != "map[changed:2 new:of pub removed:]" {
		t.Errorf("%v came", got)
	}
	b.holds(t, 3)
	eventually(t, "what is the same came too", func() bool { _, _, unchanged := b.copies(t, "a"); return unchanged >= 1 })
	sub.quiet(t, b)
}

// Neither an older copy nor one that went round undoes what a site's own
// clients say.
func TestRetainedBothWays(t *testing.T) {
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	at, bt := connect(t, a, "at-a"), connect(t, b, "at-b")
	at.keep(t, "both", "of a", "gone")
	bt.keep(t, "both", "of b", "gone") // later
	bt.pub(t, paho.Publish{Topic: "gone", QoS: 1, Retain: true})
	a.holds(t, 3)
	b.holds(t, 2)
	for _, d := range []*device{at, bt} {
		d.sub(t, "#")
	}
	for range 3 {
		at.next(t)
	}
	for range 2 {
		bt.next(t)
	}
	a.put(t, retaining("b", b.addr, "#"))
	b.put(t, retaining("a", a.addr, "#"))
	got := map[string]string{}
	for range 3 {
		m := at.next(t)
		got[m.Topic] = string(m.Payload)
	}
	if fmt.Sprint(got) != "map[both:of at-b gone: of b:of at-b]" {
		t.Errorf("a got %v", got)
	}
	if m := bt.next(t); m.Topic != "of a" {
		t.Errorf("b got %v", m)
	}
	a.holds(t, 3)
	b.holds(t, 3)

	// A topic that came from a, and that a's clients remove while the link is
	// down, does not come back from b.
	at.unsub(t, "#")
	bt.unsub(t, "#")
	a.routes(t, "b", 0)
	b.routes(t, "a", 0)
	at.pub(t, paho.Publish{Topic: "of a", QoS: 1, Retain: true})
	at.sub(t, "#")
	bt.sub(t, "#")
	b.holds(t, 2)
	a.holds(t, 2)
}

// What a site may not export is not copied either.
func TestRetainedWithinExports(t *testing.T) {
	a, b := unlinked(t)
	a.engine.SetExports(map[string][]topic.Filter{"b": {"t/open/#"}})
	connect(t, a, "pub").keep(t, "t/open/1", "t/closed/1")
	tie(t, a, b, retaining("a", a.addr, "t/#"))
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	if m := sub.next(t); m.Topic != "t/open/1" {
		t.Errorf("%v", m)
	}
	b.holds(t, 1)
}

// The flag can be set and taken back while the link runs, and no connection for
// messages is touched by it.
func TestRetainedIsChangedHot(t *testing.T) {
	a, b := unlinked(t)
	connect(t, a, "pub").keep(t, "t/1")
	a.holds(t, 1)
	tie(t, a, b, linkTo("a", a.addr, "t/#"))
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	b.put(t, retaining("a", a.addr, "t/#"))
	if m := sub.next(t); m.Topic != "t/1" {
		t.Errorf("%v", m)
	}
	b.holds(t, 1)
	b.put(t, linkTo("a", a.addr, "t/#"))
	b.online(t, "a")
	a.online(t, "b")
	connect(t, a, "pub").keep(t, "t/2")
	if m := sub.next(t); m.Topic != "t/2" {
		t.Errorf("%v", m)
	}
	b.holds(t, 1)
	for s, peer := range map[*site]string{a: "b", b: "a"} {
		if n := s.status(t, peer).Metrics.Reconnects; n != 0 {
			t.Errorf("%s lost %d connections", s.name, n)
		}
	}
}

// Whoever does not ask gets none, and one that comes all the same is dropped.
func TestUncalledCopies(t *testing.T) {
	a, b := unlinked(t)
	connect(t, a, "pub").keep(t, "t/1")
	a.holds(t, 1)
	tie(t, a, b, linkTo("a", a.addr, "t/#"))
	sub := connect(t, b, "sub")
	sub.sub(t, "#")
	a.routes(t, "b", 1)
	peer := foreignPeer(t, b, "a", "msg:extra")
	r := wire.Forward{Topic: "t/2", Payload: []byte("x"), QoS: 1, Retain: true, Timestamp: time.Now().UnixMilli(), Aside: &wire.Aside{Copy: true}}
	if code, err := peer.send(t, client.Message{Topic: wire.MsgTopic("a"), Payload: r.Append(nil)}); code != 0x10 || err != nil {
		t.Errorf("%#02x, %v", code, err)
	}
	if n := b.status(t, "a").Metrics.DroppedBy["uncalled-copy"]; n != 1 {
		t.Errorf("%d dropped", n)
	}
	sub.quiet(t, b)
	b.holds(t, 0)
}
