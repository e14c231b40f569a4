package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clink/httpapi"
	"clink/httpapi/apitest"
	"clink/topology"
)

// observe has the world count so much of one link by now.
func (w *world) observe(received, success uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := httpapi.Observed{Site: "site-a", Status: w.template.Observed}
	o.Status.Metrics.Received, o.Status.Metrics.Success = received, success
	w.observed = []httpapi.Observed{o}
}

type rates struct {
	At    time.Time `json:"at"`
	Links []struct {
		Site    string  `json:"site"`
		Peer    string  `json:"peer"`
		RateIn  float64 `json:"rate_in"`
		RateOut float64 `json:"rate_out"`
	} `json:"links"`
}

// readRates reads one event of figures.
func readRates(t *testing.T, text string) rates {
	t.Helper()
	data, ok := strings.CutPrefix(text, "event: rates\ndata: ")
	if !ok {
		t.Fatalf("got %q", text)
	}
	if err := apitest.New(t, nil).Fits("Rates", []byte(data)); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	var r rates
	if err := json.Unmarshal([]byte(data), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, done := newWorld(t), make(chan struct{})
		w.observe(100, 10)
		p, srv := streaming(t, w, done)
		defer ends(srv, done)
		conn, r, res := subscribeTo(t, p, "/events?rates=2s", "")
		defer conn.Close()
		if block(t, r); res.StatusCode != 200 {
			t.Fatalf("%d", res.StatusCode)
		}
		synctest.Wait() // the first look
		tests := []struct {
			received, success uint64
			in, out           float64
		}{
			{120, 11, 10, 0.5},
			{120, 11, 0, 0},
			{7, 3, 3.5, 1.5}, // counted anew
			{8, 1_000_003, 0.5, 500_000},
		}
		for i, tt := range tests {
			began := time.Now()
			w.observe(tt.received, tt.success)
			got := readRates(t, block(t, r))
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("%d: after %v", i, took)
			}
			if l := got.Links; len(l) != 1 || l[0].Site != "site-a" || l[0].Peer != "clB" || l[0].RateIn != tt.in || l[0].RateOut != tt.out {
				t.Errorf("%d: got %+v, want %v in, %v out", i, got, tt.in, tt.out)
			}
		}
		// Between them, what happens is still told.
		w.next <- event(4)
		checkEvent(t, block(t, r), 4)
	})
}

// All who read at one interval share the work, and when the last has gone
// nobody looks any more.
func TestRatesAreTakenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, done := newWorld(t), make(chan struct{})
		w.observe(1, 1)
		p, srv := streaming(t, w, done)
		defer ends(srv, done)
		looks := func() int {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.looks
		}
		conn1, r1, _ := subscribeTo(t, p, "/events?rates=1s", "")
		conn2, r2, _ := subscribeTo(t, p, "/events?rates=900ms", "") // becomes 1s
		block(t, r1)
		block(t, r2)
		synctest.Wait()
		for range 5 {
			a, b := block(t, r1), block(t, r2)
			if a != b {
				t.Errorf("two readers are told\n%s\n%s", a, b)
			}
		}
		if n := looks(); n < 6 || n > 7 {
			t.Errorf("for 5 events the links were looked at %d times", n)
		}
		conn1.Close()
		conn2.Close()
		time.Sleep(20 * time.Second) // until both are missed
		synctest.Wait()
		n := looks()
		time.Sleep(time.Minute)
		if looks() != n {
			t.Error("nobody reads, and the links are still looked at")
		}
	})
}

// A look that comes to nothing is passed over.
func TestRatesOfTheBlind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, done := newWorld(t), make(chan struct{})
		w.observe(1, 1)
		p, srv := streaming(t, w, done)
		defer ends(srv, done)
		conn, r, _ := subscribeTo(t, p, "/events?rates=1s", "")
		defer conn.Close()
		block(t, r)
		synctest.Wait()
		w.mu.Lock()
		w.blind = fmt.Errorf("not now")
		w.mu.Unlock()
		if got := block(t, r); got != ": still here\n" {
			t.Errorf("got %q", got)
		}
		w.mu.Lock()
		w.blind = nil
		w.mu.Unlock()
		readRates(t, block(t, r))
	})
}

func TestRatesInterval(t *testing.T) {
	url := writable(t, newWorld(t))
	for _, rates := range []string{"1", "x", "99ms", "61s", "-1s", "1h"} {
		if res, body := request(t, "HEAD", url+"/events?rates="+rates, admin); res.StatusCode != 400 {
			t.Errorf("rates=%s = %d %s", rates, res.StatusCode, body)
		}
	}
	for _, rates := range []string{"", "100ms", "1m", "60s"} {
		if res, _ := request(t, "HEAD", url+"/events?rates="+rates, admin); res.StatusCode != 200 {
			t.Errorf("rates=%s = %d", rates, res.StatusCode)
		}
	}
}

// What one second of figures costs, ten times a second of 2,000 links: it is
// the work for all readers of an interval.
func BenchmarkRates(b *testing.B) {
	var all []httpapi.Observed
	for site := range 200 {
		for peer := range 10 {
			all = append(all, httpapi.Observed{Site: fmt.Sprintf("site-%d", site), Status: topology.LinkStatus{
				Peer: fmt.Sprintf("peer-%d", peer), Enable: true, State: topology.Connected,
				Replication: topology.Replication{State: topology.ReplicationOnline}, Inbound: topology.Presence{State: topology.InboundOnline},
				Metrics: topology.LinkMetrics{Success: 12345, Received: 54321, DroppedBy: map[string]uint64{"queue-full": 3}},
			}})
		}
	}
	event := httpapi.RatesEvents()
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		for range 10 {
			now = now.Add(100 * time.Millisecond)
			if text := event(all, now); len(text) < 100_000 {
				b.Fatalf("%s", text)
			}
		}
	}
}
