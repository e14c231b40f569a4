package spool

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A failing disk has files whose every call may fail. What a failed sync has not
// kept is gone, as it may be in the system's cache; what a failed write has
// written of its part is there.
type failingDisk struct {
	mu    sync.Mutex
	fails map[string]bool
}

func (d *failingDisk) set(call string, fails bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails[call] = fails
}

func (d *failingDisk) failing(call string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fails[call] {
		return errors.New(call + " fails")
	}
	return nil
}

func (d *failingDisk) open(path string) (file, error) {
	if err := d.failing("open"); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return &failingFile{File: f, disk: d}, err
}

type failingFile struct {
	*os.File
	disk *failingDisk
	kept int64
}

func (f *failingFile) Write(p []byte) (int, error) {
	if err := f.disk.failing("write"); err != nil && fileSize(f.File) > 0 {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *failingFile) Truncate(size int64) error {
	if err := f.disk.failing("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *failingFile) Sync() error {
	size := fileSize(f.File)
	if err := f.disk.failing("sync"); err != nil {
		f.File.Truncate(max(f.kept, int64(len(magic))))
		return err
	}
	f.kept = size
	return f.File.Sync()
}

// Whatever fails, and whenever it is well again: each message for which Wait
// has returned nil is there when the queue is opened again, and every message
// that is appended once all is well.
func TestKeepsWhatItSaysItKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		disk := &failingDisk{fails: make(map[string]bool)}
		o := Options{Dir: dir, Interval: time.Microsecond, MaxBytes: 16 << 20, Always: true, open: disk.open}
		s, _, stop := open(t, o)
		sure := map[int]bool{}
		n := 0
		add := func() error {
			seq, _, err := s.Append(binary.BigEndian.AppendUint32(nil, uint32(n)), time.UnixMilli(int64(n)), true)
			if err == nil {
				err = s.Wait(seq)
			}
			sure[n] = err == nil
			n++
			return err
		}
		for range rapid.IntRange(1, 8).Draw(t, "spells") {
			for _, call := range []string{"write", "truncate", "sync", "open"} {
				disk.set(call, rapid.Bool().Draw(t, call))
			}
			for range rapid.IntRange(1, 4).Draw(t, "messages") {
				add()
			}
		}
		for _, call := range []string{"write", "truncate", "sync", "open"} {
			disk.set(call, false)
		}
		for end := time.Now().Add(time.Minute); add() != nil; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(end) {
				t.Fatal("it does not recover")
			}
		}
		if err := add(); err != nil {
			t.Fatal("a message after all is well:", err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		o.open = nil
		s, _, stop = open(t, o)
		defer stop()
		last := -1
		for _, e := range all(t, s) {
			i := number(t, e)
			if i <= last {
				t.Fatalf("message %d comes after %d", i, last)
			}
			last = i
			delete(sure, i)
		}
		for i, promised := range sure {
			if promised {
				t.Fatalf("message %d of %d was said to be kept and is gone", i, n)
			}
		}
	})
}

// A sync that fails is told of once it is over, too.
func TestTroubleIsToldAfterwards(t *testing.T) {
	disk := &failingDisk{fails: map[string]bool{}}
	s, _, stop := open(t, Options{Dir: t.TempDir(), Always: true, open: disk.open})
	defer stop()
	disk.set("sync", true)
	seq, _ := put(t, s, 1, true)
	if err := s.Wait(seq); err == nil {
		t.Error("what was not synced is said to be")
	}
	disk.set("sync", false)
	for seq, _ = put(t, s, 2, true); s.Wait(seq) != nil; seq, _ = put(t, s, 2, true) {
	}
	if s.Err() == nil {
		t.Error("nobody is told of what happened")
	}
	if err := s.Err(); err != nil {
		t.Error("told twice:", err)
	}
}
