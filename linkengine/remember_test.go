package linkengine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// An exporter is killed, and comes back before its peer does: what is published
// meanwhile waits for the peer, whether the link is put at once or is first made
// ready, and nothing is sent before the peer has been heard again.
func TestExporterComesBackFirst(t *testing.T) {
	for _, prepared := range []bool{false, true} {
		name := "put"
		if prepared {
			name = "prepared"
		}
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a, b := begin(t, "a", []string{"b"}, keepIn(dir)), begin(t, "b", []string{"a"})
			toA, toB := newProxy(t, a.addr), newProxy(t, b.addr)
			link := linkTo("b", toB.addr, "t/#")
			a.put(t, link)
			b.put(t, linkTo("a", toA.addr, "t/#"))
			a.online(t, "b")
			b.online(t, "a")
			sub := connect(t, b, "sub")
			sub.sub(t, "t/#")
			a.routes(t, "b", 1)
			killed := asKilled(t, dir, "t/#")
			toA.cut()
			a.stop()

			a = begin(t, "a", []string{"b"}, keepIn(killed))
			pub := connect(t, a, "pub")
			if prepared {
				if err := a.engine.Prepare(t.Context(), topology.Change{Op: topology.Create, Peer: "b", Link: link, Hold: true}); err != nil {
					t.Fatal(err)
				}
				pub.pub(t, paho.Publish{Topic: "t/0", QoS: 1})
			}
			a.put(t, link)
			if !prepared {
				pub.pub(t, paho.Publish{Topic: "t/0", QoS: 1})
			}
			pub.pub(t, paho.Publish{Topic: "t/1", QoS: 1})
			pub.pub(t, paho.Publish{Topic: "u/1", QoS: 1}) // for which there was no route, but may be one
			eventually(t, "the peer's connections stand", func() bool { return a.status(t, "b").State == topology.Connected })
			if m := a.status(t, "b").Metrics; m.Queuing != 3 || m.Success != 0 {
				t.Errorf("%d messages wait, %d are sent", m.Queuing, m.Success)
			}
			toA.mend(a.addr)
			for _, want := range []string{"t/0", "t/1"} {
				if m := sub.next(t); m.Topic != want {
					t.Errorf("%s came, want %s", m.Topic, want)
				}
			}
			b.online(t, "a")
			a.routes(t, "b", 1)
		})
	}
}

// asKilled returns what the directory of a site that has a peer's route is to
// the process that comes after one that is killed once the route is written:
// before it there may be a file without it.
func asKilled(t testing.TB, dir, route string) string {
	t.Helper()
	eventually(t, "the peer's route is written", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "peer-routes"))
		return err == nil && strings.Contains(string(b), route)
	})
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// A file that cannot be used is left out, and said so, and the next one is
// whole again.
func TestDamagedPeerRoutes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "peer-routes")
	if err := os.WriteFile(file, []byte("clink peers' routes 1\nand then nothing of the kind"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &buffer{}
	a, b := begin(t, "a", []string{"b"}, keepIn(dir), logTo(log)), begin(t, "b", []string{"a"})
	if s := log.String(); !strings.Contains(s, "the peers' routes of the last run cannot be used") || !strings.Contains(s, file) {
		t.Errorf("the log says %s", s)
	}
	a.put(t, linkTo("b", b.addr, "t/#"))
	toA := newProxy(t, a.addr)
	b.put(t, linkTo("a", toA.addr, "t/#"))
	a.online(t, "b")
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	toA.cut()
	a.stop()
	again := begin(t, "a", []string{"b"}, keepIn(dir))
	again.put(t, linkTo("b", b.addr, "t/#"))
	publishRange(t, again, 1, 2, short)
	toA.mend(again.addr)
	if m := sub.next(t); m.Topic != "t/1" {
		t.Errorf("%s came", m.Topic)
	}
}
