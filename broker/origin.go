package broker

import (
	"crypto/tls"
	"net"
	"net/netip"

	"clink/topology"
)

// An origin is where a connection comes from, as far as that is proved.
type origin struct {
	addr  netip.AddrPort // the zero value: a socket in the file system, or not known
	local bool           // from this machine
	via   netip.AddrPort // the proxy that said so, if there is one
	cn    string         // of its verified certificate
	san   string         // likewise, see topology.PeerCertSAN
}

// originOf is what the connection itself says.
func originOf(c net.Conn) origin {
	addr := addrPort(c.RemoteAddr())
	_, unix := c.RemoteAddr().(*net.UnixAddr)
	return origin{addr: addr, local: unix || addr.Addr().IsLoopback()}
}

func (o origin) String() string {
	switch {
	case o.addr.IsValid():
		return o.addr.String()
	case o.via.IsValid():
		return "unknown, through " + o.via.String()
	}
	return "local socket"
}

// certified is o with the names of a client certificate that was verified.
func (o origin) certified(s tls.ConnectionState) origin {
	if len(s.VerifiedChains) == 0 || len(s.PeerCertificates) == 0 {
		return o
	}
	c := s.PeerCertificates[0]
	o.cn = c.Subject.CommonName
	switch {
	case len(c.DNSNames) > 0:
		o.san = c.DNSNames[0]
	case len(c.EmailAddresses) > 0:
		o.san = c.EmailAddresses[0]
	case len(c.URIs) > 0:
		o.san = c.URIs[0].String()
	}
	return o
}

// user is the user name that the certificate gives where a listener says so,
// "" if none.
func (o origin) user(from string) string {
	name := ""
	switch from {
	case topology.PeerCertCN:
		name = o.cn
	case topology.PeerCertSAN:
		name = o.san
	}
	if !validUser(name) {
		return ""
	}
	return name
}

// validUser reports whether a name can be MQTT's (MQTT 5.0 §1.5.4).
func validUser(name string) bool {
	if len(name) > 65535 {
		return false
	}
	for _, r := range name {
		if r == 0 || r == '\uFFFD' {
			return false
		}
	}
	return true
}
