package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A machine is where, when and among what something was measured.
type machine struct {
	Began     time.Time     `json:"began"`
	Took      time.Duration `json:"took"` // in nanoseconds
	OS        string        `json:"os"`
	Kernel    string        `json:"kernel,omitempty"`
	Processor string        `json:"processor,omitempty"`
	CPUs      int           `json:"processors"`
	Memory    int64         `json:"memory,omitempty"` // bytes
	Busy      float64       `json:"busy"`             // share of the processors that other work had; negative: not known
	Go        string        `json:"go"`
	Mosquitto string        `json:"mosquitto,omitempty"`
	Clink     string        `json:"clink,omitempty"` // commit, with + if something is not committed
}

// watchMachine describes this machine; what it returns ends the description and
// must be called when all that was started has ended.
func watchMachine(ctx context.Context, mosquitto string) func() machine {
	m := machine{Began: time.Now().UTC().Truncate(time.Second), OS: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Go: runtime.Version(), Kernel: strings.TrimSpace(readText("/proc/sys/kernel/osrelease")), Clink: commit(ctx)}
	if f := processorLine.FindStringSubmatch(readText("/proc/cpuinfo")); f != nil {
		m.Processor = f[1]
	}
	if f := memoryTotal.FindStringSubmatch(readText("/proc/meminfo")); f != nil {
		kib, _ := strconv.ParseInt(f[1], 10, 64)
		m.Memory = kib << 10
	}
	if f := versionNumber.FindString(mosquitto); f != "" {
		m.Mosquitto = f
	}
	began, busy, own := time.Now(), allBusy(readText("/proc/stat")), spent()
	return func() machine {
		m.Took = time.Since(began).Round(time.Second)
		m.Busy = -1
		if now := allBusy(readText("/proc/stat")); busy > 0 && m.Took > 0 {
			others := now - busy - (spent() - own)
			m.Busy = max(0, float64(others)/float64(m.Took)/float64(m.CPUs))
		}
		return m
	}
}

var (
	processorLine = regexp.MustCompile(`(?m)^model name\s*: (.*)$`)
	memoryTotal   = regexp.MustCompile(`(?m)^MemTotal:\s+(\d+) kB$`)
	versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)
)

func readText(file string) string {
	b, _ := os.ReadFile(file)
	return string(b)
}

// allBusy adds up from /proc/stat what all processors have done since the
// machine's start, and what was stolen from it; proc(5).
func allBusy(stat string) time.Duration {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0
	}
	var sum int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} { // not idle, not waiting for a disk
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks
}

// commit is that of the working directory, "" if it is none of a checkout.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty=+", "--exclude=*").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func (m machine) String() string {
	text := fmt.Sprintf("%s, %d processors", m.OS, m.CPUs)
	if m.Processor != "" {
		text += " (" + m.Processor + ")"
	}
	if m.Memory > 0 {
		text += fmt.Sprintf(", %.0f GiB", float64(m.Memory)/(1<<30))
	}
	if m.Kernel != "" {
		text += ", kernel " + m.Kernel
	}
	text += ", " + m.Go
	if m.Mosquitto != "" {
		text += ", mosquitto " + m.Mosquitto
	}
	if m.Clink != "" {
		text += ", clink at commit " + m.Clink
	}
	text += fmt.Sprintf("; %s UTC, %v", m.Began.Format("2006-01-02 15:04"), m.Took)
	if busy := m.BusyPercent(); busy != "" {
		text += ", other work had " + busy + " of the processors meanwhile"
	}
	return text
}

// BusyPercent is the share of the processors that other work had, "" if it is
// not known.
func (m machine) BusyPercent() string {
	if m.Busy < 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %%", 100*m.Busy)
}
