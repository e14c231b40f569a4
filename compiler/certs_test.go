package compiler_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var makeCerts = flag.Bool("certs", false, "make the certificates of the corpus anew")

// An issuer is a certificate with its key.
type issuer struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

// The certificates of the corpus: folder, file, and what they are for. All of
// a folder are signed by ca.pem in it, but for "other".
func TestMakeCertificates(t *testing.T) {
	if !*makeCerts {
		return // they are checked in; the corpus test reads them
	}
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	soon := vetted.AddDate(0, 0, 20)
	for folder, end := range map[string]time.Time{
		"bad/tls-cert-name": year(2100), "bad/tls-cert-expired": year(2026), "bad/tls-cert-soon": soon, "bad/tls-cert-authority": year(2100),
		"bad/tls-cert-client": year(2100), "bad/tls-cert-client-name": year(2100), "good/tls-cert-ok": year(2100), "bad/tls-files-key": year(2100), "bad/tls-files-pem": year(2100), "good/tls-files-ok": year(2100),
	} {
		dir := filepath.Join(corpus, folder, "certs")
		ca := makeCert(t, dir, "ca", nil, year(2020), year(2100))
		other := makeCert(t, dir, "other", nil, year(2020), year(2100))
		makeCert(t, dir, "b", ca, year(2020), end)
		makeCert(t, dir, "a", ca, year(2020), year(2100))
		makeCert(t, dir, "stranger", other, year(2020), year(2100))
	}
}

// makeCert writes dir/name.pem and dir/name.key: an authority, or with a
// parent a certificate for name.lan and 127.0.0.1.
func makeCert(t *testing.T, dir, name string, parent *issuer, from, to time.Time) *issuer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(from.Unix()), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageDigitalSignature}
	signer := &issuer{c, private}
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		c.DNSNames, c.IPAddresses = []string{name + ".lan"}, []net.IP{net.IPv4(127, 0, 0, 1)}
		signer = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer.cert, public, signer.key)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &issuer{c, private}
}
