package command

import (
	"bufio"
	"bytes"
	"io/fs"
	"log/slog"
	"math"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"clink/topology"
)

const (
	// leastMemory is the lowest limit that is set: with less, the collector
	// would do little else than run.
	leastMemory = 64 << 20
	// groupShare is how much of a container's memory, in percent, the limit
	// leaves to Go: the rest is for what its runtime does not count.
	groupShare = 90
)

// A memory keeps the process's soft memory limit: the sum of what its sites
// name, as far as the container has as much.
type memory struct {
	root fs.FS // of the file system
	log  *slog.Logger
	set  func(bytes int64) int64

	limit int64 // that was set last
}

// newMemory returns nil if the limit is set already, by GOMEMLIMIT.
func newMemory(getenv func(string) string, root fs.FS, log *slog.Logger) *memory {
	if getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return &memory{root: root, log: log, set: debug.SetMemoryLimit, limit: math.MaxInt64}
}

// follow sets the limit for the sites of this process as they are now. Only if
// each of them names its memory, their sum says anything of the whole.
func (m *memory) follow(t *topology.Topology, sites []string) {
	if m == nil {
		return
	}
	limit, why := groupMemory(m.root)/100*groupShare, "90 % of what the container has"
	if sum := named(t, sites); sum > 0 && (limit == 0 || sum < limit) {
		limit, why = sum, "the memory that the sites name"
	}
	if limit == 0 {
		limit, why = math.MaxInt64, "neither the sites nor a container name one"
	} else if limit < leastMemory {
		limit, why = leastMemory, why+", which is less"
	}
	if limit == m.limit {
		return
	}
	m.limit = limit
	m.set(limit)
	if limit == math.MaxInt64 {
		m.log.Info("there is no memory limit any more", "because", why)
		return
	}
	m.log.Info("memory limit set", "bytes", limit, "because", why)
}

// named is the sum of the sites' memory, 0 if one of them names none.
func named(t *topology.Topology, sites []string) int64 {
	if t == nil {
		return 0
	}
	sum := int64(0)
	for _, name := range sites {
		s := t.Sites[name]
		if s == nil || s.Memory.Bytes <= 0 {
			return 0
		}
		if sum += s.Memory.Bytes; sum < 0 {
			return math.MaxInt64
		}
	}
	return sum
}

// groupMemory is what the control group that the process is in may use, or one
// around it, whichever is less; 0 if there is no bound, or no such thing.
func groupMemory(root fs.FS) int64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(0)
	for lines := bufio.NewScanner(bytes.NewReader(groups)); lines.Scan(); {
		// number:controllers:path; version 2 has number 0 and no controllers.
		parts := strings.SplitN(lines.Text(), ":", 3)
		if len(parts) < 3 {
			continue
		}
		base, file := "sys/fs/cgroup", "memory.max"
		switch {
		case parts[0] == "0" && parts[1] == "":
		case parts[1] == "memory":
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// In a container the path may be the host's: then only its end exists.
		for at := path.Clean("/" + parts[2]); ; at = path.Dir(at) {
			if n := readLimit(root, path.Join(base, at, file)); n > 0 && (least == 0 || n < least) {
				least = n
			}
			if at == "/" {
				break
			}
		}
	}
	return least
}

// noLimit is beyond any machine's memory: version 1 of control groups says
// something like it where there is no limit.
const noLimit = 1 << 60

func readLimit(root fs.FS, name string) int64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n <= 0 || n >= noLimit { // "max"
		return 0
	}
	return n
}
