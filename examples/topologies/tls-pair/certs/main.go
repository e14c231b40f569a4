// Certs makes the certificates of the example tls-pair: an authority, and for
// each cluster a certificate that serves as a listener's and as a link's. Its
// subject is the cluster's name, which is how the far side knows the link.
//
// The files beside this program are its output. To make them anew:
//
//	go run ./examples/topologies/tls-pair/certs -o examples/topologies/tls-pair/certs
//
// They are for demonstration: their keys are public, and they are valid for a
// hundred years. The authority's own key is thrown away, so all files are made
// together. It is no authority to run a fleet with: it revokes and renews
// nothing.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The certificates are valid for a hundred years from a day long past: a demo
// must neither expire nor fail where a clock is behind.
var (
	notBefore = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = notBefore.AddDate(100, 0, 0)
)

func main() {
	dir := flag.String("o", ".", "directory to write to")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: certs [-o DIR] [CLUSTER...] (default: factory cloud)")
		flag.PrintDefaults()
	}
	flag.Parse()
	names := flag.Args()
	if len(names) == 0 {
		names = []string{"factory", "cloud"}
	}
	if err := generate(*dir, names); err != nil {
		fmt.Fprintln(os.Stderr, "certs:", err)
		os.Exit(1)
	}
}

// generate writes ca.pem, and NAME.pem and NAME.key for each name, to dir.
func generate(dir string, names []string) error {
	ca, err := newAuthority()
	if err != nil {
		return fmt.Errorf("make the authority: %w", err)
	}
	if err := writePEM(filepath.Join(dir, "ca.pem"), 0o644, "CERTIFICATE", ca.cert.Raw); err != nil {
		return err
	}
	for _, name := range names {
		if name == "ca" || name != filepath.Base(name) {
			return fmt.Errorf("%q cannot name a cluster's files", name)
		}
		cert, key, err := ca.issue(name)
		if err != nil {
			return fmt.Errorf("make the certificate of %s: %w", name, err)
		}
		err = errors.Join(
			writePEM(filepath.Join(dir, name+".pem"), 0o644, "CERTIFICATE", cert),
			writePEM(filepath.Join(dir, name+".key"), 0o600, "PRIVATE KEY", key),
		)
		if err != nil {
			return err
		}
	}
	return nil
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := template("clink demo authority")
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.MaxPathLenZero = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

// issue returns a certificate for loopback in the name of a cluster, for both
// ends of a connection, and its key.
func (a *authority) issue(name string) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if key, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		return nil, nil, err
	}
	template, err := template(name)
	if err != nil {
		return nil, nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames = []string{"localhost"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	cert, err = x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	return cert, key, err
}

func template(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		BasicConstraintsValid: true,
	}, err
}

func writePEM(file string, mode os.FileMode, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
