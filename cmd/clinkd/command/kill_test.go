package command_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A process is one clinkd of its own, which can be killed.
type process struct {
	*daemon
	cmd *exec.Cmd
}

// builtOnce makes one clinkd for all tests.
var builtOnce = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(home, "clinkd")
	if out, err := exec.Command("go", "build", "-o", bin, "clink/cmd/clinkd").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build clinkd: %w\n%s", err, out)
	}
	return bin, nil
})

// build returns the path of a clinkd.
func build(t *testing.T) string {
	t.Helper()
	bin, err := builtOnce()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// spawn runs one site and waits until it is ready.
func spawn(t *testing.T, bin, dir, data, site string, flags ...string) *process {
	t.Helper()
	p := &process{daemon: &daemon{t: t, dir: dir, data: data, out: &safeBuffer{}, log: &safeBuffer{}}}
	flags = append([]string{"run", "--resync", seldom, "--site", site, "--http", "127.0.0.1:0", "--data-dir", data}, flags...)
	p.cmd = exec.Command(bin, append(flags, dir)...)
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p.out.Write(append(lines.Bytes(), '\n'))
		if strings.HasPrefix(lines.Text(), "ready:") {
			p.http = restAddr(t, p.daemon)
			return p
		}
	}
	t.Fatalf("clinkd ended before it was ready:\n%s\n%s", p.out, p.log)
	return nil
}

// kill ends the process as a crash would.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func TestLinkHealsAfterKill(t *testing.T) {
	t.Parallel()
	bin, dir, data := build(t), copyExample(t, "two-sites"), t.TempDir()
	a := spawn(t, bin, dir, data, "site-a")
	b := spawn(t, bin, dir, data, "site-b")
	a.online("site-a", "site-b")
	b.online("site-b", "site-a")
	pub, sub := connect(t, a.port("site-a"), "pub"), connect(t, b.port("site-b"), "sub")
	sub.subscribe("global/#", 1)
	flows(t, pub, sub, "global/before")

	b.kill()
	began := time.Now()
	again := spawn(t, bin, dir, data, "site-b")
	sub = connect(t, again.port("site-b"), "sub")
	sub.subscribe("global/#", 1)
	flows(t, pub, sub, "global/after")
	again.online("site-b", "site-a")
	a.online("site-a", "site-b")
	t.Logf("healed %v after the kill", time.Since(began).Round(time.Millisecond))

	// The incarnation did not go back, or the peer would have refused it.
	if strings.Contains(again.log.String(), "refuse") {
		t.Errorf("the peer refused the restarted site:\n%s", again.log)
	}
	if _, err := os.Stat(filepath.Join(data, "site-b", "last-good")); err != nil {
		t.Error(err)
	}
}
