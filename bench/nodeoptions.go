package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"
)

// nodeOptions are the flags of bench node, checked.
type nodeOptions struct {
	options         // rounds, times, QoS, window and version
	size     int    // of a payload
	fans     []fan  // publishers and subscribers of each case
	clients  int    // that connect and stay idle
	retained int    // messages that a fresh subscriber gets
	restart  bool   // and again after a restart
	flags    string // further ones of clinkd run
}

// A fan is how many publishers meet how many subscribers.
type fan struct{ publishers, subscribers int }

func (f fan) String() string { return fmt.Sprintf("%d:%d", f.publishers, f.subscribers) }

func parseNode(args []string) (nodeOptions, error) {
	var o nodeOptions
	fs := flag.NewFlagSet("bench node", flag.ContinueOnError)
	fs.IntVar(&o.rounds, "rounds", 3, "`times` each case is measured, peer and clinkd in turn")
	fs.DurationVar(&o.duration, "duration", 3*time.Second, "measured `time` of a round")
	fs.DurationVar(&o.warmUp, "warm-up", 500*time.Millisecond, "`time` before the measured time")
	qos := fs.String("qos", "0,1", "`list` of QoS levels")
	fans := fs.String("fans", "1:1,1:100,100:1", "`list` of publishers:subscribers; each subscriber gets everything; empty for none")
	fs.IntVar(&o.size, "size", 64, "payload in `bytes`")
	fs.IntVar(&o.window, "window", 1000, "`messages` of all publishers together that may be on the way")
	fs.IntVar(&o.version, "mqtt", 4, "protocol `version` of the clients: 4 (3.1.1) or 5")
	fs.IntVar(&o.clients, "clients", 10_000, "`number` of clients that connect and stay idle; 0 for none")
	fs.IntVar(&o.retained, "retained", 100_000, "`number` of retained messages for a fresh subscriber; 0 for none")
	fs.BoolVar(&o.restart, "restart", false, "count the retained messages again after a restart; mosquitto then has a store")
	fs.StringVar(&o.flags, "clinkd", "", "further `flags` of clinkd run, separated by spaces")
	fs.BoolVar(&o.alone, "alone", false, "without mosquitto: absolute figures only")
	fs.StringVar(&o.profiles, "profiles", "", "write a CPU profile of clinkd for each fan, and a heap profile of the idle clients, into `DIR`")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	var errs [2]error
	o.qos, errs[0] = numbers("-qos", *qos, 0, 1)
	o.fans, errs[1] = parseFans(*fans)
	if err := errors.Join(errs[0], errs[1], o.checkNode(), o.check(fs.Args())); err != nil {
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	return o, nil
}

func (o *nodeOptions) checkNode() error {
	o.sizes = []int{o.size}
	o.target = []string{} // nothing that runs already is measured
	switch {
	case o.size < 20 || o.size > 1<<20:
		return errors.New("-size is from 20 to 1048576")
	case o.clients < 0 || o.clients > 50_000:
		return errors.New("-clients is from 0 to 50000")
	case o.retained < 0 || o.retained > 10_000_000:
		return errors.New("-retained is from 0 to 10000000")
	}
	return nil
}

func parseFans(list string) ([]fan, error) {
	var fs []fan
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		var f fan
		n, err := fmt.Sscanf(text+"\n", "%d:%d\n", &f.publishers, &f.subscribers)
		if n != 2 || err != nil || f.publishers < 1 || f.subscribers < 1 || f.publishers > 5000 || f.subscribers > 5000 {
			return nil, fmt.Errorf("-fans: %q is not publishers:subscribers, each from 1 to 5000", text)
		}
		fs = append(fs, f)
	}
	return fs, nil
}
