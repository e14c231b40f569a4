package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"
)

// nodeOptions are the flags of bench node, checked.
type nodeOptions struct {
	common
	size     int   // of a payload
	fans     []fan // publishers and subscribers of each case
	clients  int   // that connect and stay idle
	retained int   // messages that a fresh subscriber gets
	restart  bool  // and again after a restart
	extra    string
}

// A fan is how many publishers meet how many subscribers.
type fan struct{ publishers, subscribers int }

func (f fan) String() string { return fmt.Sprintf("%d:%d", f.publishers, f.subscribers) }

func parseNode(args []string) (nodeOptions, error) {
	var o nodeOptions
	fs := flag.NewFlagSet("bench node", flag.ContinueOnError)
	o.flags(fs, 3, 1000, "`messages` of all publishers together that may be on the way")
	fans := fs.String("fans", "1:1,1:100,100:1", "`list` of publishers:subscribers; each subscriber gets everything; empty for none")
	fs.IntVar(&o.size, "size", 64, "payload in `bytes`")
	fs.IntVar(&o.clients, "clients", 10_000, "`number` of clients that connect and stay idle; 0 for none")
	fs.IntVar(&o.retained, "retained", 100_000, "`number` of retained messages for a fresh subscriber; 0 for none")
	fs.BoolVar(&o.restart, "restart", false, "count the retained messages again after a restart; mosquitto then has a store")
	fs.StringVar(&o.extra, "clinkd", "", "further `flags` of clinkd run, separated by spaces")
	return o, parseFlags(fs, args, func() (err error) {
		o.fans, err = parseFans(*fans)
		return errors.Join(err, o.check())
	})
}

func (o *nodeOptions) check() error {
	switch {
	case o.size < 20 || o.size > 1<<20:
		return errors.New("-size is from 20 to 1048576")
	case o.clients < 0 || o.clients > 50_000:
		return errors.New("-clients is from 0 to 50000")
	case o.retained < 0 || o.retained > 10_000_000:
		return errors.New("-retained is from 0 to 10000000")
	}
	return o.common.check()
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
