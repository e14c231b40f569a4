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
		for name, tt := range map[string]struct {
			stores, damaged bool
			again           int // how often it comes after the restart
		}{
			"with a store": {stores: true}, "without": {again: 1}, "with a damaged file": {stores: true, damaged: true, again: 1},
		} {
			var log buffer
			dir, store, e := t.TempDir(), t.TempDir(), v.stand(t)
			if !tt.stores {
				store = ""
			}
			up := func() (*site, *device, *importer) {
				s := begin(t, v.us, []string{v.peer}, keepIn(dir), storeIn(store), logTo(&log))
				s.put(t, linkTo(v.peer, e.addr, "#"))
				d := resume(t, s, "d")
				d.sub(t, "#")
				return s, d, v.come(t, s, "msg")
			}
			s, d, p := up()
			hop := byte(1)
			if v.hop2 {
				hop = 2
			}
			if code := p.forward(hop, assured(t, 1, "t/1")); code != 0 {
				t.Errorf("%s: %#02x", name, code)
			}
			d.next(t)
			d.Disconnect(&paho.Disconnect{})
			s.stop()
			file := filepath.Join(dir, "received", "from-"+v.peer)
			if tt.damaged {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				b[len(b)-1]++
				os.WriteFile(file, b, 0o600)
			}
			s, d, p = up()
			p.forward(hop, assured(t, 1, "t/1"))
			p.forward(hop, assured(t, 2, "t/2"))
			var got []string
			for len(got) == 0 || got[len(got)-1] != "t/2" {
				if m := d.next(t); !m.Duplicate() { // else the session's own, not acknowledged before the stop
					got = append(got, m.Topic)
				}
			}
			if len(got) != 1+tt.again {
				t.Errorf("%s: %v came after the restart", name, got)
			}
			if damaged := strings.Contains(log.String(), "cannot be read"); damaged != tt.damaged {
				t.Errorf("%s: the log\n%s", name, &log)
			}
			if _, err := os.Stat(file); err == nil {
				t.Errorf("%s: the file is still there", name)
			}
			if err := s.engine.Remove(t.Context(), v.peer); err != nil {
				t.Error(err)
			}
			s.stop()
			if _, err := os.Stat(file); err == nil {
				t.Errorf("%s: there is a file of a link that is gone", name)
			}
		}
	})
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
