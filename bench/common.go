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

// common are the flags of all that is measured beside mosquitto, checked.
type common struct {
	rounds   int
	duration time.Duration
	warmUp   time.Duration
	qos      []int
	window   int
	version  int
	alone    bool   // no peer
	profiles string // directory for CPU profiles of clinkd

	qosList string // as it was given
}

// flags defines them; window is what is said of -window.
func (c *common) flags(fs *flag.FlagSet, rounds, window int, windowUsage string) {
	fs.IntVar(&c.rounds, "rounds", rounds, "`times` each case is measured, peer and clinkd in turn")
	fs.DurationVar(&c.duration, "duration", 3*time.Second, "measured `time` of a round")
	fs.DurationVar(&c.warmUp, "warm-up", 500*time.Millisecond, "`time` before the measured time")
	fs.StringVar(&c.qosList, "qos", "0,1", "`list` of QoS levels")
	fs.IntVar(&c.window, "window", window, windowUsage)
	fs.IntVar(&c.version, "mqtt", 4, "protocol `version` of the clients: 4 (3.1.1) or 5")
	fs.BoolVar(&c.alone, "alone", false, "without mosquitto: absolute figures only, good for comparing two changes by eye")
	fs.StringVar(&c.profiles, "profiles", "", "write profiles of clinkd into `DIR`")
}

func (c *common) check() (err error) {
	if c.qos, err = numbers("-qos", c.qosList, 0, 1); err != nil {
		return err
	}
	switch {
	case len(c.qos) == 0:
		return errors.New("-qos needs a value")
	case c.rounds < 1 || c.rounds > 1000, c.duration <= 0, c.warmUp < 0:
		return errors.New("-rounds and -duration must be more than 0, -rounds at most 1000, -warm-up not less than 0")
	}
	return nil
}

// parseFlags reads the command line; nothing may be left of it.
func parseFlags(fs *flag.FlagSet, args []string, check func() error) error {
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case err == nil:
		err = check()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
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

// addresses reads two, the publishers' broker and the subscriber's.
func addresses(flag, pair string) ([]string, error) {
	as := strings.Split(pair, ",")
	if len(as) != 2 {
		return nil, fmt.Errorf("%s %q: two addresses are needed, the publishers' broker and the subscriber's", flag, pair)
	}
	for _, a := range as {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
	}
	return as, nil
}
