package broker

import (
	"crypto/tls"
	"errors"
	"fmt"

	"clink/internal/pki"
	"clink/topology"
)

// serverTLS makes a listener's TLS configuration. Files are relative to base.
func serverTLS(t topology.TLS, base string) (*tls.Config, error) {
	if t.CertFile == "" || t.KeyFile == "" {
		return nil, errors.New("ssl: certfile and keyfile are needed")
	}
	if !t.Password.IsZero() {
		return nil, errors.New("ssl: encrypted private keys are not supported")
	}
	pair, err := pki.KeyPair(base, t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("ssl: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, SessionTicketsDisabled: !t.ReuseSessions}
	if c.MinVersion, c.MaxVersion, err = pki.Versions(t.Versions); err != nil {
		return nil, fmt.Errorf("ssl: %w", err)
	}
	if c.CipherSuites, err = pki.Suites(t.Ciphers); err != nil {
		return nil, fmt.Errorf("ssl: %w", err)
	}
	return c, setClientAuth(c, t, base)
}

func setClientAuth(c *tls.Config, t topology.TLS, base string) error {
	if t.Verify != "verify_peer" {
		return nil
	}
	if t.CACertFile == "" {
		return errors.New("ssl: verify_peer needs cacertfile")
	}
	var err error
	if c.ClientCAs, err = pki.Authorities(base, t.CACertFile); err != nil {
		return fmt.Errorf("ssl: %w", err)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	if t.FailIfNoPeerCert {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return nil
}
