package compiler

import (
	"cmp"
	"math"

	"clink/topology"
)

// A visit is an enabled link that comes to a listener.
type visit struct {
	from *topology.Site
	link topology.Link
}

// visits returns the enabled links that come to a site's listeners, by
// listener, in order of the sites they come from.
func (k *checker) visits() map[string]map[string][]visit {
	all := map[string]map[string][]visit{}
	for _, from := range k.t.Names() {
		for _, l := range k.t.Sites[from].Links {
			peer := k.t.Sites[l.Name]
			if !l.Enable || peer == nil || l.Name == from {
				continue
			}
			m, ok := meets(peer, l)
			if !ok {
				continue
			}
			if all[l.Name] == nil {
				all[l.Name] = map[string][]visit{}
			}
			all[l.Name][m.Name] = append(all[l.Name][m.Name], visit{k.t.Sites[from], l})
		}
	}
	return all
}

// listenerFacts fills in what is odd about the listeners that links come to.
func (k *checker) listenerFacts(all map[string]*siteFacts) {
	k.visited = k.visits()
	for site, listeners := range k.visited {
		for _, m := range k.t.Sites[site].Listeners {
			come := listeners[m.Name]
			if len(come) == 0 {
				continue
			}
			f := all[site]
			if m.Mountpoint != "" {
				f.Mounted[m.Name] = come[0].from.Name
			}
			if m.MaxConnections > 0 && connections(come) > m.MaxConnections {
				f.Crowded[m.Name] = come[0].from.Name
			}
			for _, v := range come {
				if near := k.largestPacket(v.from); tooNarrow(m.MaxPacketSize.Bytes, near) {
					f.Narrow[m.Name] = v.from.Name
					break
				}
			}
		}
	}
}

// connections is how many the links open together: the pool of each of their
// nodes, and one connection a node for the routes, with EMQX another one for
// those of persistent sessions.
func connections(come []visit) int {
	n := 0
	for _, v := range come {
		nodes, routes := max(1, v.from.Target.Nodes), 2
		if v.from.Target.Kind == topology.Embedded {
			routes = 1
		}
		n = min(n+nodes*(v.link.PoolSize+routes), math.MaxInt32)
	}
	return n
}

// largestPacket is the largest that a client of the site can send, in bytes.
// Where a site has listeners that no link comes to, the others are taken to be
// for links alone.
func (k *checker) largestPacket(s *topology.Site) int64 {
	var most, clients int64
	for _, m := range s.Listeners {
		if !m.Enable {
			continue
		}
		most = max(most, m.MaxPacketSize.Bytes)
		if len(k.visited[s.Name][m.Name]) == 0 {
			clients = max(clients, m.MaxPacketSize.Bytes)
		}
	}
	return cmp.Or(clients, most)
}

// tooNarrow reports whether a message that was let in at the near side may not
// pass at the far one, where it comes in a larger packet. That nobody chose a
// size on either side is not worth a word each time.
func tooNarrow(far, near int64) bool {
	const byDefault = 1 << 20
	return near > 0 && far <= near && !(far == byDefault && near == byDefault)
}

// buffers is the most that the buffers of a link may hold, in bytes.
func buffers(l topology.Link) int64 {
	n := float64(l.ResourceOpts.WorkerPoolSize) * float64(l.ResourceOpts.MaxBufferBytes.Bytes)
	return int64(min(n, math.MaxInt64/2))
}

// overbooked returns the peer of the first link whose buffers, with those of
// the links before it, go beyond the memory named for the site.
func overbooked(s *topology.Site) string {
	if s.Memory.Bytes == 0 {
		return ""
	}
	var sum int64
	for _, l := range s.Links {
		if l.Enable {
			sum = min(sum+buffers(l), math.MaxInt64/2)
		}
		if sum > s.Memory.Bytes {
			return l.Name
		}
	}
	return ""
}
