package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A putDaemon is a clinkd whose REST API is written to.
type putDaemon struct {
	*process
	topology  string
	rest      string // URL
	pprof     string // address
	key, sec  string
	client    *http.Client
	cancel    context.CancelFunc
	server    string          // of the link that is changed
	requested map[string]bool // ids of the requests that must be in git
}

var restLine = regexp.MustCompile(`REST API: (http://\S+), key in (\S+)`)

// startDaemon runs clinkd over the topology in dir, and waits until it is ready.
func startDaemon(ctx context.Context, dir, program string, flags ...string) (*putDaemon, error) {
	addrs, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	d := &putDaemon{topology: filepath.Join(dir, "topology"), pprof: addrs[0], client: &http.Client{Timeout: time.Minute}, requested: map[string]bool{}}
	ctx, d.cancel = context.WithCancel(ctx)
	args := append([]string{"run", "--http", "127.0.0.1:0", "--pprof", d.pprof, "--log-level", "warn", "--data-dir", filepath.Join(dir, "data")}, flags...)
	if d.process, err = start(ctx, dir, "clinkd", program, append(args, d.topology)...); err != nil {
		d.cancel()
		return nil, err
	}
	if err := d.ready(ctx); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

func (d *putDaemon) stop() {
	d.client.CloseIdleConnections()
	d.cancel()
	<-d.done
}

// cpu is the processor time it has used, with that of the git programs it ran.
func (d *putDaemon) cpu() time.Duration { return usage([]int{d.cmd.Process.Pid}).CPU }

// ready reads where the API is, as a user does.
func (d *putDaemon) ready(ctx context.Context) error {
	return d.poll(ctx, "get ready", func() (bool, error) {
		said, err := os.ReadFile(d.logPath)
		m := restLine.FindSubmatch(said)
		if err != nil || m == nil || !bytes.Contains(said, []byte("\nready: ")) {
			return false, err
		}
		key, err := os.ReadFile(string(m[2]))
		if err != nil {
			return false, err
		}
		d.rest = string(m[1])
		d.key, d.sec, _ = strings.Cut(strings.TrimSpace(string(key)), ":")
		return true, nil
	})
}

// poll asks every few milliseconds.
func (d *putDaemon) poll(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-d.done:
			return d.fault("ended before it could " + what)
		case <-ctx.Done():
			return d.fault("did not " + what)
		}
	}
}

// do sends a request and returns the answer's status and body.
func (d *putDaemon) do(ctx context.Context, method, path, id string, body any) (int, []byte, error) {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, d.rest+path, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.SetBasicAuth(d.key, d.sec)
	req.Header.Set("X-Request-Id", id)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := d.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err = io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

// get reads into v.
func (d *putDaemon) get(ctx context.Context, path string, v any) error {
	status, b, err := d.do(ctx, "GET", path, "read", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GET %s: %d %.500s", path, status, b)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// write makes a change that must be answered as one that is in force.
func (d *putDaemon) write(ctx context.Context, method, path string, body any, want int) error {
	id := fmt.Sprintf("bench-%d", len(d.requested))
	status, b, err := d.do(ctx, method, path, id, body)
	if err != nil {
		return err
	}
	if status != want {
		return fmt.Errorf("%s %s: %d %.500s", method, path, status, b)
	}
	d.requested[id] = true
	return nil
}

// A linkState is what is read of a link.
type linkState struct {
	Name, Status         string
	Replication, Inbound struct{ State string }
}

// online waits until both halves of the link stand, as either end sees it.
func (d *putDaemon) online(ctx context.Context) error {
	return d.poll(ctx, "bring its link online", func() (bool, error) {
		for _, path := range []string{putLinkAt, "/sites/" + putB + "/cluster/links/" + putA} {
			var l linkState
			if err := d.get(ctx, path, &l); err != nil {
				return false, err
			}
			if l.Status != "connected" || l.Replication.State != "online" || l.Inbound.State != "online" {
				return false, nil
			}
		}
		return true, nil
	})
}

// topic gives the link a topic more, and the next time takes it away.
func (d *putDaemon) topic(ctx context.Context, n int) (links bool, err error) {
	topics := []string{"global/#", "fwd/#"}
	if n%2 == 0 {
		topics = append(topics, "bench/#")
	}
	return true, d.write(ctx, "PUT", putLinkAt, d.link(topics), http.StatusOK)
}

// pair deletes both halves, and the next time makes them again.
func (d *putDaemon) pair(ctx context.Context, n int) (links bool, err error) {
	if n%2 == 0 {
		return false, d.write(ctx, "DELETE", putLinkAt+"?pair=true", nil, http.StatusNoContent)
	}
	l := d.link([]string{"global/#"})
	l["name"] = putB
	return true, d.write(ctx, "PUT", "/sites/"+putA+"/cluster/links?pair=true", l, http.StatusCreated)
}

func (d *putDaemon) link(topics []string) map[string]any {
	return map[string]any{"server": d.server, "topics": topics, "username": "from-" + putA, "password": "file://secrets/a-to-b"}
}

// inGit fails unless each request has a commit of its own, and nothing is left
// to be committed.
func (d *putDaemon) inGit(ctx context.Context) error {
	var status struct {
		Git struct{ Uncommitted []any }
	}
	err := d.poll(ctx, "commit what was written", func() (bool, error) {
		err := d.get(ctx, "/status", &status)
		return len(status.Git.Uncommitted) == 0, err
	})
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "git", "-C", d.topology, "log", "--format=%(trailers:key=Clink-Request-Id,valueonly)").Output()
	if err != nil {
		return fmt.Errorf("git log: %w", err)
	}
	found := map[string]bool{}
	for _, id := range strings.Fields(string(out)) {
		if found[id] {
			return fmt.Errorf("request %s is in two commits", id)
		}
		found[id] = true
	}
	for id := range d.requested {
		if !found[id] {
			return fmt.Errorf("of %d requests %s is in no commit", len(d.requested), id)
		}
	}
	out, err = exec.CommandContext(ctx, "git", "-C", d.topology, "status", "--porcelain").Output()
	if err == nil && len(out) > 0 {
		err = fmt.Errorf("not committed:\n%s", out)
	}
	return err
}

// What a process holds.
type holdings struct{ heap, goroutines, files float64 }

var sample = regexp.MustCompile(`(?m)^(go_memstats_heap_alloc_bytes|go_goroutines|process_open_fds) (\S+)$`)

// holds reads it, after a garbage collection.
func (d *putDaemon) holds(ctx context.Context) (f holdings, err error) {
	if err := fetch(ctx, "http://"+d.pprof+"/debug/pprof/heap?gc=1", os.DevNull); err != nil {
		return f, err
	}
	_, text, err := d.do(ctx, "GET", "/metrics", "read", nil)
	if err != nil {
		return f, err
	}
	of := map[string]*float64{"go_memstats_heap_alloc_bytes": &f.heap, "go_goroutines": &f.goroutines, "process_open_fds": &f.files}
	for _, m := range sample.FindAllSubmatch(text, -1) {
		if *of[string(m[1])], err = strconv.ParseFloat(string(m[2]), 64); err != nil {
			return f, err
		}
	}
	return f, nil
}

// profile takes a CPU profile until what it returns is called, if dir is not "".
func (d *putDaemon) profile(ctx context.Context, dir, name string) func() error {
	if dir == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() {
		done <- fetch(ctx, "http://"+d.pprof+"/debug/pprof/profile?seconds=5", filepath.Join(dir, name+".pprof"))
	}()
	return func() error { return <-done }
}
