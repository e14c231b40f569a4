package spool

import (
	"errors"
	"fmt"
)

// flush writes and syncs what has gathered, and removes what is done with.
func (s *Spool) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = false
	s.bookDone()
	s.write()
	if s.err == nil {
		upTo, out, old := s.next, s.out, s.old
		s.old = nil
		s.mu.Unlock() // publishers go on meanwhile
		err := settle(out, old)
		s.mu.Lock()
		if err != nil {
			s.fail("sync", err)
		} else {
			s.synced = max(s.synced, upTo)
		}
	}
	s.settled.Broadcast()
	if s.err != nil {
		s.touch() // try again
		return
	}
	s.tidy()
}

// settle syncs what is written to, and ends those that are not any more.
func settle(out file, old []file) error {
	var errs []error
	for _, f := range old {
		errs = append(errs, f.Sync(), f.Close())
	}
	return errors.Join(append(errs, out.Sync())...)
}

// bookDone puts what was done since the last flush into records. They go into
// the segment that is written to, which never is removed before those that
// they are about.
func (s *Spool) bookDone() {
	for len(s.done) > 0 {
		n := min(len(s.done), doneCount)
		before := len(s.pending)
		s.pending = appendDone(s.pending, s.done[:n])
		grown := int64(len(s.pending) - before)
		s.segs[len(s.segs)-1].size += grown
		s.bytes += grown
		s.done = s.done[n:]
	}
	s.done = nil
}

// write hands what is pending to the system. What fails stays pending.
func (s *Spool) write() {
	if len(s.pending) == 0 {
		s.err = nil
		return
	}
	last := s.segs[len(s.segs)-1]
	before := last.size - int64(len(s.pending))
	if _, err := s.out.Write(s.pending); err != nil {
		s.fail("write", err)
		if err := s.out.Truncate(before); err != nil {
			s.fail("cut off a part that was written", err)
		}
		return
	}
	s.err = nil
	s.pending = s.pending[:0]
	if cap(s.pending) > 2*pendingBytes {
		s.pending = nil
	}
}

func (s *Spool) fail(doing string, err error) {
	s.err = fmt.Errorf("%s the queue on disk in %s: %w", doing, s.opts.Dir, err)
}

// tidy starts a new segment when the last is long, or holds nothing that is
// still wanted, and removes those in front that nobody wants.
func (s *Spool) tidy() {
	if s.live == 0 && len(s.pending) == 0 && s.segs[len(s.segs)-1].size > smallSegment {
		s.rotate()
	}
	for len(s.segs) > 1 && s.segs[0].live == 0 {
		n := len(s.segs)
		if s.drop(); len(s.segs) == n {
			return
		}
	}
}

// rotate goes on in a new segment.
func (s *Spool) rotate() {
	old := s.out
	if err := s.begin(); err != nil {
		s.fail("begin a segment of", err)
		return
	}
	s.old = append(s.old, old)
	s.touch()
}

// close writes what is left. The queue takes nothing more.
func (s *Spool) close() error {
	s.flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.settled.Broadcast()
	s.cursor.close()
	if err := settle(s.out, s.old); err != nil && s.err == nil {
		s.fail("sync", err)
	}
	if err := s.out.Close(); err != nil && s.err == nil {
		s.fail("close", err)
	}
	return s.err
}
