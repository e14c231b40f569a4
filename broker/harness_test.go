package broker

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"clink/internal/secret"
	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"
)

// patience is for what must happen. Tests wait for it no longer than it takes.
const patience = time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ref(t testing.TB, s string) secret.Ref {
	t.Helper()
	r, err := secret.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// anyone lets everybody in on one TCP listener.
func anyone() Config {
	return Config{
		Listeners: []topology.Listener{{Name: "tcp", Type: topology.TCP, Enable: true, Bind: "127.0.0.1:0"}},
		Access:    topology.Access{Anonymous: true},
	}
}

// start runs a node until the test ends.
func start(t testing.TB, o Options, h Handler, cfg Config) *Node {
	t.Helper()
	if o.StopTimeout == 0 {
		o.StopTimeout = patience / 2 // a busy machine may need it
	}
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	n.stall = 10 * patience // nobody is cut off for not reading while the test does something else
	if h != nil {
		n.Intercept(h)
	}
	if err := n.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	run(t, n)
	return n
}

func run(t testing.TB, n *Node) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	})
}

func addr(t testing.TB, n *Node, name string) string {
	t.Helper()
	for _, l := range n.Listeners() {
		if l.Name == name && l.Addr != nil {
			return l.Addr.String()
		}
	}
	t.Fatalf("listener %s is not open: %+v", name, n.Listeners())
	return ""
}

// eventually waits for a condition.
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

// A device is an MQTT 5.0 client under test.
type device struct {
	*paho.Client
	raw  net.Conn
	ack  *paho.Connack
	got  chan *paho.Publish
	gone chan byte // reason of the server's DISCONNECT
}

type connectOption func(*paho.Connect)

func withUser(name, password string) connectOption {
	return func(c *paho.Connect) {
		c.UsernameFlag, c.Username = true, name
		if password != "" {
			c.PasswordFlag, c.Password = true, []byte(password)
		}
	}
}

func keepSession(seconds uint32) connectOption {
	return func(c *paho.Connect) {
		c.CleanStart = false
		c.Properties.SessionExpiryInterval = &seconds
	}
}

func receiveMax(n uint16) connectOption {
	return func(c *paho.Connect) { c.Properties.ReceiveMaximum = &n }
}

func dial(address, id string, opts ...connectOption) (*device, error) {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	return dialOver(c, id, opts...)
}

func dialOver(c net.Conn, id string, opts ...connectOption) (*device, error) {
	d := &device{raw: c, got: make(chan *paho.Publish, 20000), gone: make(chan byte, 1)}
	var once sync.Once
	d.Client = paho.NewClient(paho.ClientConfig{
		Conn:          packets.NewThreadSafeConn(c),
		PacketTimeout: patience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			d.got <- p.Packet
			return true, nil
		}},
		OnServerDisconnect: func(p *paho.Disconnect) { once.Do(func() { d.gone <- p.ReasonCode }) },
		OnClientError:      func(error) { once.Do(func() { d.gone <- 0xff }) },
	})
	cp := &paho.Connect{ClientID: id, KeepAlive: 60, CleanStart: true, Properties: &paho.ConnectProperties{}}
	for _, o := range opts {
		o(cp)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ack, err := d.Connect(ctx, cp)
	if err != nil {
		c.Close()
		if ack != nil {
			return nil, fmt.Errorf("refused with %#02x", ack.ReasonCode)
		}
		return nil, err
	}
	d.ack = ack
	return d, nil
}

func connect(t testing.TB, n *Node, id string, opts ...connectOption) *device {
	t.Helper()
	d, err := dial(addr(t, n, "tcp"), id, opts...)
	if err != nil {
		t.Fatalf("connect %s: %v", id, err)
	}
	t.Cleanup(func() { d.Disconnect(&paho.Disconnect{}) })
	return d
}

func (d *device) sub(t testing.TB, filters ...string) {
	t.Helper()
	for _, f := range filters {
		d.subOpts(t, paho.SubscribeOptions{Topic: f, QoS: 2})
	}
}

func (d *device) subOpts(t testing.TB, o paho.SubscribeOptions) {
	t.Helper()
	if err := d.trySub(o); err != nil {
		t.Fatalf("subscribe %s: %v", o.Topic, err)
	}
}

func (d *device) trySub(o paho.SubscribeOptions) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() { // paho waits for an answer even when the connection is gone
		select {
		case <-d.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := d.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{o}})
	return err
}

func (d *device) pub(t testing.TB, p *paho.Publish) byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := d.Publish(ctx, p)
	if r == nil {
		if err != nil {
			t.Fatalf("publish %s: %v", p.Topic, err)
		}
		return 0
	}
	return r.ReasonCode
}

func (d *device) next(t testing.TB) *paho.Publish {
	t.Helper()
	select {
	case p := <-d.got:
		return p
	case <-time.After(patience):
		t.Fatal("no message came")
		return nil
	}
}

// drop breaks the connection without DISCONNECT and waits until the node knows.
func (d *device) drop(t testing.TB, n *Node, id string) {
	t.Helper()
	d.raw.Close()
	awaitGone(t, n, id)
}

func awaitGone(t testing.TB, n *Node, id string) {
	t.Helper()
	eventually(t, id+" is gone", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.live[id] == nil
	})
}
