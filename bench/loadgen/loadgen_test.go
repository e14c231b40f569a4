package loadgen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"clink/broker"
	"clink/topology"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startBroker runs a broker until stop is called or the test ends.
func startBroker(t *testing.T, anonymous bool) (addr string, stop func()) {
	t.Helper()
	n, err := broker.New(broker.Options{Name: t.Name(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	ended := false
	stop = func() {
		cancel()
		if !ended {
			ended = true
			if err := <-done; err != nil {
				t.Errorf("broker: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	err = n.Apply(ctx, broker.Config{
		Listeners: []topology.Listener{{Name: "mqtt", Type: topology.TCP, Enable: true, Bind: "127.0.0.1:0", MaxPacketSize: topology.Size{Bytes: 1 << 20}}},
		Access:    topology.Access{Anonymous: anonymous},
	})
	if err != nil {
		t.Fatal(err)
	}
	return n.Listeners()[0].Addr.String(), stop
}

func TestEveryMessageIsAccountedFor(t *testing.T) {
	addr, _ := startBroker(t, true)
	for _, version := range []byte{4, 5} {
		for _, qos := range []byte{0, 1} {
			for _, rate := range []int{0, 2000} {
				t.Run(fmt.Sprintf("v%d qos %d rate %d", version, qos, rate), func(t *testing.T) {
					var told, early atomic.Uint64
					var res Result
					// On a busy machine nothing may come in so short a time.
					for measured := 200 * time.Millisecond; res.Delivered == 0 && measured < time.Minute; measured *= 2 {
						probes := 0
						told.Store(0)
						var err error
						res, err = Run(t.Context(), Config{
							PublishTo: addr, SubscribeAt: addr, Version: version, QoS: qos, Rate: rate, Size: 200,
							Publishers: 3, Subscribers: 2, Window: 50, WarmUp: 20 * time.Millisecond, Duration: measured,
							DrainWithin: time.Minute, Quiet: time.Minute,
							Probe: func() Usage { probes++; return Usage{CPU: time.Duration(probes) * time.Second, RSS: 7} },
							Delivered: func(published, taken time.Time) {
								told.Add(1)
								if taken.Before(published) {
									early.Add(1)
								}
							},
						})
						if err != nil {
							t.Fatal(err)
						}
					}
					if res.Sent == 0 || res.Received != 2*res.Sent || res.Lost != 0 || res.Duplicates != 0 || res.Reordered != 0 || res.Refused != 0 {
						t.Errorf("books do not balance: %+v", res)
					}
					if res.Delivered == 0 || res.Delivered > res.Received || res.Rate <= 0 {
						t.Fatalf("measured time: %+v", res)
					}
					if told.Load() != res.Received || early.Load() > 0 {
						t.Errorf("told of %d deliveries, %d of them from the future: %+v", told.Load(), early.Load(), res)
					}
					if res.P50 <= 0 || res.P50 > res.P99 || res.P99 > res.P999 || res.P999 > res.Max {
						t.Errorf("latencies: %+v", res)
					}
					if res.CPU != time.Second || res.RSS != 7 || res.CPUPerMessage() != time.Second/time.Duration(res.Delivered) {
						t.Errorf("usage: %+v", res)
					}
				})
			}
		}
	}
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	addr, _ := startBroker(t, true)
	began := time.Now()
	res, err := Run(t.Context(), Config{PublishTo: addr, SubscribeAt: addr, QoS: 1, Rate: 500, Publishers: 2, Duration: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	// Late timers are made up for; on a busy machine the second itself is longer.
	if took := time.Since(began); float64(res.Sent) > 500*took.Seconds()+200 {
		t.Errorf("500 messages a second were asked for; %d were sent in %v", res.Sent, took)
	}
}

func TestFaults(t *testing.T) {
	addr, _ := startBroker(t, true)
	other, _ := startBroker(t, true)
	closed, _ := startBroker(t, false)
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"two brokers that are not linked": {Config{PublishTo: addr, SubscribeAt: other, ConnectWithin: 200 * time.Millisecond}, "nothing published at " + addr + " reached subscriber 0"},
		"refused":                         {Config{PublishTo: addr, SubscribeAt: closed, ConnectWithin: time.Minute}, "refused the connection with code"},
		"reserved topic":                  {Config{PublishTo: addr, SubscribeAt: addr, TopicPrefix: "$LINK/x"}, "subscriber 0 at " + addr},
		"no broker":                       {Config{PublishTo: addr, SubscribeAt: "127.0.0.1:1"}, "subscriber 0 at 127.0.0.1:1"},
		"version":                         {Config{Version: 3}, "MQTT version is 3; it must be between 4 and 5"},
		"QoS":                             {Config{QoS: 2}, "QoS is 2"},
		"size":                            {Config{Size: 19}, "payload size is 19; it must be between 20"},
		"window":                          {Config{Window: 65535}, "window is 65535"},
		"publishers":                      {Config{Publishers: -1}, "publishers is -1"},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Duration = 10 * time.Millisecond
			res, err := Run(t.Context(), c.config)
			for w := &c.config.ConnectWithin; *w > 0 && *w < time.Minute && err != nil && !strings.Contains(err.Error(), c.want); {
				*w *= 2 // a busy machine was given up on before it had connected
				res, err = Run(t.Context(), c.config)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v; want an error with %q", res, err, c.want)
			}
		})
	}
}

func TestBrokerEndsDuringTheRun(t *testing.T) {
	addr, stop := startBroker(t, true)
	began := time.Now()
	_, err := Run(t.Context(), Config{PublishTo: addr, SubscribeAt: addr, QoS: 1, Publishers: 2, Duration: time.Minute,
		Probe: func() Usage { stop(); return Usage{} }})
	if err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

func TestEndOfContext(t *testing.T) {
	addr, _ := startBroker(t, true)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, Config{PublishTo: addr, SubscribeAt: addr, QoS: 1, Duration: time.Minute,
		Probe: func() Usage { cancel(); return Usage{} }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
