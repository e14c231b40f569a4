package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"clink/cmd/clinkd/command"
	"clink/httpapi/apitest"
	"clink/internal/freeport"

	"github.com/eclipse/paho.golang/paho"
)

const examples = "../../../examples/topologies"

// deadline bounds every wait for an event in these tests. It is long, for the
// machine may be busy with something else; what would only come when clinkd
// looks without being woken (seldom) comes too late.
const (
	deadline = time.Minute
	seldom   = "1h"
)

// A daemon is one clinkd run in-process over a copy of an example whose
// ports are free ones of this machine.
type daemon struct {
	t        *testing.T
	dir      string // the topology
	data     string
	http     string
	keyOnce  sync.Once
	key      string
	apiOnce  sync.Once
	checked  *http.Client
	out, log *safeBuffer
	stop     func() int // ends it and returns its exit code
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// examplePort matches the ports that the examples use.
var examplePort = regexp.MustCompile(`\b(1\d{3,4}|8\d{3})\b`)

// copyExample copies a topology and gives every port in it a free one in its
// stead.
func copyExample(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(examples, name))); err != nil {
		t.Fatal(err)
	}
	ports := map[string]string{}
	rewrite(t, dir, func(text string) string {
		return examplePort.ReplaceAllStringFunc(text, func(port string) string {
			if ports[port] == "" {
				ports[port] = freePort(t)
			}
			return ports[port]
		})
	})
	return dir
}

// rewrite changes the text of every CUE file of a topology.
func rewrite(t *testing.T, dir string, change func(string) string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.cue"))
	if err != nil || len(files) == 0 {
		t.Fatalf("CUE files of %s: %v, %v", dir, files, err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(change(string(b))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// freePort returns a loopback port that nobody listens on, and that is nobody
// else's until the test ends.
func freePort(t *testing.T) string {
	t.Helper()
	port, give, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { give.Close() })
	return port
}

func startExample(t *testing.T, name string) *daemon {
	t.Helper()
	return start(t, copyExample(t, name), t.TempDir())
}

// start runs clinkd over dir and waits until it says that it is ready.
func start(t *testing.T, dir, data string, flags ...string) *daemon {
	t.Helper()
	d, ready := launch(t, dir, data, flags...)
	select {
	case d.http = <-ready:
	case <-time.After(deadline):
		t.Fatalf("clinkd is not ready:\n%s\n%s", d.out, d.log)
	}
	return d
}

// launch is start without the wait; ready gives the REST API's address.
func launch(t *testing.T, dir, data string, flags ...string) (*daemon, <-chan string) {
	t.Helper()
	return launchIn(t, nil, dir, data, flags...)
}

// launchIn is launch with environment variables.
func launchIn(t *testing.T, env map[string]string, dir, data string, flags ...string) (*daemon, <-chan string) {
	t.Helper()
	d := &daemon{t: t, dir: dir, data: data, out: &safeBuffer{}, log: &safeBuffer{}}
	ready := make(chan string, 1)
	c := command.Command{Stdout: d.out, Stderr: d.log, Getenv: func(name string) string { return env[name] }, Ready: func(a string) { ready <- a }}
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	go func() {
		code <- c.Run(ctx, append(append([]string{"run", "--resync", seldom, "--http", "127.0.0.1:0", "--data-dir", data}, flags...), dir))
	}()
	var once sync.Once
	exit := -1
	d.stop = func() int {
		once.Do(func() {
			cancel()
			select {
			case exit = <-code:
			case <-time.After(deadline):
				t.Errorf("clinkd does not stop:\n%s", d.log)
			}
		})
		return exit
	}
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			t.Logf("clinkd said:\n%s\n%s", d.out, d.log)
		}
	})
	return d, ready
}

// port returns the port of a site's first listener, as REST tells it.
func (d *daemon) port(site string) string {
	d.t.Helper()
	var sites []struct {
		Name      string
		Listeners []struct{ Name, Type, Address string }
	}
	d.get("/sites", &sites)
	for _, s := range sites {
		for _, l := range s.Listeners {
			if _, port, err := net.SplitHostPort(l.Address); s.Name == site && l.Type == "tcp" && err == nil {
				return port
			}
		}
	}
	d.t.Fatalf("site %s has no tcp listener in %+v", site, sites)
	return ""
}

// text returns what GET path answers.
func (d *daemon) text(path string) (int, string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), "GET", "http://"+d.http+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	d.authorize(req)
	res, err := d.api().Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// authorize signs a request with the key that the daemon has made.
func (d *daemon) authorize(req *http.Request) {
	d.keyOnce.Do(func() {
		b, err := os.ReadFile(filepath.Join(d.data, "api-key"))
		if err != nil {
			d.t.Error(err)
		}
		d.key = strings.TrimSpace(string(b))
	})
	name, sec, _ := strings.Cut(d.key, ":")
	req.SetBasicAuth(name, sec)
}

// api is a client that holds what goes over it against the OpenAPI document.
func (d *daemon) api() *http.Client {
	d.apiOnce.Do(func() { d.checked = &http.Client{Transport: apitest.New(d.t, nil).Transport(nil)} })
	return d.checked
}

func (d *daemon) get(path string, into any) {
	d.t.Helper()
	code, body := d.text(path)
	if code != 200 {
		d.t.Fatalf("GET %s = %d %s", path, code, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		d.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
}

// A link is what the tests read of a link in an answer.
type link struct {
	Name, Status string
	NodeStatus   []struct{ Status, Reason string } `json:"node_status"`
	Topics       []string
	Replication  struct {
		State, Reason string
		Since         time.Time
		PeerRoutes    int `json:"peer_routes"`
	}
	Inbound struct {
		State, Reason string
		Since         time.Time
	}
}

func (d *daemon) link(site, peer string) (l link) {
	d.t.Helper()
	path := "/sites/" + site + "/cluster/links/" + peer
	switch code, body := d.text(path); code {
	case 404: // not yet, or no longer
	case 200:
		if err := json.Unmarshal([]byte(body), &l); err != nil {
			d.t.Fatalf("GET %s: %v in %s", path, err, body)
		}
	default:
		d.t.Fatalf("GET %s = %d %s", path, code, body)
	}
	return l
}

// until waits for cond; what says what is waited for.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	end := time.NewTimer(deadline)
	defer end.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (d *daemon) online(site, peer string) {
	d.t.Helper()
	until(d.t, fmt.Sprintf("the link from %s to %s", site, peer), func() bool {
		l := d.link(site, peer)
		return l.Replication.State == "online" && l.Status == "connected" && l.Inbound.State == "online"
	})
}

// edit replaces old by new in a file of the topology, by rename as editors do.
func (d *daemon) edit(file, old, new string) {
	d.t.Helper()
	path := filepath.Join(d.dir, file)
	b, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		d.t.Fatalf("%s does not contain %q", file, old)
	}
	if err := os.WriteFile(path+".tmp", []byte(strings.Replace(string(b), old, new, 1)), 0o644); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		d.t.Fatal(err)
	}
}

// A client is an MQTT 5 client.
type client struct {
	t *testing.T
	*paho.Client
	got chan *paho.Publish
}

func connect(t *testing.T, port, id string) *client {
	t.Helper()
	c, err := dial(t, port, id, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func dial(t *testing.T, port, id string, with func(*paho.Connect)) (*client, error) {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, got: make(chan *paho.Publish, 10000)}
	c.Client = paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) { c.got <- p.Packet; return true, nil },
	}})
	cp := &paho.Connect{ClientID: id, KeepAlive: 30, CleanStart: true}
	if with != nil {
		with(cp)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if _, err := c.Connect(ctx, cp); err != nil {
		conn.Close()
		return nil, err
	}
	t.Cleanup(func() { c.Disconnect(&paho.Disconnect{}) })
	return c, nil
}

func (c *client) subscribe(filter string, qos byte) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
	defer cancel()
	if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: qos}}}); err != nil {
		c.t.Fatalf("subscribe %s: %v", filter, err)
	}
}

func (c *client) publish(topic, payload string, qos byte) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
	defer cancel()
	// No matching subscribers (0x10) is an error to paho and none to us.
	if res, err := c.Publish(ctx, &paho.Publish{Topic: topic, QoS: qos, Payload: []byte(payload)}); err != nil && (res == nil || res.ReasonCode != 0x10) {
		c.t.Fatalf("publish %s: %v", topic, err)
	}
}

// inTime repeats what is to take no longer than most until it once does not:
// what is slow by itself is slow each time, what waits for a processor is not.
func inTime(t *testing.T, what string, most time.Duration, once func(n int) time.Duration) {
	t.Helper()
	var took []time.Duration
	for n := range 10 {
		took = append(took, once(n))
		if took[n] <= most {
			return
		}
	}
	t.Errorf("%s took %v, want %v at most", what, took, most)
}

// flows publishes until one of the messages reaches sub, and returns how long
// that took.
func flows(t *testing.T, pub, sub *client, topic string) time.Duration {
	t.Helper()
	began := time.Now()
	for n := 0; time.Since(began) < deadline; n++ {
		pub.publish(topic, fmt.Sprint("probe ", n), 1)
		select {
		case p := <-sub.got:
			if p.Topic == topic {
				return time.Since(began)
			}
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not flow", topic)
	return 0
}
