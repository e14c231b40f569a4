package command

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"clink/internal/freeport"
	"clink/source"
	"clink/topology"
)

// eventually waits for what comes about by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end, tick := time.NewTimer(time.Minute), time.NewTicker(5*time.Millisecond)
	defer end.Stop()
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// startPair runs two linked sites.
func startPair(t *testing.T) *daemon {
	t.Helper()
	dir, data := t.TempDir(), t.TempDir()
	at, err := freeport.Addresses(2)
	if err != nil {
		t.Fatal(err)
	}
	text := "package topology\n"
	for i, s := range []string{"a", "b"} {
		text += fmt.Sprintf("sites: %s: {listeners: mqtt: bind: %q, cluster: links: %s: {server: %q, topics: [\"t/#\"]}}\n",
			s, at[i], []string{"b", "a"}[i], at[1-i])
	}
	if err := os.WriteFile(filepath.Join(dir, "sites.cue"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := source.Open(dir, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := Command{Stdout: io.Discard, Stderr: &bytes.Buffer{}, Getenv: func(string) string { return "" }}
	d, err := c.assemble(t.Context(), options{dir: dir, dataDir: data}, src, []string{"a", "b"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if d.keys, d.keyPath, err = apiKeys("", data); err != nil {
		t.Fatal(err)
	}
	if d.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	d.online(t)
	return d
}

func (d *daemon) half(site string) topology.LinkStatus {
	for _, s := range d.nodes[site].engine.Status() {
		return s
	}
	return topology.LinkStatus{}
}

func (d *daemon) online(t *testing.T) {
	t.Helper()
	eventually(t, "both ends are online", func() bool {
		return d.half("a").Replication.State == topology.ReplicationOnline && d.half("b").Replication.State == topology.ReplicationOnline
	})
}

// drifted returns the drift that was told.
func (d *daemon) drifted() (told []string) {
	past, _, stop := d.rec.Events(0)
	stop()
	for _, e := range past {
		if e.Type == "drift" {
			told = append(told, strings.Join([]string{e.Site, e.Peer, e.Reason}, " "))
		}
	}
	return told
}

func TestDriftOfAnEmbeddedSite(t *testing.T) {
	d := startPair(t)
	engine := d.nodes["a"].engine
	if err := engine.Remove(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if err := d.rec.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.online(t)
	other := engine.Links()[0]
	other.Topics = nil
	if err := engine.Put(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := d.rec.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := engine.Links()[0]; len(l.Topics) != 1 {
		t.Errorf("the link is left as %+v", l)
	}
	d.online(t)

	address := d.nodes["a"].node.Listeners()[0].Addr.String()
	shutListener(t, address)
	eventually(t, "the listener is opened again", func() bool {
		l := d.nodes["a"].node.Listeners()[0]
		return l.Lost == 1 && l.Err == "" && l.Addr != nil && l.Addr.String() == address
	})
	if err := d.rec.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := d.drifted(), []string{"a b missing", "a b changed", "a  listener"}; !slices.Equal(got, want) || d.rec.State().Drift != 3 {
		t.Errorf("told %q, want %q; counted %d", got, want, d.rec.State().Drift)
	}
	if c, err := net.Dial("tcp", address); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

// shutListener takes the socket that listens on an address from its owner, who
// is this process, as if the system had.
func shutListener(t *testing.T, address string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	for _, e := range fds {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			continue
		}
		listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
		if err != nil || listens == 0 {
			continue
		}
		name, err := syscall.Getsockname(fd)
		if in, ok := name.(*syscall.SockaddrInet4); err == nil && ok && fmt.Sprintf("127.0.0.1:%d", in.Port) == address {
			if err := syscall.Shutdown(fd, syscall.SHUT_RDWR); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("nobody listens on %s", address)
}

func TestSuspendAnEmbeddedLink(t *testing.T) {
	d := startPair(t)
	for range 3 {
		if err := d.rec.Suspend(t.Context(), topology.Suspension{Site: "a", Peer: "b", Reason: "maintenance", By: "ops"}); err != nil {
			t.Fatal(err)
		}
		if s := d.half("a"); s.Enable || s.Replication.Reason != "disabled" {
			t.Errorf("when Suspend returns the link is %+v", s)
		}
		eventually(t, "the far half is told", func() bool { return d.half("b").Replication.Reason == "cluster_link_disabled" })
		if err := d.rec.Resume(t.Context(), "a", "b", "ops"); err != nil {
			t.Fatal(err)
		}
		d.online(t)
	}
	if c := d.rec.State().Conditions[0]; c.Status != "True" || c.Reason != "Applied" {
		t.Errorf("in the end %+v", c)
	}
	if n := len(d.drifted()); n != 0 {
		t.Errorf("suspending is %d times drift", n)
	}
}
