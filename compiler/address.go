package compiler

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"clink/topology"
)

// defaultPort is used where server names none, also with TLS, as EMQX does.
const defaultPort = 1883

// An address is one of those that server may hold, in the form that compares:
// host in lower case without brackets.
type address struct {
	scheme string // "", mqtt or mqtts
	host   string
	port   int
	stated bool // the port was written
}

// key is the same for addresses that are the same in other words: the name of
// the own machine, and a name that ends in the root's dot.
func (a address) key() string {
	host := strings.TrimSuffix(a.host, ".")
	if host == "localhost" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(a.port))
}

func (a address) String() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

// parseServer reads a link's server: host, host:port, [IPv6]:port, each
// perhaps behind mqtt:// or mqtts://; several with commas between.
func parseServer(s string) ([]address, error) {
	var l []address
	for part := range strings.SplitSeq(s, ",") {
		a, err := parseAddress(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		l = append(l, a)
	}
	return l, nil
}

func parseAddress(s string) (address, error) {
	var a address
	rest := s
	if scheme, after, ok := strings.Cut(s, "://"); ok {
		a.scheme = strings.ToLower(scheme)
		if a.scheme != "mqtt" && a.scheme != "mqtts" {
			return a, fmt.Errorf("%q has the scheme %s; server is host:port, or mqtt://host:port or mqtts://host:port", s, scheme)
		}
		rest = strings.TrimSuffix(after, "/")
	}
	e, err := parseEndpoint(rest)
	if err != nil {
		return e, err
	}
	if e.host == "" || strings.Trim(e.host, "0123456789") == "" {
		return e, fmt.Errorf("%q names no host: write host or host:port", s)
	}
	if e.port == 0 {
		return e, fmt.Errorf("%q has the port 0, which nobody can dial", s)
	}
	e.scheme = a.scheme
	return e, nil
}

// parseEndpoint reads host, host:port or [IPv6]:port; the host may be empty
// before a port.
func parseEndpoint(s string) (address, error) {
	a := address{port: defaultPort}
	host, port, hasPort := s, "", false
	if strings.HasPrefix(s, "[") {
		inner, after, ok := strings.Cut(s[1:], "]")
		if !ok || after != "" && after[0] != ':' {
			return a, fmt.Errorf("%q is not of the form [IPv6]:port", s)
		}
		if _, err := netip.ParseAddr(inner); err != nil {
			return a, fmt.Errorf("%q holds no IP address in its brackets", s)
		}
		host, port, hasPort = inner, strings.TrimPrefix(after, ":"), after != ""
	} else if strings.Count(s, ":") > 1 {
		return a, fmt.Errorf("%q: write an IPv6 address in brackets, such as [::1]:1883", s)
	} else {
		host, port, hasPort = strings.Cut(s, ":")
	}
	if hasPort {
		n, err := strconv.Atoi(port)
		if err != nil || n < 0 || n > 65535 {
			return a, fmt.Errorf("%q has the port %q, which is no number from 0 to 65535", s, port)
		}
		a.port, a.stated = n, true
	}
	if host == "" && !hasPort || strings.ContainsAny(host, " \t/@?#") {
		return a, fmt.Errorf("%q names no host", s)
	}
	a.host = strings.ToLower(host)
	if ip, err := netip.ParseAddr(host); err == nil {
		a.host = ip.Unmap().String()
	}
	return a, nil
}

// endpoints returns the addresses at which peers reach a listener: those it
// advertises, else where it is bound, unless that is every address, or where
// only a proxy may speak. A socket in the file system is reached by none.
func endpoints(l topology.Listener) []address {
	texts := l.Advertise
	switch {
	case l.Type == topology.Unix:
		return nil
	case len(texts) == 0 && l.ProxyProtocol:
		return nil
	case len(texts) == 0:
		texts = []string{l.Bind}
	}
	var list []address
	for _, s := range texts {
		if a, err := parseEndpoint(s); err == nil && !unspecified(a.host) {
			list = append(list, a)
		}
	}
	return list
}

func unspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// boundToLoopback reports whether only this machine can reach the listener.
// Behind a proxy, who knows.
func boundToLoopback(l topology.Listener) bool {
	if l.Type == topology.Unix || l.ProxyProtocol {
		return l.Type == topology.Unix && !l.ProxyProtocol
	}
	a, err := parseEndpoint(l.Bind)
	return err == nil && isLoopback(a.host)
}

// isPublic reports whether a host may be reached over networks that are not
// one's own: an IP address that is not private, or a name with a public form.
// Names with one level, and those under the domains set aside for private use,
// are taken for private.
func isPublic(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsPrivate() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !ip.IsUnspecified() && !carrierGrade.Contains(ip)
	}
	name := strings.TrimSuffix(host, ".")
	i := strings.LastIndexByte(name, '.')
	return i >= 0 && !slices.Contains(privateDomains, name[i+1:]) && !strings.HasSuffix(name, ".home.arpa")
}

// carrierGrade are the shared addresses of RFC 6598, which no network outside
// of the provider's routes.
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

// privateDomains are top-level domains that the public DNS does not have.
var privateDomains = []string{"localhost", "local", "internal", "intranet", "private", "corp", "home", "lan", "svc", "consul", "test"}

// boundPrivately reports whether a listener is bound to an address that only
// one's own network reaches.
func boundPrivately(l topology.Listener) bool {
	a, err := parseEndpoint(l.Bind)
	if err != nil || unspecified(a.host) || l.ProxyProtocol {
		return false
	}
	_, err = netip.ParseAddr(a.host)
	return err == nil && !isPublic(a.host)
}
