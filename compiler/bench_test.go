package compiler_test

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"clink/compiler"
	"clink/diagnostic"
)

// ring is a topology of n sites that each link with both neighbours: 2n links,
// a file a site, every link with credentials, three topics and TLS.
func ring(n int) fstest.MapFS {
	files := fstest.MapFS{}
	name := func(i int) string { return fmt.Sprintf("site-%05d", (i+n)%n) }
	link := func(from, to int) string {
		return fmt.Sprintf(`		%q: {
			server:   "mqtt.%s.example.net:8883"
			clientid: "link-%s-"
			username: "%s-to-%s"
			password: "file://secrets/%s-to-%s"
			topics: ["global/#", "fwd/%s/+", "cluster/+/status"]
			ssl: {enable: true, verify: "verify_peer", cacertfile: "certs/ca.pem"}
		}
`, name(to), name(to), name(from), name(from), name(to), name(from), name(to), name(from))
	}
	for i := range n {
		text := fmt.Sprintf(`package topology

sites: %q: {
	labels: region: "r%d"
	listeners: mqtts: {
		bind: "0.0.0.0:8883"
		advertise: ["mqtt.%s.example.net:8883"]
		ssl: {certfile: "certs/%s.pem", keyfile: "certs/%s.key", cacertfile: "certs/ca.pem"}
	}
	cluster: links: {
%s%s	}
}
`, name(i), i%7, name(i), name(i), name(i), link(i, i-1), link(i, i+1))
		files[name(i)+".cue"] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

func compile(tb testing.TB, files fs.FS) *compiler.Result {
	tb.Helper()
	r, err := compiler.Compile(context.Background(), files, compiler.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func BenchmarkCompile(b *testing.B) {
	for _, links := range []int{100, 1_000, 2_000, 10_000} {
		b.Run(fmt.Sprintf("links=%d", links), func(b *testing.B) {
			files := ring(links / 2)
			before := cpuTime(b)
			for b.Loop() {
				r := compile(b, files)
				if r.Topology.Links() != links || len(r.Findings) != 0 {
					b.Fatalf("%d links, %d findings: %v", r.Topology.Links(), len(r.Findings), r.Findings[:1])
				}
			}
			b.ReportMetric(float64((cpuTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N)/float64(links), "cpu-µs/link")
		})
	}
}

func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A context of CUE keeps what was built in it: compilations that shared one
// would grow by megabytes each time.
func TestRecompilingKeepsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("many compilations")
	}
	files := ring(20)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for range 10 {
		compile(t, files)
	}
	before := heap()
	for range 100 {
		if r := compile(t, files); len(r.Findings) != 0 {
			t.Fatal(r.Findings)
		}
	}
	const most = 10 << 20
	if after := heap(); after > before+most {
		t.Errorf("100 compilations grew the heap from %d to %d bytes, by more than %d", before, after, most)
	}
}

// One fault in one of many sites costs no more than that site.
func TestFaultsAreCheap(t *testing.T) {
	files := ring(200)
	files["site-00007.cue"].Data = append(files["site-00007.cue"].Data, []byte("sites: \"site-00007\": frob: 1\n")...)
	r := compile(t, files)
	if len(r.Findings) != 1 || r.Findings[0].Severity != diagnostic.Error {
		t.Fatal(r.Findings)
	}
}
