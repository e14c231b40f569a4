package command_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// TestRestartsLoseNothing kills first the site that imports, whose subscriber
// has a session that is stored, under a publisher that never stops, and then
// the site that exports, which is published to before its peer has announced
// anything again. Every message that was acknowledged arrives.
func TestRestartsLoseNothing(t *testing.T) {
	t.Parallel()
	bin := build(t)
	dir, dataA, dataB := copyExample(t, "two-sites"), t.TempDir(), t.TempDir()
	(&daemon{t: t, dir: dir}).edit("site_a.cue", `username: "site-a"`, "username: \"site-a\"\n\t\tqueue: sync: \"always\"")
	pa := spawn(t, bin, dir, dataA, "site-a")
	pb := spawn(t, bin, dir, dataB, "site-b")
	pa.online("site-a", "site-b")
	pb.online("site-b", "site-a")
	seen := map[int]bool{}
	sub := subscribeLasting(t, pb)
	pub := connect(t, pa.port("site-a"), "pub")
	flows(t, pub, sub, "global/before")

	stop, acked := make(chan struct{}), make(chan int, 1)
	var published atomic.Int64
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		var missing []int
		for n := range int(published.Load()) {
			if !seen[n] {
				missing = append(missing, n)
			}
		}
		t.Logf("of %d published %d are missing: %.2000s\nsite-a says\n%s\nsite-b says\n%s", published.Load(), len(missing), fmt.Sprint(missing), pa.log, pb.log)
	})
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				acked <- n
				return
			default:
			}
			if err := publishNumber(pub, n); err != nil {
				t.Errorf("publish message %d: %v", n, err)
				acked <- n
				return
			}
			n++
			published.Store(int64(n))
		}
	}()
	for n := 0; n < 100; {
		n += collect(t, sub, seen)
	}
	pb.kill()
	rest(sub, seen)
	pb = spawn(t, bin, dir, dataB, "site-b")
	before := len(seen)
	sub = subscribeLasting(t, pb)
	pb.online("site-b", "site-a")
	for n := 0; n < 100; {
		n += collect(t, sub, seen)
	}
	close(stop)
	sure := <-acked
	all(t, sub, seen, sure)
	t.Logf("%d arrived before the kill, %d in all", before, sure)

	routes := filepath.Join(dataA, "site-a", "peer-routes")
	written := func() (at time.Time) {
		if info, err := os.Stat(routes); err == nil {
			at = info.ModTime()
		}
		return at
	}
	until(t, "the peer's routes are written", func() bool { return !written().IsZero() })
	was := written()
	pa.kill()
	pa = spawn(t, bin, dir, dataA, "site-a")
	pub = connect(t, pa.port("site-a"), "pub")
	for n := range 50 {
		if err := publishNumber(pub, sure+n); err != nil {
			t.Fatal(err)
		}
	}
	all(t, sub, seen, sure+50)
	until(t, "the peer's routes are written again", func() bool { return written().After(was) })
}

func subscribeLasting(t *testing.T, p *process) *client {
	t.Helper()
	sub, err := dial(t, p.port("site-b"), "sub", lastingSession)
	if err != nil {
		t.Fatal(err)
	}
	sub.subscribe("global/#", 1)
	return sub
}

func publishNumber(c *client, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	res, err := c.Publish(ctx, &paho.Publish{Topic: "global/numbers", QoS: 1, Payload: fmt.Append(nil, n)})
	if res != nil && res.ReasonCode == 0x10 { // nobody subscribes here
		return nil
	}
	return err
}

// rest notes what came before the connection broke: it was acknowledged, and
// does not come again.
func rest(sub *client, seen map[int]bool) {
	<-sub.Done()
	for {
		select {
		case p := <-sub.got:
			note(p, seen)
		default:
			return
		}
	}
}

// note notes a message, and returns 1 if it is a number that did not come before.
func note(p *paho.Publish, seen map[int]bool) int {
	n, err := strconv.Atoi(string(p.Payload))
	if p.Topic != "global/numbers" || err != nil || seen[n] {
		return 0
	}
	seen[n] = true
	return 1
}

// collect waits for a message and notes it.
func collect(t *testing.T, sub *client, seen map[int]bool) int {
	t.Helper()
	select {
	case p := <-sub.got:
		return note(p, seen)
	case <-time.After(deadline):
		t.Fatalf("nothing comes any more after %d", len(seen))
		return 0
	}
}

// all waits until all numbers have come.
func all(t *testing.T, sub *client, seen map[int]bool, numbers int) {
	t.Helper()
	for n := range numbers {
		for late := time.After(deadline); !seen[n]; {
			select {
			case <-late:
				t.Fatalf("message %d of %d was acknowledged and does not come", n, numbers)
			default:
			}
			collect(t, sub, seen)
		}
	}
}
