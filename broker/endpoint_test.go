package broker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/gorilla/websocket"
)

// A testCA signs certificates for one test.
type testCA struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newCA(t testing.TB, dir string) *testCA {
	t.Helper()
	ca := &testCA{t: t, dir: dir, pool: x509.NewCertPool()}
	ca.key = ca.newKey()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &ca.key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	ca.cert, _ = x509.ParseCertificate(der)
	ca.pool.AddCert(ca.cert)
	ca.write("ca.pem", "CERTIFICATE", der)
	return ca
}

func (ca *testCA) newKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	return k
}

func (ca *testCA) write(name, kind string, der []byte) {
	if err := os.WriteFile(filepath.Join(ca.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		ca.t.Fatal(err)
	}
}

// issue writes name.pem and name.key for a common name.
func (ca *testCA) issue(name, cn string) tls.Certificate {
	ca.t.Helper()
	k := ca.newKey()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, &k.PublicKey, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.write(name+".pem", "CERTIFICATE", der)
	kb, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.write(name+".key", "EC PRIVATE KEY", kb)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
}

func (ca *testCA) dial(address string, cert ...tls.Certificate) (*tls.Conn, error) {
	return tls.Dial("tcp", address, &tls.Config{RootCAs: ca.pool, Certificates: cert})
}

func serverSSL(name string) topology.TLS {
	return topology.TLS{Enable: true, CertFile: name + ".pem", KeyFile: name + ".key", CACertFile: "ca.pem", Verify: "verify_peer"}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca := newCA(t, dir)
	ca.issue("one", "server one")
	ca.issue("two", "server two")
	cfg := withGrants(t)
	cfg.BaseDir = dir
	cfg.Listeners = []topology.Listener{
		{Name: "ssl", Type: topology.SSL, Enable: true, Bind: "127.0.0.1:0", SSL: serverSSL("one")},
		{Name: "wss", Type: topology.WSS, Enable: true, Bind: "127.0.0.1:0", SSL: serverSSL("one")},
	}
	n := start(t, Options{}, &recorder{}, cfg)
	address := addr(t, n, "ssl")
	over := func(id string, cert ...tls.Certificate) (*device, *tls.Conn, error) {
		c, err := ca.dial(address, cert...)
		if err != nil {
			t.Fatal(err)
		}
		d, err := dialOver(c, id)
		return d, c, err
	}
	old, conn, err := over("plain")
	if err != nil {
		t.Fatal(err)
	}
	if cn := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; cn != "server one" {
		t.Errorf("served with the certificate of %s", cn)
	}
	other := newCA(t, t.TempDir())
	for name, tt := range map[string]struct {
		cert []tls.Certificate
		ok   bool
	}{"right": {[]tls.Certificate{ca.issue("c", "cert-peer")}, true}, "wrong": {[]tls.Certificate{ca.issue("d", "other-peer")}, false}, "none": {nil, false}} {
		d, _, err := over("from-cert:"+name, tt.cert...)
		if (err == nil) != tt.ok {
			t.Errorf("link with %s certificate: %v", name, err)
		}
		if err == nil {
			d.Disconnect(&paho.Disconnect{})
		}
	}
	if c, err := ca.dial(address, other.issue("x", "cert-peer")); err == nil {
		if _, err := dialOver(c, "from-cert:x"); err == nil {
			t.Error("a certificate of another CA was taken")
		}
	}

	// A new certificate is served at once, and disturbs nobody; a bad one is told and ignored.
	cfg.Listeners[0].SSL = serverSSL("two")
	if err := n.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	fresh, conn, err := over("fresh")
	if err != nil || addr(t, n, "ssl") != address {
		t.Fatal(err, "or the listener was opened anew")
	}
	if cn := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; cn != "server two" {
		t.Errorf("still served with the certificate of %s", cn)
	}
	cfg.Listeners[0].SSL = serverSSL("missing")
	if err := n.Apply(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), `listener "ssl": ssl: certfile`) {
		t.Errorf("Apply = %v", err)
	}
	if s := n.Listeners()[0]; s.Err == "" || s.Addr.String() != address {
		t.Errorf("status %+v", s)
	}
	old.sub(t, "x")
	fresh.pub(t, &paho.Publish{Topic: "x", QoS: 1})
	old.next(t)
	old.Disconnect(&paho.Disconnect{})
	fresh.Disconnect(&paho.Disconnect{})
	testWeb(t, n, "wss", &websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: ca.pool}, Subprotocols: []string{"mqtt"}})
}

func testWeb(t *testing.T, n *Node, listener string, dialer *websocket.Dialer) {
	t.Helper()
	ws, resp, err := dialer.Dial(listener+"://"+addr(t, n, listener)+"/mqtt", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "mqtt" {
		t.Errorf("subprotocol %q", got)
	}
	d, err := dialOver(&webConn{Conn: ws.NetConn(), ws: ws}, "web")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Disconnect(&paho.Disconnect{})
	d.sub(t, "web/#")
	big := make([]byte, 300<<10)
	d.pub(t, &paho.Publish{Topic: "web/x", QoS: 1, Payload: big})
	if p := d.next(t); len(p.Payload) != len(big) {
		t.Errorf("got %d bytes", len(p.Payload))
	}
}

func TestWebSocket(t *testing.T) {
	cfg := anyone()
	cfg.Listeners[0].Type, cfg.Listeners[0].Name = topology.WS, "ws"
	n := start(t, Options{}, nil, cfg)
	testWeb(t, n, "ws", &websocket.Dialer{Subprotocols: []string{"mqtt"}})
}

func TestListenersComeAndGo(t *testing.T) {
	cfg := anyone()
	second := cfg.Listeners[0]
	second.Name = "second"
	cfg.Listeners = append(cfg.Listeners, second, topology.Listener{Name: "off", Bind: "127.0.0.1:0", Type: topology.TCP})
	n := start(t, Options{}, nil, cfg)
	first, was := addr(t, n, "tcp"), addr(t, n, "second")
	a := connect(t, n, "a")
	a.sub(t, "x")
	b, err := dial(was, "b")
	if err != nil {
		t.Fatal(err)
	}
	b.sub(t, "x") // after this its session is whole, and is told the reason
	cfg.Listeners = cfg.Listeners[:1]
	if err := n.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	if code := <-b.gone; code != 0x8b {
		t.Errorf("the client of a closed listener was told %#x", code)
	}
	if _, err := net.Dial("tcp", was); err == nil {
		t.Error("the closed listener still accepts")
	}
	third := second
	third.Name, third.Bind = "third", was // the port is free again
	cfg.Listeners = append(cfg.Listeners, third)
	if err := n.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	c, err := dial(addr(t, n, "third"), "c")
	if err != nil {
		t.Fatal(err)
	}
	c.pub(t, &paho.Publish{Topic: "x", QoS: 1})
	a.next(t)
	c.Disconnect(&paho.Disconnect{})
	if addr(t, n, "tcp") != first || len(n.Listeners()) != 2 {
		t.Errorf("listeners %+v", n.Listeners())
	}
}

func TestTakenPortIsTriedAgain(t *testing.T) {
	squatter, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := anyone()
	cfg.Listeners = append(cfg.Listeners, topology.Listener{Name: "taken", Type: topology.TCP, Enable: true, Bind: squatter.Addr().String()},
		topology.Listener{Name: "mounted", Type: topology.TCP, Enable: true, Bind: "127.0.0.1:0", Mountpoint: "m/"})
	n, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Apply(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), `listener "mounted"`) || strings.Contains(err.Error(), "taken") {
		t.Errorf("Apply = %v", err)
	}
	run(t, n)
	connect(t, n, "others are served")
	if s := n.Listeners()[1]; s.Name != "taken" || s.Addr != nil || !strings.Contains(s.Err, "in use") {
		t.Errorf("status %+v", s)
	}
	squatter.Close()
	eventually(t, "the listener opens", func() bool { s := n.Listeners()[1]; return s.Addr != nil && s.Err == "" })
	d, err := dial(addr(t, n, "taken"), "d")
	if err != nil {
		t.Fatal(err)
	}
	d.Disconnect(&paho.Disconnect{})
}

func TestLimits(t *testing.T) {
	cfg := anyone()
	cfg.Listeners[0].MaxConnections = 2
	cfg.Listeners[0].MaxPacketSize.Bytes = 1000
	n := start(t, Options{}, nil, cfg)
	r, ack := connectRaw(t, n, "r", nil)
	if got := *ack.Properties.MaximumPacketSize; got != 1000 {
		t.Errorf("told a packet size of %d", got)
	}
	connectRaw(t, n, "second", nil)
	third := dialRaw(t, addr(t, n, "tcp"))
	if code, told := third.ended(); told {
		t.Errorf("one too many was told %#x", code)
	}
	r.publish("a", 1, 1, func(p *packets.Publish) { p.Payload = make([]byte, 900) })
	r.read()
	r.publish("a", 1, 1, func(p *packets.Publish) { p.Payload = make([]byte, 1000) })
	if code, _ := r.ended(); code != 0x95 {
		t.Errorf("a packet too large is answered with %#x", code)
	}
	awaitGone(t, n, "r")
	n.applying.Lock()
	e := n.endpoints["tcp"]
	n.applying.Unlock()
	eventually(t, "there is room", func() bool { return e.count.Load() == 1 })
	huge := dialRaw(t, addr(t, n, "tcp"))
	huge.Write([]byte{0x10, 0xff, 0xff, 0xff, 0x7f})
	huge.ended()
}

func TestConnectTimeout(t *testing.T) {
	n := start(t, Options{ConnectTimeout: 50 * time.Millisecond}, nil, anyone())
	dialRaw(t, addr(t, n, "tcp")).ended()
}

func TestFrameGuard(t *testing.T) {
	stream := []byte{0xc0, 0, 0x30, 0x81, 0x01}
	stream = append(stream, make([]byte, 129)...)
	stream = append(stream, 0x30, 2, 0, 0)
	for _, tt := range []struct {
		limit int64
		ok    bool
	}{{132, true}, {131, false}} {
		for chunk := 1; chunk < len(stream); chunk++ {
			var g frameGuard
			g.limit.Store(tt.limit)
			ok := true
			for rest := stream; len(rest) > 0 && ok; {
				k := min(chunk, len(rest))
				ok = g.pass(rest[:k])
				rest = rest[k:]
			}
			if ok != tt.ok {
				t.Fatalf("limit %d, chunks of %d: passed %v", tt.limit, chunk, ok)
			}
		}
	}
	var g frameGuard
	g.limit.Store(1 << 40)
	if g.pass([]byte{0x30, 0xff, 0xff, 0xff, 0xff}) {
		t.Error("a length of five bytes passed")
	}
}

func TestStop(t *testing.T) {
	t.Parallel() // it waits more than it works
	h := &recorder{held: make(chan struct{}, 1), hold: make(chan struct{})}
	n, err := New(Options{StopTimeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	n.Intercept(h)
	if err := n.Apply(context.Background(), anyone()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	d, err := dial(addr(t, n, "tcp"), "d", withWill("w", nil))
	if err != nil {
		t.Fatal(err)
	}
	r := dialRaw(t, addr(t, n, "tcp"))
	stuck, _ := connectRaw(t, n, "stuck", nil)
	stuck.publish("x", 1, 1, nil)
	<-h.held
	cancel()
	if code := <-d.gone; code != 0x8b {
		t.Errorf("told %#x, want 0x8b", code)
	}
	r.ended()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Errorf("Run = %v with a handler that blocks", err)
	}
	close(h.hold)
	if err := n.Apply(context.Background(), anyone()); err == nil {
		t.Error("Apply after the end is taken")
	}
	if err := n.Run(context.Background()); err == nil {
		t.Error("Run after the end is taken")
	}
	if got := fmt.Sprint(h.topics()); strings.Contains(got, "w") {
		t.Errorf("a will was published at the end: %s", got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{SysInterval: 1}, {MaxInflight: maxInflight + 1}, {QueueLength: -1}, {MaxPacketSize: 1}, {StopTimeout: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestLoopbackOnly(t *testing.T) {
	g := linkGrant("p")
	for a, want := range map[string]bool{"127.0.0.1": true, "127.3.2.1": true, "::1": true, "10.0.0.1": false, "::ffff:10.0.0.1": false, "fe80::1": false} {
		ready, err := newGrant(g, &access{}, mustVault(t), "")
		if err != nil {
			t.Fatal(err)
		}
		ip := addrPort(net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(a), 1)))
		if got := ready.admit(&claim{loopback: ip.Addr().IsLoopback()}, mustVault(t)) == ""; got != want {
			t.Errorf("from %s: let in %v", a, got)
		}
	}
}

// A listener whose socket is taken from it is opened again, and says so.
func TestListenerThatLostItsSocket(t *testing.T) {
	cfg := anyone()
	cfg.Listeners = append(cfg.Listeners, topology.Listener{Name: "ws", Type: topology.WS, Enable: true, Bind: "127.0.0.1:0"})
	n := start(t, Options{}, nil, cfg)
	stays := connect(t, n, "stays")
	stays.sub(t, "x")
	for _, name := range []string{"tcp", "ws"} {
		addr(t, n, name) // it is open
		n.applying.Lock()
		e := n.endpoints[name]
		n.applying.Unlock()
		e.mu.Lock()
		e.ln.Close()
		e.mu.Unlock()
		eventually(t, name+" is opened again", func() bool {
			for _, l := range n.Listeners() {
				if l.Name == name {
					return l.Lost == 1 && l.Err == "" && l.Addr != nil
				}
			}
			return false
		})
	}
	connect(t, n, "comes").pub(t, &paho.Publish{Topic: "x", QoS: 1})
	if p := stays.next(t); p.Topic != "x" {
		t.Errorf("got %+v", p)
	}
}
