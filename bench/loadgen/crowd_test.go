package loadgen

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestCrowdComesAndGoes(t *testing.T) {
	addr, _ := startBroker(t, true)
	crowd, err := Gather(t.Context(), Config{SubscribeAt: addr}, 150)
	if err != nil {
		t.Fatal(err)
	}
	if len(crowd.conns) != 150 || crowd.Took <= 0 {
		t.Errorf("%d clients after %v", len(crowd.conns), crowd.Took)
	}
	for i, c := range crowd.conns {
		if c == nil {
			t.Fatalf("client %d did not connect", i)
		}
	}
	crowd.Close()
}

func TestFiltersAreSharedOut(t *testing.T) {
	addr, _ := startBroker(t, true)
	for _, version := range []byte{4, 5} {
		const n = 2345
		var asked [n]atomic.Int32
		c := Config{PublishTo: addr, SubscribeAt: addr, TopicPrefix: "all", Version: version}
		crowd, err := SubscribeAll(t.Context(), c, 3, n, func(i int) string {
			asked[i].Add(1)
			return fmt.Sprintf("all/%d", i)
		})
		if err != nil || len(crowd.conns) != 3 || crowd.Took <= 0 {
			t.Fatalf("version %d: %+v, %v", version, crowd, err)
		}
		for i := range asked {
			if times := asked[i].Load(); times != 1 {
				t.Fatalf("version %d: filter %d was subscribed to %d times", version, i, times)
			}
		}
		crowd.Close()
	}
}

func TestFilterThatIsRefused(t *testing.T) {
	addr, _ := startBroker(t, true)
	_, err := SubscribeAll(t.Context(), Config{SubscribeAt: addr}, 2, 500, func(i int) string {
		if i == 350 {
			return "$LINK/not/for/clients"
		}
		return fmt.Sprintf("all/%d", i)
	})
	if err == nil || !strings.Contains(err.Error(), "refused the subscription with code 0x80") {
		t.Errorf("got %v", err)
	}
}

func TestCrowdThatIsRefused(t *testing.T) {
	addr, _ := startBroker(t, false)
	if _, err := Gather(t.Context(), Config{SubscribeAt: addr}, 20); err == nil || !strings.Contains(err.Error(), "connect 20 clients") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Gather(ctx, Config{SubscribeAt: addr}, 20); err == nil || !strings.HasSuffix(err.Error(), context.Canceled.Error()) {
		t.Errorf("got %v", err)
	}
}

func TestRetainedMessagesAreFetched(t *testing.T) {
	addr, _ := startBroker(t, true)
	for _, version := range []byte{4, 5} {
		c := Config{PublishTo: addr, SubscribeAt: addr, TopicPrefix: "r" + string('0'+version), Version: version, Quiet: time.Minute}
		if err := Retain(t.Context(), c, 1234); err != nil {
			t.Fatal(err)
		}
		got, took, err := Fetch(t.Context(), c, 1234)
		if got != 1234 || took <= 0 || took > time.Minute || err != nil {
			t.Errorf("version %d: %d messages after %v, %v", version, got, took, err)
		}
	}
	if got, _, err := Fetch(t.Context(), Config{SubscribeAt: addr, TopicPrefix: "none"}, 1); got != 0 || err != nil {
		t.Errorf("where there are none: %d, %v", got, err)
	}
}
