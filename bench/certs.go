package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// An issuer signs the certificates of a generated topology.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	made int64
}

// writeCertificates writes ca.pem, and for each site the certificate of its
// listener and its key: vet reads and verifies them all.
func writeCertificates(dir string, sites []string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	ca := &issuer{}
	if err := ca.issue(filepath.Join(dir, "ca"), "bench authority"); err != nil {
		return err
	}
	for _, name := range sites {
		if err := ca.issue(filepath.Join(dir, name), name); err != nil {
			return err
		}
	}
	return nil
}

// issue writes file.pem and file.key. The first certificate is the issuer's
// own.
func (ca *issuer) issue(file, name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the key of %s: %w", name, err)
	}
	ca.made++
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(ca.made), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(1, 0, 0),
		DNSNames: []string{"mqtt." + name + ".example.net"},
	}
	if ca.cert == nil {
		c.IsCA, c.BasicConstraintsValid, c.DNSNames = true, true, nil
		ca.cert, ca.key = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("write the key of %s: %w", name, err)
	}
	if err := writeBlock(file+".pem", "CERTIFICATE", der); err != nil {
		return err
	}
	return writeBlock(file+".key", "PRIVATE KEY", text)
}

func writeBlock(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
