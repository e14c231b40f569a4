package broker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// A recorder is a handler that notes what it is told.
type recorder struct {
	mu        sync.Mutex
	published []*Message
	refused   []string
	closed    []*Session
	control   func(*Session, *Message) Verdict
	held      chan struct{} // Published says that it waits
	hold      chan struct{} // Published waits for it
}

func (r *recorder) Published(m *Message) {
	if r.hold != nil {
		r.held <- struct{}{}
		<-r.hold
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published = append(r.published, m)
}

func (r *recorder) Control(s *Session, m *Message) Verdict {
	if r.control == nil {
		return Ack
	}
	return r.control(s, m)
}

func (r *recorder) Closed(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = append(r.closed, s)
}

func (r *recorder) Refused(peer, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = append(r.refused, peer+": "+reason)
}

func (r *recorder) topics() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, m := range r.published {
		out = append(out, m.Topic)
	}
	return out
}

func linkGrant(peer string) topology.Grant {
	return topology.Grant{
		Peer: peer, ClientIDPrefix: "from-" + peer, Loopback: true,
		Publish:   []string{"$LINK/cluster/route/" + peer, "$LINK/cluster/msg/" + peer},
		Subscribe: []string{"$LINK/cluster/resp/" + peer + "/+"},
	}
}

func withGrants(t testing.TB) Config {
	cfg := anyone()
	secret := linkGrant("secret")
	secret.Loopback, secret.Username, secret.Password = false, "link", ref(t, "pw")
	cert := linkGrant("cert")
	cert.Loopback, cert.CertName = false, "cert-peer"
	none := linkGrant("none")
	none.Loopback = false
	nested := linkGrant("secret")
	nested.Peer, nested.ClientIDPrefix = "nested", "from-open:deep"
	cfg.Grants = []topology.Grant{linkGrant("open"), secret, cert, none, nested}
	return cfg
}

func TestWhoMaySpeakAsPeer(t *testing.T) {
	h := &recorder{}
	n := start(t, Options{}, h, withGrants(t))
	tests := []struct {
		id, user, password, want, peer string
	}{
		{"from-open:1", "", "", "", "open"},
		{"from-open:deep:1", "", "", "", "nested"},
		{"from-open", "", "", "", ""}, // no colon: an ordinary client
		{"from-secret:1", "link", "pw", "", "secret"},
		{"from-secret:1", "link", "no", "0x86", "secret"},
		{"from-secret:1", "else", "pw", "0x86", "secret"},
		{"from-secret:1", "", "", "0x86", "secret"},
		{"from-cert:1", "", "", "0x87", "cert"},
		{"from-none:1", "", "", "0x87", "none"},
	}
	refused := 0
	for _, tt := range tests {
		var opts []connectOption
		if tt.user != "" {
			opts = append(opts, withUser(tt.user, tt.password))
		}
		d, err := dial(addr(t, n, "tcp"), tt.id, opts...)
		if err != nil {
			refused++
			if got := fmt.Sprint(err); tt.want == "" || got != "refused with "+tt.want {
				t.Errorf("%s: %v, want %q", tt.id, err, tt.want)
			}
			h.mu.Lock()
			if len(h.refused) != refused || h.refused[refused-1][:len(tt.peer)+1] != tt.peer+":" {
				t.Errorf("%s: refusals told: %q", tt.id, h.refused)
			}
			h.mu.Unlock()
			continue
		}
		if tt.want != "" {
			t.Errorf("%s was let in", tt.id)
		}
		n.mu.Lock()
		c := n.live[tt.id]
		n.mu.Unlock()
		switch {
		case tt.peer == "" && c.session != nil:
			t.Errorf("%s has the rights of a link", tt.id)
		case tt.peer != "" && c.session.Peer() != tt.peer:
			t.Errorf("%s speaks as %s", tt.id, c.session.Peer())
		case tt.peer != "" && time.Duration(c.conn.wait.Load()) != 180*time.Second:
			t.Errorf("%s may be silent for %v, want three times its keep-alive", tt.id, time.Duration(c.conn.wait.Load()))
		case tt.peer != "" && *d.ack.Properties.MaximumPacketSize < 16<<20:
			t.Errorf("%s may send packets of %d bytes", tt.id, *d.ack.Properties.MaximumPacketSize)
		}
		d.Disconnect(&paho.Disconnect{})
	}
}

func TestLinkRightsAreNarrow(t *testing.T) {
	n := start(t, Options{}, &recorder{}, withGrants(t))
	link, plain := connect(t, n, "from-open:1"), connect(t, n, "plain")
	for _, name := range []string{"a", "$LINK/cluster/msg/other", "$LINK/x", "$SYS/x"} {
		if code := link.pub(t, &paho.Publish{Topic: name, QoS: 1}); code != 0x87 {
			t.Errorf("link publishes to %s: %#x", name, code)
		}
	}
	for _, f := range []string{"#", "$LINK/#", "$LINK/cluster/resp/open/#", "$LINK/cluster/resp/other/x", "a"} {
		if err := link.trySub(paho.SubscribeOptions{Topic: f}); err == nil {
			t.Errorf("link subscribes to %s", f)
		}
	}
	link.sub(t, "$LINK/cluster/resp/open/actor")
	for _, f := range []string{"$LINK/#", "$LINK/cluster/msg/open", "$LINK/+/msg/#", "$LINK", "$share/g/$LINK/#"} {
		if err := plain.trySub(paho.SubscribeOptions{Topic: f}); err == nil {
			t.Errorf("an ordinary client subscribes to %s", f)
		}
	}
	for qos, want := range map[byte]byte{1: 0x87, 2: 0x87} {
		if code := plain.pub(t, &paho.Publish{Topic: "$LINK/cluster/msg/open", QoS: qos}); code != want {
			t.Errorf("an ordinary client publishes under $LINK/ with QoS %d: %#x", qos, code)
		}
	}
	if got := n.Routes().Len(); got != 0 {
		t.Errorf("%d routes, want none of a link's", got)
	}
}

func TestControl(t *testing.T) {
	verdict := Ack
	var got *Message
	h := &recorder{}
	h.control = func(s *Session, m *Message) Verdict {
		got = m
		if m.ResponseTopic != "" {
			if err := s.Reply(m.ResponseTopic, []byte("answer"), m.CorrelationData); err != nil {
				return ProtocolError
			}
		}
		return verdict
	}
	n := start(t, Options{}, h, withGrants(t))
	all := connect(t, n, "all")
	all.sub(t, "#")
	other := connect(t, n, "from-open:2")
	other.sub(t, "$LINK/cluster/resp/open/a")
	r, _ := connectRaw(t, n, "from-open:1", func(c *packets.Connect) {
		one := uint16(1)
		c.Properties.ReceiveMaximum = &one
	})
	const name = "$LINK/cluster/route/open"
	for i, tt := range []struct {
		verdict Verdict
		qos     byte
		want    byte
	}{{Ack, 1, 0}, {Ack, 2, 0}, {AckNoMatch, 1, 0x10}, {AckNoMatch, 2, 0}} {
		verdict = tt.verdict
		r.publish(name, tt.qos, uint16(100+i), func(p *packets.Publish) { p.Retain = true })
		switch a := r.read().Content.(type) {
		case *packets.Puback:
			if tt.qos != 1 || a.ReasonCode != tt.want {
				t.Errorf("verdict %d, QoS %d: PUBACK %#x", tt.verdict, tt.qos, a.ReasonCode)
			}
		case *packets.Pubrec:
			if tt.qos != 2 || a.ReasonCode != tt.want {
				t.Errorf("verdict %d, QoS %d: PUBREC %#x", tt.verdict, tt.qos, a.ReasonCode)
			}
		default:
			t.Errorf("verdict %d, QoS %d: %T", tt.verdict, tt.qos, a)
		}
		if got.ClientID != "from-open:1" || got.Topic != name || !got.Peer.IsValid() || string(got.Payload) != "x" {
			t.Errorf("the handler was given %+v", got)
		}
	}
	verdict = Ack
	if n.Stats().Retained != 0 || len(n.server.Topics.Messages("$LINK/#")) != 0 {
		t.Error("a link's publish was retained")
	}

	// Answers reach the session that subscribed, and no other.
	r.subscribe(50, "$LINK/cluster/resp/open/a", 1)
	for i := range 2 { // the second is beyond its Receive Maximum, and must not lock up
		r.publish(name, 1, uint16(60+i), func(p *packets.Publish) {
			p.Properties.ResponseTopic, p.Properties.CorrelationData = "$LINK/cluster/resp/open/a", []byte("corr")
		})
		p, ok := r.read().Content.(*packets.Publish)
		if !ok || p.QoS != 1 || string(p.Payload) != "answer" || string(p.Properties.CorrelationData) != "corr" {
			t.Fatalf("answer %+v", p)
		}
		if _, ok := r.read().Content.(*packets.Puback); !ok {
			t.Fatal("no PUBACK after the answer")
		}
	}
	r.publish(name, 1, 70, func(p *packets.Publish) { p.Properties.ResponseTopic = "$LINK/cluster/resp/open/b" }) // not subscribed: ProtocolError
	if code, _ := r.ended(); code != 0x83 {
		t.Errorf("DISCONNECT %#x, want 0x83", code)
	}
	eventually(t, "the end is told", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.closed) == 1 && h.closed[0].ClientID() == "from-open:1"
	})
	publishNumbers(t, n, "end", 0, 1, 1)
	if p := all.next(t); p.Topic != "end" {
		t.Errorf("a subscriber of # received %s", p.Topic)
	}
	if len(other.got) != 0 {
		t.Error("another session received the answer")
	}
	if got := h.topics(); len(got) != 1 {
		t.Errorf("published: %q, want the last alone", got)
	}
}

func TestGrantChangesAtRunTime(t *testing.T) {
	h := &recorder{}
	cfg := withGrants(t)
	n := start(t, Options{}, h, cfg)
	open, secret := connect(t, n, "from-open:1"), connect(t, n, "from-secret:1", withUser("link", "pw"))
	plain := connect(t, n, "from-late:1")
	late := linkGrant("late")
	cfg.Grants = []topology.Grant{cfg.Grants[1], late}
	cfg.Grants[0].Publish = []string{"$LINK/cluster/msg/secret"}
	if err := n.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	if code := <-plain.gone; code != 0x98 {
		t.Errorf("a client whose id now is a link's was told %#x", code)
	}
	if code := <-open.gone; code != 0x98 {
		t.Errorf("a link without grant was told %#x", code)
	}
	if code := secret.pub(t, &paho.Publish{Topic: "$LINK/cluster/route/secret", QoS: 1}); code != 0x87 {
		t.Errorf("a right that was taken away still holds: %#x", code)
	}
	if code := secret.pub(t, &paho.Publish{Topic: "$LINK/cluster/msg/secret", QoS: 1}); code != 0 {
		t.Errorf("a right that was left is gone: %#x", code)
	}
}
