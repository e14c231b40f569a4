package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The committed files and freshly made ones are held to the same.
func TestCertificates(t *testing.T) {
	fresh := t.TempDir()
	if err := generate(fresh, []string{"factory", "cloud"}); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"committed": ".", "fresh": fresh} {
		t.Run(name, func(t *testing.T) {
			for _, cluster := range []string{"factory", "cloud"} {
				checkLeaf(t, dir, cluster)
			}
			checkHandshake(t, dir, "factory", "cloud")
			checkHandshake(t, dir, "cloud", "factory")
		})
	}
}

func roots(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("ca.pem holds no certificate")
	}
	return pool
}

// pair loads a certificate and its key, and fails if they do not fit.
func pair(t *testing.T, dir, cluster string) tls.Certificate {
	t.Helper()
	c, err := tls.LoadX509KeyPair(filepath.Join(dir, cluster+".pem"), filepath.Join(dir, cluster+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func checkLeaf(t *testing.T, dir, cluster string) {
	t.Helper()
	leaf := pair(t, dir, cluster).Leaf
	if leaf.Subject.CommonName != cluster {
		t.Errorf("%s.pem is for %q", cluster, leaf.Subject.CommonName)
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		for _, host := range []string{"127.0.0.1", "localhost"} {
			// In fifty years the demo still runs: authority and leaf.
			_, err := leaf.Verify(x509.VerifyOptions{
				DNSName: host, Roots: roots(t, dir), KeyUsages: []x509.ExtKeyUsage{use},
				CurrentTime: time.Date(2075, 1, 1, 0, 0, 0, 0, time.UTC),
			})
			if err != nil {
				t.Errorf("%s.pem for %s: %v", cluster, host, err)
			}
		}
	}
}

// checkHandshake connects two clusters as a link does: each shows its
// certificate and checks the other's.
func checkHandshake(t *testing.T, dir, from, to string) {
	t.Helper()
	near, far := net.Pipe()
	deadline := time.Now().Add(10 * time.Second)
	if err := errors.Join(near.SetDeadline(deadline), far.SetDeadline(deadline)); err != nil {
		t.Fatal(err)
	}
	server := tls.Server(far, &tls.Config{
		Certificates: []tls.Certificate{pair(t, dir, to)}, ClientCAs: roots(t, dir), ClientAuth: tls.RequireAndVerifyClientCert,
	})
	client := tls.Client(near, &tls.Config{
		Certificates: []tls.Certificate{pair(t, dir, from)}, RootCAs: roots(t, dir), ServerName: "127.0.0.1",
	})
	served := make(chan error, 1)
	go func() { served <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Errorf("%s to %s: %v", from, to, err)
		near.Close()
	}
	// The session tickets of TLS 1.3 come after the handshake and want a reader.
	go client.Read(make([]byte, 1))
	if err := <-served; err != nil {
		t.Errorf("%s accepting %s: %v", to, from, err)
	}
	near.Close()
	far.Close()
	if got := server.ConnectionState().PeerCertificates; len(got) == 0 || got[0].Subject.CommonName != from {
		t.Errorf("%s does not see the name of %s", to, from)
	}
}

func TestGenerateRefusesNames(t *testing.T) {
	for _, name := range []string{"ca", "../up", "a/b"} {
		if err := generate(t.TempDir(), []string{name}); err == nil {
			t.Errorf("generate took the name %q", name)
		}
	}
}
