package broker

import (
	"fmt"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
)

// A queue that is emptied just before a retained message begins to wait for
// room has room, though nothing more is going to leave it.
func TestRoomThatCameBeforeTheWait(t *testing.T) {
	n := start(t, Options{QueueLength: 8}, nil, anyone())
	connect(t, n, "c")
	n.mu.Lock()
	c := n.live["c"]
	n.mu.Unlock()
	got := make(chan bool)
	go func() { got <- c.awaitRoom(0, n.bounds.Load()) }()
	select {
	case ok := <-got:
		if !ok {
			t.Error("there is no room in an empty queue")
		}
	case <-time.After(patience):
		t.Error("it waits for room in an empty queue")
	}
}

// Retained messages that are together larger than what a session may hold wait
// for what is written, and not for acknowledgements, which their reader would
// have to read: those that find no place are dropped.
func TestLargeRetainedDoNotWaitForAcknowledgements(t *testing.T) {
	const size, count = 64 << 10, 20
	n := start(t, Options{}, nil, limited(topology.MQTT{MaxQueueBytes: topology.Size{Bytes: 4 * size}}))
	for i := range count {
		if err := n.Publish(Message{Topic: fmt.Sprint("r/", i), QoS: 1, Retain: true, Payload: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	r, _ := connectRaw(t, n, "r", nil)
	if got := r.subscribe(1, "r/#", 1); got != 1 {
		t.Fatalf("SUBACK %#02x", got)
	}
	came := 0
	for ; came < 3; came++ { // fewer than may be unacknowledged
		if m := r.read(); m.Type != packets.PUBLISH {
			t.Fatalf("got %s", m.PacketType())
		}
	}
	r.Write([]byte{packets.PINGREQ << 4, 0})
	for m := r.read(); m.Type != packets.PINGRESP; m = r.read() {
		came++
	}
	// Nothing is dropped any more, but the answer may overtake what is queued.
	dropped := int(n.Stats().Dropped["queue_full"])
	for ; came+dropped < count; came++ {
		if m := r.read(); m.Type != packets.PUBLISH {
			t.Fatalf("got %s", m.PacketType())
		}
	}
	if came < 4 || came+dropped != count {
		t.Errorf("%d came and %d were dropped of %d", came, dropped, count)
	}
}
