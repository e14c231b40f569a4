package command_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// lastingSession is one that outlives its connection.
func lastingSession(cp *paho.Connect) {
	hour := uint32(3600)
	cp.CleanStart, cp.Properties = false, &paho.ConnectProperties{SessionExpiryInterval: &hour}
}

// What was acknowledged for a peer that is away outlives a crash: with sync
// always all of it, with interval what is older than that.
func TestLinkQueueOutlivesKill(t *testing.T) {
	t.Parallel()
	bin := build(t)
	for sync, unsure := range map[string]time.Duration{"always": 0, "interval": 500 * time.Millisecond} {
		t.Run(sync, func(t *testing.T) {
			dir, dataA, dataB := copyExample(t, "two-sites"), t.TempDir(), t.TempDir()
			(&daemon{t: t, dir: dir}).edit("site_a.cue", `username: "site-a"`, fmt.Sprintf("username: \"site-a\"\n\t\tqueue: sync: %q", sync))
			pa := spawn(t, bin, dir, dataA, "site-a")
			pb := spawn(t, bin, dir, dataB, "site-b")
			pa.online("site-a", "site-b")
			pb.online("site-b", "site-a")
			pub := connect(t, pa.port("site-a"), "pub")
			sub, err := dial(t, pb.port("site-b"), "sub", lastingSession)
			if err != nil {
				t.Fatal(err)
			}
			sub.subscribe("global/#", 1)
			flows(t, pub, sub, "global/before")

			pb.kill()
			var acked []time.Time
			for began := time.Now(); time.Since(began) < unsure+time.Second; {
				pub.publish("global/after", strconv.Itoa(len(acked)), 1)
				acked = append(acked, time.Now())
			}
			killed := time.Now()
			pa.kill()
			sure := 0
			for sure < len(acked) && acked[sure].Before(killed.Add(-unsure)) {
				sure++
			}

			pa = spawn(t, bin, dir, dataA, "site-a")
			pb = spawn(t, bin, dir, dataB, "site-b")
			if sub, err = dial(t, pb.port("site-b"), "sub", lastingSession); err != nil {
				t.Fatal(err)
			}
			next := 0
			for late := time.After(deadline); next < sure; {
				select {
				case p := <-sub.got:
					if p.Topic != "global/after" {
						continue
					}
					switch n, err := strconv.Atoi(string(p.Payload)); {
					case err != nil || n > next:
						t.Fatalf("message %q came, want %d of %d (%v)", p.Payload, next, sure, err)
					case n == next:
						next++
					}
				case <-late:
					t.Fatalf("%d of %d came, %d were acknowledged\n%s", next, sure, len(acked), pa.log)
				}
			}
			t.Logf("%d acknowledged, %d of them for sure", len(acked), sure)
		})
	}
}
