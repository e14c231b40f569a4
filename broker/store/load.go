package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Saved is what a store holds when it is opened.
type Saved struct {
	Sessions []*Session
	Retained []*Message
	LastSeq  int64     // the highest of all messages
	Clock    time.Time // when the store was last written, about
	Ignored  int64     // bytes at the end of the log that a crash left unfinished
	Damage   error     // why the store is empty; nil if it was not damaged
	Aside    string    // where the damaged store is
}

// load opens the generation's base, moves the logs into it, and reads it. What
// a damaged file makes bbolt do, panics and faults of its mapping included, is
// an error.
func (s *Store) load() (saved *Saved, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %v", s.gen.base(), p)
		}
	}()
	if _, err := os.Stat(s.gen.base()); err != nil {
		return nil, err
	}
	if err := s.openBase(); err != nil {
		return nil, err
	}
	ignored, err := s.replay()
	if err != nil {
		return nil, err
	}
	l := loader{s: s, saved: &Saved{Ignored: ignored}, numbers: make(map[uint64]*Session), messages: make(map[int64]*Message)}
	if err := s.db.View(func(tx *bbolt.Tx) error { return l.each(tx.Bucket(bucket)) }); err != nil {
		return nil, err
	}
	return l.saved, l.join()
}

// replay moves the logs into the base.
func (s *Store) replay() (ignored int64, err error) {
	numbers, err := s.gen.logNumbers()
	if err != nil || len(numbers) == 0 {
		return 0, err
	}
	s.logGen = numbers[len(numbers)-1]
	for i, n := range numbers {
		err := s.db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucket)
			if b == nil {
				return errors.New("the base is empty")
			}
			var err error
			ignored, err = readLog(s.gen.log(n), i == len(numbers)-1, func(c change) error {
				if c.val == nil {
					return b.Delete(c.key)
				}
				return b.Put(c.key, c.val)
			})
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return ignored, s.gen.removeLogs(s.logGen)
}

// A loader reads a base in the order of its keys.
type loader struct {
	s        *Store
	saved    *Saved
	numbers  map[uint64]*Session
	messages map[int64]*Message
	entries  []loaded
	subs     []loaded
	received []loaded
}

// loaded is a record that belongs to a session.
type loaded struct {
	number   uint64
	key, val []byte
	size     int
}

func (l *loader) each(b *bbolt.Bucket) error {
	if b == nil {
		return errors.New("the base is empty")
	}
	var last []byte
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if bytes.Compare(k, last) <= 0 || len(k) == 0 {
			return errors.New("the base's keys are out of order")
		}
		last = k
		is, err := unseal(k, v)
		if err == nil {
			err = l.record(k, is, len(k)+len(v)-5+overhead)
		}
		if err != nil {
			return fmt.Errorf("%s: key %.40q: %w", l.s.gen.base(), k, err)
		}
	}
	return nil
}

func (l *loader) record(k, v []byte, size int) error {
	number, long := uint64(0), len(k) >= 9
	if long {
		number = binary.BigEndian.Uint64(k[1:])
	}
	switch {
	case k[0] == kindRetained:
		return l.retained(k, v, size)
	case k[0] == kindClock:
		r := reader{b: v}
		l.saved.Clock = time.UnixMilli(r.num())
		return r.end()
	case !long:
	case k[0] == kindSession:
		return l.session(k, v, number, size)
	case k[0] == kindMessage:
		m, err := decodeMessage(v)
		if err != nil {
			return err
		}
		l.messages[m.Seq] = m
		l.saved.LastSeq = max(l.saved.LastSeq, m.Seq)
		l.s.bodies[m.Seq] = &body{item: l.item(k, size)}
		return nil
	default:
		r := loaded{number, bytes.Clone(k), bytes.Clone(v), size}
		switch k[0] {
		case kindEntry:
			l.entries = append(l.entries, r)
			return nil
		case kindSubscription:
			l.subs = append(l.subs, r)
			return nil
		case kindReceived:
			l.received = append(l.received, r)
			return nil
		}
	}
	return errRecord
}

// item is an item that the base has.
func (l *loader) item(k []byte, size int) item {
	l.s.live += int64(size)
	return item{key: bytes.Clone(k), size: size, logged: true, based: true}
}

func (l *loader) retained(k, v []byte, size int) error {
	m, err := decodeMessage(v)
	if err != nil {
		return err
	}
	it := l.item(k, size)
	l.s.retained[m.Topic] = &it
	l.saved.Retained = append(l.saved.Retained, m)
	l.saved.LastSeq = max(l.saved.LastSeq, m.Seq)
	return nil
}

func (l *loader) session(k, v []byte, number uint64, size int) error {
	is, err := decodeSession(v)
	if err != nil {
		return err
	}
	if l.s.sessions[is.ID] != nil {
		return errRecord
	}
	is.number = number
	l.s.lastNumber = max(l.s.lastNumber, number)
	l.s.newSession(is.ID, number).item = l.item(k, size)
	l.numbers[number] = is
	l.saved.Sessions = append(l.saved.Sessions, is)
	return nil
}

// join gives the sessions what belongs to them. What belongs to nobody is
// dropped with the next checkpoint: a loss of power can leave such records.
func (l *loader) join() error {
	for _, r := range l.subs {
		sub, err := decodeSubscription(r.val)
		if err != nil {
			return err
		}
		it := l.item(r.key, r.size)
		is := l.numbers[r.number]
		if is == nil {
			l.s.drop(&it)
			continue
		}
		is.Subscriptions = append(is.Subscriptions, sub)
		l.s.sessions[is.ID].subs[sub.Filter] = &it
	}
	for _, r := range l.received {
		it := l.item(r.key, r.size)
		is := l.numbers[r.number]
		if is == nil || len(r.key) != 11 {
			l.s.drop(&it)
			continue
		}
		packetID := binary.BigEndian.Uint16(r.key[9:])
		is.Received = append(is.Received, packetID)
		l.s.sessions[is.ID].received[packetID] = &it
	}
	return l.joinEntries()
}

func (l *loader) joinEntries() error {
	for _, r := range l.entries {
		e, err := decodeEntry(r.val)
		if err != nil || len(r.key) != 19 {
			return errors.Join(errRecord, err)
		}
		e.Seq, e.PacketID = int64(binary.BigEndian.Uint64(r.key[9:])), binary.BigEndian.Uint16(r.key[17:])
		l.saved.LastSeq = max(l.saved.LastSeq, e.Seq)
		e.Message = l.messages[e.Seq]
		it, is := l.item(r.key, r.size), l.numbers[r.number]
		if is == nil || e.Message == nil {
			l.s.drop(&it)
			continue
		}
		k, b := l.s.sessions[is.ID], l.s.bodies[e.Seq]
		kept := &entry{item: it, is: e, body: b}
		kept.is.Message = nil
		b.refs++
		if k.entries[e.PacketID] != nil {
			k.strays = append(k.strays, k.entries[e.PacketID])
		}
		k.entries[e.PacketID] = kept
		is.Entries = append(is.Entries, e)
	}
	for seq, b := range l.s.bodies {
		if b.refs == 0 {
			l.s.drop(&b.item)
			delete(l.s.bodies, seq)
		}
	}
	for _, is := range l.saved.Sessions {
		slices.SortFunc(is.Entries, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	return nil
}
