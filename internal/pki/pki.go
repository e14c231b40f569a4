// Package pki reads what EMQX's ssl blocks name (certificates, keys, trusted
// authorities, protocol versions, cipher suites) into crypto/tls's own terms.
//
// It decides nothing about who must prove what to whom: that differs between a
// listener and a link, and is theirs. Errors name files, never what is in them.
package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// MaxFile bounds a certificate or key file, in bytes.
const MaxFile = 1 << 20

// KeyPair reads a certificate with its chain and its private key, which must
// not be encrypted. Relative names are relative to base.
func KeyPair(base, certFile, keyFile string) (tls.Certificate, error) {
	certPEM, err := ReadFile(base, certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certfile: %w", err)
	}
	keyPEM, err := ReadFile(base, keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("keyfile: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

// Authorities reads the certificates that are trusted.
func Authorities(base, file string) (*x509.CertPool, error) {
	text, err := ReadFile(base, file)
	if err != nil {
		return nil, fmt.Errorf("cacertfile: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("cacertfile %s holds no certificate", file)
	}
	return pool, nil
}

// Certificates returns the certificates of a PEM text, a chain with the leaf
// first or a set of authorities.
func Certificates(text []byte) ([]*x509.Certificate, error) {
	var l []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in it: %w", len(l)+1, err)
		}
		l = append(l, c)
	}
	if len(l) == 0 {
		return nil, errors.New("it holds no certificate in PEM form")
	}
	return l, nil
}

// ErrEncrypted is of a private key that can only be read with its password.
var ErrEncrypted = errors.New("the private key is encrypted")

// Fits reports why a certificate and a private key, both PEM texts, are not a
// pair.
func Fits(cert, key []byte) error {
	if bytes.Contains(key, []byte("ENCRYPTED")) {
		return ErrEncrypted
	}
	_, err := tls.X509KeyPair(cert, key)
	return err
}

// Versions returns the lowest and the highest of the protocol versions named,
// TLS 1.2 and crypto/tls's highest if there is none.
func Versions(names []string) (lowest, highest uint16, err error) {
	known := map[string]uint16{"tlsv1.3": tls.VersionTLS13, "tlsv1.2": tls.VersionTLS12, "tlsv1.1": tls.VersionTLS11, "tlsv1": tls.VersionTLS10}
	lowest = tls.VersionTLS12
	for i, name := range names {
		v, ok := known[name]
		if !ok {
			return 0, 0, fmt.Errorf("version %q is none of tlsv1.3, tlsv1.2, tlsv1.1 and tlsv1", name)
		}
		if i == 0 {
			lowest, highest = v, v
		}
		lowest, highest = min(lowest, v), max(highest, v)
	}
	return lowest, highest, nil
}

// Suites returns the cipher suites that crypto/tls knows by the IANA names
// given; others are passed over, unless none is known. The suites of TLS 1.3
// are always all on.
func Suites(names []string) ([]uint16, error) {
	byName := map[string]uint16{}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		byName[s.Name] = s.ID
	}
	var suites []uint16
	for _, name := range names {
		if id, ok := byName[name]; ok {
			suites = append(suites, id)
		}
	}
	if len(names) > 0 && len(suites) == 0 {
		return nil, fmt.Errorf("none of the %d ciphers is known (IANA names such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)", len(names))
	}
	return suites, nil
}

// ReadFile reads a file that an ssl block names, if it is a regular one of at
// most [MaxFile] bytes. Relative names are relative to base.
func ReadFile(base, name string) ([]byte, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(base, name)
	}
	// Asked before it is opened: opening a named pipe would wait for a writer.
	if info, err := os.Stat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(b) > MaxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, MaxFile)
	}
	return b, err
}
