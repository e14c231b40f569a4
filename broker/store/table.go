package store

import "encoding/binary"

// An item is one record: as it is to be, and how far that has got.
type item struct {
	key     []byte
	val     []byte // sealed; nil when it is deleted, or written and not needed again
	size    int
	gone    bool // deleted
	inBatch bool // changed since the last batch was taken
	inDelta bool // changed since the last checkpoint was taken
	logged  bool // a log or the base has it
	based   bool // the base has it
}

type session struct {
	item
	number   uint64
	subs     map[string]*item
	entries  map[uint16]*entry
	strays   []*entry // whose packet identifier another entry uses by now
	received map[uint16]*item
	recent   [8]uint16 // packet identifiers that were queued last, in a ring
	next     uint8
}

type entry struct {
	item
	is   Entry
	body *body
	room [19 + 24]byte // for key and value
}

// A body is a message, stored once for all entries.
type body struct {
	item
	refs int
	room [9]byte // for the key
}

const overhead = 32 // bytes that a record costs beyond its key and value, about

// put has the value of it written with the next batch. The caller holds s.mu.
func (s *Store) put(it *item, val []byte) {
	s.live += int64(len(it.key)+len(val)+overhead) - int64(it.size)
	it.size = len(it.key) + len(val) + overhead
	it.val, it.gone = seal(it.key, val), false
	s.batch.bytes += it.size
	s.dirty(it)
}

// drop has it deleted with the next batch, or not written at all. The caller
// holds s.mu.
func (s *Store) drop(it *item) {
	if it.gone {
		return
	}
	s.live -= int64(it.size)
	if it.inDelta && !it.based {
		s.deltaBytes -= int64(it.size)
		s.deltaDead++
	}
	it.val, it.gone, it.size = nil, true, 0
	s.dirty(it)
}

func (s *Store) dirty(it *item) {
	if it.inBatch {
		return
	}
	it.inBatch = true
	s.batch.items = append(s.batch.items, it)
	if len(s.batch.items) == 1 {
		s.busy.Add(1)
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// full reports whether nothing more may be stored. The caller holds s.mu.
func (s *Store) full() bool {
	if s.live < s.opts.MaxBytes {
		return false
	}
	s.refused.Add(1)
	return true
}

// PutSession stores a session, or changes what was stored of it. Its
// subscriptions and messages are stored by other calls.
func (s *Store) PutSession(is *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sessions[is.ID]
	if k == nil {
		if s.full() {
			return
		}
		s.lastNumber++
		k = s.newSession(is.ID, s.lastNumber)
	}
	s.put(&k.item, is.encode())
	s.ops.Add(1)
}

func (s *Store) newSession(id string, number uint64) *session {
	k := &session{
		item: item{key: key(kindSession, number)}, number: number,
		subs: make(map[string]*item), entries: make(map[uint16]*entry), received: make(map[uint16]*item),
	}
	s.sessions[id] = k
	s.count.Store(int64(len(s.sessions)))
	return k
}

// EndSession deletes a session and all that belongs to it.
func (s *Store) EndSession(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sessions[id]
	if k == nil {
		return
	}
	for _, it := range k.subs {
		s.drop(it)
	}
	for _, e := range k.entries {
		s.dropEntry(e)
	}
	for _, e := range k.strays {
		s.dropEntry(e)
	}
	for _, it := range k.received {
		s.drop(it)
	}
	s.drop(&k.item)
	delete(s.sessions, id)
	s.count.Store(int64(len(s.sessions)))
}

// Subscribe stores a subscription of a session that is stored.
func (s *Store) Subscribe(id string, sub *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sessions[id]
	if k == nil {
		return
	}
	it := k.subs[sub.Filter]
	if it == nil {
		if s.full() {
			return
		}
		it = &item{key: named(key(kindSubscription, k.number), sub.Filter)}
		k.subs[sub.Filter] = it
	}
	s.put(it, sub.encode())
	s.ops.Add(1)
}

// Unsubscribe deletes a subscription.
func (s *Store) Unsubscribe(id, filter string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sessions[id]
	if k == nil || k.subs[filter] == nil {
		return
	}
	s.drop(k.subs[filter])
	delete(k.subs, filter)
}

// Queue stores a message in the queue of a session that is stored. M is asked
// for only if no queue has the message yet.
func (s *Store) Queue(id string, is *Entry, m func() *Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sessions[id]
	if k == nil {
		return
	}
	if was := k.entries[is.PacketID]; was != nil {
		if was.is.Seq == is.Seq {
			return
		}
		k.strays = append(k.strays, was)
		delete(k.entries, is.PacketID)
	}
	if s.full() {
		return
	}
	b := s.bodies[is.Seq]
	if b == nil {
		b = &body{}
		b.key = binary.BigEndian.AppendUint64(append(b.room[:0], kindMessage), uint64(is.Seq))
		s.bodies[is.Seq] = b
		s.put(&b.item, m().encode())
	}
	b.refs++
	e := &entry{is: *is, body: b}
	e.key = entryKey(e.room[:0], k.number, is)
	k.entries[is.PacketID] = e
	k.recent[k.next%8] = is.PacketID
	k.next++
	s.put(&e.item, is.append(e.room[19:19]))
	s.ops.Add(1)
}

func entryKey(b []byte, number uint64, is *Entry) []byte {
	b = binary.BigEndian.AppendUint64(append(b, kindEntry), number)
	b = binary.BigEndian.AppendUint64(b, uint64(is.Seq))
	return binary.BigEndian.AppendUint16(b, is.PacketID)
}

func (s *Store) dropEntry(e *entry) {
	s.drop(&e.item)
	if e.body.refs--; e.body.refs == 0 {
		s.drop(&e.body.item)
		delete(s.bodies, e.is.Seq)
	}
}

// free gives a packet identifier back to the entry that had it before, if there
// is one.
func (k *session) free(packetID uint16) {
	delete(k.entries, packetID)
	for i := len(k.strays) - 1; i >= 0; i-- {
		if e := k.strays[i]; e.is.PacketID == packetID {
			k.entries[packetID] = e
			k.strays = append(k.strays[:i], k.strays[i+1:]...)
			return
		}
	}
}

// Done deletes what has a packet identifier from a session's queue. Seq says
// which message it must be; 0: any.
func (s *Store) Done(id string, packetID uint16, seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sessions[id]
	if k == nil {
		return
	}
	if e := k.entries[packetID]; e != nil && (seq == 0 || e.is.Seq == seq) {
		s.dropEntry(e)
		k.free(packetID)
		return
	}
	for i, e := range k.strays {
		if e.is.PacketID == packetID && e.is.Seq == seq {
			s.dropEntry(e)
			k.strays = append(k.strays[:i], k.strays[i+1:]...)
			return
		}
	}
}

// Lost deletes a message from a session's queue when its packet identifier is
// not known.
func (s *Store) Lost(id string, seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sessions[id]
	if k == nil || s.bodies[seq] == nil {
		return
	}
	for _, packetID := range k.recent {
		if e := k.entries[packetID]; e != nil && e.is.Seq == seq {
			s.dropEntry(e)
			k.free(packetID)
			return
		}
	}
	for packetID, e := range k.entries {
		if e.is.Seq == seq {
			s.dropEntry(e)
			k.free(packetID)
			return
		}
	}
}

// Release notes that the receiver of a QoS 2 message has it. It reports
// whether that was news that is yet to be stored.
func (s *Store) Release(id string, packetID uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sessions[id]
	if k == nil {
		return false
	}
	e := k.entries[packetID]
	if e == nil || e.is.Released {
		return false
	}
	e.is.Released = true
	s.put(&e.item, e.is.append(nil))
	return true
}

// Receive stores the packet identifier of a QoS 2 message that a session's
// client sent, until Forget.
func (s *Store) Receive(id string, packetID uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sessions[id]
	if k == nil || k.received[packetID] != nil {
		return
	}
	it := &item{key: binary.BigEndian.AppendUint16(key(kindReceived, k.number), packetID)}
	k.received[packetID] = it
	s.put(it, []byte{format})
	s.ops.Add(1)
}

// Forget deletes such a packet identifier, and reports whether there was one.
func (s *Store) Forget(id string, packetID uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sessions[id]
	if k == nil || k.received[packetID] == nil {
		return false
	}
	s.drop(k.received[packetID])
	delete(k.received, packetID)
	return true
}

// Retain stores what the retained message of a topic is now: what m returns,
// nil for none. It is called with the store locked, so that of two changes of
// a topic the later one is stored, whichever is told first.
func (s *Store) Retain(name string, m func() *Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	is, it := m(), s.retained[name]
	switch {
	case is == nil && it == nil:
		return
	case is == nil:
		s.drop(it)
		delete(s.retained, name)
	case s.full():
		if it == nil {
			return
		}
		s.drop(it) // rather none than an old one
		delete(s.retained, name)
	default:
		if it == nil {
			it = &item{key: named(key(kindRetained), name)}
			s.retained[name] = it
		}
		s.put(it, is.encode())
	}
	s.ops.Add(1)
}
