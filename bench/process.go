package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"clink/bench/loadgen"
)

// A process is a broker started here.
type process struct {
	name    string
	logPath string
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
}

// stopTime is how long a process may take to end by itself.
const stopTime = 5 * time.Second

// start runs a program until stop or the end of ctx. What it prints goes to a
// file in dir.
func start(ctx context.Context, dir, name, program string, args ...string) (*process, error) {
	p := &process{name: name, logPath: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.CommandContext(ctx, program, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopTime
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// listening waits until addr accepts connections.
func (p *process) listening(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := new(net.Dialer).DialContext(ctx, "tcp", addr); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.fault("ended before it was ready")
		case <-ctx.Done():
			return p.fault("did not listen on " + addr)
		}
	}
}

// fault is an error with the end of what the process said.
func (p *process) fault(what string) error {
	b, _ := os.ReadFile(p.logPath)
	b = bytes.TrimSpace(b[max(0, len(b)-2000):])
	return fmt.Errorf("%s %s; its last words:\n%s", p.name, what, b)
}

// usage adds up what processes have used; zeros where the system is not Linux.
func usage(pids []int) loadgen.Usage {
	var u loadgen.Usage
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		cpu, rss := parseStat(string(stat))
		u.CPU += cpu
		u.RSS += rss
	}
	return u
}

// ticks a second in /proc, the same on every Linux that Go runs on.
const ticks = 100

// parseStat reads processor time, with that of children that have ended, and
// resident bytes out of a line of /proc/PID/stat; proc(5).
func parseStat(line string) (time.Duration, int64) {
	// The second field is the program's name and may hold anything.
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 22 {
		return 0, 0
	}
	number := func(field int) int64 { // counted from 1, as in the manual
		n, _ := strconv.ParseInt(fields[field-3], 10, 64)
		return n
	}
	return time.Duration(number(14)+number(15)+number(16)+number(17)) * time.Second / ticks, number(24) * int64(os.Getpagesize())
}
