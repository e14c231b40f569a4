package linkengine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// assured is a captured QoS 2 message with another topic and id.
func assured(t testing.TB, n int, name string) []byte {
	b := instead(t, captured(t, "emqx-5.8.9/008-msg_t_m_plain_q2_qos2"), "t/m/plain/q2", name)
	copy(b[len("\x83\x68\x0a\x77\x07message\x6d\x00\x00\x00\x10"):], fmt.Sprintf("%016d", n))
	return b
}

// TestExactlyOnceOverARestart restarts a site that keeps its sessions. A peer
// that was not told that its message arrived sends it again, on either kind of
// hop: nobody gets it twice.
func TestExactlyOnceOverARestart(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		for _, r := range []*restart{
			{name: "with a store", store: t.TempDir(), comes: 1},
			{name: "without", comes: 2},
			{name: "with a damaged file", store: t.TempDir(), damaged: true, comes: 2},
		} {
			r.version, r.dir, r.addr = v, t.TempDir(), v.stand(t).addr
			r.test(t)
		}
	})
}

// A restart is one of a site, which keeps its directory.
type restart struct {
	version
	name, dir, store, addr string

	damaged bool
	comes   int // how often the message is delivered in both lives
	log     buffer
}

func (r *restart) live(t *testing.T) (*site, *device, *importer) {
	t.Helper()
	s := begin(t, r.us, []string{r.peer}, keepIn(r.dir), storeIn(r.store), logTo(&r.log))
	s.put(t, linkTo(r.peer, r.addr, "#"))
	d := resume(t, s, "d")
	d.sub(t, "#")
	return s, d, r.come(t, s, "msg")
}

func (r *restart) test(t *testing.T) {
	hop := byte(1)
	if r.hop2 {
		hop = 2
	}
	s, d, p := r.live(t)
	p.forward(hop, assured(t, 1, "t/1"))
	d.next(t)
	d.Disconnect(&paho.Disconnect{})
	s.stop()
	file := filepath.Join(r.dir, "received", "from-"+r.peer)
	if r.damaged {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1]++
		os.WriteFile(file, b, 0o600)
	}
	s, d, p = r.live(t)
	p.forward(hop, assured(t, 1, "t/1"))
	p.forward(hop, assured(t, 2, "t/2"))
	came := 1
	for m := d.next(t); m.Topic != "t/2"; m = d.next(t) {
		if !m.Duplicate() { // else the session's own, not acknowledged before the stop
			came++
		}
	}
	if came != r.comes {
		t.Errorf("%s: it came %d times", r.name, came)
	}
	if damaged := strings.Contains(r.log.String(), "cannot be read"); damaged != r.damaged {
		t.Errorf("%s: the log\n%s", r.name, &r.log)
	}
	if _, err := os.Stat(file); err == nil {
		t.Errorf("%s: the file is still there", r.name)
	}
	s.remove(t, r.peer)
	s.stop()
	if _, err := os.Stat(file); err == nil {
		t.Errorf("%s: there is a file of a link that is gone", r.name)
	}
}

// TestExactlyOnceBetweenNodes cuts the links between two nodes of clink again
// and again while QoS 2 messages cross: each comes once, in order.
func TestExactlyOnceBetweenNodes(t *testing.T) {
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	toA, toB := newProxy(t, a.addr), newProxy(t, b.addr)
	a.put(t, linkTo("b", toB.addr, "t/#"))
	b.put(t, linkTo("a", toA.addr, "t/#"))
	a.online(t, "b")
	b.online(t, "a")
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	pub := connect(t, a, "pub")
	const cuts, each = 4, 50
	for round := range cuts {
		for i := range each {
			pub.pub(t, paho.Publish{Topic: "t/x", QoS: 2, Payload: fmt.Append(nil, round*each+i)})
			if i == each/2 {
				toB.cut()
			}
		}
		toB.mend("")
		eventually(t, "it is linked again", func() bool { return a.status(t, "b").State == topology.Connected })
	}
	for i := range cuts * each {
		if m := sub.next(t); string(m.Payload) != fmt.Sprint(i) || m.QoS != 2 {
			t.Fatalf("%q at QoS %d in the place of %d", m.Payload, m.QoS, i)
		}
	}
	eventually(t, "all is acknowledged", func() bool { m := a.status(t, "b").Metrics; return m.Success == cuts*each && m.Inflight == 0 })
	if m := a.status(t, "b").Metrics; m.Reconnects == 0 || m.Dropped != 0 || len(sub.got) != 0 {
		t.Errorf("%+v, %d messages too many", m, len(sub.got))
	}
}
