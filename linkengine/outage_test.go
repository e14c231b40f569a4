package linkengine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"clink/broker"
	"clink/linkengine"
	"clink/linkengine/forwarder"
	"clink/linkengine/wire"
	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// TestRejections shows each of the peer's words in the status.
func TestRejections(t *testing.T) {
	for _, reason := range []string{"unknown_cluster", "bad_remote_cluster_link_name", "cluster_link_disabled"} {
		t.Run(reason, func(t *testing.T) {
			a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
			l := linkTo("b", b.addr, "#")
			switch reason {
			case "cluster_link_disabled":
				back := linkTo("a", a.addr)
				back.Enable = false
				b.put(t, back)
			case "bad_remote_cluster_link_name":
				c := begin(t, "c", []string{"a"}) // which a takes for b
				c.put(t, linkTo("a", a.addr))
				l = linkTo("b", c.addr, "#")
			}
			a.put(t, l)
			eventually(t, "the rejection is seen", func() bool {
				r := a.status(t, "b").Replication
				return r.State == topology.ReplicationRejected && r.Reason == reason
			})
			eventually(t, "the forwarding connections stand all the same", func() bool { return a.status(t, "b").State == topology.Connected })
		})
	}
}

func TestRejectedLinkHealsByItself(t *testing.T) {
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	a.put(t, linkTo("b", b.addr, "#"))
	eventually(t, "a is rejected", func() bool { return a.status(t, "b").Replication.State == topology.ReplicationRejected })
	b.put(t, linkTo("a", a.addr, "#"))
	a.online(t, "b")
	b.online(t, "a")
}

// TestCut cuts both directions for a second while messages are published.
func TestCut(t *testing.T) {
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	toA, toB := newProxy(t, a.addr), newProxy(t, b.addr)
	a.put(t, linkTo("b", toB.addr, "t/#"))
	b.put(t, linkTo("a", toA.addr, "t/#"))
	a.online(t, "b")
	b.online(t, "a")
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	const total = 1500
	sent := make(chan error, 1)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := range total {
			<-tick.C
			m := broker.Message{Topic: fmt.Sprint("t/", i%3), QoS: 1, ClientID: fmt.Sprint("pub", i%3), Payload: []byte(strconv.Itoa(i))}
			if err := a.node.Publish(m); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	first := sub.next(t)
	toA.cut()
	toB.cut()
	time.AfterFunc(time.Second, func() { toA.mend(""); toB.mend("") })
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	last := make(map[string]int)
	for m := first; ; m = sub.next(t) {
		n, _ := strconv.Atoi(string(m.Payload))
		if !seen[string(m.Payload)] {
			if n < last[m.Topic] {
				t.Errorf("%s: %d came after %d", m.Topic, n, last[m.Topic])
			}
			last[m.Topic] = n
		}
		seen[string(m.Payload)] = true
		if len(seen) == total {
			break
		}
	}
	m := a.status(t, "b").Metrics
	if m.Matched != total || m.Dropped != 0 || m.Failed != 0 || m.Reconnects == 0 {
		t.Errorf("%+v", m)
	}
}

// TestOneWayCut cuts only the connections that a makes: the peer's own half
// outlives it, so there is nothing to wait for.
func TestOneWayCut(t *testing.T) {
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	toB := newProxy(t, b.addr)
	a.put(t, linkTo("b", toB.addr, "t/#"))
	b.put(t, linkTo("a", a.addr, "t/#"))
	a.online(t, "b")
	b.online(t, "a")
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	toB.cut()
	eventually(t, "a sees the cut", func() bool { return a.status(t, "b").State == topology.Disconnected })
	pub := connect(t, a, "pub")
	pub.pub(t, paho.Publish{Topic: "t/1", QoS: 1})
	toB.mend("")
	mended := time.Now()
	if m := sub.next(t); m.Topic != "t/1" {
		t.Errorf("%v", m)
	}
	if d := time.Since(mended); d > forwarder.HoldTime {
		t.Errorf("the message came after %v", d)
	}
}

// TestRestart ends a site and starts it again at its address, with its routes
// coming late: what was published meanwhile waits for them.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	a := begin(t, "a", []string{"b"})
	b := begin(t, "b", []string{"a"}, keepIn(dir))
	a.put(t, linkTo("b", b.addr, "t/#"))
	b.put(t, linkTo("a", a.addr, "t/#"))
	a.online(t, "b")
	b.online(t, "a")
	connect(t, b, "sub").sub(t, "t/#")
	a.routes(t, "b", 1)
	before := incarnation(t, dir)
	p := newProxy(t, "")
	p.cut() // keeps an address for nobody
	b.stop()
	a.routes(t, "b", 0) // withdrawn
	b = begin(t, "b", []string{"a"}, keepIn(dir), bind(b.addr))
	b.put(t, linkTo("a", a.addr, "t/#"))
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	connect(t, a, "pub").pub(t, paho.Publish{Topic: "t/1", QoS: 1})
	if m := sub.next(t); m.Topic != "t/1" {
		t.Errorf("%v", m)
	}
	if after := incarnation(t, dir); after <= before {
		t.Errorf("incarnation %d after %d", after, before)
	}
}

func incarnation(t *testing.T, dir string) int64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "incarnation"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestIncarnationIsNeverLowered starts with a number that a clock ahead of its
// time has left, and with a file that holds none.
func TestIncarnationIsNeverLowered(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "incarnation")
	future := time.Now().Add(24 * time.Hour).UnixMilli()
	if err := os.WriteFile(file, []byte(strconv.FormatInt(future, 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []int64
	for range 2 {
		b := &bystander{}
		seen := make(chan int64, 10)
		b.say(func(s *broker.Session, m *broker.Message) broker.Verdict {
			if p, err := wire.DecodeControl(m.Payload, wire.DefaultLimits(0)); err == nil {
				if init, ok := p.(wire.ActorInit); ok {
					seen <- init.Incarnation
				}
			}
			return accepts(s, m)
		})
		addr, _ := b.stand(t, "a")
		a := begin(t, "a", []string{"b"}, keepIn(dir))
		a.put(t, linkTo("b", addr, "#"))
		got = append(got, <-seen)
		a.stop()
	}
	if got[0] != future+1 || got[1] != future+2 {
		t.Errorf("%v after %d", got, future)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	node, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := linkengine.New(linkengine.Options{Cluster: "a", Node: node, DataDir: dir}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a faulty file: %v", err)
	}
}

// TestBootWindow is a peer that restarts and takes messages before its link
// application runs: nothing must be sent before it has answered and announced.
func TestBootWindow(t *testing.T) {
	a := begin(t, "a", []string{"b"})
	first := &bystander{}
	first.say(accepts)
	addr, stop := first.stand(t, "a")
	toB := newProxy(t, addr)
	a.put(t, linkTo("b", toB.addr, "#"))
	peer := foreignPeer(t, a, "b", "routesync")
	peer.init(t, 1, "a")
	peer.announce(t, "t/#", "gone/#")
	a.online(t, "b")
	pub := connect(t, a, "pub")
	pub.pub(t, paho.Publish{Topic: "t/before", QoS: 1})
	eventually(t, "the first message arrives", func() bool { return a.status(t, "b").Metrics.Success == 1 })

	toB.cut()
	peer.Close()
	stop()
	eventually(t, "a sees the loss", func() bool { return a.status(t, "b").State == topology.Disconnected })
	for _, name := range []string{"t/1", "gone/1", "t/2"} {
		pub.pub(t, paho.Publish{Topic: name, QoS: 1})
	}
	second := &bystander{} // acknowledges, answers nothing
	addr, _ = second.stand(t, "a")
	toB.mend(addr)
	eventually(t, "the lanes are connected again", func() bool { return a.status(t, "b").State == topology.Connected })
	eventually(t, "the handshake fails", func() bool {
		return strings.Contains(a.status(t, "b").Replication.Reason, "did not answer")
	})
	second.say(accepts)
	eventually(t, "the handshake succeeds", func() bool { return a.status(t, "b").Replication.State == topology.ReplicationOnline })
	if got := second.got(); len(got) != 0 {
		t.Errorf("%v were sent before the peer had announced anything", got)
	}
	peer = foreignPeer(t, a, "b", "routesync")
	peer.init(t, 2, "a")
	peer.announce(t, "t/2")
	eventually(t, "what matches is sent", func() bool { return fmt.Sprint(second.got()) == "[t/2]" })
	peer.announce(t, "t/#")
	eventually(t, "what matches now is sent", func() bool { return fmt.Sprint(second.got()) == "[t/2 t/1]" })
	if m := a.status(t, "b").Metrics; m.Queuing != 1 || m.Dropped != 0 {
		t.Errorf("%+v", m)
	}
}

// TestOthersAreLeftAlone changes one link in all ways and counts connections.
func TestOthersAreLeftAlone(t *testing.T) {
	a, b, c := begin(t, "a", []string{"b", "c"}), begin(t, "b", []string{"a"}), begin(t, "c", []string{"a"})
	toB, toC := newProxy(t, b.addr), newProxy(t, c.addr)
	ab, ac := linkTo("b", toB.addr, "t/#"), linkTo("c", toC.addr, "t/#")
	a.put(t, ab)
	a.put(t, ac)
	b.put(t, linkTo("a", a.addr, "t/#"))
	c.put(t, linkTo("a", a.addr, "t/#"))
	a.online(t, "b")
	a.online(t, "c")
	atB, atC := toB.count(), toC.count()
	connect(t, a, "sub").sub(t, "t/1", "u/1")
	b.routes(t, "a", 1)
	c.routes(t, "a", 1)

	a.put(t, ab) // equal
	ab.Topics = append(ab.Topics, "u/#")
	a.put(t, ab)
	b.routes(t, "a", 2)
	ab.Topics = ab.Topics[1:]
	a.put(t, ab)
	b.routes(t, "a", 1)
	if n := toB.count(); n != atB {
		t.Errorf("%d connections for a change of topics", n-atB)
	}
	ab.PoolSize = 3
	a.put(t, ab)
	eventually(t, "three lanes", func() bool { return toB.count() == atB+3 && a.status(t, "b").State == topology.Connected })
	ab.ClientID = "a"
	ab.Username = "someone"
	a.put(t, ab)
	eventually(t, "four new connections", func() bool { return toB.count() >= atB+7 })
	ab.Enable = false
	a.put(t, ab)
	if err := a.engine.Remove(context.Background(), "b"); err != nil {
		t.Fatal(err)
	}
	if n := toC.count(); n != atC {
		t.Errorf("%d connections to c, which nobody changed", n-atC)
	}
	c.routes(t, "a", 1)
	if links := a.engine.Links(); len(links) != 1 || links[0].Name != "c" {
		t.Errorf("%v", links)
	}
}

// TestQueueOutlivesChange changes the server of a link whose peer is away.
func TestQueueOutlivesChange(t *testing.T) {
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	p := newProxy(t, "")
	p.cut()
	a.put(t, linkTo("b", p.addr, "t/#")) // leads nowhere
	b.put(t, linkTo("a", a.addr, "t/#"))
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	pub := connect(t, a, "pub")
	for i := range 20 {
		pub.pub(t, paho.Publish{Topic: fmt.Sprint("t/", i), QoS: 1})
	}
	mended := linkTo("b", b.addr, "t/#")
	mended.PoolSize = 5
	a.put(t, mended)
	for i := range 20 {
		if m := sub.next(t); m.Topic != fmt.Sprint("t/", i) {
			t.Errorf("%s instead of t/%d", m.Topic, i)
		}
	}
}

// TestOtherEndLearnsLater changes what a link's connections are known by before
// its peer is told: what is published until then is not sent to a peer that
// would refuse it.
func TestOtherEndLearnsLater(t *testing.T) {
	var told broker.Config
	a := begin(t, "a", []string{"b"})
	b := begin(t, "b", []string{"a"}, configured(func(cfg *broker.Config) { told = *cfg }))
	l := linkTo("b", b.addr, "t/#")
	a.put(t, l)
	b.put(t, linkTo("a", a.addr, "t/#"))
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.online(t, "b")
	a.routes(t, "b", 1)
	l.ClientID = "another"
	a.put(t, l)
	pub := connect(t, a, "pub")
	for i := range 20 {
		pub.pub(t, paho.Publish{Topic: fmt.Sprint("t/", i), QoS: 1})
	}
	eventually(t, "the connections stand, and the actor is refused", func() bool {
		st := a.status(t, "b")
		return st.State == topology.Connected && strings.Contains(st.Replication.Reason, "subscribe")
	})
	told.Grants = []topology.Grant{grant("a")}
	told.Grants[0].ClientIDPrefix = l.ClientID
	if err := b.node.Apply(context.Background(), told); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if m := sub.next(t); m.Topic != fmt.Sprint("t/", i) {
			t.Fatalf("%s instead of t/%d", m.Topic, i)
		}
	}
}

// TestBadSecret waits for the file that the link's password is in.
func TestBadSecret(t *testing.T) {
	a := begin(t, "a", []string{"b"})
	b := &bystander{}
	b.say(accepts)
	addr, _ := b.stand(t, "a")
	file := filepath.Join(t.TempDir(), "password")
	l := linkTo("b", addr, "#")
	l.Username, l.Password = "u", ref(t, "file://"+file)
	a.put(t, l)
	eventually(t, "the status names the file", func() bool {
		return strings.Contains(a.status(t, "b").Replication.Reason, file)
	})
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the link comes up", func() bool { return a.status(t, "b").Replication.State == topology.ReplicationOnline })
}

func TestManyRoutes(t *testing.T) {
	filters := 10_000
	if testing.Short() {
		filters = 3000
	}
	announceMany(t, filters)
}

// BenchmarkBootstrap announces 100,000 filters. Its time is that from the link
// to the last route; subscribing takes longer.
func BenchmarkBootstrap(b *testing.B) {
	var took time.Duration
	for b.Loop() {
		took += announceMany(b, 100_000)
	}
	b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms/bootstrap")
}

// announceMany links two sites of which one has that many local filters, and
// returns how long it took the other to know them all.
func announceMany(t testing.TB, filters int) time.Duration {
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	subscriber := connect(t, b, "many")
	for base := 0; base < filters; base += 1000 {
		var subs []paho.SubscribeOptions
		for i := base; i < base+1000; i++ {
			subs = append(subs, paho.SubscribeOptions{Topic: fmt.Sprintf("site/%d/dev/%d/+/cmd", i%100, i), QoS: 1})
		}
		subscriber.subscribe(t, subs...)
	}
	eventually(t, "all are subscribed", func() bool { return b.node.Routes().Len() == filters })
	b.put(t, linkTo("a", a.addr, "site/#"))
	began := time.Now()
	a.put(t, linkTo("b", b.addr))
	a.routes(t, "b", filters)
	b.online(t, "a")
	took := time.Since(began)
	if n := b.status(t, "a").Replication.OwnRoutes; n != filters {
		t.Errorf("%d own routes", n)
	}
	subscriber.Disconnect(&paho.Disconnect{})
	a.routes(t, "b", 0)
	return took
}
