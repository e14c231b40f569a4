package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"sync"
	"time"
)

// rateSteps are the intervals at which figures are taken. One that was asked
// for becomes the next longer one, so that readers share the work.
var rateSteps = [...]time.Duration{
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// rateInterval returns how often a reader wants figures; 0: never.
func rateInterval(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("rates")
	if text == "" {
		return 0, nil
	}
	every, err := time.ParseDuration(text)
	longest := rateSteps[len(rateSteps)-1]
	if err != nil || every < rateSteps[0] || every > longest {
		return 0, bad("rates is how often the links' figures are wanted, from 100ms to 60s, such as rates=1s")
	}
	for _, step := range rateSteps {
		if every <= step {
			return step, nil
		}
	}
	return longest, nil
}

// figuresTime bounds how long looking at all links may take.
const figuresTime = 5 * time.Second

// feeds are the streams of figures, one for each interval that somebody reads.
type feeds struct {
	*api
	mu    sync.Mutex
	every map[time.Duration]*feed
}

// A feed takes the figures once for all of its readers. It lives as long as it
// has one.
type feed struct {
	readers map[chan []byte]bool
	end     context.CancelFunc
}

// join returns what comes of a feed: always the latest, where its reader is
// too slow for all. leave must be called once.
func (f *feeds) join(every time.Duration) (figures <-chan []byte, leave func()) {
	if every == 0 {
		return nil, func() {}
	}
	ch := make(chan []byte, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.every[every]
	if one == nil {
		ctx, end := context.WithCancel(context.Background())
		one = &feed{readers: map[chan []byte]bool{}, end: end}
		f.every[every] = one
		go f.run(ctx, one, every)
	}
	one.readers[ch] = true
	return ch, func() { f.leave(one, every, ch) }
}

func (f *feeds) leave(one *feed, every time.Duration, ch chan []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(one.readers, ch)
	if len(one.readers) == 0 {
		one.end()
		delete(f.every, every)
	}
}

// run takes figures until the last reader leaves.
func (f *feeds) run(ctx context.Context, one *feed, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var m meter
	f.take(ctx, &m)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if text := f.take(ctx, &m); text != nil {
			f.send(one, text)
		}
	}
}

// take takes the figures and returns the event that tells them, nil where they
// could not be taken.
func (f *feeds) take(ctx context.Context, m *meter) []byte {
	ctx, cancel := context.WithTimeout(ctx, figuresTime)
	defer cancel()
	all, err := f.Observer.Observed(ctx)
	if err != nil {
		f.Log.Debug("the figures of the links could not be taken", "err", err)
		return nil
	}
	return m.event(all, time.Now())
}

func (f *feeds) send(one *feed, text []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch := range one.readers {
		select {
		case <-ch: // the reader has not come for it
		default:
		}
		ch <- text // nobody else sends
	}
}

// A meter makes rates out of counters.
type meter struct {
	at   time.Time
	last map[half]counts
	buf  bytes.Buffer
}

type half struct{ site, peer string }

type counts struct{ in, out uint64 }

// linkRates is one half of a link in the event.
type linkRates struct {
	Site        string            `json:"site"`
	Peer        string            `json:"peer"`
	Status      string            `json:"status"`
	Replication presence          `json:"replication"`
	Inbound     presence          `json:"inbound"`
	Suspended   bool              `json:"suspended"`
	RateIn      float64           `json:"rate_in"`
	RateOut     float64           `json:"rate_out"`
	Queuing     int64             `json:"queuing"`
	Inflight    int64             `json:"inflight"`
	RoutesPeer  int               `json:"routes_peer"`
	RoutesOwn   int               `json:"routes_own"`
	Success     uint64            `json:"success"`
	Dropped     uint64            `json:"dropped"`
	Retried     uint64            `json:"retried"`
	Received    uint64            `json:"received"`
	DroppedBy   map[string]uint64 `json:"dropped_by"`
}

type presence struct {
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// event returns the event of one look at the links. Rates are over the time
// since the look before; a half that was not seen then has none yet.
func (m *meter) event(all []Observed, now time.Time) []byte {
	took := now.Sub(m.at).Seconds()
	seen := make(map[half]counts, len(all))
	links := make([]linkRates, len(all))
	for i, o := range all {
		s, key := o.Status, half{o.Site, o.Status.Peer}
		is := counts{s.Metrics.Received, s.Metrics.Success}
		seen[key] = is
		links[i] = rates(o)
		if was, ok := m.last[key]; ok {
			links[i].RateIn, links[i].RateOut = rate(was.in, is.in, took), rate(was.out, is.out, took)
		}
	}
	m.at, m.last = now, seen
	m.buf.Reset()
	m.buf.WriteString("event: rates\ndata: ")
	err := json.NewEncoder(&m.buf).Encode(struct {
		At    time.Time   `json:"at"`
		Links []linkRates `json:"links"`
	}{now.UTC(), links})
	if err != nil {
		return nil // it is of plain data
	}
	m.buf.WriteByte('\n')
	return bytes.Clone(m.buf.Bytes())
}

func rates(o Observed) linkRates {
	s, by := o.Status, o.Status.Metrics.DroppedBy
	if by == nil {
		by = map[string]uint64{}
	}
	return linkRates{
		Site: o.Site, Peer: s.Peer, Status: s.State, Suspended: o.Suspended,
		Replication: presence{s.Replication.State, s.Replication.Reason}, Inbound: presence{s.Inbound.State, s.Inbound.Reason},
		Queuing: s.Metrics.Queuing, Inflight: s.Metrics.Inflight,
		RoutesPeer: s.Replication.PeerRoutes, RoutesOwn: s.Replication.OwnRoutes,
		Success: s.Metrics.Success, Dropped: s.Metrics.Dropped, Retried: s.Metrics.Retried, Received: s.Metrics.Received, DroppedBy: by,
	}
}

// rate is messages a second, to the hundredth. A counter that is smaller than
// it was has begun anew.
func rate(was, is uint64, seconds float64) float64 {
	if is < was {
		was = 0
	}
	if seconds <= 0 {
		return 0
	}
	return math.Round(float64(is-was)/seconds*100) / 100
}
