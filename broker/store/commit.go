package store

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

const (
	mostBatch = 8 << 20  // bytes that wait for the log, beyond which publishers wait
	mostDelta = 64 << 20 // bytes that wait for the base
	someDelta = 16 << 20 // bytes that are worth a checkpoint
	someLog   = 64 << 20 // bytes of a log that are
)

var bucket = []byte("clink")

// commit writes batches, one after the other, and checkpoints in between.
func (s *Store) commit() {
	next := time.Now().Add(s.opts.Checkpoint)
	tick := time.NewTicker(s.opts.Checkpoint)
	defer tick.Stop()
	for {
		select {
		case <-s.wake:
			s.write()
		case <-tick.C:
		case <-s.stop:
			return
		}
		if s.Err() != nil {
			s.write()
			continue
		}
		if now := time.Now(); now.After(next) || s.deltaSize() > someDelta || s.log.size > someLog {
			s.checkpoint()
			next = now.Add(s.opts.Checkpoint)
		}
	}
}

func (s *Store) deltaSize() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deltaBytes
}

// take ends the batch that is being gathered, and returns it with what is to
// be written.
func (s *Store) take() (*Batch, []change) {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.batch
	if len(b.items) == 0 {
		return nil, nil
	}
	changes := make([]change, 0, len(b.items))
	for _, it := range b.items {
		it.inBatch = false
		if it.gone && !it.logged {
			continue
		}
		it.logged = true
		changes = append(changes, change{it.key, it.val})
		if it.inDelta || it.gone && !it.based {
			continue // what the base never had need not be deleted there
		}
		it.inDelta = true
		s.delta = append(s.delta, it)
		s.deltaBytes += int64(it.size)
	}
	s.bury()
	s.batch, s.writing = newBatch(), b
	s.swollen.Store(b.bytes > mostBatch || s.deltaBytes > mostDelta)
	return b, changes
}

// bury takes items out of the delta that are neither in the base nor to be.
// The caller holds s.mu.
func (s *Store) bury() {
	if s.deltaDead < 4096 || s.deltaDead < len(s.delta)/2 {
		return
	}
	s.delta = slices.DeleteFunc(s.delta, func(it *item) bool {
		dead := it.gone && !it.based
		if dead {
			it.inDelta = false
		}
		return dead
	})
	s.deltaDead = 0
}

// write writes what has gathered to the log.
func (s *Store) write() {
	b, changes := s.take()
	if b == nil {
		return
	}
	if s.Err() == nil && len(changes) > 0 {
		if err := s.append(changes); err != nil {
			s.fail(fmt.Errorf("write %s: %w", s.gen.dir, err))
		}
	}
	s.mu.Lock()
	s.writing = nil
	if s.Err() != nil {
		s.delta, s.deltaBytes = nil, 0
	}
	s.mu.Unlock()
	s.busy.Add(-1)
	close(b.done)
}

func (s *Store) append(changes []change) error {
	size := frameHead
	for _, c := range changes {
		size += len(c.key) + len(c.val) + 8
	}
	frame := appendFrame(make([]byte, 0, size), changes)
	s.logs.Lock()
	defer s.logs.Unlock()
	if err := s.log.write(frame); err != nil {
		return err
	}
	if s.opts.Always {
		return s.log.f.Sync()
	}
	s.unsaved = true
	return nil
}

// synchronise makes the log outlive a loss of power, again and again.
func (s *Store) synchronise() {
	t := time.NewTicker(s.opts.Interval)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
			s.logs.Lock()
			f, need := s.log.f, s.unsaved
			s.unsaved = false
			s.logs.Unlock()
			if !need || s.Err() != nil {
				continue
			}
			if err := f.Sync(); err != nil && !s.rotated(f) {
				s.fail(fmt.Errorf("synchronise %s: %w", f.Name(), err))
			}
		}
	}
}

// rotated reports whether f is no longer the log, so that it may be closed.
func (s *Store) rotated(f *os.File) bool {
	s.logs.Lock()
	defer s.logs.Unlock()
	return s.log.f != f
}

// takeDelta returns what the base lacks.
func (s *Store) takeDelta() []change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []change
	for _, it := range s.delta {
		it.inDelta = false
		switch {
		case it.gone && it.based:
			out = append(out, change{key: it.key})
		case !it.gone:
			out = append(out, change{it.key, it.val})
			it.based = true
			if !it.inBatch {
				it.val = nil
			}
		}
	}
	s.delta, s.deltaBytes, s.deltaDead = nil, 0, 0
	s.swollen.Store(false)
	return out
}

// checkpoint begins a new log and moves what the old ones hold into the base,
// meanwhile. It does nothing while the one before is not done.
func (s *Store) checkpoint() {
	if !s.moving.TryLock() {
		return
	}
	changes := s.takeDelta()
	if len(changes) == 0 && s.log.size < someLog {
		s.moving.Unlock()
		return
	}
	old := s.logGen
	if err := s.rotate(); err != nil {
		s.moving.Unlock()
		s.fail(fmt.Errorf("begin a log in %s: %w", s.gen.dir, err))
		return
	}
	changes = append(changes, s.clockNow())
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer s.moving.Unlock()
		if err := errors.Join(s.move(changes), s.gen.removeLogs(old)); err != nil {
			s.fail(fmt.Errorf("move into %s: %w", s.gen.dir, err))
		}
	}()
}

// move writes changes into the base in one transaction, synchronised.
func (s *Store) move(changes []change) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if c.val == nil {
				err = b.Delete(c.key)
			} else {
				err = b.Put(c.key, c.val)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// rotate begins a new log. The old one is synchronised first, for only the
// end of the last one may be missing after a loss of power.
func (s *Store) rotate() error {
	l, err := createLog(s.gen.log(s.logGen + 1))
	if err != nil {
		return err
	}
	s.logs.Lock()
	defer s.logs.Unlock()
	if s.log != nil {
		err = errors.Join(s.log.f.Sync(), s.log.f.Close())
	}
	s.log, s.logGen, s.unsaved = l, s.logGen+1, false
	return err
}

// clockNow is the record of when the store was last written.
func (s *Store) clockNow() change {
	w := newWriter(10)
	w.num(time.Now().UnixMilli())
	return change{s.clock.key, seal(s.clock.key, w.b)}
}
