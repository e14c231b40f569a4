package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// Options are a store's properties. A zero value means the default.
type Options struct {
	Log        *slog.Logger  // default: nothing is logged
	Always     bool          // synchronise each batch
	Interval   time.Duration // between synchronisations; 100 ms
	Checkpoint time.Duration // between moves into the base; 1 s
	MaxBytes   int64         // of all records; 4 GiB
}

func (o *Options) fill() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Interval <= 0 {
		o.Interval = 100 * time.Millisecond
	}
	if o.Checkpoint <= 0 {
		o.Checkpoint = time.Second
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 4 << 30
	}
}

// ErrLocked says that another process uses the store.
var ErrLocked = errors.New("another process uses this store")

// A Store is open. Its methods may be called from many goroutines. Once it has
// failed it takes changes and forgets them.
type Store struct {
	opts Options
	root string
	gen  generation
	db   *bbolt.DB
	lock *bbolt.DB // held for the root

	gate sync.RWMutex // see Hold

	mu         sync.Mutex
	sessions   map[string]*session
	bodies     map[int64]*body
	retained   map[string]*item
	clock      *item
	lastNumber uint64
	live       int64 // bytes of all records
	batch      *Batch
	writing    *Batch // being written; nil: none
	delta      []*item
	deltaBytes int64 // of what the base is to get
	deltaDead  int   // items that it will not get, for they are deleted

	ops     atomic.Int64 // see Ops
	busy    atomic.Int64 // batches that are not written and not empty
	count   atomic.Int64 // sessions
	refused atomic.Uint64
	swollen atomic.Bool
	wake    chan struct{}
	stop    chan struct{}
	wg      sync.WaitGroup
	started bool

	moving  sync.Mutex // held while a checkpoint is being made
	logs    sync.Mutex // the log
	log     *logFile
	logGen  uint64
	unsaved bool // the log has something that was not synchronised

	failed chan struct{}
	once   sync.Once
	err    error // set before failed is closed
}

// A Batch is a number of changes that are written together.
type Batch struct {
	items []*item
	bytes int
	done  chan struct{}
}

func newBatch() *Batch { return &Batch{done: make(chan struct{})} }

// Done is closed when the batch was written, or the store has failed.
func (b *Batch) Done() <-chan struct{} { return b.done }

// Ops counts what was put. Whoever has seen it unchanged from one moment to
// another knows that nothing was put in between.
func (s *Store) Ops() int64 { return s.ops.Load() }

// Sessions returns the number of stored sessions.
func (s *Store) Sessions() int64 { return s.count.Load() }

// Refused returns how many puts were refused because of Options.MaxBytes. What
// was refused is not there after a restart.
func (s *Store) Refused() uint64 { return s.refused.Load() }

// Pending returns the batch after which everything that was changed so far is
// written, nil if it is already.
func (s *Store) Pending() *Batch {
	if s.busy.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.batch.items) > 0 {
		return s.batch
	}
	return s.writing
}

// Wait returns when everything that was changed so far is written, the store
// has failed, or cancel is closed.
func (s *Store) Wait(cancel <-chan struct{}) {
	if b := s.Pending(); b != nil {
		select {
		case <-b.done:
		case <-cancel:
		}
	}
}

// Admit waits while too much is waiting to be written. It must not be called
// between Hold and Free.
func (s *Store) Admit(cancel <-chan struct{}) {
	for s.swollen.Load() {
		t := time.NewTimer(time.Millisecond)
		select {
		case <-t.C:
		case <-cancel:
			t.Stop()
			return
		case <-s.failed:
			t.Stop()
			return
		}
	}
}

// Swollen reports whether Admit would wait.
func (s *Store) Swollen() bool { return s.swollen.Load() }

// Hold keeps what is changed until Free in one batch: all of it is written, or
// nothing. In between nothing may wait.
func (s *Store) Hold() { s.gate.RLock() }

// Free ends Hold.
func (s *Store) Free() { s.gate.RUnlock() }

// Failed is closed when the store can no longer be written; Err says why.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err is the error with which the store failed, nil if it has not.
func (s *Store) Err() error {
	select {
	case <-s.failed:
		return s.err
	default:
		return nil
	}
}

// fail ends the use of the store and lets everybody go who waits for it.
func (s *Store) fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.failed)
		s.swollen.Store(false)
	})
}

// Bytes returns the size of the store's files.
func (s *Store) Bytes() int64 {
	var n int64
	files, _ := os.ReadDir(s.gen.dir)
	for _, f := range files {
		if i, err := f.Info(); err == nil {
			n += i.Size()
		}
	}
	return n
}

// Start begins writing. What was changed before is written first.
func (s *Store) Start() {
	s.started = true
	s.wg.Add(2)
	go func() { defer s.wg.Done(); s.commit() }()
	go func() { defer s.wg.Done(); s.synchronise() }()
}

// Close writes what is left and closes the store.
func (s *Store) Close() error {
	close(s.stop)
	s.wg.Wait()
	if s.started && s.Err() == nil {
		s.write()
		s.checkpoint()
		s.wg.Wait()
	}
	s.fail(errors.New("store is closed"))
	s.write() // lets those go who came meanwhile
	err := s.db.Close()
	if s.log != nil {
		err = errors.Join(err, s.log.f.Close())
	}
	return errors.Join(err, s.lock.Close())
}

func newStore(root string, o Options) *Store {
	return &Store{
		opts: o, root: root, batch: newBatch(),
		sessions: make(map[string]*session), bodies: make(map[int64]*body), retained: make(map[string]*item),
		clock: &item{key: key(kindClock)},
		wake:  make(chan struct{}, 1), stop: make(chan struct{}), failed: make(chan struct{}),
	}
}

// takeLock makes this process the only one that uses a root. The lock is a
// database of its own, because its lock works on all systems. It holds nothing
// else, so a damaged one is emptied and taken; not removed, since another
// process may be about to lock the same file.
func takeLock(root string) (*bbolt.DB, error) {
	path := filepath.Join(root, "lock")
	db, err := openLock(path)
	var system *fs.PathError
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s: %w", root, ErrLocked)
	case errors.As(err, &system):
		return nil, err
	}
	if err := os.Truncate(path, 0); err != nil {
		return nil, fmt.Errorf("the lock is damaged and could not be emptied: %w", err)
	}
	db, err = openLock(path)
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", root, ErrLocked)
	}
	return db, err
}

// openLock opens the lock's file. What damage makes bbolt do, panics and faults
// of its mapping included, is an error, and leaves the file unlocked.
func openLock(path string) (db *bbolt.DB, err error) {
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(fmt.Errorf("%s: %v", path, p), unlock(file), file.Close())
		}
	}()
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: 500 * time.Millisecond, NoSync: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
}
