package broker

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// killRounds is how often a node is killed in each test that kills one.
func killRounds() int {
	if os.Getenv("CLINK_LONG") != "" {
		return 20
	}
	return 2
}

// TestKilledNode is no test: the tests that kill a node run this program again,
// with only it, to have a node in a process of its own.
func TestKilledNode(t *testing.T) {
	dir := os.Getenv("CLINK_TEST_KILL")
	if dir == "" {
		t.Skip("a helper of other tests")
	}
	n, err := New(Options{Store: dir, QueueLength: 1 << 16, MaxInflight: 60000})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Apply(context.Background(), anyone()); err != nil {
		t.Fatal(err)
	}
	go func() { // the tests kill it; without them it must not live on
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(3)
	}()
	fmt.Printf("address %s\n", addr(t, n, "tcp"))
	t.Fatal(n.Run(context.Background()))
}

// A victim is a node in a process of its own.
type victim struct {
	cmd     *exec.Cmd
	address string
}

func startVictim(t *testing.T, dir string) *victim {
	t.Helper()
	v := &victim{cmd: exec.Command(os.Args[0], "-test.run=^TestKilledNode$", "-test.timeout=5m")}
	v.cmd.Env = append(os.Environ(), "CLINK_TEST_KILL="+dir)
	v.cmd.Stderr = os.Stderr
	in, err := v.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); v.kill() })
	r := bufio.NewScanner(out)
	for r.Scan() {
		if a, ok := strings.CutPrefix(r.Text(), "address "); ok {
			v.address = a
			return v
		}
	}
	t.Fatal("the node does not start")
	return nil
}

// kill is kill -9.
func (v *victim) kill() {
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
}

func (v *victim) connect(t *testing.T, id string, opts ...connectOption) *device {
	t.Helper()
	d, err := dial(v.address, id, opts...)
	if err != nil {
		t.Fatalf("connect %s: %v", id, err)
	}
	t.Cleanup(func() { d.raw.Close() })
	return d
}

// load publishes numbers from many publishers at once until the node is gone,
// and returns for each how many were acknowledged, and how many were sent. It
// closes began once all have connected, and one has been acknowledged.
func (v *victim) load(t *testing.T, publishers int, qos byte, began chan<- struct{}, killed <-chan struct{}) (acked, sent []int) {
	begin := sync.OnceFunc(func() { close(began) })
	defer begin()
	all := make([]*device, publishers)
	for p := range all {
		all[p] = v.connect(t, fmt.Sprintf("pub%d", p), keepSession(3600))
	}
	acked, sent = make([]int, publishers), make([]int, publishers)
	var wg sync.WaitGroup
	for p, d := range all {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			go func() {
				select {
				case <-killed:
					cancel()
				case <-ctx.Done():
				}
			}()
			for i := 0; ; i++ {
				sent[p] = i + 1
				_, err := d.Publish(ctx, &paho.Publish{Topic: fmt.Sprintf("load/%d", p), QoS: qos, Payload: fmt.Append(nil, i)})
				if err != nil {
					return
				}
				acked[p] = i + 1
				begin()
			}
		})
	}
	wg.Wait()
	return acked, sent
}

// killDuring kills a node under load, after some messages.
func killDuring(t *testing.T, dir string, round int, qos byte) (acked, sent []int) {
	v := startVictim(t, dir)
	s := v.connect(t, "sub", keepSession(3600))
	s.subOpts(t, paho.SubscribeOptions{Topic: "load/#", QoS: 2})
	s.raw.Close() // its session goes on without it
	began, killed := make(chan struct{}), make(chan struct{})
	probe := v.connect(t, "probe")
	go func() {
		defer close(killed)
		<-began
		for range 50 + 37*round { // as long as some exchanges take
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			_, _ = probe.Publish(ctx, &paho.Publish{Topic: "probe", QoS: 1})
			cancel()
		}
		v.kill()
	}()
	acked, sent = v.load(t, 8, qos, began, killed)
	<-killed
	return acked, sent
}

// collect returns what a session got, by publisher, until the end mark.
func collect(t *testing.T, d *device) map[string][]int {
	t.Helper()
	got := make(map[string][]int)
	timeout := time.After(patience)
	for {
		select {
		case m := <-d.got:
			if m.Topic == "load/end" {
				return got
			}
			n := 0
			fmt.Sscan(string(m.Payload), &n)
			got[m.Topic] = append(got[m.Topic], n)
		case <-timeout:
			t.Fatalf("the end mark did not come; came %v", got)
		}
	}
}

func TestKillLosesNoQoS1(t *testing.T) {
	for round := range killRounds() {
		dir := filepath.Join(t.TempDir(), "store")
		acked, _ := killDuring(t, dir, round, 1)
		v := startVictim(t, dir)
		s := v.connect(t, "sub", keepSession(3600))
		if !s.ack.SessionPresent {
			t.Fatal("the session is lost")
		}
		v.connect(t, "end").pub(t, &paho.Publish{Topic: "load/end", QoS: 1})
		got := collect(t, s)
		total := 0
		for p, n := range acked {
			list := got[fmt.Sprintf("load/%d", p)]
			for i := range list {
				if list[i] != i {
					t.Fatalf("round %d: publisher %d: message %d came in place %d", round, p, list[i], i)
				}
			}
			if len(list) < n || len(list) > n+1 { // the last may have been stored and not acknowledged
				t.Fatalf("round %d: publisher %d: %d of %d acknowledged messages came", round, p, len(list), n)
			}
			total += n
		}
		if total == 0 {
			t.Fatal("nothing was acknowledged before the kill")
		}
		t.Logf("round %d: %d acknowledged messages were there", round, total)
		v.kill()
	}
}

// A subscriber and publishers of QoS 2 go on after the kill with the exchanges
// they had under way, and every message comes once.
func TestKillKeepsExactlyOnce(t *testing.T) {
	for round := range killRounds() {
		dir := filepath.Join(t.TempDir(), "store")
		acked, sent := killDuring(t, dir, round, 2)
		v := startVictim(t, dir)
		s := v.connect(t, "sub", keepSession(3600))
		v.connect(t, "end").pub(t, &paho.Publish{Topic: "load/end", QoS: 1})
		got := collect(t, s)
		for p := range acked {
			list := got[fmt.Sprintf("load/%d", p)]
			for i := range list {
				if list[i] != i {
					t.Fatalf("round %d: publisher %d: message %d came in place %d", round, p, list[i], i)
				}
			}
			if len(list) < acked[p] || len(list) > sent[p] {
				t.Fatalf("round %d: publisher %d: %d came, %d were completed, %d sent", round, p, len(list), acked[p], sent[p])
			}
		}
		v.kill()
	}
}
