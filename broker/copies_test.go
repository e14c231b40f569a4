package broker

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

func copyOf(topic, payload string, at time.Time) *Message {
	return &Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retain: true, ClientID: "far", Time: at}
}

// kept is what a node retains for a topic, "" for nothing.
func keptAt(n *Node, topic string) string {
	pk, _ := n.server.Topics.Retained.Get(topic)
	return string(pk.Payload)
}

// TestCopy goes through what one topic may hold when a copy comes.
func TestCopy(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	i := n.Injector("peer")
	d := connect(t, n, "d")
	d.subOpts(t, paho.SubscribeOptions{Topic: "#", QoS: 1, RetainAsPublished: true})
	now := time.Now().Truncate(time.Millisecond)
	early, later := now.Add(-time.Minute), now.Add(time.Minute)
	steps := []struct {
		what    string
		m       *Message
		news    bool
		payload string // that is retained afterwards
	}{
		{"nothing is there", copyOf("t", "1", now), true, "1"},
		{"the same", copyOf("t", "1", now), false, "1"},
		{"as new, but another", copyOf("t", "2", now), true, "2"},
		{"as new, and the other one again", copyOf("t", "1", now), false, "2"},
		{"removed at the same time", copyOf("t", "", now), true, ""},
		{"from the time of its removal", copyOf("t", "2", now), false, ""},
		{"new again", copyOf("t", "2", now.Add(time.Millisecond)), true, "2"},
		{"older", copyOf("t", "0", early), false, "2"},
		{"removed before", copyOf("t", "", early), false, "2"},
		{"newer", copyOf("t", "3", now.Add(time.Second)), true, "3"},
		{"removed", copyOf("t", "", later), true, ""},
		{"removed again", copyOf("t", "", later), false, ""},
		{"from before the removal", copyOf("t", "3", now.Add(time.Second)), false, ""},
		{"from the time of the removal", copyOf("t", "3", later), false, ""},
		{"from after the removal", copyOf("t", "4", later.Add(time.Second)), true, "4"},
		{"expired", &Message{Topic: "t", Payload: []byte("5"), Retain: true, Time: later, HasExpiry: true}, false, "4"},
	}
	for _, s := range steps {
		news, err := i.Copy(nil, s.m)
		if err != nil || news != s.news || keptAt(n, "t") != s.payload {
			t.Errorf("%s: news %v, %q is retained, %v", s.what, news, keptAt(n, "t"), err)
		}
		if s.news {
			if p := d.next(t); !p.Retain || string(p.Payload) != string(s.m.Payload) {
				t.Errorf("%s: %q came with retain %v", s.what, p.Payload, p.Retain)
			}
		}
	}
	if _, err := i.Copy(nil, copyOf("t/#", "x", now)); err == nil {
		t.Error("a wildcard was copied")
	}
	d.pub(t, &paho.Publish{Topic: "end", QoS: 1})
	if p := d.next(t); p.Topic != "end" {
		t.Errorf("%s %q came twice", p.Topic, p.Payload)
	}
	if s := n.Stats(); s.Retained != 1 || s.Injected != 7 {
		t.Errorf("%+v", s)
	}
}

// What a client of the node publishes or removes is not undone by a copy of
// what is older, and what came from elsewhere is not given out.
func TestCopyAndLocalPublishers(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	i := n.Injector("peer")
	d := connect(t, n, "d")
	before := time.Now().Add(-time.Minute)
	for _, topic := range []string{"mine", "gone"} {
		if news, err := i.Copy(nil, copyOf(topic, "theirs", before)); !news || err != nil {
			t.Fatal(news, err)
		}
		if m, ok := n.RetainedMessage(topic); ok {
			t.Errorf("%+v is given out", m)
		}
	}
	expiry := uint32(100)
	d.pub(t, &paho.Publish{Topic: "mine", QoS: 2, Retain: true, Payload: []byte("mine"), Properties: &paho.PublishProperties{
		MessageExpiry: &expiry, ContentType: "ct", User: paho.UserProperties{{Key: "k", Value: "v"}},
	}})
	d.pub(t, &paho.Publish{Topic: "gone", QoS: 1, Retain: true})
	for topic, want := range map[string]string{"mine": "mine", "gone": ""} {
		eventually(t, "the node has it", func() bool { return keptAt(n, topic) == want })
		if news, err := i.Copy(nil, copyOf(topic, "theirs", before.Add(time.Second))); news || err != nil || keptAt(n, topic) != want {
			t.Errorf("%s: %q is retained, %v", topic, keptAt(n, topic), err)
		}
		m, ok := n.RetainedMessage(topic)
		if !ok || string(m.Payload) != want || !m.Retain || time.Since(m.Time) > patience {
			t.Errorf("%s: %+v, %v", topic, m, ok)
		}
	}
	m, _ := n.RetainedMessage("mine")
	if m.ClientID != "d" || m.QoS != 2 || !m.HasExpiry || m.Expiry == 0 || m.Expiry > 100 || m.ContentType != "ct" || fmt.Sprint(m.User) != "[{k v}]" {
		t.Errorf("%+v", m)
	}
	if err := i.Keep(nil, copyOf("mine", "kept", before)); err != nil || keptAt(n, "mine") != "kept" {
		t.Errorf("what is published elsewhere now is not kept: %v", err)
	}
	if err := i.Keep(nil, &Message{Topic: "mine", Time: before}); err != nil || keptAt(n, "mine") != "kept" {
		t.Errorf("a message without the flag changed it: %v", err)
	}
	if err := i.Keep(nil, copyOf("mine", "", before)); err != nil || keptAt(n, "mine") != "" {
		t.Errorf("it is not removed: %v", err)
	}
	names := n.RetainedNames()
	slices.Sort(names)
	if got := fmt.Sprint(names); got != "[gone mine]" {
		t.Error(got)
	}
	if _, ok := n.RetainedMessage("mine"); ok {
		t.Error("a removal from elsewhere is given out")
	}
	if _, ok := n.RetainedMessage("never was"); ok {
		t.Error("a message that never was is given out")
	}
}

// The time and the origin of a retained message outlive the process.
func TestCopiesAreStored(t *testing.T) {
	dir, at := t.TempDir(), time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	func() {
		n, stop := once(t, dir)
		defer stop()
		d := connect(t, n, "d")
		d.pub(t, &paho.Publish{Topic: "mine", QoS: 1, Retain: true, Payload: []byte("mine")})
		for topic, payload := range map[string]string{"theirs": "1", "removed": "1"} {
			if news, err := n.Injector("peer").Copy(nil, copyOf(topic, payload, at)); !news || err != nil {
				t.Fatal(news, err)
			}
		}
		if news, err := n.Injector("peer").Copy(nil, copyOf("removed", "", at.Add(1e9))); !news || err != nil {
			t.Fatal(news, err)
		}
	}()
	n, stop := once(t, dir)
	defer stop()
	if keptAt(n, "theirs") != "1" || keptAt(n, "removed") != "" {
		t.Errorf("%q and %q are retained", keptAt(n, "theirs"), keptAt(n, "removed"))
	}
	if news, err := n.Injector("peer").Copy(nil, copyOf("theirs", "1", at)); news || err != nil {
		t.Errorf("the same is news after a restart, %v", err)
	}
	if _, ok := n.RetainedMessage("theirs"); ok {
		t.Error("what came from elsewhere is given out after a restart")
	}
	if m, ok := n.RetainedMessage("mine"); !ok || time.Since(m.Time) > time.Minute || m.ClientID != "d" {
		t.Errorf("%+v, %v", m, ok)
	}
}

// Copies count, and those beyond the limits are neither retained nor heard of.
func TestCopyWithinLimits(t *testing.T) {
	cfg := anyone()
	cfg.MQTT = topology.MQTT{MaxRetained: 2}
	n := start(t, Options{}, nil, cfg)
	for k, want := range []bool{true, true, false} {
		if news, err := n.Injector("peer").Copy(nil, copyOf(fmt.Sprint(k), "x", time.Now())); news != want || err != nil {
			t.Errorf("number %d: %v, %v", k, news, err)
		}
	}
	if s := n.Stats(); s.Retained != 2 || s.Dropped["retained_full"] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestRemovalsAreBounded(t *testing.T) {
	var r removals
	for k := range maxRemovals + 10 {
		r.add(fmt.Sprint(k), removal{time: int64(k)})
	}
	if _, first := r.at["9"]; first || len(r.at) != maxRemovals || len(r.order) != maxRemovals {
		t.Errorf("%d and %d are remembered", len(r.at), len(r.order))
	}
	for k := range 3000 {
		r.add(fmt.Sprint(k)+strings.Repeat("x", 4000), removal{})
	}
	if r.bytes > maxRemovalsBytes || len(r.at) != len(r.order) {
		t.Errorf("%d bytes, %d and %d are remembered", r.bytes, len(r.at), len(r.order))
	}
}

// Whatever the order in which a local publisher and copies of what is older
// come, what the publisher said stays.
func TestCopiesNeverUndoAPublisher(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	i := n.Injector("peer")
	before := time.Now().Add(-time.Hour)
	var copying sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		copying.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-done:
					return
				default:
					i.Copy(nil, copyOf(fmt.Sprint("t/", k%50), "old", before.Add(time.Duration(k)*time.Millisecond)))
				}
			}
		})
	}
	for k := range 50 {
		if err := n.Publish(Message{Topic: fmt.Sprint("t/", k), Payload: []byte("new"), Retain: true}); err != nil {
			t.Error(err)
		}
		if got := keptAt(n, fmt.Sprint("t/", k)); got != "new" {
			t.Errorf("%d: %q is retained", k, got)
		}
	}
	close(done)
	copying.Wait()
	for k := range 50 {
		if got := keptAt(n, fmt.Sprint("t/", k)); got != "new" {
			t.Errorf("%d: %q is retained in the end", k, got)
		}
	}
}
