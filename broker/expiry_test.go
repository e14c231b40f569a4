package broker

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func expiring(seconds uint32) []byte { return property(0x02, u32(seconds)) }

// Messages that have expired are removed from sessions and from what is
// retained, others stay; and what is due is found without a look at the others.
func TestExpiredMessagesGo(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	h := hello{id: "s", resume: true, props: expiry(600)}
	inflight := func() int64 { return atomic.LoadInt64(&n.server.Info.Inflight) }
	err := attempt(func() {
		s := come(address, 5, h)
		s.subscribe(1, "q/#", 1)
		s.bye()
		p := come(address, 5, hello{id: "p"})
		for i, seconds := range []uint32{1000, 2000} {
			p.publishWith(1<<1|fRetain, fmt.Sprint("q/", i), i+1, "perishable", expiring(seconds))
		}
		p.publishWith(1<<1|fRetain, "q/2", 3, "lasting")
		eventually(t, "all wait", func() bool { return inflight() == 3 && n.kept.len() == 3 })
		for _, step := range []struct{ after, left int64 }{{999, 3}, {1002, 2}, {1003, 2}, {5000, 1}} {
			n.expire(time.Now().Unix() + step.after)
			must(inflight() == step.left && n.kept.len() == int(step.left) && n.server.Topics.Retained.Len() == n.kept.len()+sysTopics(n),
				"after %d s: %d wait, %d are retained, want %d", step.after, inflight(), n.kept.len(), step.left)
		}
		must(n.Stats().Dropped["expired"] == 2, "%d expired, want 2", n.Stats().Dropped["expired"])
		must(len(n.perishable(1<<40)) == 0 && len(n.kept.expired(1<<40)) == 0, "what does not expire is looked at")
		s = come(address, 5, h)
		must(s.take().payload == "lasting", "another message came")
		s.quiet("the session")
		p.publishWith(1<<1|fRetain, "q/0", 4, "new")
		must(s.take().payload == "new", "another message came")
		must(n.kept.len() == 2, "%d are retained, want 2", n.kept.len())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A session that goes on knows what its messages' expiry was.
func TestExpiryFollowsTheSession(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	h := hello{id: "s", resume: true, props: expiry(600)}
	err := attempt(func() {
		s := come(address, 5, h)
		s.subscribe(1, "q", 1)
		s.bye()
		come(address, 5, hello{id: "p"}).publish(1, "q", 1, "perishable", expiring(1000))
		s = come(address, 5, h)
		must(s.next().message().payload == "perishable", "another message came") // and is not acknowledged
		n.expire(time.Now().Unix() + 1002)
		must(atomic.LoadInt64(&n.server.Info.Inflight) == 0, "it has not expired")
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sysTopics(n *Node) int { return len(n.engineFigures()) + len(n.figures()) }

// Nothing is written to the engine's tree of retained messages, $SYS included,
// while it is searched.
func TestSysIsNotSearchedWhileItIsWritten(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	var searching sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		searching.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					n.retainedAt("$SYS/#")
				}
			}
		})
	}
	for range 50 {
		n.publishFigures()
	}
	close(done)
	searching.Wait()
	err := attempt(func() {
		p := come(address, 5, hello{id: "s"})
		p.subscribe(1, "$SYS/#", 0)
		names := map[string]bool{}
		for len(names) < sysTopics(n) {
			names[p.next().message().topic] = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
