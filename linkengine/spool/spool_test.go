package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// reopen opens a queue; stop ends its Run.
func open(t fataler, o Options) (s *Spool, r Report, stop func() error) {
	t.Helper()
	s, r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s, r, func() error {
		cancel()
		return <-ended
	}
}

func put(t fataler, s *Spool, n int, keep bool) (seq uint64, taken bool) {
	t.Helper()
	seq, taken, err := s.Append(binary.BigEndian.AppendUint32(nil, uint32(n)), time.UnixMilli(int64(n)), keep)
	if err != nil {
		t.Fatal(err)
	}
	return seq, taken
}

func number(t fataler, e Entry) int {
	t.Helper()
	n := int(binary.BigEndian.Uint32(e.Data))
	if e.Time.UnixMilli() != int64(n) {
		t.Fatalf("message %d has the time %v", n, e.Time)
	}
	return n
}

func all(t fataler, s *Spool) (out []Entry) {
	t.Helper()
	for {
		es, err := s.Next(1 << 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(es) == 0 {
			return out
		}
		out = append(out, es...)
	}
}

// Whatever is appended, handed out, done and opened again: what is not done
// comes, in order, and nothing else.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		o := Options{Dir: dir, MaxBytes: 128 << 10, Interval: time.Microsecond}
		s, _, stop := open(t, o)
		defer func() { stop() }()
		type message struct {
			n   int
			seq uint64
		}
		var waiting, taken []message // not handed out; handed out and not done
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 300).Draw(t, "count") {
					keep := rapid.Bool().Draw(t, "keep")
					m := message{n: n}
					seq, took, err := s.Append(binary.BigEndian.AppendUint32(nil, uint32(n)), time.UnixMilli(int64(n)), keep)
					if errors.Is(err, ErrFull) {
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					if m.seq = seq; took != (keep && len(waiting) == 0) {
						t.Fatalf("taken: %v, with %d waiting", took, len(waiting))
					}
					if took {
						taken = append(taken, m)
					} else {
						waiting = append(waiting, m)
					}
					n++
				}
			},
			"next": func(t *rapid.T) {
				es, err := s.Next(rapid.IntRange(1, 2000).Draw(t, "limit"))
				if err != nil {
					t.Fatal(err)
				}
				if len(es) == 0 && len(waiting) > 0 {
					t.Fatalf("nothing comes of %d", len(waiting))
				}
				for _, e := range es {
					if m := waiting[0]; number(t, e) != m.n || e.Seq != m.seq {
						t.Fatalf("message %d came where %d was due", number(t, e), m.n)
					}
					taken, waiting = append(taken, waiting[0]), waiting[1:]
				}
			},
			"done": func(t *rapid.T) {
				for range rapid.IntRange(0, len(taken)).Draw(t, "count") {
					i := rapid.IntRange(0, min(len(taken)-1, 20)).Draw(t, "which")
					s.Done(taken[i].seq)
					taken = slices.Delete(taken, i, i+1)
				}
			},
			"drop": func(t *rapid.T) {
				if len(waiting) > 0 {
					i := rapid.IntRange(0, len(waiting)-1).Draw(t, "which")
					s.Done(waiting[i].seq)
					waiting = slices.Delete(waiting, i, i+1)
				}
			},
			"reopen": func(t *rapid.T) {
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				var r Report
				s, r, stop = open(t, o)
				waiting, taken = append(taken, waiting...), nil
				slices.SortFunc(waiting, func(a, b message) int { return a.n - b.n })
				if r.Messages != len(waiting) || r.Torn != 0 || r.Damaged != nil {
					t.Fatalf("opened with %+v, want %d messages", r, len(waiting))
				}
			},
			"": func(t *rapid.T) {
				if s.Len() != len(waiting)+len(taken) || s.Waiting() != len(waiting) {
					t.Fatalf("%d messages, want %d waiting and %d taken", s.Len(), len(waiting), len(taken))
				}
			},
		})
	})
}

// A queue whose messages are done takes no room.
func TestRoomComesBack(t *testing.T) {
	dir := t.TempDir()
	s, _, stop := open(t, Options{Dir: dir, MaxBytes: 1 << 20, Interval: time.Microsecond})
	big := make([]byte, 1000)
	for range 20_000 {
		for {
			seq, _, err := s.Append(big, time.Now(), true)
			if errors.Is(err, ErrFull) {
				continue // until the flush
			}
			if err != nil {
				t.Fatal(err)
			}
			s.Done(seq)
			break
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if s.Bytes() > 1<<20 || s.Len() != 0 {
		t.Errorf("%d bytes for %d messages", s.Bytes(), s.Len())
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) > 16 {
		t.Errorf("%d files are left (%v)", len(files), err)
	}
}

func TestFull(t *testing.T) {
	s, _, stop := open(t, Options{Dir: t.TempDir(), MaxBytes: 128 << 10})
	defer stop()
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		_, _, err = s.Append(make([]byte, 1000), time.Now(), false)
	}
	if !errors.Is(err, ErrFull) || n < 100 || s.Bytes() > 128<<10 {
		t.Fatalf("after %d messages and %d bytes: %v", n, s.Bytes(), err)
	}
	if got := len(all(t, s)); got != n-1 {
		t.Errorf("%d messages come, want %d", got, n-1)
	}
}

// The oldest go to make room; what was handed out is not lost.
func TestDropOldest(t *testing.T) {
	s, _, stop := open(t, Options{Dir: t.TempDir(), MaxBytes: 1 << 20, Interval: time.Microsecond})
	defer stop()
	room := func() (lost int) {
		for {
			_, _, err := s.Append(binary.BigEndian.AppendUint32(nil, 0), time.UnixMilli(0), false)
			if err == nil {
				return lost
			}
			n, ok := s.DropOldest()
			if !errors.Is(err, ErrFull) || !ok {
				t.Fatal(err, ok)
			}
			lost += n
		}
	}
	total := 0
	for lost := 0; lost == 0; total++ {
		lost = room()
		if s.Waiting() != total+1-lost {
			t.Fatalf("%d wait of %d, %d lost", s.Waiting(), total+1, lost)
		}
	}
	before := s.Waiting()
	es, err := s.Next(1 << 10)
	if err != nil || len(es) == 0 {
		t.Fatal(len(es), err)
	}
	lost, ok := s.DropOldest()
	if !ok || lost == 0 || s.Waiting() != before-len(es)-lost || s.Len() != s.Waiting() {
		t.Fatalf("%d handed out, %d lost, %d of %d wait, %d live", len(es), lost, s.Waiting(), before, s.Len())
	}
	if got := len(all(t, s)); got != before-len(es)-lost {
		t.Errorf("%d come", got)
	}
}

func TestAwaitRoom(t *testing.T) {
	s, _, stop := open(t, Options{Dir: t.TempDir(), MaxBytes: 128 << 10, Interval: time.Microsecond})
	defer stop()
	var seqs []uint64
	for {
		seq, _, err := s.Append(make([]byte, 1000), time.Now(), true)
		if err != nil {
			break
		}
		seqs = append(seqs, seq)
	}
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		if !s.AwaitRoom(1000) {
			t.Error("no room")
		}
	}()
	for _, seq := range seqs {
		s.Done(seq)
	}
	<-waited
	s.Limit(1, false)
	waited = make(chan struct{})
	go func() {
		defer close(waited)
		if s.AwaitRoom(1 << 20) {
			t.Error("there is room for more than there may be")
		}
	}()
	s.Rush(true)
	<-waited
	if s.AwaitRoom(1 << 20) { // comes too late to be let go
		t.Error("it is waited for room while nobody is to wait")
	}
}

// Cut anywhere, a queue gives what is whole before the cut.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	s, _, stop := open(t, Options{Dir: dir})
	for i := range 5 {
		put(t, s, i, false)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, segmentName(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, segmentName(1)), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s, r, stop := open(t, Options{Dir: dir})
		want := max(0, cut-len(magic)) / int(recordSize(4))
		torn := 0
		if cut < len(magic) || (cut-len(magic))%int(recordSize(4)) != 0 {
			torn = 1
		}
		if r.Messages != want || r.Torn != torn || len(r.Damaged) != 0 {
			t.Errorf("cut at %d: %+v, want %d messages", cut, r, want)
		}
		put(t, s, 77, false)
		if got := all(t, s); len(got) != want+1 || number(t, got[want]) != 77 {
			t.Errorf("cut at %d: %d messages come, want %d and one more", cut, len(got), want)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if _, r, stop := open(t, Options{Dir: dir}); r.Messages != want+1 || r.Torn != 0 {
			t.Errorf("cut at %d: opened again %+v", cut, r)
		} else if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// A segment with damage in its middle gives what comes before, and is kept.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s, _, stop := open(t, Options{Dir: dir})
	for i := range 5 {
		put(t, s, i, false)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, segmentName(1))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(magic)+2*int(recordSize(4))+recordHead+messageHead] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, r, stop := open(t, Options{Dir: dir})
	defer stop()
	if r.Messages != 2 || len(r.Damaged) != 1 || r.Torn != 0 {
		t.Fatalf("%+v", r)
	}
	if kept, err := os.ReadFile(r.Damaged[0]); err != nil || !slices.Equal(kept, b) {
		t.Errorf("the damaged segment is not kept: %v", err)
	}
	if got := all(t, s); len(got) != 2 {
		t.Errorf("%d messages come, want 2", len(got))
	}
}

// A broken file is one that fails while it is told to.
type brokenFile struct {
	*os.File
	fails func() bool
}

func (f brokenFile) Write(p []byte) (int, error) {
	if f.fails() {
		n, _ := f.File.Write(p[:len(p)/2]) // as on a disk that runs full
		return n, errors.New("no space left")
	}
	return f.File.Write(p)
}

func TestDiskRunsFull(t *testing.T) {
	var mu sync.Mutex
	full := true
	dir := t.TempDir()
	o := Options{Dir: dir, Interval: time.Microsecond, MaxBytes: 64 << 20}
	o.open = func(path string) (file, error) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		fails := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return full && fileSize(f) > 0
		}
		return brokenFile{f, fails}, err
	}
	s, _, stop := open(t, o)
	n, stored := 0, 0
	for ; n < 5000; n++ {
		if _, _, err := s.Append(append(binary.BigEndian.AppendUint32(nil, uint32(stored)), make([]byte, 1000)...), time.UnixMilli(int64(stored)), true); err != nil {
			break
		}
		stored++
	}
	if n == 5000 || s.Err() == nil {
		t.Fatalf("%d messages are taken while none can be written: %v", n, s.Err())
	}
	mu.Lock()
	full = false
	mu.Unlock()
	deadline := time.Now().Add(time.Minute)
	for s.Err() != nil && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if s.Err() != nil {
		t.Fatal("it does not go on when there is room:", s.Err())
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	o.open = nil
	s, r, stop := open(t, o)
	defer stop()
	if r.Messages != stored || r.Torn != 0 || len(r.Damaged) != 0 {
		t.Fatalf("%+v, want %d messages", r, stored)
	}
	for i, e := range all(t, s) {
		if number(t, e) != i {
			t.Fatalf("message %d came where %d was due", number(t, e), i)
		}
	}
}

func fileSize(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

func TestAlwaysWaitsForTheSync(t *testing.T) {
	var mu sync.Mutex
	synced := map[string]int64{}
	o := Options{Dir: t.TempDir(), Always: true}
	o.open = func(path string) (file, error) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		return syncedFile{f, func() {
			mu.Lock()
			defer mu.Unlock()
			synced[path] = fileSize(f)
		}}, err
	}
	s, _, stop := open(t, o)
	defer stop()
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for i := range 50 {
				seq, _ := put(t, s, i, true)
				if err := s.Wait(seq); err != nil {
					t.Error(err)
				}
				mu.Lock()
				got := synced[filepath.Join(s.opts.Dir, segmentName(1))]
				mu.Unlock()
				if least := int64(len(magic)) + int64(seq)*recordSize(4); got < least {
					t.Errorf("message %d: %d bytes are synced, want %d", seq, got, least)
				}
			}
		})
	}
	writers.Wait()
}

// Who waits for the sync is let go, and told of no trouble, when it is not to
// be waited for any more.
func TestSyncIsNotAwaitedAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, err := Open(Options{Dir: t.TempDir(), Always: true}) // nothing is written before it runs
		if err != nil {
			t.Fatal(err)
		}
		seq, _ := put(t, s, 1, true)
		waited := make(chan error, 1)
		go func() { waited <- s.Wait(seq) }()
		synctest.Wait()
		s.Limit(s.opts.MaxBytes, false)
		if err := <-waited; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

type syncedFile struct {
	*os.File
	noted func()
}

func (f syncedFile) Sync() error {
	err := f.File.Sync()
	f.noted()
	return err
}

func TestCannotOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(Options{Dir: path}); err == nil {
		t.Error("a file is opened as a directory")
	}
}

// Whatever is in its files, a queue opens, takes a message and gives it back.
func FuzzOpen(f *testing.F) {
	good := appendDone(appendMessage([]byte(magic), 1, time.UnixMilli(5), []byte("x")), []uint64{1, 9})
	f.Add(good, []byte(magic))
	f.Add(append(slices.Clone(good), good...), good[:len(good)-3])
	f.Fuzz(func(t *testing.T, a, b []byte) {
		dir := t.TempDir()
		for i, data := range [][]byte{a, b} {
			if err := os.WriteFile(filepath.Join(dir, segmentName(uint64(1+i*100))), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, r, stop := open(t, Options{Dir: dir})
		put(t, s, 7, false)
		got := all(t, s)
		if len(got) != r.Messages+1 || number(t, got[len(got)-1]) != 7 {
			t.Fatalf("%d messages come, want %d and ours", len(got), r.Messages)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		_, again, stop := open(t, Options{Dir: dir})
		defer stop()
		if again.Messages != r.Messages+1 || again.Torn != 0 || len(again.Damaged) != 0 {
			t.Fatalf("first %+v, then %+v", r, again)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, _, stop := open(b, Options{Dir: b.TempDir(), MaxBytes: 1 << 30})
			defer stop()
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for {
					seq, _, err := s.Append(data, time.Now(), true)
					if err == nil {
						s.Done(seq)
						break
					}
				}
			}
		})
	}
}
