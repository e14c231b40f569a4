package httpapi_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clink/httpapi"
	"clink/httpapi/apitest"
	"clink/topology"
)

// A listener whose connections are pipes in memory, so that the clock of a
// test is that of its connections too.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.done); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// streaming serves the world with the time limits of the daemon's server.
func streaming(t *testing.T, w *world, done <-chan struct{}) (pipes, *http.Server) {
	p := pipes{make(chan net.Conn), make(chan struct{})}
	h := httpapi.New(w, httpapi.Options{Keys: keys(t), Log: slog.New(slog.DiscardHandler), Observer: w, Done: done, Rate: 10_000})
	srv := &http.Server{Handler: apitest.New(t, met).Handler(h), ReadTimeout: 30 * time.Second, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	go srv.Serve(p)
	return p, srv
}

// subscribe asks for the events and returns the answer's head and its lines.
func subscribe(t *testing.T, p pipes, headers string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	return subscribeTo(t, p, "/api/v5/events", headers)
}

func subscribeTo(t *testing.T, p pipes, path, headers string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	ours, theirs := net.Pipe()
	p.conns <- theirs
	key := base64.StdEncoding.EncodeToString([]byte(admin))
	fmt.Fprintf(ours, "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\n%s\r\n", path, key, headers)
	r := bufio.NewReader(ours)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ours, bufio.NewReader(res.Body), res
}

// block reads up to an empty line.
func block(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", b.String(), err)
		}
		if line == "\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

func event(id uint64) topology.Event {
	return topology.Event{ID: id, Time: time.Unix(int64(id), 0).UTC(), Type: "applied", Site: "site-a", Message: "one\ntwo"}
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, done := newWorld(t), make(chan struct{})
		w.next = make(chan topology.Event)
		w.wake = make(chan uint64, 10)
		w.past = []topology.Event{event(1), event(2), event(3)}
		p, srv := streaming(t, w, done)
		conn, r, res := subscribe(t, p, "Last-Event-ID: 1\r\n")
		defer conn.Close()
		if after := <-w.wake; after != 1 || res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("after %d: %d %v", after, res.StatusCode, res.Header)
		}
		if got := block(t, r); got != "retry: 2000\n" {
			t.Errorf("begins with %q", got)
		}
		for id := uint64(2); id <= 3; id++ {
			checkEvent(t, block(t, r), id)
		}
		w.next <- event(4)
		checkEvent(t, block(t, r), 4)
		// Quiet for long, beyond the server's time limit for requests.
		began := time.Now()
		for range 5 {
			if got := block(t, r); got != ": still here\n" {
				t.Errorf("a quiet stream says %q", got)
			}
		}
		if took := time.Since(began); took != 75*time.Second {
			t.Errorf("5 heartbeats took %v", took)
		}
		w.next <- event(5)
		checkEvent(t, block(t, r), 5)
		// The server drains at once.
		close(done)
		began = time.Now()
		if _, err := io.ReadAll(r); err != nil {
			t.Errorf("the end of the stream: %v", err)
		}
		if err := srv.Shutdown(context.Background()); err != nil || time.Since(began) > time.Second {
			t.Errorf("shutting down took %v: %v", time.Since(began), err)
		}
	})
}

func checkEvent(t *testing.T, got string, id uint64) {
	t.Helper()
	head, data, _ := strings.Cut(got, "data: ")
	if want := "id: " + strconv.FormatUint(id, 10) + "\nevent: applied\n"; head != want {
		t.Errorf("got %q, want %q", head, want)
	}
	if err := apitest.New(t, nil).Fits("Event", []byte(data)); err != nil || !strings.Contains(data, `"message":"one\ntwo"`) {
		t.Errorf("data %s: %v", data, err)
	}
}

// ends serves until the test is over.
func ends(srv *http.Server, done chan struct{}) {
	close(done)
	srv.Shutdown(context.Background())
}

func TestReaderThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, done := newWorld(t), make(chan struct{})
		w.next = make(chan topology.Event)
		w.wake = make(chan uint64, 10)
		p, srv := streaming(t, w, done)
		defer ends(srv, done)
		conn, r, _ := subscribe(t, p, "")
		defer conn.Close()
		block(t, r)
		// Nothing is read any more: a heartbeat cannot be written, and after
		// ten seconds the stream is given up.
		time.Sleep(26 * time.Second)
		synctest.Wait()
		select {
		case w.next <- event(1):
			t.Error("the stream of a stuck reader still takes events")
		default:
		}
	})
}

// An answer that nobody takes does not hold the server up for ever.
func TestAnswerThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, done := newWorld(t), make(chan struct{})
		for range 100 {
			w.links = append(w.links, w.template)
		}
		p, srv := streaming(t, w, done)
		defer ends(srv, done)
		ours, theirs := net.Pipe()
		defer ours.Close()
		p.conns <- theirs
		fmt.Fprintf(ours, "GET /cluster/links HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\n\r\n", base64.StdEncoding.EncodeToString([]byte(admin)))
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if b, err := io.ReadAll(ours); err != nil || len(b) > 10_000 {
			t.Errorf("%d bytes were still to come, %v", len(b), err)
		}
	})
}

func TestStreamsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, done := newWorld(t), make(chan struct{})
		w.next = make(chan topology.Event)
		w.wake = make(chan uint64, 10)
		p, srv := streaming(t, w, done)
		defer ends(srv, done)
		conn, r, _ := subscribe(t, p, "")
		began := time.Now()
		if _, err := io.ReadAll(r); err != nil || time.Since(began) != time.Hour {
			t.Errorf("ended after %v: %v", time.Since(began), err)
		}
		conn.Close()
		conn, r, _ = subscribe(t, p, "")
		close(w.next) // it fell behind
		if _, err := io.ReadAll(r); err != nil {
			t.Error(err)
		}
		conn.Close()
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, done := newWorld(t), make(chan struct{})
		w.next = make(chan topology.Event)
		w.wake = make(chan uint64, 2*httpapi.MaxStreams)
		p, srv := streaming(t, w, done)
		defer ends(srv, done)
		var conns []net.Conn
		for range httpapi.MaxStreams {
			conn, r, res := subscribe(t, p, "")
			conns = append(conns, conn)
			if block(t, r); res.StatusCode != 200 {
				t.Fatalf("stream %d: %d", len(conns), res.StatusCode)
			}
		}
		conn, _, res := subscribe(t, p, "")
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("one more: %d %v", res.StatusCode, res.Header)
		}
		io.Copy(io.Discard, res.Body)
		conn.Close()
		// A reader that goes away makes room.
		conns[0].Close()
		synctest.Wait()
		conn, r, res := subscribe(t, p, "")
		if block(t, r); res.StatusCode != 200 {
			t.Errorf("after one went away: %d", res.StatusCode)
		}
		for _, c := range append(conns[1:], conn) {
			c.Close()
		}
	})
}

func TestLastEventIDIsANumber(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w)
	for _, id := range []string{"x", "-1", "99999999999999999999999"} {
		if res, body := send(t, "GET", url+"/events", admin, "", map[string]string{"Last-Event-ID": id}); res.StatusCode != 400 {
			t.Errorf("Last-Event-ID: %s = %d %s", id, res.StatusCode, body)
		}
	}
}

func TestHeadOfEventsEnds(t *testing.T) {
	w := newWorld(t)
	if res, _ := request(t, "HEAD", writable(t, w)+"/events", admin); res.StatusCode != 200 {
		t.Errorf("= %d", res.StatusCode)
	}
}
