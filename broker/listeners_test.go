package broker

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/gorilla/websocket"
)

func (ca *testCA) client(cert ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: ca.pool, Certificates: cert, ServerName: "127.0.0.1"}
}

func (ca *testCA) over(c net.Conn, cert ...tls.Certificate) net.Conn {
	return tls.Client(c, ca.client(cert...))
}

// every is a configuration with a listener of each type.
func every(t testing.TB) (Config, *testCA) {
	dir := t.TempDir()
	ca := newCA(t, dir)
	ca.issue("one", "server one")
	cfg := anyone()
	cfg.BaseDir, cfg.Listeners = dir, nil
	for _, kind := range everyType {
		l := topology.Listener{Name: kind, Type: kind, Enable: true, Bind: "127.0.0.1:0"}
		switch kind {
		case topology.SSL, topology.WSS:
			l.SSL = serverSSL("one")
			l.SSL.ReuseSessions = true
		case topology.Unix:
			l.Bind = "./s"
		}
		cfg.Listeners = append(cfg.Listeners, l)
	}
	return cfg, ca
}

var everyType = []string{topology.SSL, topology.TCP, topology.Unix, topology.WS, topology.WSS}

// reach connects to a listener of any type.
func (ca *testCA) reach(n *Node, name, kind string, config *tls.Config) (net.Conn, error) {
	address := addr(ca.t, n, name)
	switch kind {
	case topology.Unix:
		return net.Dial("unix", address)
	case topology.SSL:
		return tls.Dial("tcp", address, config)
	case topology.WS, topology.WSS:
		d := websocket.Dialer{TLSClientConfig: config, Subprotocols: []string{"mqtt"}}
		ws, _, err := d.Dial(kind+"://"+address+"/mqtt", nil)
		if err != nil {
			return nil, err
		}
		return &webConn{Conn: ws.NetConn(), ws: ws}, nil
	}
	return net.Dial("tcp", address)
}

func (ca *testCA) device(n *Node, name, kind, id string) *device {
	ca.t.Helper()
	c, err := ca.reach(n, name, kind, ca.client())
	if err != nil {
		ca.t.Fatalf("%s: %v", name, err)
	}
	d, err := dialOver(c, id)
	if err != nil {
		ca.t.Fatalf("%s: %v", name, err)
	}
	d.sub(ca.t, "x") // after this its session is whole
	ca.t.Cleanup(func() { d.raw.Close() })
	return d
}

// Whatever type of listener is added, changed, switched off or removed, the
// clients of the others feel nothing of it, nor those of one whose address
// stays.
func TestEachTypeComesAndGoes(t *testing.T) {
	for _, kind := range everyType {
		t.Run(kind, func(t *testing.T) {
			all, ca := every(t)
			testComesAndGoes(t, all, ca, kind)
		})
	}
}

func testComesAndGoes(t *testing.T, all Config, ca *testCA, kind string) {
	cfg := all
	cfg.Listeners = nil
	var mine topology.Listener
	for _, l := range all.Listeners {
		if l.Type == kind {
			mine = l
		} else {
			cfg.Listeners = append(cfg.Listeners, l)
		}
	}
	n := start(t, Options{}, nil, cfg)
	others := map[string]*device{}
	for _, l := range cfg.Listeners {
		others[l.Name] = ca.device(n, l.Name, l.Type, "keeps "+l.Name)
	}
	still := func(when string) {
		t.Helper()
		for name, d := range others {
			d.pub(t, &paho.Publish{Topic: "x", QoS: 1})
			for _, e := range others {
				e.next(t)
			}
			select {
			case <-d.gone:
				t.Errorf("%s: the client of %s is gone", when, name)
			default:
			}
		}
	}
	with := cfg
	with.Listeners = append(append([]topology.Listener{}, cfg.Listeners...), mine)
	apply(t, n, with)
	still("was added")
	address := addr(t, n, kind)
	own := ca.device(n, kind, kind, "itself")
	others["itself"] = own
	last := &with.Listeners[len(with.Listeners)-1]
	last.MaxConnections, last.MaxPacketSize.Bytes, last.MaxConnRate = 7, 5000, topology.Rate{Count: 50, Per: time.Second}
	apply(t, n, with)
	if addr(t, n, kind) != address {
		t.Error("it was opened anew for a change of its limits")
	}
	still("was changed")
	delete(others, "itself")
	last.Enable = false
	apply(t, n, with)
	if code := <-own.gone; code != 0x8b {
		t.Errorf("the client of a listener that was switched off is told %#x", code)
	}
	still("was switched off")
	apply(t, n, cfg)
	still("was removed")
}

func TestSocketInTheFileSystem(t *testing.T) {
	cfg := anyone()
	cfg.BaseDir = t.TempDir()
	cfg.Grants = []topology.Grant{linkGrant("p")}
	cfg.Listeners = []topology.Listener{{Name: "local", Type: topology.Unix, Enable: true, Bind: "./s"}}
	path := filepath.Join(cfg.BaseDir, "s")

	// What a killed process left behind is taken away.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	n := start(t, Options{}, &recorder{}, cfg)
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o660 {
		t.Fatal(fi.Mode(), err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dialOver(c, "from-p:1") // a link that proves nothing is let in from this machine
	if err != nil {
		t.Fatal(err)
	}
	d.raw.Close()

	// Nobody takes it away from whoever listens, or removes what is no socket.
	busy := cfg
	busy.Listeners = []topology.Listener{{Name: "other", Type: topology.Unix, Enable: true, Bind: path}}
	m := start(t, Options{}, &recorder{}, busy)
	if s := m.Listeners()[0]; s.Addr != nil || !strings.Contains(s.Err, "in use") {
		t.Errorf("status %+v", s)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	file := filepath.Join(cfg.BaseDir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for bind, want := range map[string]string{
		file: "in use", filepath.Join(cfg.BaseDir, "no", "s"): "no such file", "./" + strings.Repeat("long", 30): "the system takes 107",
	} {
		_, err := listen(topology.Listener{Type: topology.Unix, Bind: bind}, cfg.BaseDir)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", bind, err, want)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file holds %q, %v", text, err)
	}

	cfg.Listeners = nil
	apply(t, n, cfg)
	eventually(t, "the other has it now", func() bool { return m.Listeners()[0].Addr != nil })
	apply(t, m, cfg)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if _, err := net.Dial("unix", filepath.Join(cfg.BaseDir, "nobody")); !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
}

// A new authority of the clients holds for whoever connects after it, also with
// what a session of before left him; who is connected stays.
func TestClientAuthorityChanges(t *testing.T) {
	all, ca := every(t)
	theirs, next := newCA(t, t.TempDir()), newCA(t, t.TempDir())
	cfg := all
	cfg.Listeners = nil
	for _, l := range all.Listeners {
		if l.Type == topology.SSL || l.Type == topology.WSS {
			l.SSL.CACertFile, l.SSL.FailIfNoPeerCert = "clients.pem", true
			cfg.Listeners = append(cfg.Listeners, l)
		}
	}
	trust := func(who *testCA, digest string) {
		ca.write("clients.pem", "CERTIFICATE", who.cert.Raw)
		for i := range cfg.Listeners {
			cfg.Listeners[i].Digest = digest
		}
	}
	trust(theirs, "1")
	n := start(t, Options{}, nil, cfg)
	for _, kind := range []string{topology.SSL, topology.WSS} {
		config := ca.client(theirs.issue("c", "client"))
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		enter := func(config *tls.Config) (*device, error) {
			c, err := ca.reach(n, kind, kind, config)
			if err != nil {
				return nil, err
			}
			return dialOver(c, "of "+kind)
		}
		stays, err := enter(config)
		if err != nil {
			t.Fatal(err)
		}
		stays.sub(t, "x")
		trust(next, "2 "+kind)
		apply(t, n, cfg)
		if d, err := enter(config); err == nil {
			d.raw.Close()
			t.Errorf("%s: a certificate of the old authority is taken", kind)
		}
		stays.pub(t, &paho.Publish{Topic: "x", QoS: 1})
		stays.next(t)
		stays.raw.Close()
		awaitGone(t, n, "of "+kind)
		d, err := enter(ca.client(next.issue("d", "client")))
		if err != nil {
			t.Errorf("%s: a certificate of the new authority: %v", kind, err)
		} else {
			d.raw.Close()
			awaitGone(t, n, "of "+kind)
		}
		trust(theirs, "3 "+kind)
		apply(t, n, cfg)
	}
}

// named is a client certificate with these names.
func (ca *testCA) named(cn string, change func(*x509.Certificate)) tls.Certificate {
	k := ca.newKey()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn}, NotAfter: time.Now().Add(time.Hour)}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, &k.PublicKey, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: (*ecdsa.PrivateKey)(k)}
}

// A certificate that the listener verified is a user's name and password, where
// the listener says so and as long as it does.
func TestCertificateAsUsername(t *testing.T) {
	all, ca := every(t)
	cfg := all
	cfg.Listeners = []topology.Listener{all.Listeners[0], all.Listeners[4]}
	cfg.Access = topology.Access{
		Users:  []topology.User{{Name: "pump-7", Password: ref(t, "hunter2")}},
		ACL:    []topology.Rule{{Permit: "allow", Action: "all", Topics: []string{"of/${username}"}}},
		HasACL: true,
	}
	for i := range cfg.Listeners {
		cfg.Listeners[i].PeerCertAsUsername = topology.PeerCertCN
	}
	n := start(t, Options{}, nil, cfg)
	uri, _ := url.Parse("urn:uuid:1")
	sans := map[string]tls.Certificate{
		"a.example.net": ca.named("cn", func(c *x509.Certificate) {
			c.DNSNames, c.EmailAddresses, c.URIs = []string{"a.example.net", "b"}, []string{"x@y"}, []*url.URL{uri}
		}),
		"x@y":        ca.named("cn", func(c *x509.Certificate) { c.EmailAddresses, c.URIs = []string{"x@y"}, []*url.URL{uri} }),
		"urn:uuid:1": ca.named("cn", func(c *x509.Certificate) { c.URIs = []*url.URL{uri} }),
	}
	enter := func(kind, id string, config *tls.Config, opts ...connectOption) (*device, error) {
		c, err := ca.reach(n, kind, kind, config)
		if err != nil {
			t.Fatal(err)
		}
		return dialOver(c, id, opts...)
	}
	for _, kind := range []string{topology.SSL, topology.WSS} {
		d, err := enter(kind, kind, ca.client(ca.named("pump-8", nil)), withUser("pump-7", "not its password"))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		d.sub(t, "of/pump-8")
		if d.trySub(paho.SubscribeOptions{Topic: "of/pump-7"}) == nil {
			t.Errorf("%s: the name that the client gives itself counts", kind)
		}
		defer d.raw.Close()
		for name, config := range map[string]*tls.Config{"no certificate": ca.client(), "one without a name": ca.client(ca.named("", nil)), "a name that is none": ca.client(ca.named("a\x00b", nil))} {
			if _, err := enter(kind, "n", config); err == nil {
				t.Errorf("%s: let in with %s", kind, name)
			}
		}
		byPassword, err := enter(kind, "p", ca.client(), withUser("pump-7", "hunter2"))
		if err != nil {
			t.Errorf("%s: without a certificate, with a password: %v", kind, err)
		} else {
			byPassword.raw.Close()
			awaitGone(t, n, "p")
		}
	}
	for i := range cfg.Listeners {
		cfg.Listeners[i].PeerCertAsUsername = topology.PeerCertSAN
	}
	// Who came under the name of before is somebody else now.
	stays, err := enter(topology.SSL, "stays", ca.client(), withUser("pump-7", "hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, n, cfg)
	awaitGone(t, n, topology.SSL)
	awaitGone(t, n, topology.WSS)
	stays.sub(t, "of/pump-7")
	stays.raw.Close()
	for want, cert := range sans {
		d, err := enter(topology.SSL, "s", ca.client(cert))
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		d.sub(t, "of/"+want)
		d.raw.Close()
		awaitGone(t, n, "s")
	}
}

// Connections that come too fast wait, and are counted; none is refused.
func TestConnectionRate(t *testing.T) {
	cfg := anyone()
	cfg.Listeners[0].MaxConnRate = topology.Rate{Count: 5, Per: time.Second}
	cfg.Listeners = append(cfg.Listeners, topology.Listener{Name: "ws", Type: topology.WS, Enable: true, Bind: "127.0.0.1:0", MaxConnRate: topology.Rate{Count: 5, Per: time.Second}})
	n := start(t, Options{}, nil, cfg)
	for i, name := range []string{"tcp", "ws"} {
		const many = 10
		began := time.Now()
		closed := make(chan error, many)
		for range many {
			go func() {
				c, err := net.Dial("tcp", addr(t, n, name))
				if err == nil {
					_, err = c.Write([]byte("no MQTT, and no HTTP\r\n\r\n"))
					c.SetReadDeadline(time.Now().Add(patience))
					for err == nil {
						_, err = c.Read(make([]byte, 100))
					}
					c.Close()
				}
				if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
					err = nil
				}
				closed <- err
			}()
		}
		for range many {
			if err := <-closed; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if took := time.Since(began); took < 900*time.Millisecond {
			t.Errorf("%s: %d connections were taken within %v", name, many, took)
		}
		if got := n.Stats().Waited; got < uint64(4*(i+1)) {
			t.Errorf("%s: %d are counted", name, got)
		}
	}
	// A rate that is taken away is so at once, also for one that waits.
	cfg.Listeners[0].MaxConnRate = topology.Rate{Count: 1, Per: 24 * time.Hour}
	apply(t, n, cfg)
	var waits *rawClient
	for range 6 {
		waits = dialRaw(t, addr(t, n, "tcp"))
	}
	cfg.Listeners[0].MaxConnRate = topology.Rate{}
	apply(t, n, cfg)
	waits.write(packets.NewControlPacket(packets.CONNECT))
	waits.read()
}

// A client that publishes too fast is read from more slowly. It loses nothing,
// and its keep-alive does not end it meanwhile; others are not held up.
func TestClientRates(t *testing.T) {
	for name, change := range map[string]func(*topology.Listener){
		"messages": func(l *topology.Listener) { l.MessagesRate = topology.Rate{Count: 10, Per: 200 * time.Millisecond} },
		"bytes":    func(l *topology.Listener) { l.BytesRate = topology.Rate{Count: 10 * 104, Per: 200 * time.Millisecond} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := anyone()
			cfg.Listeners = append(cfg.Listeners, topology.Listener{Name: "free", Type: topology.TCP, Enable: true, Bind: "127.0.0.1:0"})
			change(&cfg.Listeners[0])
			n := start(t, Options{}, nil, cfg)
			sub, err := dial(addr(t, n, "free"), "sub")
			if err != nil {
				t.Fatal(err)
			}
			defer sub.raw.Close()
			sub.sub(t, "slow", "fast")
			r, _ := connectRaw(t, n, "r", func(c *packets.Connect) { c.KeepAlive = 1 })
			began := time.Now()
			const many = 100 // in 2 s, more than 1.5 times the keep-alive
			for range many {
				r.publish("slow", 0, 0, func(p *packets.Publish) { p.Payload = make([]byte, 95) })
			}
			other, err := dial(addr(t, n, "free"), "other")
			if err != nil {
				t.Fatal(err)
			}
			defer other.raw.Close()
			other.pub(t, &paho.Publish{Topic: "fast", QoS: 1})
			slow, seen := 0, false
			for slow < many || !seen {
				if p := sub.next(t); p.Topic == "fast" {
					seen = true
					if slow > many/2 {
						t.Errorf("others are held up: %d messages came first", slow)
					}
				} else {
					slow++
				}
			}
			if took := time.Since(began); took < 1500*time.Millisecond {
				t.Errorf("%d messages within %v", many, took)
			}
			r.silent("after all")
		})
	}
}

// The session of a client that a certificate names is its own after a restart.
func TestCertificateSessionOutlivesTheProcess(t *testing.T) {
	all, ca := every(t)
	cfg := all
	cfg.Listeners = []topology.Listener{all.Listeners[0]}
	cfg.Listeners[0].PeerCertAsUsername = topology.PeerCertCN
	dir := filepath.Join(t.TempDir(), "store")
	pump := ca.client(ca.named("pump-8", nil))
	for round := range 2 {
		n, err := New(Options{Store: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Apply(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		c, err := ca.reach(n, topology.SSL, topology.SSL, pump)
		if err != nil {
			t.Fatal(err)
		}
		d, err := dialOver(c, "p", keepSession(3600))
		if err != nil {
			t.Fatal(err)
		}
		if d.ack.SessionPresent != (round == 1) {
			t.Errorf("round %d: session present %v", round, d.ack.SessionPresent)
		}
		d.raw.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
