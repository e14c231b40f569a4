package broker

import (
	"strings"
	"sync"
	"unsafe"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A kept is the account of the retained messages, without those of $SYS.
type kept struct {
	mu    sync.Mutex
	sizes map[string]int64
	bytes int64
	ends  map[string]int64 // when those expire that do, in Unix seconds

	coming map[string]int // admitted, and not yet with the engine
	gone   removals
}

func (k *kept) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.sizes)
}

func (k *kept) totals() (count int, bytes int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.sizes), k.bytes
}

// admits reports whether a message may be retained. Publishers at the same
// moment may each add one beyond the limit.
func (k *kept) admits(name string, size int64, b *bounds) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fits(name, size, b)
}

func (k *kept) fits(name string, size int64, b *bounds) bool {
	old, there := k.sizes[name]
	if !there && b.retained > 0 && len(k.sizes) >= b.retained {
		return false
	}
	return b.retainedBytes <= 0 || k.bytes-old+size <= b.retainedBytes
}

// noteRetained brings the account of one topic in step with the engine.
func (n *Node) noteRetained(name string) {
	if strings.HasPrefix(name, "$SYS/") {
		return
	}
	k := &n.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	pk, there := n.server.Topics.Retained.Get(name)
	k.set(name, &pk, there)
}

func (k *kept) set(name string, pk *packets.Packet, there bool) {
	k.bytes -= k.sizes[name]
	delete(k.sizes, name)
	delete(k.ends, name)
	if !there {
		return
	}
	if expires(pk) {
		if k.ends == nil {
			k.ends = make(map[string]int64)
		}
		k.ends[pk.TopicName] = pk.Expiry
	}
	if k.sizes == nil {
		k.sizes = make(map[string]int64)
	}
	size := sizeOf(pk)
	k.sizes[pk.TopicName] = size
	k.bytes += size
}

// countRetained makes the account of what was restored.
func (n *Node) countRetained() {
	for name := range n.server.Topics.Retained.GetAll() {
		n.noteRetained(name)
	}
}

// storedSize returns the size of the retained message with this very topic
// string: then it is not a message that is just being published.
func (n *Node) storedSize(name string) (size int64, ok bool) {
	pk, there := n.server.Topics.Retained.Get(name)
	if !there || unsafe.StringData(pk.TopicName) != unsafe.StringData(name) {
		return 0, false
	}
	return sizeOf(&pk), true
}

// admitPublish prepares an allowed publish for the limits: it is entered into
// the table of large ones if it is one, and not retained if that would be
// beyond the limits. It returns the topic to leave the table with, or "". Out
// is that of the goroutine that publishes, if there is one.
func (n *Node) admitPublish(pk *packets.Packet, out *outbox) (entered string, retained bool) {
	b := n.bounds.Load()
	size := sizeOf(pk)
	retained = true
	if pk.FixedHeader.Retain && len(pk.Payload) > 0 && !strings.HasPrefix(pk.TopicName, "$SYS/") && !n.kept.admits(pk.TopicName, size, b) {
		n.drops.retained.Add(1)
		pk.FixedHeader.Retain = false
		markRetain(pk, true) // for those who asked for it as published
		retained = false
	}
	if out.empty() {
		out = nil
	}
	switch {
	case pk.FixedHeader.Retain: // others will meet its topic
		out.flush()
		out = nil
	case size <= b.small && out == nil:
		return "", retained
	case size <= b.small:
		size = 0
	}
	if pk.FixedHeader.Retain {
		n.kept.expect(pk.TopicName)
	}
	pk.TopicName = strings.Clone(pk.TopicName)
	n.large.enter(pk.TopicName, publishing{size, out})
	return pk.TopicName, retained
}
