package linkengine_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clink/broker"
	"clink/topology"
)

// authority issues certificates into a directory.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.issue(t, "ca", &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "ca"}})
	return a
}

func (a *authority) issue(t *testing.T, name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(1)
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, name+".pem", "CERTIFICATE", der)
	a.write(t, name+".key", "PRIVATE KEY", secret)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(t *testing.T, name, kind string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTLS links with a peer that wants a client certificate, in right ways and
// wrong ones.
func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	ca.issue(t, "server", &x509.Certificate{DNSNames: []string{"b.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	ca.issue(t, "a", &x509.Certificate{Subject: pkix.Name{CommonName: "a"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	other := newAuthority(t)
	addr := secureBystander(t, ca)

	right := topology.TLS{Enable: true, Verify: "verify_peer", CACertFile: filepath.Join(ca.dir, "ca.pem"), CertFile: filepath.Join(ca.dir, "a.pem"), KeyFile: filepath.Join(ca.dir, "a.key")}
	tests := []struct {
		name   string
		change func(*topology.TLS)
		want   string // in the reason; "" = online
	}{
		{"right", func(s *topology.TLS) {}, ""},
		{"by name", func(s *topology.TLS) { s.ServerName = "b.example" }, ""},
		{"by another name", func(s *topology.TLS) { s.ServerName = "c.example" }, "c.example"},
		{"without name", func(s *topology.TLS) { s.ServerName = "disable" }, ""},
		{"another authority", func(s *topology.TLS) { s.CACertFile = filepath.Join(other.dir, "ca.pem") }, "certificate"},
		{"another authority without name", func(s *topology.TLS) { s.CACertFile, s.ServerName = filepath.Join(other.dir, "ca.pem"), "disable" }, "certificate"},
		{"another authority, not verified", func(s *topology.TLS) { s.CACertFile, s.Verify = filepath.Join(other.dir, "ca.pem"), "verify_none" }, ""},
		{"no such file", func(s *topology.TLS) { s.CACertFile = "missing.pem" }, "missing.pem"},
		{"no certificate in it", func(s *topology.TLS) { s.CACertFile = filepath.Join(ca.dir, "a.key") }, "holds no certificate"},
		{"certificate without key", func(s *topology.TLS) { s.KeyFile = "" }, "go together"},
		{"old version only", func(s *topology.TLS) { s.Versions = []string{"tlsv1"} }, "protocol version"},
		{"the newest version only", func(s *topology.TLS) { s.Versions = []string{"tlsv1.3"} }, ""},
		{"unknown version", func(s *topology.TLS) { s.Versions = []string{"sslv3"} }, "sslv3"},
		{"a cipher", func(s *topology.TLS) {
			s.Versions, s.Ciphers = []string{"tlsv1.2"}, []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}
		}, ""},
		{"unknown ciphers", func(s *topology.TLS) { s.Ciphers = []string{"x"} }, "ciphers"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := begin(t, "a", []string{"b"})
			l := linkTo("b", addr)
			l.SSL = right
			tt.change(&l.SSL)
			a.put(t, l)
			eventually(t, "online, or down for "+tt.want, func() bool {
				r := a.status(t, "b").Replication
				if tt.want == "" {
					return r.State == topology.ReplicationOnline
				}
				return r.State == topology.ReplicationDown && strings.Contains(r.Reason, tt.want)
			})
		})
	}
}

// secureBystander lets the peer a in by its certificate.
func secureBystander(t *testing.T, ca *authority) (addr string) {
	t.Helper()
	return secureBystanderAs(t, ca, topology.TLS{CertFile: "server.pem", KeyFile: "server.key"})
}

// secureBystanderAs has a certificate, and perhaps versions, of its own.
func secureBystanderAs(t *testing.T, ca *authority, own topology.TLS) (addr string) {
	t.Helper()
	own.Enable, own.CACertFile, own.Verify, own.FailIfNoPeerCert = true, "ca.pem", "verify_peer", true
	b := &bystander{}
	b.say(accepts)
	node, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	node.Intercept(b)
	g := grant("a")
	g.Loopback, g.CertName = false, "a"
	err = node.Apply(t.Context(), broker.Config{BaseDir: ca.dir, Grants: []topology.Grant{g}, Listeners: []topology.Listener{{
		Name: "tls", Type: topology.SSL, Enable: true, Bind: "127.0.0.1:0",
		SSL: own,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := node.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	eventually(t, "the listener opens", func() bool {
		if l := node.Listeners(); len(l) == 1 && l[0].Addr != nil {
			addr = l[0].Addr.String()
		}
		return addr != ""
	})
	return addr
}

// TestPresence shows a peer that has the wrong credential, and then the right
// one, at both ends.
func TestPresence(t *testing.T) {
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", nil)
	cfg := broker.Config{
		Listeners: []topology.Listener{{Name: "tcp", Type: topology.TCP, Enable: true, Bind: "127.0.0.1:0"}},
		Access:    topology.Access{Anonymous: true},
		Grants:    []topology.Grant{{Peer: "a", ClientIDPrefix: "a", Username: "u", Password: ref(t, "right"), Publish: grant("a").Publish, Subscribe: grant("a").Subscribe}},
	}
	if err := b.node.Apply(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	b.put(t, linkTo("a", "127.0.0.1:1"))
	l := linkTo("b", b.addr)
	l.Username, l.Password = "u", ref(t, "wrong")
	a.put(t, l)
	eventually(t, "b says that a has no credential", func() bool { return b.status(t, "a").Inbound.State == topology.InboundNoCredential })
	eventually(t, "a says why", func() bool { return strings.Contains(a.status(t, "b").Replication.Reason, "refused") })
	if r := a.status(t, "b").Replication.Reason; strings.Contains(r, "wrong") {
		t.Errorf("the reason holds the password: %s", r)
	}
	l.Password = ref(t, "right")
	a.put(t, l)
	eventually(t, "a comes", func() bool { return b.status(t, "a").Inbound.State == topology.InboundOnline })
	if s := a.status(t, "b").Inbound; s.State != topology.InboundAbsent {
		t.Errorf("%+v", s)
	}
}

// TestTLSEndsThatDoNotFit says at the link what is wrong at either end, takes a
// renewed certificate by itself, and leaves another link alone.
func TestTLSEndsThatDoNotFit(t *testing.T) {
	ca := newAuthority(t)
	past := time.Now().Add(-time.Hour)
	server := func(name string, until time.Time) {
		ca.issue(t, name, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: past.Add(-time.Hour), NotAfter: until})
	}
	client := func(until time.Time) {
		ca.issue(t, "a", &x509.Certificate{Subject: pkix.Name{CommonName: "a"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: past.Add(-time.Hour), NotAfter: until})
	}
	server("old-server", past)
	server("server", time.Now().Add(time.Hour))
	well := secureBystander(t, ca)
	expired := secureBystanderAs(t, ca, topology.TLS{CertFile: "old-server.pem", KeyFile: "old-server.key"})
	newest := secureBystanderAs(t, ca, topology.TLS{CertFile: "server.pem", KeyFile: "server.key", Versions: []string{"tlsv1.3"}})

	client(time.Now().Add(time.Hour))
	a := begin(t, "a", []string{"b", "steady"})
	put := func(peer, addr string, versions ...string) {
		l := linkTo(peer, addr)
		l.SSL = topology.TLS{Enable: true, Verify: "verify_peer", CACertFile: filepath.Join(ca.dir, "ca.pem"), CertFile: filepath.Join(ca.dir, "a.pem"), KeyFile: filepath.Join(ca.dir, "a.key"), Versions: versions}
		a.put(t, l)
	}
	says := func(want string) {
		t.Helper()
		eventually(t, "the status says "+want, func() bool {
			r := a.status(t, "b").Replication
			return r.State == topology.ReplicationDown && strings.Contains(r.Reason, want)
		})
	}
	online := func() {
		t.Helper()
		eventually(t, "the link is online", func() bool { return a.status(t, "b").Replication.State == topology.ReplicationOnline })
	}
	put("steady", secureBystander(t, ca))
	eventually(t, "the other link stands", func() bool { return a.status(t, "steady").State == topology.Connected })

	put("b", expired)
	says("expired")
	put("b", newest, "tlsv1.2")
	says("protocol version")
	put("b", newest)
	online()
	client(past)
	put("b", well)
	says("expired certificate")
	client(time.Now().Add(time.Hour))
	online() // without being told
	if n := a.status(t, "steady").Metrics.Reconnects; n != 0 {
		t.Errorf("the other link lost %d connections", n)
	}
}
