package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// resolve finds the peer's addresses.
func (t *try) resolve(ctx context.Context) (string, error) {
	host, port, err := net.SplitHostPort(t.Address)
	if err != nil {
		return "", fmt.Errorf("server %q is no host:port (%w): write host:port, an IPv6 address as [::1]:1883", short(t.Address), err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("server %q has no port between 1 and 65535: correct the link's server", short(t.Address))
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return fmt.Sprintf("%s is an %s address: nothing to look up", a, family(a)), nil
	}
	began := time.Now()
	addrs, err := t.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", lookupFault(ctx, host, err, time.Since(began))
	}
	return fmt.Sprintf("%s is %s", host, list(addrs)), nil
}

func lookupFault(ctx context.Context, host string, err error, took time.Duration) error {
	host = short(host)
	var d *net.DNSError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the name server did not answer for %s (%w): see that this host's name server can be reached", host, context.Cause(ctx))
	case errors.As(err, &d) && d.IsNotFound:
		return fmt.Errorf("%s has no address (no such host): correct the host in the link's server, or add the name to DNS or this host's hosts file", host)
	case errors.As(err, &d) && d.IsTimeout:
		return fmt.Errorf("the name server did not answer for %s in %v: see that this host's name server can be reached", host, took.Round(time.Millisecond))
	case errors.As(err, &d):
		return fmt.Errorf("the name server could not answer for %s (%s): see this host's name server settings", host, d.Err)
	}
	return fmt.Errorf("%s cannot be looked up: %w", host, err)
}

func family(a netip.Addr) string {
	if a.Unmap().Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// list names a few addresses.
func list(addrs []netip.Addr) string {
	const most = 6
	var l []string
	for i, a := range addrs {
		if i == most {
			l = append(l, fmt.Sprintf("and %d more", len(addrs)-most))
			break
		}
		l = append(l, a.Unmap().String())
	}
	return strings.Join(l, ", ")
}

// attempts are the addresses that were dialled, in order.
type attempts struct {
	mu   sync.Mutex
	list []string
}

func (a *attempts) note(_ context.Context, _, address string, _ syscall.RawConn) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.list, address) {
		a.list = append(a.list, address)
	}
	return nil
}

// besides returns what was tried, but for one address.
func (a *attempts) besides(address string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.list), func(s string) bool { return s == address })
}

// connect dials as the link does: one address after the other, those of the two
// families side by side.
func (t *try) connect(ctx context.Context) (string, error) {
	began := time.Now()
	var tried attempts
	raw, err := (&net.Dialer{ControlContext: tried.note, Resolver: t.Resolver}).DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return "", t.dialFault(ctx, err, tried.besides(""))
	}
	t.raw, t.tcpTook = raw, time.Since(began)
	if tcp, ok := raw.(*net.TCPConn); ok && t.Socket != nil {
		if err := t.Socket(tcp); err != nil {
			return "", fmt.Errorf("the link's tcp_opts cannot be set: %w", err)
		}
	}
	detail := "connected to " + raw.RemoteAddr().String()
	if a, err := netip.ParseAddrPort(raw.RemoteAddr().String()); err == nil {
		detail += " (" + family(a.Addr()) + ")"
	}
	if others := tried.besides(raw.RemoteAddr().String()); len(others) > 0 {
		detail += "; without success before that, or slower: " + strings.Join(others, ", ")
	}
	return detail, nil
}

func (t *try) dialFault(ctx context.Context, err error, tried []string) error {
	at := t.Address
	if len(tried) > 0 && !slices.Equal(tried, []string{at}) {
		at += " (tried: " + strings.Join(tried, ", ") + ")"
	}
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens on %s (connection refused): see that the peer's broker runs and that its listener has this port and address family, or correct the link's server", at)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("there is no way from here to %s (%w): see routes and VPN, and whether this host has addresses of that family", at, cause(err))
	case ctx.Err() != nil:
		return fmt.Errorf("%s does not take the connection (%w): a firewall drops it, or the host is down", at, context.Cause(ctx))
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s does not take the connection (timed out): a firewall drops it, or the host is down", at)
	}
	return fmt.Errorf("%s cannot be connected to: %w", at, cause(err))
}

// cause is the innermost error, without the addresses around it.
func cause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
