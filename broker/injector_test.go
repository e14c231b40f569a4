package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

func TestInject(t *testing.T) {
	h := &recorder{}
	n := start(t, Options{}, h, anyone())
	i := n.Injector("peer")
	d := connect(t, n, "d")
	d.subOpts(t, paho.SubscribeOptions{Topic: "plain/#", QoS: 2})
	d.subOpts(t, paho.SubscribeOptions{Topic: "kept/#", QoS: 1, RetainAsPublished: true, NoLocal: true})
	for qos := byte(0); qos <= 2; qos++ {
		m := &Message{
			Topic: "plain/x", QoS: qos, Payload: []byte("p"), Retain: true, ClientID: "d", Time: time.Now(),
			PayloadFormat: 1, HasPayloadFormat: true, Expiry: 100, HasExpiry: true, ContentType: "ct", ResponseTopic: "rt",
			CorrelationData: []byte("cd"), User: []UserProperty{{"a", "1"}, {"a", "2"}},
		}
		if err := i.Inject(m); err != nil {
			t.Fatal(err)
		}
		p := d.next(t)
		q := p.Properties
		if p.Retain || p.QoS != qos || q.ContentType != "ct" || q.ResponseTopic != "rt" || string(q.CorrelationData) != "cd" ||
			len(q.User) != 2 || q.User[1].Value != "2" || q.PayloadFormat == nil || q.MessageExpiry == nil || *q.MessageExpiry == 0 || *q.MessageExpiry > 100 {
			t.Errorf("QoS %d came as %+v %+v", qos, p, q)
		}
	}
	for _, retain := range []bool{true, false} {
		if err := i.Inject(&Message{Topic: "kept/x", QoS: 2, Retain: retain, ClientID: "d"}); err != nil {
			t.Fatal(err)
		}
		if p := d.next(t); p.Retain != retain || p.QoS != 1 {
			t.Errorf("retained %v came as %+v", retain, p)
		}
	}
	d.subOpts(t, paho.SubscribeOptions{Topic: "kept/#", QoS: 1}) // now without Retain As Published
	if err := i.Inject(&Message{Topic: "kept/x", QoS: 1, Retain: true}); err != nil {
		t.Fatal(err)
	}
	if p := d.next(t); p.Retain {
		t.Error("the retain flag reached a subscription without Retain As Published")
	}
	if got := n.server.Topics.Messages("kept/#"); len(got) != 0 {
		t.Error("an injected message was stored")
	}
	if got := h.topics(); len(got) != 0 {
		t.Errorf("the handler saw %q", got)
	}
	if s := n.Stats(); s.Injected != 6 || s.Received != 0 {
		t.Errorf("counted %d injected, %d received", s.Injected, s.Received)
	}
}

// The flag survives until a message is sent again to a continued session.
func TestInjectedRetainFlagOverReconnect(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	d := connect(t, n, "d", keepSession(60))
	d.subOpts(t, paho.SubscribeOptions{Topic: "kept/#", QoS: 1, RetainAsPublished: true})
	d.drop(t, n, "d")
	if err := n.Injector("peer").Inject(&Message{Topic: "kept/x", QoS: 1, Retain: true}); err != nil {
		t.Fatal(err)
	}
	d = connect(t, n, "d", keepSession(60))
	if p := d.next(t); !p.Retain {
		t.Error("the retain flag is lost")
	}
}

func TestInjectRefuses(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	d := connect(t, n, "d")
	d.sub(t, "#", "end")
	i := n.Injector("peer")
	long := strings.Repeat("x", 65536)
	for name, m := range map[string]*Message{
		"wildcard": {Topic: "a/+"}, "hash": {Topic: "#"}, "empty": {}, "NUL": {Topic: "a\x00"}, "UTF-8": {Topic: "a\xff"}, "long": {Topic: long},
		"system": {Topic: "$SYS/x"}, "link": {Topic: "$LINK/x"}, "QoS": {Topic: "a", QoS: 3},
		"content type": {Topic: "a", ContentType: "\xff"}, "response topic": {Topic: "a", ResponseTopic: "b/#"},
		"correlation data": {Topic: "a", CorrelationData: make([]byte, 65536)},
		"user property":    {Topic: "a", User: []UserProperty{{"k", long}}},
		"payload":          {Topic: "a", Payload: make([]byte, 268435455)},
	} {
		if err := i.Inject(m); err == nil {
			t.Errorf("%s: injected", name)
		}
		if err := n.Publish(*m); err == nil {
			t.Errorf("%s: published", name)
		}
	}
	now := time.Now()
	for _, m := range []*Message{
		{Topic: "expired", Time: now.Add(-3 * time.Second), HasExpiry: true, Expiry: 3},
		{Topic: "born expired", Time: now, HasExpiry: true},
		{Topic: "end", Time: now.Add(-100 * time.Second), HasExpiry: true, Expiry: 300},
		{Topic: "future", Time: now.Add(time.Hour), HasExpiry: true, Expiry: 200},
	} {
		if err := i.Inject(m); err != nil {
			t.Errorf("%s: %v", m.Topic, err)
		}
	}
	for _, want := range []string{"end", "future"} {
		p := d.next(t)
		if p.Topic != want || *p.Properties.MessageExpiry > 200 {
			t.Errorf("got %s, want %s", p.Topic, want)
		}
	}
	if got := n.Stats().Dropped["expired"]; got != 2 {
		t.Errorf("%d expired, want 2", got)
	}
}

func TestPublished(t *testing.T) {
	h := &recorder{}
	n := start(t, Options{}, h, anyone())
	d := connect(t, n, "d", withUser("someone", ""))
	expiry := uint32(9)
	d.pub(t, &paho.Publish{Topic: "x", QoS: 2, Retain: true, Payload: []byte("p"), Properties: &paho.PublishProperties{
		MessageExpiry: &expiry, ContentType: "ct", User: paho.UserProperties{{Key: "k", Value: "v"}},
	}})
	if err := n.Publish(Message{Topic: "y", ClientID: "rest"}); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.published) != 2 {
		t.Fatalf("%d messages, want 2", len(h.published))
	}
	m := h.published[0]
	if m.Topic != "x" || m.QoS != 2 || !m.Retain || string(m.Payload) != "p" || m.ClientID != "d" || m.Username != "someone" || m.ProtoVersion != 5 ||
		!m.Peer.Addr().IsLoopback() || time.Since(m.Time) > patience || !m.HasExpiry || m.Expiry != 9 || m.ContentType != "ct" || m.User[0] != (UserProperty{"k", "v"}) {
		t.Errorf("got %+v", m)
	}
	if m := h.published[1]; m.ClientID != "rest" || m.Time.IsZero() {
		t.Errorf("got %+v", m)
	}
}
