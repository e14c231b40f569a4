package command_test

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"clink/cmd/clinkd/command"
)

// A systemd is the far end of NOTIFY_SOCKET.
type systemd struct {
	t    *testing.T
	got  chan string // datagrams
	name string
}

func listenAsSystemd(t *testing.T, name string) *systemd {
	t.Helper()
	// A SIGHUP must not end the test where a daemon is not ready for it.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hup) })
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	s := &systemd{t: t, name: name, got: make(chan string, 10000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 64<<10)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			s.got <- string(b[:n])
		}
	}()
	t.Cleanup(func() { c.Close(); <-ended })
	return s
}

// until returns the first datagram with such a line.
func (s *systemd) until(line string) string {
	s.t.Helper()
	end := time.After(deadline)
	for {
		select {
		case text := <-s.got:
			for l := range strings.Lines(text) {
				if strings.HasPrefix(l, line) {
					return text
				}
			}
		case <-end:
			s.t.Fatalf("systemd is not told %s", line)
		}
	}
}

// monotonicNow is read elsewhere than in the code under test: the first figure
// is the time since the boot, and stands still with CLOCK_MONOTONIC unless the
// machine sleeps.
func monotonicNow(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Skip(err)
	}
	seconds, err := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(seconds * float64(time.Second))
}

func TestSystemdIsTold(t *testing.T) {
	names := map[string]string{"path": filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		names["abstract"] = fmt.Sprintf("@clink-test-%d", os.Getpid())
	}
	for kind, name := range names {
		t.Run(kind, func(t *testing.T) {
			s := listenAsSystemd(t, name)
			env := map[string]string{"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": strconv.Itoa(os.Getpid())}
			d, ready := launchIn(t, env, copyExample(t, "two-sites"), t.TempDir())
			if text := s.until("READY=1"); !strings.Contains(text, "\nSTATUS=revision ") || !strings.Contains(text, " is in force") {
				t.Errorf("ready is told as %q", text)
			}
			d.http = <-ready
			s.until("WATCHDOG=1")
			s.until("WATCHDOG=1")

			before := monotonicNow(t)
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			text := s.until("RELOADING=1")
			_, usec, _ := strings.Cut(text, "MONOTONIC_USEC=")
			usec, _, _ = strings.Cut(usec, "\n")
			at, err := strconv.ParseInt(usec, 10, 64)
			if told := time.Duration(at) * time.Microsecond; err != nil || told < before-time.Second || told > monotonicNow(t)+time.Second {
				t.Errorf("reloading since %q, %v; the clock was at %v", usec, err, before)
			}
			s.until("READY=1")

			d.edit("site_a.cue", "package topology", "package topology }{")
			for text := ""; !strings.Contains(text, "held back"); { // after the pass
				text = s.until("STATUS=revision")
			}
			if code := d.stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			s.until("STOPPING=1")
		})
	}
}

// A reload of a source that cannot be loaded ends as well.
func TestReloadOfAnUnreadableSourceEnds(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	s := listenAsSystemd(t, name)
	d, ready := launchIn(t, map[string]string{"NOTIFY_SOCKET": name}, copyExample(t, "two-sites"), t.TempDir())
	s.until("READY=1")
	d.http = <-ready
	if err := os.Rename(d.dir, d.dir+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.until("RELOADING=1")
	if text := s.until("READY=1"); !strings.Contains(text, "cannot be loaded") {
		t.Errorf("the end of the reload is told as %q", text)
	}
}

// A service manager that does not answer holds nothing up.
func TestNoSystemdBehindItsSocket(t *testing.T) {
	t.Parallel()
	for _, name := range []string{filepath.Join(t.TempDir(), "nobody"), "neither"} {
		d, ready := launchIn(t, map[string]string{"NOTIFY_SOCKET": name}, copyExample(t, "two-sites"), t.TempDir())
		d.http = <-ready
		if !strings.Contains(d.log.String(), "the service manager can") && !strings.Contains(d.log.String(), "the service manager could not be told") {
			t.Errorf("nothing is said of %s", name)
		}
	}
}

// The unit in docs/ starts clinkd with flags that there are.
func TestUnitFile(t *testing.T) {
	b, err := os.ReadFile("../../../docs/clinkd.service")
	if err != nil {
		t.Fatal(err)
	}
	unit, env := map[string]string{}, map[string]string{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			unit[name] = value
		}
	}
	name, value, _ := strings.Cut(unit["Environment"], "=")
	env[name] = value
	if name != "CLINK_DATA_DIR" || unit["Type"] != "notify-reload" {
		t.Errorf("the unit says %v", unit)
	}
	args := strings.Fields(unit["ExecStart"])
	args[len(args)-1] = filepath.Join(t.TempDir(), "none")
	var out, log safeBuffer
	c := command.Command{Stdout: &out, Stderr: &log, Getenv: func(name string) string { return env[name] }}
	if code := c.Run(t.Context(), args[1:]); code == 0 || !strings.Contains(log.String(), "topology directory: lstat") {
		t.Errorf("%q exits with %d: %s", args, code, &log)
	}
}
