package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// linkOptions are the flags of bench link, checked.
type linkOptions struct {
	common
	parts      []string // of parts below, in their order
	sizes      []int
	rates      []int // messages a second where latency is measured
	publishers int
	rate       int
	repeats    int           // rounds of all that takes processes of its own
	cut        time.Duration // how long the link is cut
	cutRate    int           // messages a second meanwhile
	afterCut   time.Duration // that publishing goes on
	cutQuiet   time.Duration // after which nothing more is waited for
	routes     []int         // numbers of routes
	clients    int           // that are idle
	foreign    *foreign      // brokers that run already, or nil
	instead    bool          // they stand in the place of clinkd

	quick bool
	from  string // JSON of an earlier run to show, instead of a new one
	json  string
	svg   string
	write bool
}

// foreign are two joined brokers that somebody else has started.
type foreign struct {
	name               string
	addrs              []string
	pids               []int
	username, password string
}

// What bench link measures.
const (
	partThroughput = "throughput"
	partLatency    = "latency"
	partCut        = "cut"
	partRoutes     = "routes"
	partClients    = "clients"
)

var (
	parts     = []string{partThroughput, partLatency, partCut, partRoutes, partClients}
	flowParts = parts[:2] // those that take no more than two addresses
)

// quickly are the flags that -quick changes where they are not given.
var quickly = map[string]string{"rounds": "2", "duration": "1s", "repeats": "1", "clients": "2000"}

func parseLink(args []string) (linkOptions, error) {
	o := linkOptions{afterCut: afterCut, cutQuiet: cutQuiet}
	fs := flag.NewFlagSet("bench link", flag.ContinueOnError)
	o.flags(fs, 5, 500, "`messages` of one publisher that may be on the way")
	only := fs.String("only", "", "`list` of what to measure instead of all: "+strings.Join(parts, ","))
	sizes := fs.String("sizes", "64,1024,16384", "`list` of payload sizes in bytes")
	rates := fs.String("rates", "1000,5000", "`list` of messages a second over all publishers, at which latency is measured")
	fs.IntVar(&o.publishers, "publishers", 4, "`number` of publishers")
	fs.IntVar(&o.rate, "rate", 0, "`messages` a second over all publishers where throughput is measured, instead of as many as the window lets through")
	fs.IntVar(&o.repeats, "repeats", 3, "`times` that cuts, routes and idle clients are measured")
	fs.DurationVar(&o.cut, "cut", 3*time.Second, "`time` that the link is cut")
	fs.IntVar(&o.cutRate, "cut-rate", 2000, "`messages` a second over all publishers meanwhile")
	routes := fs.String("routes", "100000", "`list` of numbers of routes; 100000,1000000 takes some minutes and gigabytes more")
	fs.IntVar(&o.clients, "clients", 10_000, "`number` of idle clients of one node")
	target := fs.String("target", "", "`A,B`: measure these running brokers (host:port of the publishers' and of the subscriber's) in the place of clinkd")
	also := fs.String("also", "", "`NAME=A,B`: measure these running brokers as a third")
	pids := fs.String("pids", "", "`list` of process ids of -target or -also, for processor time and memory (Linux)")
	username := fs.String("username", "", "user `name` at -target or -also")
	password := fs.String("password", "", "password at -target or -also")
	fs.BoolVar(&o.quick, "quick", false, "a first impression in about two minutes: two rounds of one second, one of what is slow, fewer clients")
	fs.StringVar(&o.from, "from", "", "measure nothing, show what an earlier run has written into `FILE` with -json")
	fs.StringVar(&o.json, "json", "", "write everything that was measured into `FILE`")
	fs.StringVar(&o.svg, "svg", "", "draw the figures into `FILE`")
	fs.BoolVar(&o.write, "write", false, "write the figures into the pages of this checkout, which must be the working directory")
	return o, parseFlags(fs, args, func() error {
		if o.quick {
			o.hurry(fs)
		}
		var errs [5]error
		o.parts, errs[0] = chooseParts(*only)
		o.sizes, errs[1] = numbers("-sizes", *sizes, 20, 1<<20)
		o.rates, errs[2] = numbers("-rates", *rates, 1, 10_000_000)
		o.routes, errs[3] = numbers("-routes", *routes, 100, 5_000_000)
		errs[4] = o.setForeign(*target, *also, *pids, *username, *password)
		if o.instead && *only == "" {
			o.parts = flowParts
		}
		return errors.Join(append(errs[:], o.check())...)
	})
}

// hurry makes a run short where its flags do not say how long it shall be.
func (o *linkOptions) hurry(fs *flag.FlagSet) {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range quickly {
		if !given[name] {
			fs.Set(name, value)
		}
	}
}

func chooseParts(list string) ([]string, error) {
	if list == "" {
		return parts, nil
	}
	given := strings.Split(list, ",")
	for _, p := range given {
		if !slices.Contains(parts, p) {
			return nil, fmt.Errorf("-only: there is no %q, but %s", p, strings.Join(parts, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(parts), func(p string) bool { return !slices.Contains(given, p) }), nil
}

func (o *linkOptions) setForeign(target, also, pids, username, password string) (err error) {
	f := &foreign{name: "target", username: username, password: password}
	if f.pids, err = numbers("-pids", pids, 1, 1<<30); err != nil {
		return err
	}
	switch {
	case target != "" && also != "":
		return errors.New("-target and -also do not go together: -target takes clinkd's place, -also comes third")
	case target != "":
		f.addrs, err = addresses("-target", target)
		o.instead = true
	case also != "":
		var named bool
		if f.name, also, named = strings.Cut(also, "="); !named || f.name == "" {
			return errors.New("-also: NAME=A,B is meant, such as emqx=10.0.0.1:1883,10.0.0.2:1883")
		}
		f.addrs, err = addresses("-also", also)
	case username != "" || password != "" || len(f.pids) > 0:
		return errors.New("-username, -password and -pids go with -target or -also")
	default:
		return nil
	}
	o.foreign = f
	return err
}

func (o *linkOptions) check() error {
	if err := o.common.check(); err != nil {
		return err
	}
	switch {
	case o.publishers < 1 || o.publishers > 1000:
		return errors.New("-publishers is from 1 to 1000")
	case o.repeats < 1 || o.repeats > 1000:
		return errors.New("-repeats is from 1 to 1000")
	case o.cut < 100*time.Millisecond || o.cut > time.Minute, o.cutRate < 10 || o.cutRate > 1_000_000:
		return errors.New("-cut is from 100ms to 1m, -cut-rate from 10 to 1000000")
	case o.clients < 1 || o.clients > 50_000:
		return errors.New("-clients is from 1 to 50000")
	case o.instead && o.profiles != "":
		return errors.New("-profiles is for the clinkd processes started here, not for a -target")
	case o.write && (o.from == "") && (o.alone || o.foreign != nil || len(o.parts) < len(parts)):
		return errors.New("-write is for a whole run of clinkd beside mosquitto: not with -alone, -only, -target or -also")
	case o.instead && slices.ContainsFunc(o.parts, func(p string) bool { return !slices.Contains(flowParts, p) }):
		return fmt.Errorf("-only: at a -target there is only %s to measure", strings.Join(flowParts, ", "))
	}
	return nil
}
