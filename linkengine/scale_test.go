package linkengine_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"clink/broker"
	"clink/linkengine/actor"
	"clink/linkengine/client"
	"clink/topic"
)

// subscribed are the local routes of a node with very many clients: what their
// subscriptions cost the node is another measure.
type subscribed []broker.Route

func (s subscribed) Watch(func(broker.Route, bool)) ([]broker.Route, func()) { return s, func() {} }

func million(n int) subscribed {
	all := make(subscribed, n)
	for i := range all {
		if i%2 == 0 {
			all[i].Filter = topic.Filter(fmt.Sprintf("site/%d/dev/%d/+/cmd", i%100, i))
		} else {
			all[i].Filter = topic.Filter(fmt.Sprintf("site/%d/dev/%d/state", i%100, i))
		}
	}
	return all
}

// BenchmarkAnnounce announces routes, half of them with wildcards, over a real
// connection to a node, until all of them are in force there.
func BenchmarkAnnounce(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			routes := million(n)
			for b.Loop() {
				bootstrap(b, routes)
			}
		})
	}
}

func bootstrap(b *testing.B, routes subscribed) {
	b.StopTimer()
	to := begin(b, "b", []string{"a"})
	to.put(b, linkTo("a", to.addr)) // answers; its own end has nobody to speak to
	table := actor.NewTable(routes)
	table.Follow([]topic.Filter{"site/#"})
	a := actor.New(actor.Options{
		Cluster: "a", Name: "clink@a", Peer: "b", Incarnation: 1, Table: table, Log: slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context, received func(client.Message)) (*client.Conn, error) {
			return client.Dial(ctx, client.Options{Address: to.addr, ClientID: "a:routesync", Received: received})
		},
		Lost: func() {}, Answered: func(time.Time, bool) {}, Oversize: func(string) {},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	b.StartTimer()
	running.Go(func() { a.Run(ctx, func() bool { return false }) })
	to.routes(b, "a", len(routes))
	b.StopTimer()
	cancel()
	running.Wait()
	to.stop()
	b.StartTimer()
}
