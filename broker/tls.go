package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"clink/topology"
)

const maxPEM = 1 << 20 // bytes of a certificate or key file

// serverTLS makes a listener's TLS configuration. Files are relative to base.
func serverTLS(t topology.TLS, base string) (*tls.Config, error) {
	if t.CertFile == "" || t.KeyFile == "" {
		return nil, errors.New("ssl: certfile and keyfile are needed")
	}
	if !t.Password.IsZero() {
		return nil, errors.New("ssl: encrypted private keys are not supported")
	}
	certPEM, err := readPEM(base, t.CertFile)
	if err != nil {
		return nil, fmt.Errorf("ssl: certfile: %w", err)
	}
	keyPEM, err := readPEM(base, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("ssl: keyfile: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("ssl: %s and %s: %w", t.CertFile, t.KeyFile, err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, SessionTicketsDisabled: !t.ReuseSessions}
	if err := setVersions(c, t.Versions); err != nil {
		return nil, err
	}
	if err := setCiphers(c, t.Ciphers); err != nil {
		return nil, err
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
	ca, err := readPEM(base, t.CACertFile)
	if err != nil {
		return fmt.Errorf("ssl: cacertfile: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(ca) {
		return fmt.Errorf("ssl: cacertfile %s holds no certificate", t.CACertFile)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	if t.FailIfNoPeerCert {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return nil
}

func setVersions(c *tls.Config, names []string) error {
	known := map[string]uint16{"tlsv1.3": tls.VersionTLS13, "tlsv1.2": tls.VersionTLS12, "tlsv1.1": tls.VersionTLS11, "tlsv1": tls.VersionTLS10}
	c.MinVersion = tls.VersionTLS12
	for i, name := range names {
		v, ok := known[name]
		if !ok {
			return fmt.Errorf("ssl: version %q is none of tlsv1.3, tlsv1.2, tlsv1.1 and tlsv1", name)
		}
		if i == 0 {
			c.MinVersion, c.MaxVersion = v, v
		}
		c.MinVersion, c.MaxVersion = min(c.MinVersion, v), max(c.MaxVersion, v)
	}
	return nil
}

// setCiphers takes the suites that crypto/tls knows by their IANA names. Those
// of TLS 1.3 are always all on.
func setCiphers(c *tls.Config, names []string) error {
	for _, name := range names {
		for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if s.Name == name {
				c.CipherSuites = append(c.CipherSuites, s.ID)
			}
		}
	}
	if len(names) > 0 && len(c.CipherSuites) == 0 {
		return fmt.Errorf("ssl: none of the %d ciphers is known (IANA names such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)", len(names))
	}
	return nil
}

func readPEM(base, name string) ([]byte, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(base, name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxPEM {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxPEM)
	}
	return b, nil
}
