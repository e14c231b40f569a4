package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// secure does the TLS handshake with the link's own settings.
func (t *try) secure(ctx context.Context) (string, error) {
	began := time.Now()
	config, err := t.TLS()
	if err != nil {
		return "", fmt.Errorf("this end's own settings cannot be used: %w", err)
	}
	t.tls.name = config.ServerName
	t.watch(config)
	t.head = &head{Conn: t.raw}
	secure := tls.Client(t.head, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		switch {
		case ctx.Err() != nil && len(t.head.first) == 0:
			return "", fmt.Errorf("%s takes connections but says nothing when it is spoken to in TLS (%w): the process behind it hangs, or what listens there is no TLS listener", t.Address, context.Cause(ctx))
		case ctx.Err() != nil:
			return "", fmt.Errorf("the TLS handshake with %s does not come to an end (%w): the peer hangs, or the way to it loses packets", t.Address, context.Cause(ctx))
		}
		return "", t.tlsFault(err)
	}
	state := secure.ConnectionState()
	t.raw, t.tls.certs = secure, state.PeerCertificates
	t.took = time.Since(began)
	if err := t.settle(ctx, secure, state.Version); err != nil {
		return "", err
	}
	return t.trusted(state), nil
}

// watch notes what the peer asks for and shows, and changes nothing.
func (t *try) watch(config *tls.Config) {
	own := config.Certificates
	config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		t.tls.asked = true
		for i := range own {
			if info.SupportsCertificate(&own[i]) == nil {
				t.tls.given = true
				return &own[i], nil
			}
		}
		return new(tls.Certificate), nil
	}
	verify := config.VerifyConnection
	config.VerifyConnection = func(s tls.ConnectionState) error {
		t.tls.certs = s.PeerCertificates
		if verify == nil {
			return nil
		}
		return verify(s)
	}
}

// settle waits a moment for what the peer makes of our certificate, or of its
// absence: in TLS 1.3 that comes after the handshake has ended for us.
func (t *try) settle(ctx context.Context, c *tls.Conn, version uint16) error {
	if !t.tls.asked || version < tls.VersionTLS13 {
		return nil
	}
	moment := time.Now().Add(250*time.Millisecond + 2*t.tcpTook)
	if end, ok := ctx.Deadline(); ok && end.Before(moment) {
		moment = end
	}
	c.SetReadDeadline(moment)
	defer c.SetReadDeadline(time.Time{})
	n, err := c.Read(make([]byte, 1))
	switch {
	case n > 0:
		return errors.New("the peer speaks before it is spoken to: what listens there is no MQTT broker; correct the link's server")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	}
	return t.tlsFault(err)
}

// trusted says whom we speak to.
func (t *try) trusted(s tls.ConnectionState) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s", tls.VersionName(s.Version), describe(s.PeerCertificates))
	ssl := t.Link.SSL
	switch {
	case ssl.Verify != "verify_peer":
		b.WriteString("; chain and name are not verified, as ssl.verify says")
	case t.tls.name == "":
		b.WriteString("; the chain is verified, the name is not, as ssl.server_name_indication says")
	default:
		fmt.Fprintf(&b, "; chain and name %q are verified", short(t.tls.name))
	}
	if len(s.PeerCertificates) > 0 && ending(s.PeerCertificates[0], time.Now()) {
		b.WriteString("; it expires soon: have it renewed")
	}
	switch {
	case t.tls.given:
		b.WriteString("; the link's client certificate was asked for and sent")
	case t.tls.asked:
		b.WriteString("; a client certificate was asked for, not demanded, and none sent")
	}
	return b.String()
}

// ending reports whether a certificate has less than 30 days left, and less
// than a third of its life: short-lived ones are renewed by machines.
func ending(c *x509.Certificate, now time.Time) bool {
	left := c.NotAfter.Sub(now)
	return left < 30*24*time.Hour && left < c.NotAfter.Sub(c.NotBefore)/3
}

// describe names a certificate.
func describe(certs []*x509.Certificate) string {
	if len(certs) == 0 {
		return "no certificate was shown"
	}
	c := certs[0]
	return fmt.Sprintf("the certificate of %s, issued by %s, valid from %s to %s",
		subject(c.Subject.String(), c), subject(c.Issuer.String(), nil), day(c.NotBefore), day(c.NotAfter))
}

// subject is a name in a certificate, or what the certificate is good for.
func subject(name string, c *x509.Certificate) string {
	switch {
	case name != "":
		return short(name)
	case c != nil:
		return names(c)
	}
	return "(no name)"
}

func names(c *x509.Certificate) string {
	l := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		l = append(l, ip.String())
	}
	if len(l) == 0 {
		return "(no name)"
	}
	return short(strings.Join(l, ", "))
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// tlsFault says which part of the handshake failed.
func (t *try) tlsFault(err error) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return t.plainFault()
	}
	if alert := remoteAlert(err); alert != "" {
		return t.alertFault(alert)
	}
	if fault := t.certFault(err); fault != nil {
		return fault
	}
	switch {
	case hungUp(err) && t.tls.asked && !t.tls.given:
		return t.noClientCert("the peer asked for a client certificate, and closed the connection")
	case hungUp(err) && len(t.head.first) == 0:
		return fmt.Errorf("the peer closed the connection when it was spoken to in TLS: what listens on %s most likely speaks plain MQTT; take the port of the peer's TLS listener, or set ssl.enable to false", t.Address)
	case hungUp(err):
		return errors.New("the peer closed the connection in the middle of the TLS handshake: its log says why")
	case strings.Contains(err.Error(), "protocol version"), strings.Contains(err.Error(), "no supported versions"):
		return t.versionFault(err)
	}
	return fmt.Errorf("the TLS handshake failed: %w", err)
}

// plainFault is for an answer that is no TLS.
func (t *try) plainFault() error {
	what := "is no TLS"
	switch {
	case looksLike(t.head.first, "HTTP/"):
		what = "is HTTP"
	case len(t.head.first) > 0 && t.head.first[0]>>4 == 2, len(t.head.first) > 0 && t.head.first[0]>>4 == 14:
		what = "is plain MQTT"
	}
	return fmt.Errorf("what listens on %s answers TLS with something that %s (it begins %q): take the port of the peer's TLS listener, or set ssl.enable to false", t.Address, what, t.head.first)
}

func looksLike(b []byte, prefix string) bool { return strings.HasPrefix(string(b), prefix) }

// remoteAlert is the alert with which the peer ended the handshake, in
// crypto/tls's words, or "".
func remoteAlert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return op.Err.Error()
	}
	return ""
}

// The alerts of TLS that are explained (RFC 8446, 6.2).
const (
	handshakeFailure     = tls.AlertError(40)
	badCertificate       = tls.AlertError(42)
	unsupportedCert      = tls.AlertError(43)
	revoked              = tls.AlertError(44)
	expired              = tls.AlertError(45)
	unknownCert          = tls.AlertError(46)
	unknownCA            = tls.AlertError(48)
	accessDenied         = tls.AlertError(49)
	protocolVersion      = tls.AlertError(70)
	unrecognizedName     = tls.AlertError(112)
	certificateRequired  = tls.AlertError(116)
	insufficientSecurity = tls.AlertError(71)
)

// alertFault explains an alert of the peer's.
func (t *try) alertFault(alert string) error {
	is := func(some ...tls.AlertError) bool {
		for _, a := range some {
			if a.Error() == alert {
				return true
			}
		}
		return false
	}
	switch {
	case is(certificateRequired), is(handshakeFailure, badCertificate) && t.tls.asked && !t.tls.given:
		return t.noClientCert("the peer demands a client certificate")
	case is(badCertificate, unsupportedCert, revoked, expired, unknownCert, unknownCA, accessDenied):
		if t.tls.given {
			return fmt.Errorf("the peer does not accept the link's client certificate %s (%s): it must be signed by an authority that the peer's listener trusts, and not be expired", short(t.Link.SSL.CertFile), alert)
		}
	case is(protocolVersion):
		return t.versionFault(errors.New(alert))
	case is(handshakeFailure, insufficientSecurity):
		return fmt.Errorf("the peer takes none of the cipher suites or curves that this end offers (%s): compare ssl.ciphers and ssl.versions at both ends", alert)
	case is(unrecognizedName):
		return fmt.Errorf("the peer has no certificate for the name it was asked for (%s): correct ssl.server_name_indication or the link's server", alert)
	}
	return fmt.Errorf("the peer broke off the TLS handshake (%s): its log says why", alert)
}

func (t *try) noClientCert(what string) error {
	if t.Link.SSL.CertFile == "" {
		return fmt.Errorf("%s, and the link has none: set ssl.certfile and ssl.keyfile", what)
	}
	return fmt.Errorf("%s, and the link's, %s, is not from an authority that it asks for: have one issued by an authority that the peer's listener trusts", what, short(t.Link.SSL.CertFile))
}

func (t *try) versionFault(err error) error {
	ours := "tlsv1.2, tlsv1.3"
	if v := t.Link.SSL.Versions; len(v) > 0 {
		ours = strings.Join(v, ", ")
	}
	return fmt.Errorf("the two ends have no TLS version in common (%w): ssl.versions of the link allows %s; compare it with the peer's listener", err, ours)
}

// certFault explains what is wrong with the peer's certificate; nil if that is
// not what failed.
func (t *try) certFault(err error) error {
	certs := t.tls.certs
	var v *tls.CertificateVerificationError
	if errors.As(err, &v) {
		certs = v.UnverifiedCertificates
	}
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &host):
		return nameFault(host)
	case errors.As(err, &invalid):
		return t.invalidFault(invalid, certs)
	case errors.As(err, &unknown):
		return t.chainFault(certs)
	case v != nil:
		return fmt.Errorf("chain: the peer's certificate cannot be verified (%w): %s", v.Err, describe(certs))
	}
	return nil
}

func nameFault(host x509.HostnameError) error {
	c := host.Certificate
	good := names(c)
	if good == "(no name)" {
		good = "no host at all (a common name alone does not count)"
	}
	return fmt.Errorf("name: %s is good for %s, not for %q: set ssl.server_name_indication to a name that it is good for, or have a certificate issued for that host",
		describe([]*x509.Certificate{c}), good, short(host.Host))
}

func (t *try) chainFault(certs []*x509.Certificate) error {
	trust := "this host's own authorities, for ssl.cacertfile is not set"
	if f := t.Link.SSL.CACertFile; f != "" {
		trust = "the authorities in " + short(f)
	}
	selfSigned := ""
	if len(certs) > 0 && certs[0].Subject.String() == certs[0].Issuer.String() {
		selfSigned = ", which is self-signed,"
	}
	return fmt.Errorf("chain: %s%s does not lead to %s: set ssl.cacertfile to the authority that issued it, or have the peer send the certificates in between", describe(certs), selfSigned, trust)
}

func (t *try) invalidFault(e x509.CertificateInvalidError, certs []*x509.Certificate) error {
	what := describe([]*x509.Certificate{e.Cert})
	if len(certs) > 0 && e.Cert != certs[0] {
		what += " (an authority in the chain of the peer's certificate)"
	}
	now := time.Now()
	switch {
	case e.Reason == x509.Expired && now.Before(e.Cert.NotBefore):
		return fmt.Errorf("expiry: %s is not valid yet: compare the clocks of both hosts", what)
	case e.Reason == x509.Expired:
		return fmt.Errorf("expiry: %s has expired: have it renewed at the peer", what)
	case e.Reason == x509.IncompatibleUsage:
		return fmt.Errorf("chain: %s may not be used by a server (extended key usage): have one issued for server authentication", what)
	}
	return fmt.Errorf("chain: %s is not valid (%w)", what, e)
}

// hungUp reports whether the peer closed the connection without a word.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
