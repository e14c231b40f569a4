package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
			// The system may have let go of what it could not write, and say of
			// the next sync that all is well.
			s.fail("sync", err)
			s.doubt, s.suspect = [2]uint64{s.synced, s.written}, true
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
	if s.suspect || s.cut > 0 {
		if err := s.mend(); err != nil {
			s.fail("go on writing", err)
			return
		}
	}
	if len(s.pending) == 0 {
		s.err = nil
		return
	}
	last := s.segs[len(s.segs)-1]
	if _, err := s.out.Write(s.pending); err != nil {
		s.fail("write", err)
		s.cut = last.size - int64(len(s.pending))
		if err := s.mend(); err != nil {
			s.fail("cut off a part that was written", err)
		}
		return
	}
	s.err = nil
	s.written = s.next
	s.pending = s.pending[:0]
	if cap(s.pending) > 2*pendingBytes {
		s.pending = nil
	}
}

// mend makes it possible to write after a failure: nothing may follow a record
// that was written by half, nor what may have been lost.
func (s *Spool) mend() error {
	if s.suspect {
		if err := s.replace(); err != nil {
			return err
		}
		s.suspect, s.cut = false, 0
	}
	if s.cut > 0 {
		if err := s.out.Truncate(s.cut); err != nil {
			return err
		}
		s.cut = 0
	}
	return nil
}

// replace goes on in a new segment, with what is pending, and leaves the last
// one as it is.
func (s *Spool) replace() error {
	n := len(s.segs) - 1
	old, out := s.segs[n], s.out
	// If nothing is in the last one, the new one takes its name.
	path := filepath.Join(s.opts.Dir, segmentName(s.written))
	if err := os.Remove(path); err != nil && fileThere(path) {
		return err
	}
	if s.cursor.path == path {
		s.cursor.close()
	}
	fresh, err := s.begin(s.written)
	if err != nil {
		return err
	}
	out.Close()
	s.move(old, fresh)
	if old.first == s.written {
		s.bytes -= old.size
		s.segs = slices.Delete(s.segs, n, n+1)
	}
	return nil
}

// move books what is pending in another segment.
func (s *Spool) move(from, to *segment) {
	size := int64(len(s.pending))
	from.size, to.size = from.size-size, to.size+size
	for seq := s.written; seq < from.end; seq++ {
		live := from.wants(seq)
		if to.add(seq); !live {
			to.finish(seq)
			continue
		}
		from.live--
	}
	from.end = min(from.end, s.written)
}

func (s *Spool) fail(doing string, err error) {
	s.err = fmt.Errorf("%s the queue on disk in %s: %w", doing, s.opts.Dir, err)
	s.trouble = s.err
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
	if err := s.follow(); err != nil {
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
