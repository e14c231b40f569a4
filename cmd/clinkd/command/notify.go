package command

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// readyGrace is for how long after the start the service manager waits for
	// a daemon that does not become ready, because its source is broken, say.
	readyGrace = 10 * time.Second
	// reloadTime bounds what a reload waits for.
	reloadTime = 20 * time.Second
	// sayTime bounds one datagram: the manager's queue may be full.
	sayTime = time.Second
	// statusText bounds the status line, in bytes.
	statusText = 500
)

// A manager is systemd, or what speaks its protocol (sd_notify(3)): datagrams
// with lines of NAME=VALUE to a Unix socket.
type manager struct {
	address  *net.UnixAddr // nil: there is none
	watchdog time.Duration // within which it wants to hear; 0: it does not
	log      *slog.Logger
}

func newManager(getenv func(string) string, log *slog.Logger) *manager {
	m := &manager{log: log}
	// A leading @ stands for the abstract namespace, in package net as well.
	if name := getenv("NOTIFY_SOCKET"); strings.HasPrefix(name, "/") || strings.HasPrefix(name, "@") {
		m.address = &net.UnixAddr{Name: name, Net: "unixgram"}
	} else if name != "" {
		log.Warn("the service manager cannot be told anything: NOTIFY_SOCKET is neither a path nor an abstract name", "socket", name)
	}
	pid := getenv("WATCHDOG_PID")
	if usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 && usec < 1<<50 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		m.watchdog = time.Duration(usec) * time.Microsecond
	}
	return m
}

// say sends one datagram. What cannot be sent is logged and lost: a service
// must not fail for want of its manager.
func (m *manager) say(ctx context.Context, lines ...string) {
	if m.address == nil {
		return
	}
	err := func() error {
		c, err := net.DialUnix("unixgram", nil, m.address)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetWriteDeadline(time.Now().Add(sayTime))
		_, err = c.Write([]byte(strings.Join(lines, "\n")))
		return err
	}()
	if err != nil {
		m.log.Log(ctx, slog.LevelWarn, "the service manager could not be told", "what", lines[0], "err", err)
	}
}

// status is the line that systemctl status shows.
func (d *daemon) status() string {
	s := d.rec.State()
	text := s.Conditions[0].Message
	if s.Revision != "" && !strings.Contains(text, s.Revision) {
		text = "revision " + s.Revision + ": " + text
	}
	text = strings.Join(strings.Fields(text), " ")
	return "STATUS=" + strings.ToValidUTF8(text[:min(len(text), statusText)], "")
}

// reload looks again, and tells the manager when that is over. Under
// Type=notify-reload it knows by the time that the answer is to its signal.
func (d *daemon) reload(ctx context.Context) {
	d.manager.say(ctx, "RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonic().Microseconds()), "STATUS=reading the source again")
	d.reloadKeys()
	bounded, cancel := context.WithTimeout(ctx, reloadTime)
	defer cancel()
	if err := d.rec.Look(bounded); err != nil && ctx.Err() == nil {
		d.log.Error("the reload that was asked for did not come about", "err", err)
	}
	d.manager.say(ctx, "READY=1", d.status())
}

// reloadKeys reads the API keys again. A file that is not right takes nobody's
// key away.
func (d *daemon) reloadKeys() {
	b, err := os.ReadFile(d.keyPath)
	if err == nil {
		err = d.keys.Reload(b)
	}
	if err != nil {
		d.log.Error("the API keys could not be read again; those from before stay in use", "file", d.keyPath, "err", err)
	}
}

// report keeps the manager's status line right, shows it that the daemon is
// alive, and tells it of the end.
func (d *daemon) report(ctx context.Context) {
	if d.manager.address == nil {
		return
	}
	_, events, stop := d.rec.Events(0)
	defer stop()
	var alive <-chan time.Time
	if d.manager.watchdog > 0 {
		tick := time.NewTicker(d.manager.watchdog / 2)
		defer tick.Stop()
		alive = tick.C
	}
	for {
		select {
		case <-ctx.Done():
			d.manager.say(ctx, "STOPPING=1", "STATUS=stopping")
			return
		case <-alive:
			d.status() // does not return if the daemon is stuck
			d.manager.say(ctx, "WATCHDOG=1")
		case e, ok := <-events:
			if !ok {
				events = nil
			} else if e.Site == "" {
				d.manager.say(ctx, d.status())
			}
		}
	}
}
