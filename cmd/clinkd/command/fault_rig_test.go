package command_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A rig is two clinkd processes whose links run over roads, on which faults are
// made: site-a, where the publishers of a stream are, and site-b with its
// subscriber.
type rig struct {
	t    *testing.T
	bin  string
	dir  string
	a, b *place
	*stream
}

// A place is a site of a rig.
type place struct {
	*process
	name, peer    string
	port, profile string
	data          string
	road          *road // that its peer takes to it
	before        usage
}

// A usage is what a process takes.
type usage struct {
	goroutines int
	heap       int64 // bytes in use after a collection
}

const siteOfRig = `package topology

sites: %q: {
	listeners: mqtt: {bind: "127.0.0.1:%s", advertise: ["%s"]}
	access: anonymous: true
	cluster: links: %q: {server: "%s", username: "%s", password: "of-%s", topics: ["global/#"], %s}
}
`

// patient has messages wait for a peer for longer than any machine takes to
// start it: by itself, what waits in memory does so for 45 s.
const patient = `queue: max_age: "10m"`

// newRig writes the topology and starts nothing. Options are fields of
// site-a's link.
func newRig(t *testing.T, options string) *rig {
	t.Helper()
	r := &rig{t: t, bin: build(t), dir: t.TempDir()}
	r.a, r.b = r.place("site-a", "site-b"), r.place("site-b", "site-a")
	r.write(r.a, r.b, options)
	r.write(r.b, r.a, "")
	return r
}

func (r *rig) place(name, peer string) *place {
	p := &place{name: name, peer: peer, port: freePort(r.t), profile: freePort(r.t), data: r.t.TempDir()}
	p.road = newRoad(r.t, p.addr())
	return p
}

func (r *rig) write(p, peer *place, options string) {
	text := fmt.Sprintf(siteOfRig, p.name, p.port, p.road.addr, peer.name, peer.road.addr, p.name, p.name, options)
	if err := os.WriteFile(filepath.Join(r.dir, p.name+".cue"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// addr is where clients connect.
func (p *place) addr() string { return net.JoinHostPort("127.0.0.1", p.port) }

// begin runs clinkd at a place.
func (r *rig) begin(p *place) {
	r.t.Helper()
	p.process = spawn(r.t, r.bin, r.dir, p.data, p.name, "--pprof", "127.0.0.1:"+p.profile)
}

// linked runs both sites and a stream between them, and notes what they take.
func linked(t *testing.T, options string) *rig {
	t.Helper()
	r := newRig(t, options)
	r.begin(r.a)
	r.begin(r.b)
	r.flow()
	return r
}

// flow starts the stream.
func (r *rig) flow() {
	r.t.Helper()
	r.healthy()
	r.stream = subscribe(r.t, r.b.addr(), "global/s")
	until(r.t, "the subscriber's route", func() bool { return r.a.status().Replication.PeerRoutes == 1 })
	r.publishFrom(r.a.addr(), publishers)
	r.flows()
	r.note()
	r.t.Cleanup(func() {
		if r.t.Failed() {
			r.t.Logf("%d acknowledged, %d missing, %d came twice\nsite-a said:\n%s\nsite-b said:\n%s", r.acked(), r.missing(), r.repeated(), r.a.log, r.b.log)
		}
	})
}

// note remembers what the processes take now, without messages that wait: how
// many do is up to the machine.
func (r *rig) note() {
	r.t.Helper()
	defer r.pause()()
	until(r.t, "the link to be empty", func() bool {
		return r.a.metric("clink_link_queue_messages") == 0 && r.a.metric("clink_link_inflight") == 0
	})
	for _, p := range []*place{r.a, r.b} {
		p.before = p.usage(r.t)
	}
}

// status is what REST says of the link there.
func (p *place) status() link {
	p.t.Helper()
	return p.link(p.name, p.peer)
}

// healthy waits until both sites say that their links work.
func (r *rig) healthy() {
	r.t.Helper()
	r.a.online(r.a.name, r.a.peer)
	r.b.online(r.b.name, r.b.peer)
}

// says waits until a site's link has what is looked for in its status.
func (p *place) says(what string, ok func(link) bool) {
	p.t.Helper()
	var last link
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s says %+v", p.name, last)
		}
	}()
	until(p.t, p.name+" to say "+what, func() bool { last = p.status(); return ok(last) })
}

// metric sums a metric of /metrics over all its series with these labels.
func (p *place) metric(name string, labels ...string) (sum int) {
	p.t.Helper()
	_, body := p.text("/metrics")
lines:
	for line := range strings.Lines(body) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(series, l) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		sum += int(v)
	}
	return sum
}

// heapLine is where a heap profile says how much is in use.
var heapLine = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

func (p *place) usage(t *testing.T) (u usage) {
	t.Helper()
	head, _, _ := strings.Cut(p.profiled(t, "goroutine?debug=1"), "\n")
	if _, err := fmt.Sscanf(head, "goroutine profile: total %d", &u.goroutines); err != nil {
		t.Fatalf("%v in %q", err, head)
	}
	m := heapLine.FindStringSubmatch(p.profiled(t, "heap?debug=1&gc=1"))
	if m == nil {
		t.Fatal("a heap profile says nothing of the heap")
	}
	u.heap, _ = strconv.ParseInt(m[1], 10, 64)
	return u
}

// profiled reads a profile over a connection of its own, which leaves nothing
// behind that would be counted the next time.
func (p *place) profiled(t *testing.T, path string) string {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: deadline}
	res, err := c.Get("http://127.0.0.1:" + p.profile + "/debug/pprof/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// clean checks that a fault left nothing behind: both halves of both links
// work, messages flow, and the processes take what they took before.
func (r *rig) clean() {
	r.t.Helper()
	r.healthy()
	r.flows()
	defer r.pause()()
	for _, p := range []*place{r.a, r.b} {
		p.takesNoMore(0, 4<<20)
	}
}

// takesNoMore waits until the process takes what it took before, and not much
// more.
func (p *place) takesNoMore(goroutines int, heap int64) {
	p.t.Helper()
	var now usage
	defer func() {
		p.t.Logf("%s: %d goroutines before, %d after; heap %d KiB before, %d after", p.name,
			p.before.goroutines, now.goroutines, p.before.heap>>10, now.heap>>10)
	}()
	until(p.t, p.name+" to take no more than before", func() bool {
		now = p.usage(p.t)
		return now.goroutines <= p.before.goroutines+goroutines && now.heap <= p.before.heap+p.before.heap/4+heap
	})
}

// intact is the end of a test in which nothing may be lost: all that was
// acknowledged came, in order, and twice only what was sent twice.
func (r *rig) intact() {
	r.t.Helper()
	r.whole()
	r.nothingDropped()
	r.oncePerSend()
}

// dropped are the lines of /metrics about messages that did not cross.
var dropped = regexp.MustCompile(`(?m)^clink_link_dropped_total.*$`)

func (r *rig) nothingDropped() {
	r.t.Helper()
	for _, p := range []*place{r.a, r.b} {
		if n := p.metric("clink_link_dropped_total"); n != 0 {
			_, body := p.text("/metrics")
			r.t.Errorf("%s dropped %d messages:\n%s", p.name, n, dropped.FindAllString(body, -1))
		}
	}
}

// oncePerSend checks that no message came more often than it was sent. The
// subscriber's own connection must not have broken.
func (r *rig) oncePerSend() {
	r.t.Helper()
	twice, sentAgain := r.repeated(), r.a.metric("clink_link_retried_total")+int(r.again.Load())
	r.t.Logf("%d messages, %d came twice, %d were sent again", r.acked(), twice, sentAgain)
	if twice > sentAgain {
		r.t.Errorf("%d messages came twice, though only %d were sent again", twice, sentAgain)
	}
}
