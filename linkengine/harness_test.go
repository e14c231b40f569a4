package linkengine_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"clink/broker"
	"clink/internal/secret"
	"clink/linkengine"
	"clink/topic"
	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"
)

// patience is for what must happen. Tests wait for it no longer than it takes.
const patience = time.Minute

// stopTimeout is what the nodes of these tests have to end. After half of it
// they break connections.
const stopTimeout = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A site is a broker with its link engine, as a daemon would run them.
type site struct {
	name   string
	node   *broker.Node
	engine *linkengine.Engine
	addr   string
	stop   func()
}

func grant(peer string) topology.Grant {
	return topology.Grant{
		Peer: peer, ClientIDPrefix: peer, Loopback: true,
		Publish:   []string{"$LINK/cluster/route/" + peer, "$LINK/cluster/msg/" + peer},
		Subscribe: []string{"$LINK/cluster/resp/" + peer + "/#"},
	}
}

type siteOption func(*siteOptions)

type siteOptions struct {
	bind, dir string
	store     string // directory of the broker's
	log       *slog.Logger
	configure func(*broker.Config)
	before    func(*broker.Session)
	start     <-chan struct{} // the engine waits for it; nil: it does not
}

func bind(addr string) siteOption  { return func(o *siteOptions) { o.bind = addr } }
func keepIn(dir string) siteOption { return func(o *siteOptions) { o.dir = dir } }

// storeIn has the broker keep its sessions.
func storeIn(dir string) siteOption { return func(o *siteOptions) { o.store = dir } }

// configured changes the broker's configuration before it is applied.
func configured(change func(*broker.Config)) siteOption {
	return func(o *siteOptions) { o.configure = change }
}

// beforeControl has something happen before the engine is told of each control
// packet.
func beforeControl(do func(*broker.Session)) siteOption {
	return func(o *siteOptions) { o.before = do }
}

// startedBy has the engine run only when a channel is closed.
func startedBy(c <-chan struct{}) siteOption { return func(o *siteOptions) { o.start = c } }

// begin runs a site that lets in link peers of the given names, and exports
// everything to them.
func begin(t testing.TB, name string, peers []string, opts ...siteOption) *site {
	t.Helper()
	o := siteOptions{bind: "127.0.0.1:0", log: slog.New(slog.DiscardHandler)}
	if os.Getenv("LINKENGINE_LOG") != "" {
		o.log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("site", name)
	}
	for _, opt := range opts {
		opt(&o)
	}
	node, err := broker.New(broker.Options{Name: name, Log: o.log, QueueLength: 100_000, Store: o.store, StopTimeout: stopTimeout})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := linkengine.New(linkengine.Options{Cluster: name, Node: node, DataDir: o.dir, Log: o.log})
	if err != nil {
		t.Fatal(err)
	}
	if o.before != nil {
		node.Intercept(linkengine.Late{Handler: engine.Handler(), Before: o.before})
	}
	cfg := broker.Config{
		Listeners: []topology.Listener{{Name: "tcp", Type: topology.TCP, Enable: true, Bind: o.bind}},
		Access:    topology.Access{Anonymous: true},
	}
	exports := make(map[string][]topic.Filter)
	for _, p := range peers {
		cfg.Grants = append(cfg.Grants, grant(p))
		exports[p] = []topic.Filter{"#"}
	}
	engine.SetExports(exports)
	if o.configure != nil {
		o.configure(&cfg)
	}
	if err := node.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	s := &site{name: name, node: node, engine: engine}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	late := func(ctx context.Context) error {
		if o.start != nil {
			<-o.start
		}
		return engine.Run(ctx)
	}
	for _, run := range []func(context.Context) error{node.Run, late} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			running.Wait()
			if err := engine.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	t.Cleanup(s.stop)
	eventually(t, "the listener opens", func() bool {
		l := node.Listeners()
		if len(l) == 1 && l[0].Addr != nil {
			s.addr = l[0].Addr.String()
		}
		return s.addr != ""
	})
	return s
}

// linkTo is a link to a site at an address. On a busy machine too, nothing ages
// in its queue, and no lane takes a peer for dead that only gets no processor.
func linkTo(peer, addr string, topics ...topic.Filter) topology.Link {
	return topology.Link{
		Name: peer, Enable: true, Server: addr, Address: addr, Topics: topics, PoolSize: 2, MaxInflight: 32,
		RetryInterval: topology.Duration{Value: 20 * time.Second},
		ResourceOpts: topology.ResourceOpts{
			RequestTTL:     topology.Duration{Value: time.Hour},
			MaxBufferBytes: topology.Size{Bytes: 64 << 20},
		},
	}
}

func (s *site) put(t testing.TB, l topology.Link) {
	t.Helper()
	if err := s.engine.Put(context.Background(), l); err != nil {
		t.Fatal(err)
	}
}

func (s *site) status(t testing.TB, peer string) topology.LinkStatus {
	t.Helper()
	for _, st := range s.engine.Status() {
		if st.Peer == peer {
			return st
		}
	}
	t.Fatalf("%s has no link to %s", s.name, peer)
	return topology.LinkStatus{}
}

// online waits until the link works in both directions as far as s can see.
func (s *site) online(t testing.TB, peer string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is linked to %s", s.name, peer), func() bool {
		st := s.status(t, peer)
		return st.Replication.State == topology.ReplicationOnline && st.State == topology.Connected && st.Inbound.State == topology.InboundOnline
	})
}

// routes waits until s has as many routes of the peer.
func (s *site) routes(t testing.TB, peer string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has %d routes of %s", s.name, n, peer), func() bool {
		return s.status(t, peer).Replication.PeerRoutes == n
	})
}

// pair is two sites linked with each other.
func pair(t testing.TB, topics ...topic.Filter) (a, b *site) {
	t.Helper()
	a, b = begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	a.put(t, linkTo("b", b.addr, topics...))
	b.put(t, linkTo("a", a.addr, topics...))
	a.online(t, "b")
	b.online(t, "a")
	return a, b
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// A device is an ordinary MQTT 5.0 client.
type device struct {
	*paho.Client
	got chan *paho.Publish
}

func connect(t testing.TB, s *site, id string) *device {
	t.Helper()
	return attach(t, s, &paho.Connect{ClientID: id, KeepAlive: 60, CleanStart: true})
}

// resume connects with a session that outlives the connection for an hour.
func resume(t testing.TB, s *site, id string) *device {
	t.Helper()
	hour := uint32(3600)
	return attach(t, s, &paho.Connect{ClientID: id, KeepAlive: 60, Properties: &paho.ConnectProperties{SessionExpiryInterval: &hour}})
}

func attach(t testing.TB, s *site, as *paho.Connect) *device {
	t.Helper()
	c, err := net.DialTimeout("tcp", s.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{got: make(chan *paho.Publish, 100_000)}
	d.Client = paho.NewClient(paho.ClientConfig{
		Conn:          packets.NewThreadSafeConn(c),
		PacketTimeout: patience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			d.got <- p.Packet
			return true, nil
		}},
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := d.Connect(ctx, as); err != nil {
		t.Fatalf("connect %s: %v", as.ClientID, err)
	}
	t.Cleanup(func() { d.Disconnect(&paho.Disconnect{}) })
	return d
}

func (d *device) sub(t testing.TB, filters ...string) {
	t.Helper()
	for _, f := range filters {
		d.subscribe(t, paho.SubscribeOptions{Topic: f, QoS: 2})
	}
}

func (d *device) subscribe(t testing.TB, o ...paho.SubscribeOptions) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := d.Subscribe(ctx, &paho.Subscribe{Subscriptions: o}); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
}

func (d *device) unsub(t testing.TB, filters ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := d.Unsubscribe(ctx, &paho.Unsubscribe{Topics: filters}); err != nil {
		t.Fatalf("unsubscribe: %v", err)
	}
}

func (d *device) pub(t testing.TB, p paho.Publish) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := d.Publish(ctx, &p); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

func (d *device) next(t testing.TB) *paho.Publish {
	t.Helper()
	select {
	case m := <-d.got:
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
		return nil
	}
}

func ref(t testing.TB, s string) secret.Ref {
	t.Helper()
	r, err := secret.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
