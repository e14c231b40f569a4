package linkengine_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"clink/broker"
	"clink/linkengine/forwarder"
	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

func gone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// Publishers that wait for room on disk do not hold up the end.
func TestBlockedPublishersDoNotHoldUpTheStop(t *testing.T) {
	p := sever(t, func(l *topology.Link) {
		l.Queue.WhenFull, l.Queue.MaxBytes = forwarder.Block, topology.Size{Bytes: 1 << 20}
	})
	var running sync.WaitGroup
	ctx, end := context.WithCancel(t.Context())
	defer end()
	for i := range 4 {
		d := connect(t, p.a, "pub"+string(rune('0'+i)))
		running.Go(func() {
			for {
				if _, err := d.Publish(ctx, &paho.Publish{Topic: "t/0", QoS: 1, Payload: make([]byte, 10_000)}); err != nil {
					return
				}
			}
		})
	}
	eventually(t, "it is full", func() bool { return p.a.status(t, "b").Metrics.QueueBytes > 1<<20-20_000 })
	began := time.Now()
	p.a.stop() // fails the test if connections do not end
	if took := time.Since(began); took > stopTimeout/3 {
		t.Errorf("the stop took %v", took)
	}
	end()
	running.Wait()
}

// A message that is larger than half of the queue is dropped by itself.
func TestMessageThatNeverFitsTheDisk(t *testing.T) {
	for _, when := range []string{forwarder.DropOldest, forwarder.DropNew, forwarder.Block} {
		t.Run(when, func(t *testing.T) {
			p := sever(t, func(l *topology.Link) {
				l.Queue.WhenFull, l.Queue.MaxBytes = when, topology.Size{Bytes: 128 << 10}
			})
			publishRange(t, p.a, 0, 50, short)
			if err := p.a.node.Publish(broker.Message{Topic: "t/0", QoS: 1, Payload: make([]byte, 200_000)}); err != nil {
				t.Fatal(err)
			}
			publishRange(t, p.a, 50, 100, short)
			if n := p.a.status(t, "b").Metrics.DroppedBy["queue-full"]; n != 1 {
				t.Errorf("%d dropped", n)
			}
			p.mend()
			expectRange(t, p.sub, 0, 100, false)
		})
	}
}

// A link that was made ready to go leaves nothing on disk either, and what
// waited there is counted.
func TestQueueOnDiskGoesWithAPreparedLink(t *testing.T) {
	for _, how := range []string{"disabled", "removed"} {
		t.Run(how, func(t *testing.T) {
			p := sever(t, func(*topology.Link) {})
			publishRange(t, p.a, 0, 50, short)
			off := p.link
			off.Enable = false
			if how == "removed" {
				p.a.prepare(t, topology.Delete, p.link)
				p.a.remove(t, "b")
			} else {
				p.a.prepare(t, topology.Update, off)
				p.a.put(t, off)
				if n := p.a.status(t, "b").Metrics.DroppedBy["stopped"]; n < 50 {
					t.Errorf("%d messages are counted as dropped", n)
				}
			}
			if !gone(diskOf(p.dir, "b")) {
				t.Error("the queue is still on disk")
			}
		})
	}
}

// What a link that is disabled now left behind in an earlier run is not sent
// should it be enabled again.
func TestDisabledLinkEmptiesTheDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(diskOf(dir, "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	a := begin(t, "a", []string{"b"}, keepIn(dir))
	l := durable(linkTo("b", "127.0.0.1:1", "t/#"))
	l.Enable = false
	a.put(t, l)
	if !gone(diskOf(dir, "b")) {
		t.Error("the queue is still on disk")
	}
}

// A link that wants no queue on disk any more sends what is there, adds
// nothing, and then has none. What was set aside stays.
func TestQueueOnDiskIsGivenUp(t *testing.T) {
	p := sever(t, func(*topology.Link) {})
	publishRange(t, p.a, 0, 200, short)
	damaged := filepath.Join(diskOf(p.dir, "b"), "0000000000000001.spool.damaged")
	if err := os.WriteFile(damaged, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.link.Queue = topology.Queue{}
	p.a.put(t, p.link)
	p.mend()
	expectRange(t, p.sub, 0, 200, false)
	eventually(t, "nothing but the damaged one is left", func() bool {
		entries, err := os.ReadDir(diskOf(p.dir, "b"))
		return err == nil && len(entries) == 1
	})
	publishRange(t, p.a, 200, 300, short)
	expectRange(t, p.sub, 200, 300, false)
	eventually(t, "all are acknowledged", func() bool { return p.a.status(t, "b").Metrics.Inflight == 0 })
	p.link.Queue = topology.Queue{Sync: "always"}
	p.a.put(t, p.link)
	publishRange(t, p.a, 300, 400, short)
	expectRange(t, p.sub, 300, 400, false)
	if entries, err := os.ReadDir(diskOf(p.dir, "b")); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}
