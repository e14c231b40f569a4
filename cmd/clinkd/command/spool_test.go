package command_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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

// inFiles counts a topic in the files of site-a's queues.
func inFiles(t *testing.T, data, topic string) (n int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "site-a", "spool", "*", "*.spool"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(b, []byte(topic))
	}
	return n
}

// What was acknowledged for a peer that is away outlives a crash: with sync
// always all of it, with interval what was written by then.
func TestLinkQueueOutlivesKill(t *testing.T) {
	t.Parallel()
	bin := build(t)
	for _, sync := range []string{"always", "interval"} {
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
			acked := 0
			publish := func() {
				pub.publish("global/after", strconv.Itoa(acked), 1)
				acked++
			}
			for acked < 300 {
				publish()
			}
			sure := acked
			if sync == "always" {
				sure += 20
			} else { // it writes without being told, and goes on doing so
				until(t, "the messages to be in the files", func() bool { publish(); return inFiles(t, dataA, "global/after") >= sure })
			}
			for range 20 {
				publish()
			}
			pa.kill()

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
					t.Fatalf("%d of %d came, %d were acknowledged\n%s", next, sure, acked, pa.log)
				}
			}
			t.Logf("%d acknowledged, %d of them for sure", acked, sure)
		})
	}
}
