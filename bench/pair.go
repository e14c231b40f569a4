package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"clink/bench/loadgen"
)

// A pair is two joined brokers: publishers at one, the subscriber at the
// other.
type pair struct {
	name               string
	publish, subscribe string // addresses
	username, password string
	processes          []*process // started here
	pids               []int
	profile            []string // addresses of their profiles, in the order of processes
}

func (p *pair) start(ctx context.Context, dir, name, addr, program string, args ...string) error {
	q, err := start(ctx, dir, name, program, args...)
	if err != nil {
		return err
	}
	p.processes = append(p.processes, q)
	p.pids = append(p.pids, q.cmd.Process.Pid)
	return q.listening(ctx, addr)
}

// wait returns when all processes have ended; somebody has to tell them.
func (p *pair) wait() {
	for _, q := range p.processes {
		<-q.done
	}
}

// A load is one case of the comparison.
type load struct {
	qos, size int
	fan       fan // of one node; zero: a link
}

func (l load) String() string {
	unit := fmt.Sprintf("%d B", l.size)
	if l.size%1024 == 0 {
		unit = fmt.Sprintf("%d KiB", l.size/1024)
	}
	if l.fan != (fan{}) {
		return fmt.Sprintf("QoS %d, %s, %v", l.qos, unit, l.fan)
	}
	return fmt.Sprintf("QoS %d, %s", l.qos, unit)
}

func (p *pair) measure(ctx context.Context, o options, l load) (loadgen.Result, error) {
	res, err := loadgen.Run(ctx, loadgen.Config{
		PublishTo: p.publish, SubscribeAt: p.subscribe, Username: p.username, Password: p.password,
		TopicPrefix: "fwd/bench", Version: byte(o.version), QoS: byte(l.qos), Size: l.size,
		Publishers: o.publishers, Subscribers: max(l.fan.subscribers, 1), Window: o.window, Rate: o.rate,
		WarmUp: o.warmUp, Duration: o.duration,
		Probe: func() loadgen.Usage { return usage(p.pids) },
	})
	if err == nil {
		return res, nil
	}
	for _, q := range p.processes {
		select {
		case <-q.done:
			err = errors.Join(err, q.fault("ended"))
		default:
		}
	}
	return res, fmt.Errorf("%s, %v: %w", p.name, l, err)
}

// takeProfiles writes a CPU profile of each process over the time of one more
// round.
func (p *pair) takeProfiles(ctx context.Context, o options, l load) error {
	faults := make(chan error, len(p.profile))
	for i, addr := range p.profile {
		file := filepath.Join(o.profiles, strings.NewReplacer(" ", "", ",", "-", ":", "to").Replace(fmt.Sprintf("%s-%v.pprof", p.processes[i].name, l)))
		url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", addr, max(1, int(o.duration/time.Second)))
		go func() { faults <- fetch(ctx, url, file) }()
	}
	_, err := p.measure(ctx, o, l)
	for range p.profile {
		err = errors.Join(err, <-faults)
	}
	return err
}

func fetch(ctx context.Context, url, file string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Close = true // an open connection would be one of the figures
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close())
}
