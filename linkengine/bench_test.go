package linkengine_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"clink/broker"
	"clink/linkengine/client"
)

// BenchmarkLink is QoS 1 over a link between two nodes in this process: four
// publishers at one, a subscriber over a connection at the other, at most 4000
// messages on the way.
func BenchmarkLink(b *testing.B) {
	for _, size := range []int{64, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) { benchmarkLink(b, size) })
	}
}

func benchmarkLink(b *testing.B, size int) {
	from, to := pair(b, "global/#")
	var arrived atomic.Int64
	room := make(chan struct{}, 4000)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sub, err := client.Dial(ctx, client.Options{Address: to.addr, ClientID: "sub", Received: func(client.Message) {
		arrived.Add(1)
		<-room
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer sub.Close()
	if err := sub.Subscribe(ctx, "global/bench"); err != nil {
		b.Fatal(err)
	}
	from.routes(b, "b", 1)
	payload := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		room <- struct{}{}
		m := broker.Message{Topic: "global/bench", Payload: payload, QoS: 1, ClientID: fmt.Sprint("pub-", i%4), ProtoVersion: 5}
		if err := from.node.Publish(m); err != nil {
			b.Fatal(err)
		}
	}
	eventually(b, "all messages arrive", func() bool { return len(room) == 0 })
}
