package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	smallSegment = 64 << 10
	largeSegment = 8 << 20
	pendingBytes = 1 << 20  // gathered bytes that are written without waiting for the interval
	maxRecord    = 64 << 20 // bytes of a record's body; more is damage
	defaultPause = 20 * time.Millisecond
)

// Why a message is not taken.
var (
	ErrFull   = errors.New("the queue on disk is full")
	ErrClosed = errors.New("the queue on disk is closed")
)

var errDoubt = errors.New("the disk failed to keep what was written to the queue")

// Options say where a queue is and how large it may grow.
type Options struct {
	Dir      string        // its own directory, made if need be
	MaxBytes int64         // of all files; at least 128 KiB
	Interval time.Duration // between syncs; 0: 20 ms
	Always   bool          // Wait waits for the sync

	open func(path string) (file, error) // for tests
}

// A file is what a segment is written to.
type file interface {
	Write(p []byte) (int, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// An Entry is a message on disk.
type Entry struct {
	Seq  uint64
	Time time.Time // as it was appended with, in milliseconds
	Data []byte
}

// A Report says what Open found.
type Report struct {
	Messages int      // that are not done
	Torn     int      // tails that were cut off
	Damaged  []string // segments with damage before their end, kept aside under these names
}

// A Spool is one queue. Its methods may be called from many goroutines.
type Spool struct {
	opts    Options
	segment int64 // size beyond which a new one begins

	mu      sync.Mutex
	segs    []*segment // the last is written to; never empty while open
	out     file
	old     []file // written to their end, and not yet synced
	pending []byte // not yet written
	done    []uint64
	bytes   int64 // of all segments, with what is pending
	live    int
	waiting int       // live, and not handed out
	next    uint64    // of the next message
	written uint64    // messages below were handed to the system
	synced  uint64    // messages below are on disk for good, but for those in doubt
	doubt   [2]uint64 // messages from the first to before the second: a sync of them failed
	suspect bool      // the last segment is not to be written to: a sync of it failed
	cut     int64     // where the last segment is to be cut off before it is written to; 0: nowhere
	dirty   bool      // there is something to write or sync
	cursor  cursor
	err     error // of the last attempt to write
	trouble error // err, or what it was since Err was called
	closed  bool
	rush    bool      // nobody waits for room
	settled sync.Cond // synced or err has changed

	kick chan struct{}
}

// Open opens a queue, or makes one.
func Open(opts Options) (*Spool, Report, error) {
	if opts.Interval == 0 {
		opts.Interval = defaultPause
	}
	if opts.open == nil {
		opts.open = func(path string) (file, error) {
			return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		}
	}
	opts.MaxBytes = max(opts.MaxBytes, 2*smallSegment)
	s := &Spool{
		opts: opts, segment: segmentBytes(opts.MaxBytes),
		kick: make(chan struct{}, 1), next: 1,
	}
	s.settled.L = &s.mu
	report, err := s.recover()
	if err != nil {
		return nil, report, fmt.Errorf("queue on disk %s: %w", opts.Dir, err)
	}
	return s, report, nil
}

func segmentBytes(maxBytes int64) int64 { return min(max(maxBytes/16, smallSegment), largeSegment) }

// Append takes a message. If all before it were handed out, and keep is set, it
// counts as handed out as well, and taken says so; otherwise [Spool.Next] hands
// it out in its turn. It is on disk soon; see [Spool.Wait]. Data is copied.
func (s *Spool) Append(data []byte, at time.Time, keep bool) (seq uint64, taken bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return 0, false, ErrClosed
	case len(data) > maxRecord-messageHead:
		return 0, false, fmt.Errorf("a message of %d bytes exceeds what one on disk may have", len(data))
	case s.bytes+recordSize(len(data)) > s.opts.MaxBytes:
		return 0, false, ErrFull
	case s.err != nil && len(s.pending) > pendingBytes:
		return 0, false, s.err
	}
	seq = s.next
	s.next++
	last := s.segs[len(s.segs)-1]
	s.pending = appendMessage(s.pending, seq, at, data)
	last.size += recordSize(len(data))
	s.bytes += recordSize(len(data))
	last.add(seq)
	s.live++
	if taken = keep && s.waiting == 0; taken {
		s.cursor.seq = s.next
	} else {
		s.waiting++
	}
	s.touch()
	if long := last.size > s.segment; long || len(s.pending) > pendingBytes {
		if s.write(); long && s.err == nil {
			s.rotate()
		}
	}
	return seq, taken, nil
}

// Done says that a message need not be handed out again.
func (s *Spool) Done(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.segmentOf(seq)
	if g == nil || s.closed || !g.finish(seq) {
		return
	}
	s.live--
	if seq >= s.cursor.seq {
		s.waiting--
	}
	s.done = append(s.done, seq)
	s.touch()
}

// Wait returns when a message can no longer be lost: at once, or once it is
// synced if that was asked for. It returns the error of writing, should that
// fail meanwhile.
func (s *Spool) Wait(seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opts.Always {
		return nil
	}
	for s.opts.Always && s.synced <= seq && s.err == nil && !s.closed {
		s.settled.Wait()
	}
	switch {
	case s.synced > seq && s.doubt[0] <= seq && seq < s.doubt[1]:
		return errDoubt
	case s.synced > seq:
		return nil
	case s.err != nil:
		return s.err
	case !s.closed: // nobody is to wait any more
		return nil
	}
	return ErrClosed
}

// touch has Run write, at once if somebody may wait for it.
func (s *Spool) touch() {
	if s.dirty && !s.opts.Always {
		return
	}
	s.dirty = true
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Run writes and syncs until ctx ends; then what is left, and closes the queue.
func (s *Spool) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return s.close()
		case <-s.kick:
		}
		if s.patient() {
			pause := time.NewTimer(s.opts.Interval)
			select {
			case <-ctx.Done():
				pause.Stop()
				return s.close()
			case <-pause.C:
			}
		}
		s.flush()
	}
}

// Limit changes what the queue may grow to, and whether [Spool.Wait] waits.
func (s *Spool) Limit(maxBytes int64, always bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.MaxBytes, s.opts.Always = max(maxBytes, 2*smallSegment), always
	s.segment = segmentBytes(s.opts.MaxBytes)
	s.settled.Broadcast()
}

// Fits reports whether there will be room for a message of so many bytes once
// all others are done with: it has at most half of the bytes there may be.
func (s *Spool) Fits(size int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return recordSize(size) <= s.opts.MaxBytes/2
}

// AwaitRoom returns when there may be room for a message of so many bytes. It
// reports false, at once, if nobody is to wait or the queue is closed.
func (s *Spool) AwaitRoom(size int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.bytes+recordSize(size) > s.opts.MaxBytes && !s.rush && !s.closed {
		s.settled.Wait()
	}
	return !s.rush && !s.closed
}

// Rush says whether nobody is to wait for room any more, and lets those go on
// that do.
func (s *Spool) Rush(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rush = on
	s.settled.Broadcast()
}

// DropOldest removes the oldest segment to make room, and returns how many
// messages are lost with it: those that were not handed out. The others are
// from now on only where they were handed to. It reports false if nothing can
// be removed.
func (s *Spool) DropOldest() (lost int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, false
	}
	if len(s.segs) == 1 && s.segs[0].live > 0 {
		if s.write(); s.err == nil {
			s.rotate()
		}
	}
	if len(s.segs) < 2 {
		return 0, false
	}
	g := s.segs[0]
	if s.cursor.seq < g.end {
		before := s.waiting
		s.abandonFrom(g)
		lost = before - s.waiting
	}
	live := g.live
	n := len(s.segs)
	if s.drop(); len(s.segs) == n {
		return lost, false
	}
	s.live -= live
	return lost, true
}

// Len is the number of messages that are not done.
func (s *Spool) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live
}

// patient reports whether a flush waits for the interval.
func (s *Spool) patient() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.opts.Always || s.err != nil
}

// Waiting is the number of messages that were not handed out.
func (s *Spool) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// Bytes is the size of the queue's files.
func (s *Spool) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Err says why the last attempt to write has failed, or one since Err was called
// last; nil if none has.
func (s *Spool) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.trouble
	s.trouble = s.err
	return err
}
