// Package loadgen measures how fast, and how well, messages travel from
// publishers at one MQTT broker to subscribers at another (or the same).
//
// It speaks MQTT 3.1.1 and 5 over bare TCP connections with batched writes, so
// that the generator is not what is measured, and puts a time stamp and a
// sequence number into each payload: loss, duplicates and reordering are
// counted message by message, from the first to the last, not only inside the
// measured time.
//
// It does not do TLS, WebSocket, QoS 2 or reconnecting: a connection that
// breaks ends the run with an error.
package loadgen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// A Config says what to send where. Zero values of the fields that say so
// stand for a default.
type Config struct {
	PublishTo     string // host:port of the publishers' broker
	SubscribeAt   string // host:port of the subscribers' broker
	Username      string // of every connection; "" with no Password: anonymous
	Password      string
	TopicPrefix   string // topics are TopicPrefix/<run>/<publisher>
	Version       byte   // 4: MQTT 3.1.1 (default), 5: MQTT 5.0
	QoS           byte   // of publishing and subscribing, 0 or 1
	Size          int    // payload in bytes, at least MinSize
	Publishers    int    // default 1
	Subscribers   int    // each receives everything; default 1
	Window        int    // closed loop: messages of one publisher that no subscriber has got yet; default 500
	Rate          int    // open loop: messages a second over all publishers, however many are on the way; 0: closed loop
	WarmUp        time.Duration
	Duration      time.Duration // measured time
	ConnectWithin time.Duration // until the first message has come through; default 15 s
	DrainWithin   time.Duration // for what is still on the way at the end; default 5 s
	Quiet         time.Duration // without a message, after which what is on the way then is given up; default 2 s

	// Probe, if not nil, is called at both ends of the measured time.
	Probe func() Usage

	// Delivered, if not nil, is called for every message that a subscriber gets,
	// from the first to the last, with the times at which it was published and
	// taken. Each subscriber calls it from a goroutine of its own.
	Delivered func(published, taken time.Time)
}

// MinSize is the smallest payload, in bytes: what the generator needs to
// recognise a message.
const MinSize = stampSize

const (
	maxSize    = 64 << 20
	maxClients = 10_000
	maxWindow  = 60_000 // below the number of packet identifiers
)

// Usage is what the processes under test have used so far.
type Usage struct {
	CPU time.Duration // processor time since their start
	RSS int64         // resident memory now, in bytes
}

// A Result is what one run measured. Rate, Delivered, the latencies, CPU and RSS
// are of the measured time; the counts below them are of the whole run. As JSON,
// times are in nanoseconds.
type Result struct {
	Rate      float64       `json:"rate"`      // messages a second delivered to all subscribers together
	Delivered uint64        `json:"delivered"` // messages delivered in the measured time
	P50       time.Duration `json:"p50"`       // latencies are from the publisher's encoder to the subscriber's decoder
	P99       time.Duration `json:"p99"`
	P999      time.Duration `json:"p99.9"`
	Max       time.Duration `json:"max"`
	CPU       time.Duration `json:"cpu"` // by the processes of Config.Probe
	RSS       int64         `json:"rss"` // of these, at the end of the measured time, in bytes

	Sent       uint64 `json:"sent"`       // by all publishers
	Received   uint64 `json:"received"`   // by all subscribers, duplicates included
	Lost       uint64 `json:"lost"`       // deliveries that never came: Sent × subscribers is what is owed
	Duplicates uint64 `json:"duplicated"` // deliveries that had come before
	Reordered  uint64 `json:"reordered"`  // deliveries after a later one of the same publisher
	Refused    uint64 `json:"refused"`    // publishes that the broker acknowledged with a failure
}

// CPUPerMessage is the processor time spent for each delivered message.
func (r Result) CPUPerMessage() time.Duration {
	if r.Delivered == 0 {
		return 0
	}
	return r.CPU / time.Duration(r.Delivered)
}

// filled returns c with defaults in place, or what is wrong with it.
func (c Config) filled() (Config, error) {
	c.TopicPrefix = cmp.Or(c.TopicPrefix, "bench")
	c.Version = cmp.Or(c.Version, 4)
	c.Size = cmp.Or(c.Size, MinSize)
	c.Publishers = cmp.Or(c.Publishers, 1)
	c.Subscribers = cmp.Or(c.Subscribers, 1)
	c.Window = cmp.Or(c.Window, 500)
	c.ConnectWithin = cmp.Or(c.ConnectWithin, 15*time.Second)
	c.DrainWithin = cmp.Or(c.DrainWithin, 5*time.Second)
	c.Quiet = cmp.Or(c.Quiet, 2*time.Second)
	return c, errors.Join(
		outside("MQTT version", int(c.Version), 4, 5),
		outside("QoS", int(c.QoS), 0, 1),
		outside("payload size", c.Size, MinSize, maxSize),
		outside("publishers", c.Publishers, 1, maxClients),
		outside("subscribers", c.Subscribers, 1, maxClients),
		outside("window", c.Window, 1, maxWindow),
		outside("rate", c.Rate, 0, math.MaxInt32),
		outside("length of the topic prefix", len(c.TopicPrefix), 1, 1000),
		outside("length of the user name", len(c.Username), 0, math.MaxUint16),
		outside("length of the password", len(c.Password), 0, math.MaxUint16),
	)
}

func outside(what string, v, least, most int) error {
	if v < least || v > most {
		return fmt.Errorf("%s is %d; it must be between %d and %d", what, v, least, most)
	}
	return nil
}

// Run connects the clients, waits until a message comes through, publishes for
// the warm-up and the measured time, waits for what is still on the way, and
// says what came of it. Nothing of it is left when it returns. An end of ctx
// breaks it off with ctx's error.
func Run(ctx context.Context, c Config) (Result, error) {
	c, err := c.filled()
	if err != nil {
		return Result{}, fmt.Errorf("load generator: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r := newRun(c, cancel)
	res, err := r.do(ctx)
	r.close()
	if cause := context.Cause(ctx); cause != nil {
		err = cause // why the connections broke, not that they did
	}
	cancel(nil)
	if err != nil {
		return Result{}, fmt.Errorf("load generator: %w", err)
	}
	return res, nil
}
