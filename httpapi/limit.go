package httpapi

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxBuckets bounds how many names are told apart at once.
const maxBuckets = 10_000

// buckets are token buckets by name.
type buckets struct {
	rate  float64 // tokens a second that a bucket gains
	burst float64 // tokens that it holds at most, and at first

	mu     sync.Mutex
	byName map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newBuckets(rate, burst float64) *buckets {
	return &buckets{rate: rate, burst: burst, byName: map[string]bucket{}}
}

// wait returns how long it takes until a bucket has a token; 0: it has one.
func (b *buckets) wait(name string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until(b.now(name))
}

// take takes a token, or returns how long it takes until there is one.
func (b *buckets) take(name string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.now(name)
	wait := b.until(k)
	if wait > 0 {
		return wait
	}
	if _, ok := b.byName[name]; !ok && len(b.byName) >= maxBuckets {
		b.makeRoom()
	}
	k.tokens--
	b.byName[name] = k
	return 0
}

func (b *buckets) until(k bucket) time.Duration {
	if k.tokens >= 1 {
		return 0
	}
	return time.Duration((1 - k.tokens) / b.rate * float64(time.Second))
}

func (b *buckets) now(name string) bucket {
	k, ok := b.byName[name]
	now := time.Now()
	if !ok {
		return bucket{b.burst, now}
	}
	return bucket{min(b.burst, k.tokens+now.Sub(k.at).Seconds()*b.rate), now}
}

// makeRoom forgets the buckets that are full again, which changes nothing, or
// where all are in use, any one.
func (b *buckets) makeRoom() {
	any := ""
	for name := range b.byName {
		if any = name; b.now(name).tokens >= b.burst {
			delete(b.byName, name)
		}
	}
	if len(b.byName) >= maxBuckets {
		delete(b.byName, any)
	}
}

// A damper slows down whoever guesses secrets, by his address. It never holds
// back a key as such: to guess at it would be a way to shut out its owner. An
// address that has proved a key before is held back for that key by its own
// failures alone.
type damper struct {
	address, pair *buckets

	mu     sync.Mutex
	proved map[string]time.Time
}

// provedFor is how long an address counts as one that has proved a key.
const provedFor = 12 * time.Hour

func newDamper() *damper {
	return &damper{address: newBuckets(1, 30), pair: newBuckets(0.2, 20), proved: map[string]time.Time{}}
}

// wait returns how long to wait before the next try of a key from an address.
func (d *damper) wait(address, key string) time.Duration {
	if d.known(address, key) {
		return d.pair.wait(pairOf(address, key))
	}
	return d.address.wait(address)
}

func (d *damper) failed(address, key string) {
	d.pair.take(pairOf(address, key))
	d.address.take(address)
}

func (d *damper) passed(address, key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.proved) >= maxBuckets {
		clear(d.proved)
	}
	d.proved[pairOf(address, key)] = time.Now()
}

func (d *damper) known(address, key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, ok := d.proved[pairOf(address, key)]
	return ok && time.Since(at) < provedFor
}

func pairOf(address, key string) string { return address + " " + short(key) }

// short keeps what is remembered of a name that somebody made up small.
func short(key string) string { return key[:min(len(key), 256)] }

// network is the address that failures are counted by: an IPv4 address, or
// the /64 that one IPv6 client has to itself.
func network(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return p.String()
}
