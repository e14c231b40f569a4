package broker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// storeRetry is how long nodes of these tests wait before they try to get their
// store back.
const storeRetry = 20 * time.Millisecond

// A logBook is a log that can be read while it is written.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

const downText = "the store cannot be used"

// What cannot be written at first: a file is where the directory should be. It
// is the same for root, whom no permission stops.
func TestStoreCannotBeMade(t *testing.T) {
	book := &logBook{}
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{storeRetry: storeRetry, Store: dir, Log: slog.New(slog.NewTextHandler(book, nil))}
	n, end := onceWith(t, o)
	s := connect(t, n, "sub", keepSession(3600))
	s.sub(t, "a")
	p := connect(t, n, "pub", keepSession(3600))
	p.pub(t, &paho.Publish{Topic: "a", QoS: 1, Retain: true, Payload: []byte("1")})
	s.next(t)
	eventually(t, "its acknowledgement came", func() bool { return n.connected("sub").cl.State.Inflight.Len() == 0 })
	s.drop(t, n, "sub")
	p.pub(t, &paho.Publish{Topic: "a", QoS: 2, Payload: []byte("2")})
	if st := n.Stats(); st.StoreUp || st.StoreError == "" {
		t.Errorf("without a store: %+v", st)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store is in use", func() bool { return n.Stats().StoreUp && book.count("the store is in use again") == 1 })
	if n.Stats().StoreError != "" || book.count(downText) != 1 {
		t.Errorf("the store's reason is %q, and was told %d times", n.Stats().StoreError, book.count(downText))
	}
	p.pub(t, &paho.Publish{Topic: "a", QoS: 1, Payload: []byte("3")})
	end()

	n, _ = onceWith(t, o)
	s = connect(t, n, "sub", keepSession(3600))
	if a, b := s.next(t), s.next(t); string(a.Payload) != "2" || string(b.Payload) != "3" {
		t.Errorf("came %q and %q", a.Payload, b.Payload)
	}
	r := connect(t, n, "reader")
	r.sub(t, "a")
	if m := r.next(t); string(m.Payload) != "1" || !m.Retain {
		t.Errorf("retained: %+v", m)
	}
}

// A full disk takes nothing more; when there is room again, all is stored.
func TestStoreOnFullDisk(t *testing.T) {
	disk := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("no file system of its own for the test: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", disk).Run() })
	book := &logBook{}
	o := Options{storeRetry: storeRetry, Store: filepath.Join(disk, "store"), Log: slog.New(slog.NewTextHandler(book, nil))}
	n, end := onceWith(t, o)
	connect(t, n, "sub", keepSession(3600)).sub(t, "a")
	p := connect(t, n, "pub")
	filler := filepath.Join(disk, "filler")
	fillDisk(t, filler)
	sent := 0
	for ; sent < 200 && n.Stats().StoreUp; sent++ {
		p.pub(t, &paho.Publish{Topic: "a", QoS: 1, Retain: true, Payload: append(fmt.Appendf(nil, "%d ", sent), make([]byte, 8<<10)...)})
	}
	if n.Stats().StoreUp {
		t.Fatal("the disk does not get full")
	}
	eventually(t, "the log says so", func() bool { return book.count(downText) == 1 })
	p.pub(t, &paho.Publish{Topic: "a", QoS: 1, Retain: true, Payload: []byte("while it was full")})
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store is in use", func() bool { return n.Stats().StoreUp && n.Stats().StoreError == "" })
	end()
	n, _ = onceWith(t, o)
	r := connect(t, n, "reader")
	r.sub(t, "a")
	if m := r.next(t); string(m.Payload) != "while it was full" {
		t.Errorf("retained: %.40q", m.Payload)
	}
}

func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
}

// A clock that is set back does not end sessions, and does not keep them for
// longer than they were to live.
func TestStoreClockSetBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	n, end := once(t, dir)
	connect(t, n, "sub", keepSession(100)).drop(t, n, "sub")
	st := n.keeper.store.Load()
	n.mu.Lock()
	s := n.idle["sub"]
	future := s.until.Add(time.Hour - s.c.expiry).UnixMilli()
	st.PutSession(s.c.record(future, nil, 0)) // as if the clock had been an hour ahead
	n.mu.Unlock()
	end()
	n, _ = once(t, dir)
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.idle["sub"]; s == nil || time.Until(s.until) > 100*time.Second || time.Until(s.until) < time.Second {
		t.Errorf("the session is %+v", s)
	}
}

// A delayed will, and the will of a client whose connection ended with the
// process, are published by the next one.
func TestStoreKeepsWills(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := filepath.Join(t.TempDir(), "store")
	n, end := once(t, dir)
	w := connect(t, n, "watcher", keepSession(3600))
	w.sub(t, "will/#")
	w.drop(t, n, "watcher") // whichever node publishes it, it is kept for the next connection
	connect(t, n, "late", delayedWill("will/late", 1), keepSession(3600)).drop(t, n, "late")
	end()
	n, _ = once(t, dir)
	w = connect(t, n, "watcher", keepSession(3600))
	if m := w.next(t); m.Topic != "will/late" {
		t.Errorf("came %s", m.Topic)
	}
}

// A will whose time comes before anybody knows whether its client may publish
// it waits for that: until the first configuration, and while the credential of
// the client cannot be read.
func TestRestoredWillWaitsForAccess(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := filepath.Join(t.TempDir(), "store")
	password := filepath.Join(t.TempDir(), "password")
	cfg := anyone()
	cfg.Access = topology.Access{Users: []topology.User{{Name: "u", Password: ref(t, "file://"+password)}, {Name: "w", Password: ref(t, "x")}}}
	write := func() {
		if err := os.WriteFile(password, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	apply := func(n *Node, fails bool) {
		t.Helper()
		if err := n.Apply(context.Background(), cfg); (err != nil) != fails {
			t.Fatal(err)
		}
	}
	write()
	n, end := once(t, dir)
	apply(n, false)
	connect(t, n, "late", withUser("u", "secret"), delayedWill("will/late", 1), keepSession(3600)).drop(t, n, "late")
	w := connect(t, n, "watcher", withUser("w", "x"), keepSession(3600))
	w.sub(t, "will/#")
	w.drop(t, n, "watcher")
	end()

	if err := os.Remove(password); err != nil {
		t.Fatal(err)
	}
	n, err := New(Options{Store: dir, StopTimeout: patience / 2})
	if err != nil {
		t.Fatal(err)
	}
	run(t, n)
	passed(t, 3) // the node looks each second
	apply(n, true)
	passed(t, 2)
	write()
	apply(n, false)
	w = connect(t, n, "watcher", withUser("w", "x"), keepSession(3600))
	if m := w.next(t); m.Topic != "will/late" {
		t.Errorf("came %s", m.Topic)
	}
}

// Sessions of users who may no longer be here are gone after a restart; those
// of users whose credential cannot be read are not.
func TestStoreAndAccess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	n, end := once(t, dir)
	connect(t, n, "sub", keepSession(3600)).drop(t, n, "sub")
	end()
	n, _ = once(t, dir)
	cfg := anyone()
	cfg.Access.Anonymous = false
	if err := n.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	if got := n.Stats().Sessions; got != 0 {
		t.Errorf("%d sessions", got)
	}
}
