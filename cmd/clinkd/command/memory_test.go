package command

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"clink/topology"
)

func files(pairs ...string) fstest.MapFS {
	root := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		root[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return root
}

func TestGroupMemory(t *testing.T) {
	tests := []struct {
		name string
		root fstest.MapFS
		want int64
	}{
		{"no control groups", files(), 0},
		{"version 2", files("proc/self/cgroup", "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max", "1000\n", "sys/fs/cgroup/a/memory.max", "max\n"), 1000},
		{"around it", files("proc/self/cgroup", "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max", "1000\n", "sys/fs/cgroup/a/memory.max", "900\n"), 900},
		{"no bound", files("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "max\n"), 0},
		{"in a container", files("proc/self/cgroup", "0::/docker/4711\n", "sys/fs/cgroup/memory.max", "1000\n"), 1000},
		{"outside of it", files("proc/self/cgroup", "0::/../4711\n", "sys/fs/cgroup/memory.max", "1000\n"), 1000},
		{"version 1", files("proc/self/cgroup", "7:cpu,cpuacct:/x\n6:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2000\n"), 2000},
		{"version 1 without bound", files("proc/self/cgroup", "6:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n"), 0},
		{"garbage", files("proc/self/cgroup", "what\n0::/\n", "sys/fs/cgroup/memory.max", "many\n"), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := groupMemory(tt.root); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// The limit follows the source, is the least of what there is, and is said once.
func TestMemoryLimit(t *testing.T) {
	const mib = 1 << 20
	top := func(a, b int64) *topology.Topology {
		return &topology.Topology{Sites: map[string]*topology.Site{
			"a": {Memory: topology.Size{Bytes: a}}, "b": {Memory: topology.Size{Bytes: b}}, "elsewhere": {},
		}}
	}
	group := files("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "1048576000\n") // 1000 MiB
	steps := []struct {
		root fstest.MapFS
		top  *topology.Topology
		want int64
		say  string
	}{
		{group, nil, 900 * mib, `msg="memory limit set" bytes=943718400 because="90 % of what the container has"`},
		{group, top(100*mib, 200*mib), 300 * mib, `bytes=314572800 because="the memory that the sites name"`},
		{group, top(100*mib, 200*mib), 300 * mib, ""},
		{group, top(100*mib, 0), 900 * mib, "container"},
		{group, top(800*mib, 800*mib), 900 * mib, ""},
		{files(), top(800*mib, 800*mib), 1600 * mib, "sites"},
		{files(), top(1*mib, 1*mib), 64 * mib, "which is less"},
		{files(), top(math.MaxInt64, math.MaxInt64), math.MaxInt64, "no memory limit any more"},
		{files(), top(mib, 0), math.MaxInt64, ""},
	}
	var log bytes.Buffer
	var set int64
	m := newMemory(func(string) string { return "" }, nil, slog.New(slog.NewTextHandler(&log, nil)))
	m.set = func(n int64) int64 { set = n; return 0 }
	for i, s := range steps {
		log.Reset()
		m.root = s.root
		m.follow(s.top, []string{"a", "b"})
		if said := log.String(); set != s.want || (s.say == "") != (said == "") || !strings.Contains(said, s.say) {
			t.Errorf("step %d: %d is set, want %d; said %q", i, set, s.want, said)
		}
	}
	newMemory(func(string) string { return "1GiB" }, files(), slog.New(slog.DiscardHandler)).follow(top(100*mib, 100*mib), []string{"a", "b"})
}
