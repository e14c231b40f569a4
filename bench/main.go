// Command bench repeats clink's speed claims on the machine at hand. Where there
// is a peer, a claim is a ratio to it, measured in turn with it: absolute rates
// say more about the machine than about the program.
//
//	go run ./bench link
//
// compares a link between two clinkd processes with a bridge between two
// mosquitto processes,
//
//	go run ./bench node
//
// one node of clinkd with mosquitto, and
//
//	go run ./bench vet
//
// clinkc vet with cue vet -c on the same topologies.
//
//	go run ./bench put
//
// has no peer: it times changes over the REST API. README.md says what is
// measured and how to read it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usageText = `bench measures clink on this machine, beside its peers where there are any.

Usage:
	go run ./bench link [flags]    a link of clinkd against mosquitto's bridge
	go run ./bench node [flags]    one node of clinkd against mosquitto
	go run ./bench vet [flags]     clinkc vet against cue vet -c
	go run ./bench put [flags]     changes of links over the REST API

go run ./bench link -h lists the flags of one.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case interrupted:
		fmt.Fprintln(os.Stderr, "bench: interrupted; everything it started has ended")
		os.Exit(130)
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(64)
	default:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(3)
	}
}

var errUsage = errors.New("wrong usage")

func run(ctx context.Context, args []string) error {
	what := ""
	if len(args) > 0 {
		what = args[0]
	}
	switch what {
	case "link":
		o, err := parseLink(args[1:])
		if err != nil {
			return err
		}
		return compareLink(ctx, o, os.Stdout)
	case "node":
		o, err := parseNode(args[1:])
		if err != nil {
			return err
		}
		return compareNode(ctx, o, os.Stdout)
	case "vet":
		o, err := parseVet(args[1:])
		if err != nil {
			return err
		}
		return compareVet(ctx, o, os.Stdout)
	case "put":
		o, err := parsePut(args[1:])
		if err != nil {
			return err
		}
		return measurePut(ctx, o, os.Stdout)
	}
	fmt.Fprint(os.Stderr, usageText)
	return fmt.Errorf("%w: name what to measure: link, node, vet or put", errUsage)
}
