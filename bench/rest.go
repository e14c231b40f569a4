package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
)

// A restClient talks to the REST API of one clinkd.
type restClient struct {
	base     string // URL
	key, sec string
	client   *http.Client
}

var restLine = regexp.MustCompile(`REST API: (http://\S+), key in (\S+)`)

// rest waits until a clinkd is ready, and reads where its API is, as a user
// does. The caller closes the client.
func (p *process) rest(ctx context.Context) (*restClient, error) {
	c := &restClient{client: &http.Client{Timeout: time.Minute}}
	return c, p.poll(ctx, pollEach, "get ready", func() (bool, error) {
		said, err := os.ReadFile(p.logPath)
		m := restLine.FindSubmatch(said)
		if err != nil || m == nil || !bytes.Contains(said, []byte("\nready: ")) {
			return false, err
		}
		key, err := os.ReadFile(string(m[2]))
		if err != nil {
			return false, err
		}
		c.base = string(m[1])
		c.key, c.sec, _ = strings.Cut(strings.TrimSpace(string(key)), ":")
		return true, nil
	})
}

func (c *restClient) close() { c.client.CloseIdleConnections() }

// pollEach is often enough for what takes milliseconds.
const pollEach = 4 * time.Millisecond

// poll asks over and over, for five minutes at most.
func (p *process) poll(ctx context.Context, each time.Duration, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(each)
	defer tick.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.fault("ended before it could " + what)
		case <-ctx.Done():
			return p.fault("did not " + what)
		}
	}
}

// do sends a request and returns the answer's status and body.
func (c *restClient) do(ctx context.Context, method, path, id string, body any) (int, []byte, error) {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.SetBasicAuth(c.key, c.sec)
	req.Header.Set("X-Request-Id", id)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err = io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

// get reads into v.
func (c *restClient) get(ctx context.Context, path string, v any) error {
	status, b, err := c.do(ctx, "GET", path, "read", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GET %s: %d %.500s", path, status, b)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// A linkState is what is read of a link.
type linkState struct {
	Name, Status string
	Replication  struct {
		State      string
		PeerRoutes int `json:"peer_routes"`
		OwnRoutes  int `json:"own_routes"`
	}
	Inbound struct{ State string }
}

// up reports whether both halves of the link stand, as this end sees it.
func (l linkState) up() bool {
	return l.Status == "connected" && l.Replication.State == "online" && l.Inbound.State == "online"
}
