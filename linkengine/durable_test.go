package linkengine_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"clink/broker"
	"clink/linkengine/forwarder"
	"clink/topology"
)

// durable is a link whose queue is on disk.
func durable(l topology.Link) topology.Link {
	l.Queue = topology.Queue{Sync: "interval"}
	return l
}

func diskOf(dir, peer string) string { return filepath.Join(dir, "spool", "to-"+peer) }

// publishRange publishes numbers at s as several clients do, each in order.
func publishRange(t testing.TB, s *site, from, to int, payload func(i int) []byte) {
	t.Helper()
	for i := from; i < to; i++ {
		m := broker.Message{Topic: fmt.Sprint("t/", i%3), QoS: 1, ClientID: fmt.Sprint("pub", i%3), Payload: payload(i)}
		if err := s.node.Publish(m); err != nil {
			t.Fatal(err)
		}
	}
}

func short(i int) []byte { return []byte(strconv.Itoa(i)) }

// expectRange reads numbers from d, those of one topic in order, each once, or
// if repeats may come at least once.
func expectRange(t testing.TB, d *device, from, to int, repeats bool) {
	t.Helper()
	last := map[string]int{}
	seen := map[int]bool{}
	for len(seen) < to-from {
		p := d.next(t)
		digits, _, _ := cut(p.Payload)
		i, err := strconv.Atoi(digits)
		if err != nil || i < from || i >= to {
			t.Fatalf("message %q came (%v)", digits, err)
		}
		if seen[i] && !repeats {
			t.Fatalf("message %d came twice", i)
		}
		if prev, ok := last[p.Topic]; ok && i < prev && !seen[i] {
			t.Fatalf("message %d of %s came after %d", i, p.Topic, prev)
		}
		last[p.Topic] = max(i, last[p.Topic])
		seen[i] = true
	}
}

func cut(b []byte) (digits, rest string, ok bool) {
	for i, c := range b {
		if c == ' ' {
			return string(b[:i]), string(b[i:]), true
		}
	}
	return string(b), "", false
}

// A severed pair is two sites, a with a queue on disk, that cannot meet until
// mend; b has a subscriber to t/#.
type severed struct {
	a, b     *site
	dir      string
	toA, toB *proxy
	link     topology.Link // of a
	sub      *device
}

func sever(t testing.TB, change func(l *topology.Link)) *severed {
	t.Helper()
	p := &severed{dir: t.TempDir()}
	p.a, p.b = begin(t, "a", []string{"b"}, keepIn(p.dir)), begin(t, "b", []string{"a"})
	p.toA, p.toB = newProxy(t, p.a.addr), newProxy(t, p.b.addr)
	p.link = durable(linkTo("b", p.toB.addr, "t/#"))
	change(&p.link)
	p.a.put(t, p.link)
	p.b.put(t, linkTo("a", p.toA.addr, "t/#"))
	p.a.online(t, "b")
	p.b.online(t, "a")
	p.sub = connect(t, p.b, "sub")
	p.sub.sub(t, "t/#")
	p.a.routes(t, "b", 1)
	publishRange(t, p.a, 0, 100, short)
	expectRange(t, p.sub, 0, 100, false)
	eventually(t, "all is acknowledged, and nothing comes again", func() bool { return p.a.status(t, "b").Metrics.Inflight == 0 })
	p.toA.cut()
	p.toB.cut()
	eventually(t, "both see the cut", func() bool {
		return p.a.status(t, "b").State == topology.Disconnected && p.b.status(t, "a").State == topology.Disconnected
	})
	return p
}

func (p *severed) mend() {
	p.toA.mend(p.a.addr)
	p.toB.mend("")
}

// What waits for a peer that is away outlives the process, whether that ends
// cleanly or is killed.
func TestQueueOnDiskOutlivesTheProcess(t *testing.T) {
	for _, end := range []string{"stopped", "killed"} {
		t.Run(end, func(t *testing.T) {
			p := sever(t, func(*topology.Link) {})
			many := 2000
			publishRange(t, p.a, 100, many, short)
			if end == "killed" { // what the files are at this moment, is what a killed process leaves
				sure := p.link
				sure.Queue.Sync = "always"
				p.a.put(t, sure)
				publishRange(t, p.a, many, many+1, short) // returns when it is on disk, and so is all before it
				many++
				p.dir = asKilled(t, p.dir, "t/#")
			}
			p.a.stop()
			p.a = begin(t, "a", []string{"b"}, keepIn(p.dir))
			p.a.put(t, p.link)
			publishRange(t, p.a, many, many+1, short) // whose route is that of the run before
			p.mend()
			expectRange(t, p.sub, 100, many+1, false)
			p.a.routes(t, "b", 1)
			publishRange(t, p.a, many+1, many+100, short)
			expectRange(t, p.sub, many+1, many+100, false)
			eventually(t, "the queue is empty", func() bool {
				m := p.a.status(t, "b").Metrics
				return m.Queuing == 0 && m.Inflight == 0 && m.QueueBytes == 0
			})
		})
	}
}

// More may wait than memory is to hold, and it comes in order.
func TestQueueOnDiskIsLongerThanMemory(t *testing.T) {
	p := sever(t, func(l *topology.Link) { l.PoolSize = 1 }) // whose lane holds 16 MiB in memory
	const many = 400
	publishRange(t, p.a, 0, many, func(i int) []byte { return append([]byte(strconv.Itoa(i)+" "), make([]byte, 64<<10)...) })
	if m := p.a.status(t, "b").Metrics; m.Queuing != many || m.QueueBytes < many*64<<10 {
		t.Fatalf("%+v", m)
	}
	p.mend()
	expectRange(t, p.sub, 0, many, false)
}

func TestFullQueueOnDisk(t *testing.T) {
	const many = 1000
	large := func(i int) []byte { return append([]byte(strconv.Itoa(i)+" "), make([]byte, 10_000)...) }
	for _, when := range []string{forwarder.DropOldest, forwarder.DropNew, forwarder.Block} {
		t.Run(when, func(t *testing.T) {
			p := sever(t, func(l *topology.Link) {
				l.Queue.WhenFull, l.Queue.MaxBytes = when, topology.Size{Bytes: 2 << 20}
			})
			if when == forwarder.Block {
				published := make(chan struct{})
				go func() {
					defer close(published)
					publishRange(t, p.a, 0, many, large)
				}()
				eventually(t, "it is full", func() bool { return p.a.status(t, "b").Metrics.QueueBytes > 2<<20-20_000 })
				select {
				case <-published:
					t.Error("the publisher did not wait")
				default:
				}
				p.mend()
				expectRange(t, p.sub, 0, many, false)
				<-published
				return
			}
			publishRange(t, p.a, 0, many, large)
			m := p.a.status(t, "b").Metrics
			again := int(m.Retried) // what was on its way when the cut came
			lost := int(m.DroppedBy["queue-full"])
			if m.QueueBytes > 3<<20 || lost == 0 || lost+int(m.Queuing) < many || lost+int(m.Queuing) > many+again {
				t.Errorf("%+v", m)
			}
			p.mend()
			extreme := map[string]int{forwarder.DropNew: 0, forwarder.DropOldest: many - 1}[when]
			for n := -1; n != extreme; {
				digits, _, _ := cut(p.sub.next(t).Payload)
				n, _ = strconv.Atoi(digits)
			}
		})
	}
}

// A link that is disabled or removed leaves nothing on disk.
func TestQueueOnDiskGoesWithItsLink(t *testing.T) {
	for _, how := range []string{"disabled", "removed"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			a, b := begin(t, "a", []string{"b"}, keepIn(dir)), begin(t, "b", []string{"a"})
			l := durable(linkTo("b", b.addr, "t/#"))
			a.put(t, l)
			eventually(t, "it is there", func() bool {
				_, err := os.Stat(diskOf(dir, "b"))
				return err == nil
			})
			if how == "removed" {
				a.remove(t, "b")
			} else {
				l.Enable = false
				a.put(t, l)
			}
			if _, err := os.Stat(diskOf(dir, "b")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
		})
	}
}

// Without a place for its queue a link works as if it had asked for none.
func TestQueueOnDiskCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "spool"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log buffer
	a, b := begin(t, "a", []string{"b"}, keepIn(dir), logTo(&log)), begin(t, "b", []string{"a"})
	a.put(t, durable(linkTo("b", b.addr, "t/#")))
	b.put(t, linkTo("a", a.addr, "t/#"))
	a.online(t, "b")
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	publishRange(t, a, 0, 10, short)
	expectRange(t, sub, 0, 10, false)
	if a.status(t, "b").Metrics.DroppedBy["not-stored"] == 0 {
		t.Errorf("nothing says so:\n%s", &log)
	}
}

// A link that went while nothing ran leaves its queue behind; one that is there,
// or is to come, keeps its own, as does what is no queue.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"to-gone", "to-b", "to-c%2Fd", "notes"} {
		if err := os.MkdirAll(filepath.Join(dir, "spool", name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "spool", name, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := begin(t, "a", []string{"b"}, keepIn(dir))
	a.put(t, durable(linkTo("b", a.addr, "t/#")))
	if err := a.engine.Sweep([]topology.Link{{Name: "c/d"}}); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "notes to-b to-c%2Fd" {
		t.Errorf("%s are left", got)
	}
}
