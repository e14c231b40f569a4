package linkengine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"clink/internal/pki"
	"clink/linkengine/client"
	"clink/topology"
)

const (
	maxPacket = 16 << 20 // of what a link session may send; the broker takes as much from it

	dialTimeout = 10 * time.Second // until CONNACK
)

// dial connects to the peer of a link. Secrets and certificates are read now,
// so that a new connection always uses what they are now.
func (e *Engine) dial(ctx context.Context, l topology.Link, o client.Options) (*client.Conn, error) {
	o.Address = address(l)
	if l.SSL.Enable {
		config, err := clientTLS(l.SSL, o.Address, e.opts.BaseDir)
		if err != nil {
			return nil, err
		}
		o.TLS = config
	}
	password, err := l.Password.Resolve(e.opts.BaseDir)
	if err != nil {
		return nil, err
	}
	o.Username, o.Password, o.Socket = l.Username, password, socket(l.TCPOpts)
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, fmt.Errorf("no answer within %v", dialTimeout))
	defer cancel()
	return client.Dial(ctx, o)
}

// address is where the peer of a link is, as host:port.
func address(l topology.Link) string {
	if l.Address != "" {
		return l.Address
	}
	return l.Server
}

// socket sets those of EMQX's socket options that have a meaning here.
func socket(opts *topology.TCPOpts) func(*net.TCPConn) error {
	if opts == nil {
		return nil
	}
	return func(c *net.TCPConn) error {
		var errs []error
		if opts.NoDelay != nil {
			errs = append(errs, c.SetNoDelay(*opts.NoDelay))
		}
		if opts.KeepAlive != nil {
			errs = append(errs, c.SetKeepAlive(*opts.KeepAlive))
		}
		if opts.SndBuf != nil && opts.SndBuf.Bytes > 0 {
			errs = append(errs, c.SetWriteBuffer(int(opts.SndBuf.Bytes)))
		}
		if opts.RecBuf != nil && opts.RecBuf.Bytes > 0 {
			errs = append(errs, c.SetReadBuffer(int(opts.RecBuf.Bytes)))
		}
		return errors.Join(errs...)
	}
}

// noName is EMQX's way of saying that no server name is sent, nor checked.
const noName = "disable"

// clientTLS makes the TLS configuration of a link's connections. Files are
// relative to base.
func clientTLS(t topology.TLS, address, base string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	c := &tls.Config{ServerName: t.ServerName}
	if t.ServerName == "" {
		c.ServerName = host
	}
	if c.MinVersion, c.MaxVersion, err = pki.Versions(t.Versions); err != nil {
		return nil, fmt.Errorf("ssl: %w", err)
	}
	if c.CipherSuites, err = pki.Suites(t.Ciphers); err != nil {
		return nil, fmt.Errorf("ssl: %w", err)
	}
	if err := setOwn(c, t, base); err != nil {
		return nil, err
	}
	return c, setTrust(c, t, base)
}

// setOwn sets the client certificate.
func setOwn(c *tls.Config, t topology.TLS, base string) error {
	switch {
	case t.CertFile == "" && t.KeyFile == "":
		return nil
	case t.CertFile == "" || t.KeyFile == "":
		return errors.New("ssl: certfile and keyfile go together")
	case !t.Password.IsZero():
		return errors.New("ssl: encrypted private keys are not supported")
	}
	pair, err := pki.KeyPair(base, t.CertFile, t.KeyFile)
	if err != nil {
		return fmt.Errorf("ssl: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return nil
}

// setTrust sets whom to believe that it is the peer.
func setTrust(c *tls.Config, t topology.TLS, base string) error {
	if t.Verify != "verify_peer" {
		c.InsecureSkipVerify = true // what verify_none says
	}
	if t.CACertFile != "" {
		var err error
		if c.RootCAs, err = pki.Authorities(base, t.CACertFile); err != nil {
			return fmt.Errorf("ssl: %w", err)
		}
	}
	if t.ServerName == noName {
		c.ServerName = ""
		if t.Verify == "verify_peer" {
			c.InsecureSkipVerify = true // of the name; the chain is checked below
			c.VerifyConnection = chainOnly(c.RootCAs)
		}
	}
	return nil
}

// chainOnly checks the peer's certificate, but not the name in it.
func chainOnly(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the peer sent no certificate")
		}
		between := x509.NewCertPool()
		for _, cert := range s.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		return err
	}
}
