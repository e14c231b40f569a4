package command

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	"clink/topology"
)

// A socket is a listener of a site.
type socket struct {
	site string
	topology.Listener
}

func (s socket) String() string {
	return fmt.Sprintf("listener %s of site %s (%s)", s.Name, s.site, s.Pos)
}

// A clash is two listeners of this process that want one address: only one of
// them can have it. No rule of vet finds it, for the sites may be meant for
// hosts of their own.
type clash struct{ one, other socket }

func (c clash) String() string {
	if c.other.Type == topology.Unix {
		return fmt.Sprintf("%s and %s both want the socket %s: give one of them a path of its own", c.one, c.other, c.other.Bind)
	}
	return fmt.Sprintf("%s and %s both want port %s: give one of them a port of its own", c.one, c.other, portOf(c.other.Bind))
}

func (c clash) concerns(site, listener string) bool {
	return c.one.site == site && c.one.Name == listener || c.other.site == site && c.other.Name == listener
}

func portOf(bind string) string {
	_, port, _ := net.SplitHostPort(bind)
	return port
}

// tellClashes notes which listeners are in each other's way, and logs those that
// were not before.
func (l *loader) tellClashes(t *topology.Topology) {
	was := l.clashes
	l.clashes = clashes(t, l.sites)
	for _, c := range l.clashes {
		if !slices.ContainsFunc(was, func(w clash) bool { return w.String() == c.String() }) {
			l.log.Warn("two listeners want one address: "+c.String(), "site", c.other.site, "listener", c.other.Name, "bind", c.other.Bind)
		}
	}
}

// clash is the one that a listener of a site has part in, as the end of a
// sentence; "" for none.
func (l *loader) clash(site, listener string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.clashes {
		if c.concerns(site, listener) {
			return "; " + c.String()
		}
	}
	return ""
}

// clashes are those among the listeners of the sites, in order of the sites:
// each listener with the first before it that is in its way.
func clashes(t *topology.Topology, sites []string) []clash {
	var l []clash
	first := map[string]socket{}     // by port
	byHost := map[string]socket{}    // by host and port
	everyHost := map[string]socket{} // by port, of those on all addresses
	byPath := map[string]socket{}    // by path, of those in the file system
	for _, name := range slices.Sorted(slices.Values(sites)) {
		s, ok := t.Sites[name]
		if !ok {
			continue
		}
		for _, m := range s.Listeners {
			if m.Type == topology.Unix && m.Enable {
				path := filepath.Clean(m.Bind) // relative ones to one directory
				if was, taken := byPath[path]; taken {
					l = append(l, clash{was, socket{name, m}})
					continue
				}
				byPath[path] = socket{name, m}
			}
			host, port, err := net.SplitHostPort(m.Bind)
			if err != nil || !m.Enable || port == "0" {
				continue
			}
			here := socket{name, m}
			host, all := address(host)
			was, taken := everyHost[port]
			if all {
				was, taken = first[port]
			} else if !taken {
				was, taken = byHost[net.JoinHostPort(host, port)]
			}
			if taken {
				l = append(l, clash{was, here})
				continue
			}
			if all {
				everyHost[port] = here
			}
			if _, known := first[port]; !known {
				first[port] = here
			}
			byHost[net.JoinHostPort(host, port)] = here
		}
	}
	return l
}

// address is a host in one form, and whether it stands for all addresses of the
// machine.
func address(host string) (string, bool) {
	if host == "localhost" {
		host = "127.0.0.1"
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host, host == ""
	}
	return a.Unmap().String(), a.IsUnspecified()
}
