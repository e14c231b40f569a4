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
// other. Of a single node, both are the same.
type pair struct {
	name               string
	publish, subscribe string // addresses
	username, password string
	processes          []*process // started here
	pids               []int
	profile            []string    // addresses of their profiles, in the order of processes; clinkd only
	between            []*cutProxy // what the link goes through, if it can be cut
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
	for _, x := range p.between {
		x.close()
	}
}

// via returns the addresses to reach the given ones through, after proxies were
// put between if they shall be.
func (p *pair) via(cuttable bool, addrs ...string) ([]string, error) {
	if !cuttable {
		return addrs, nil
	}
	var through []string
	for _, a := range addrs {
		x, err := newCutProxy(a)
		if err != nil {
			return nil, err
		}
		p.between = append(p.between, x)
		through = append(through, x.addr)
	}
	return through, nil
}

// cut breaks the link; nothing crosses before restore.
func (p *pair) cut() {
	for _, x := range p.between {
		x.cut()
	}
}

func (p *pair) restore(ctx context.Context) (err error) {
	for _, x := range p.between {
		err = errors.Join(err, x.restore(ctx))
	}
	return err
}

// measure runs one round of a load, or another thing that config asks for.
func (p *pair) measure(ctx context.Context, c common, l load, change func(*loadgen.Config)) (loadgen.Result, error) {
	config := loadgen.Config{
		PublishTo: p.publish, SubscribeAt: p.subscribe, Username: p.username, Password: p.password,
		TopicPrefix: "fwd/bench", Version: byte(c.version), QoS: byte(l.QoS), Size: l.Size,
		Publishers: l.Publishers, Subscribers: l.Subscribers, Window: l.Window, Rate: l.Rate,
		WarmUp: c.warmUp, Duration: c.duration,
		Probe: func() loadgen.Usage { return usage(p.pids) },
	}
	if change != nil {
		change(&config)
	}
	res, err := loadgen.Run(ctx, config)
	if err != nil {
		err = fmt.Errorf("%s, %v: %w", p.name, l, p.blame(err))
	}
	return res, err
}

// blame adds to an error the last words of a process that has ended.
func (p *pair) blame(err error) error {
	for _, q := range p.processes {
		select {
		case <-q.done:
			err = errors.Join(err, q.fault("ended"))
		default:
		}
	}
	return err
}

// takeProfiles writes a CPU profile of each process over the time of one more
// round.
func (p *pair) takeProfiles(ctx context.Context, c common, l load) error {
	faults := make(chan error, len(p.profile))
	for i, addr := range p.profile {
		name := strings.NewReplacer(" ", "", ",", "-", ":", "to", "/", "per").Replace(fmt.Sprintf("%s-%v.pprof", p.processes[i].name, l))
		url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", addr, max(1, int(c.duration/time.Second)))
		go func() { faults <- fetch(ctx, url, filepath.Join(c.profiles, name)) }()
	}
	_, err := p.measure(ctx, c, l, nil)
	for range p.profile {
		err = errors.Join(err, <-faults)
	}
	return err
}

// get reads what is at url. Its connection ends at once: an open one would be
// one of the figures.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	return io.ReadAll(res.Body)
}

func fetch(ctx context.Context, url, file string) error {
	b, err := get(ctx, url)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o666)
}
