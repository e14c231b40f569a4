package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// options are the flags of bench link, checked.
type options struct {
	rounds     int
	duration   time.Duration
	warmUp     time.Duration
	qos        []int
	sizes      []int
	publishers int
	window     int
	rate       int
	version    int
	target     []string // two addresses, or none: clinkd is built and started
	pids       []int    // of the target's processes
	username   string
	password   string
	alone      bool   // no peer
	profiles   string // directory for CPU profiles of clinkd
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench link", flag.ContinueOnError)
	fs.IntVar(&o.rounds, "rounds", 3, "`times` each case is measured, peer and clinkd in turn")
	fs.DurationVar(&o.duration, "duration", 3*time.Second, "measured `time` of a round")
	fs.DurationVar(&o.warmUp, "warm-up", 500*time.Millisecond, "`time` before the measured time")
	qos := fs.String("qos", "0,1", "`list` of QoS levels")
	sizes := fs.String("sizes", "64,1024,16384", "`list` of payload sizes in bytes")
	fs.IntVar(&o.publishers, "publishers", 4, "`number` of publishers")
	fs.IntVar(&o.window, "window", 500, "`messages` of one publisher that may be on the way")
	fs.IntVar(&o.rate, "rate", 0, "`messages` a second over all publishers, instead of as many as the window lets through")
	fs.IntVar(&o.version, "mqtt", 4, "protocol `version` of the clients: 4 (3.1.1) or 5")
	target := fs.String("target", "", "`A,B`: measure these running brokers (host:port of the publishers' and of the subscriber's) in the place of clinkd")
	pids := fs.String("pids", "", "`list` of the target's process ids, for processor time and memory (Linux)")
	fs.StringVar(&o.username, "username", "", "user `name` at the target")
	fs.StringVar(&o.password, "password", "", "password at the target")
	fs.BoolVar(&o.alone, "alone", false, "without mosquitto: absolute figures only, good for comparing two changes by eye")
	fs.StringVar(&o.profiles, "profiles", "", "write CPU profiles of both clinkd processes into `DIR`, one pair for each case")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	var errs [4]error
	o.qos, errs[0] = numbers("-qos", *qos, 0, 1)
	o.sizes, errs[1] = numbers("-sizes", *sizes, 20, 1<<20)
	o.pids, errs[2] = numbers("-pids", *pids, 1, 1<<30)
	o.target, errs[3] = addresses(*target)
	if err := errors.Join(append(errs[:], o.check(fs.Args()))...); err != nil {
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	return o, nil
}

func (o options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.rounds < 1, o.duration <= 0, o.warmUp < 0:
		return errors.New("-rounds and -duration must be more than 0, -warm-up not less")
	case len(o.qos) == 0, len(o.sizes) == 0:
		return errors.New("-qos and -sizes need a value")
	case len(o.target) > 0 && o.profiles != "":
		return errors.New("-profiles is for the clinkd processes started here, not for a -target")
	case len(o.target) == 0 && (o.username != "" || o.password != "" || len(o.pids) > 0):
		return errors.New("-username, -password and -pids go with -target")
	}
	return nil
}

// numbers reads a comma-separated list.
func numbers(flag, list string, least, most int) ([]int, error) {
	var ns []int
	for f := range strings.SplitSeq(list, ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		n, err := strconv.Atoi(f)
		if err != nil || n < least || n > most {
			return nil, fmt.Errorf("%s: %q is not a number between %d and %d", flag, f, least, most)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

func addresses(pair string) ([]string, error) {
	if pair == "" {
		return nil, nil
	}
	as := strings.Split(pair, ",")
	if len(as) != 2 {
		return nil, fmt.Errorf("-target %q: two addresses are needed, the publishers' broker and the subscriber's", pair)
	}
	for _, a := range as {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return nil, fmt.Errorf("-target: %w", err)
		}
	}
	return as, nil
}
