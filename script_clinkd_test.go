package clink_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"clink/internal/freeport"

	"github.com/eclipse/paho.golang/paho"
	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds every wait of a script for something clinkd does. What clinkd
// would only do at its next look without being woken comes too late.
const patience = time.Minute

// daemonCmds are the commands of scripts about clinkd.
func daemonCmds() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"freeports": freePorts, "clinkd-run": clinkdRun, "clinkd-stop": clinkdStop,
		"rest": rest, "send": send, "unports": unports, "await-rest": awaitREST, "await-log": awaitLog, "crosses": crosses,
	}
}

var loopbackPort = regexp.MustCompile(`127\.0\.0\.1:\d{4,5}`)

// freePorts puts a free loopback port in the stead of each one in the CUE files
// of a directory, and names them in the environment: freeports DIR NAME...
// (PORT_<NAME> for the ports in the order of the files).
func freePorts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: freeports DIR NAME...")
	}
	names, found := args[1:], map[string]string{}
	pick := func(addr []byte) []byte {
		if found[string(addr)] == "" {
			port := freePort(ts.Defer, ts.Fatalf)
			found[string(addr)] = "127.0.0.1:" + port
			if len(names) > 0 {
				ts.Setenv("PORT_"+names[0], port)
				names = names[1:]
			}
		}
		return []byte(found[string(addr)])
	}
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".cue" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, loopbackPort.ReplaceAllFunc(b, pick), 0o666)
	}))
}

// freePort returns a port that nobody listens on, and that is nobody else's
// until the test ends.
func freePort(atEnd func(func()), fatalf func(string, ...any)) string {
	port, give, err := freeport.Take()
	if err != nil {
		fatalf("%v", err)
	}
	atEnd(func() { give.Close() })
	return port
}

// clinkdRun starts clinkd run with the flags and waits until it is ready:
// clinkd-run FLAG... DIR. Its streams are the files clinkd.out and clinkd.log.
func clinkdRun(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: clinkd-run FLAG... DIR")
	}
	r := start(ts, "clinkd", append([]string{"run", "--resync", "1h", "--http", "127.0.0.1:0", "--data-dir", ts.MkAbs(".") + "-data"}, args...)...)
	ts.Setenv("CLINKD_PID", fmt.Sprint(r.cmd.Process.Pid))
	var out []byte
	wait(ts, "clinkd to be ready", func() bool {
		var err error
		out, err = os.ReadFile(r.out)
		return err == nil && bytes.Contains(out, []byte("\nready: "))
	})
	m := regexp.MustCompile(`(http://\S+), key in (\S+)`).FindSubmatch(out)
	if m == nil {
		ts.Fatalf("clinkd does not say where its REST API is: %s", out)
	}
	ts.Setenv("REST", string(m[1]))
	key, err := os.ReadFile(string(m[2]))
	ts.Check(err)
	ts.Setenv("KEY", strings.TrimSpace(string(key)))
}

// clinkdStop asks clinkd to stop and waits for its good end: clinkd-stop.
func clinkdStop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: clinkd-stop")
	}
	runs(ts)["clinkd"].stop(ts, 0)
}

func get(ts *testscript.TestScript, path string) (int, string) {
	req, err := http.NewRequest("GET", ts.Getenv("REST")+path, nil)
	ts.Check(err)
	return ask(ts, req)
}

// ask makes a request with the key that clinkd made.
func ask(ts *testscript.TestScript, req *http.Request) (int, string) {
	name, sec, _ := strings.Cut(ts.Getenv("KEY"), ":")
	req.SetBasicAuth(name, sec)
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	ts.Check(err)
	return res.StatusCode, string(b)
}

// volatile are the parts of an answer that differ from run to run.
var volatile = regexp.MustCompile(`"(since|started|at|revision|version)": ?"[^"]*"`)

// rest prints the status and the answer of GET PATH, indented and with times
// and revisions masked: rest PATH FILE.
func rest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: rest PATH FILE")
	}
	code, body := get(ts, args[0])
	show(ts, code, body, args[1])
}

// show writes an answer to a file, indented, with ports by their names.
func show(ts *testscript.TestScript, code int, body, file string) {
	var pretty bytes.Buffer
	if json.Indent(&pretty, []byte(body), "", "  ") != nil {
		pretty.WriteString(body)
	}
	text := volatile.ReplaceAllString(pretty.String(), `"$1": "…"`)
	ts.Check(os.WriteFile(ts.MkAbs(file), fmt.Appendf(nil, "%d\n%s", code, text), 0o666))
	unports(ts, false, []string{file, file})
}

// send makes a request and prints the answer as rest does: send METHOD PATH
// [BODYFILE] OUTFILE. In the body, $NAME is the environment's, as in PORT_a.
func send(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: send METHOD PATH [BODYFILE] OUTFILE")
	}
	var body string
	if len(args) == 4 {
		body = os.Expand(ts.ReadFile(args[2]), ts.Getenv)
	}
	req, err := http.NewRequest(args[0], ts.Getenv("REST")+args[1], strings.NewReader(body))
	ts.Check(err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	code, answer := ask(ts, req)
	show(ts, code, answer, args[len(args)-1])
}

// unports copies a file with the names of the ports that freeports chose in
// their place: unports FILE OUTFILE.
func unports(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: unports FILE OUTFILE")
	}
	text := ts.ReadFile(args[0])
	for _, name := range []string{"a", "b", "c"} {
		if port := ts.Getenv("PORT_" + name); port != "" {
			text = strings.ReplaceAll(text, port, "PORT_"+name)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o666))
}

// awaitREST waits until the answer of GET PATH matches: await-rest PATH REGEXP,
// or with ! until it does not.
func awaitREST(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: await-rest PATH REGEXP")
	}
	re := regexp.MustCompile(args[1])
	wait(ts, "GET "+args[0]+" to answer "+args[1], func() bool {
		_, body := get(ts, args[0])
		return re.MatchString(body) != neg
	})
}

// awaitLog waits until clinkd's log matches: await-log REGEXP.
func awaitLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await-log REGEXP")
	}
	await(ts, false, []string{"clinkd.log", args[0]})
}

// crosses waits until a message published at one port reaches a subscriber at
// another: crosses FROMPORT TOPORT TOPIC. With ! it checks that it does not,
// while one of global/marker, published after it, does.
func crosses(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: crosses FROMPORT TOPORT TOPIC")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got := make(chan string, 10000)
	sub := mqtt(ctx, ts, args[1], "script-sub", func(p *paho.Publish) { got <- p.Topic })
	defer sub.Disconnect(&paho.Disconnect{})
	pub := mqtt(ctx, ts, args[0], "script-pub", func(*paho.Publish) {})
	defer pub.Disconnect(&paho.Disconnect{})
	topic, last := args[2], args[2]
	if neg {
		last = "global/marker"
	}
	_, err := sub.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 1}, {Topic: "global/marker", QoS: 1}}})
	ts.Check(err)
	for {
		pub.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: []byte("x")})
		pub.Publish(ctx, &paho.Publish{Topic: last, QoS: 1, Payload: []byte("x")})
		select {
		case t := <-got:
			if neg && t == topic {
				ts.Fatalf("%s crosses", topic)
			}
			if t == last {
				return
			}
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			ts.Fatalf("%s does not cross", last)
		}
	}
}

func mqtt(ctx context.Context, ts *testscript.TestScript, port, id string, got func(*paho.Publish)) *paho.Client {
	return mqttAs(ctx, ts, port, &paho.Connect{ClientID: id, KeepAlive: 30, CleanStart: true}, got)
}

func mqttAs(ctx context.Context, ts *testscript.TestScript, port string, as *paho.Connect, got func(*paho.Publish)) *paho.Client {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	ts.Check(err)
	c := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) { got(p.Packet); return true, nil },
	}})
	_, err = c.Connect(ctx, as)
	ts.Check(err)
	return c
}
