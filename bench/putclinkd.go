package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"clink/internal/freeport"
)

// A putDaemon is a clinkd whose REST API is written to.
type putDaemon struct {
	*process
	*restClient
	topology  string
	pprof     string // address
	cancel    context.CancelFunc
	server    string          // of the link that is changed
	requested map[string]bool // ids of the requests that must be in git
}

// startDaemon runs clinkd over the topology in dir, and waits until it is ready.
func startDaemon(ctx context.Context, dir, program string, flags ...string) (*putDaemon, error) {
	addrs, err := freeport.Addresses(1)
	if err != nil {
		return nil, err
	}
	d := &putDaemon{topology: filepath.Join(dir, "topology"), pprof: addrs[0], requested: map[string]bool{}}
	ctx, d.cancel = context.WithCancel(ctx)
	args := append([]string{"run", "--http", "127.0.0.1:0", "--pprof", d.pprof, "--log-level", "warn", "--data-dir", filepath.Join(dir, "data")}, flags...)
	if d.process, err = start(ctx, dir, "clinkd", program, append(args, d.topology)...); err != nil {
		d.cancel()
		return nil, err
	}
	if d.restClient, err = d.rest(ctx); err != nil {
		d.cancel()
		<-d.done
		return nil, err
	}
	return d, nil
}

func (d *putDaemon) stop() {
	d.close()
	d.cancel()
	<-d.done
}

// cpu is the processor time it has used, with that of the git programs it ran.
func (d *putDaemon) cpu() time.Duration { return usage([]int{d.cmd.Process.Pid}).CPU }

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

// online waits until both halves of the link stand, as either end sees it.
func (d *putDaemon) online(ctx context.Context) error {
	return d.poll(ctx, pollEach, "bring its link online", func() (bool, error) {
		for _, path := range []string{putLinkAt, "/sites/" + putB + "/cluster/links/" + putA} {
			var l linkState
			if err := d.get(ctx, path, &l); err != nil {
				return false, err
			}
			if !l.up() {
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
	err := d.poll(ctx, pollEach, "commit what was written", func() (bool, error) {
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
