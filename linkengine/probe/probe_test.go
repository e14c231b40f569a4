package probe_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clink/linkengine/probe"
	"clink/linkengine/wire"
	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is a password that no detail may hold.
const secret = "hunter2"

func options(addr string) probe.Options {
	return probe.Options{
		Cluster: "a", Actor: "clink@a", Prefix: "a", Address: addr,
		Link:     topology.Link{Name: "b", Username: "u"},
		Password: func() (string, error) { return secret, nil },
		Step:     30 * time.Second, Whole: time.Minute,
	}
}

// ends checks how a probe ended.
func ends(t *testing.T, p topology.Probe, ok bool, step string, texts ...string) {
	t.Helper()
	end := p.Steps[len(p.Steps)-1]
	if p.OK != ok || end.OK != ok || end.Name != step {
		t.Errorf("%v, %+v", p.OK, end)
	}
	for _, text := range texts {
		if !strings.Contains(end.Detail, text) {
			t.Errorf("%q is not in: %s", text, end.Detail)
		}
	}
	for _, s := range p.Steps {
		if strings.Contains(s.Detail, secret) {
			t.Errorf("the detail of %s holds the password", s.Name)
		}
	}
}

// hastily probes a far end that leaves something unanswered, with little time for
// each step. A busy machine may take as long for what is answered: then there is
// more time, until it ends with the step and the texts that it should.
func hastily(t *testing.T, o probe.Options, step string, texts ...string) topology.Probe {
	t.Helper()
	for {
		p := probe.Run(t.Context(), o)
		end := p.Steps[len(p.Steps)-1]
		if o.Step > time.Minute || end.Name == step && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(end.Detail, text) }) {
			return p
		}
		o.Step, o.Whole = 4*o.Step, 4*o.Whole
	}
}

// serve runs a far end for every connection that comes.
func serve(t *testing.T, far func(c net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				far(c)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return ln.Addr().String()
}

// gone waits until the near end has closed the connection.
func gone(c net.Conn) { io.Copy(io.Discard, c) }

// says answers the first packet with b, and then waits or hangs up.
func says(b string, hangUp bool) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := packets.ReadPacket(c); err != nil {
			return
		}
		io.WriteString(c, b)
		if !hangUp {
			gone(c)
		}
	}
}

// A fake is a broker that answers as a test wants.
type fake struct {
	connack byte
	suback  func(filter string) byte
	// publish answers actor_init, nil: PUBACK and the reply unknown_cluster.
	publish func(c net.Conn, p *packets.Publish)

	mu  sync.Mutex
	got []*packets.ControlPacket
	bye []byte // the last two bytes of a connection that ended
}

func (f *fake) serve(c net.Conn) {
	var raw bytes.Buffer
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.bye = raw.Bytes()[max(0, raw.Len()-2):]
	}()
	for {
		p, err := packets.ReadPacket(io.TeeReader(c, &raw))
		if err != nil {
			return // as DISCONNECT without a body is, for this codec
		}
		f.mu.Lock()
		f.got = append(f.got, p)
		f.mu.Unlock()
		switch m := p.Content.(type) {
		case *packets.Connect:
			c.Write([]byte{0x20, 3, 0, f.connack, 0})
		case *packets.Subscribe:
			code := byte(1)
			if f.suback != nil {
				code = f.suback(m.Subscriptions[0].Topic)
			}
			if code != 0xff {
				c.Write([]byte{0x90, 4, byte(m.PacketID >> 8), byte(m.PacketID), 0, code})
			}
		case *packets.Publish:
			if f.publish == nil {
				reply(c, m, ack("unknown_cluster"))
				puback(c, m, 0x10)
			} else {
				f.publish(c, m)
			}
		}
	}
}

func (f *fake) record() (got []*packets.ControlPacket, bye []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got, f.bye
}

func ack(reason string) []byte { return wire.ActorInitAck{Actor: "x", Error: reason}.Append(nil) }

func puback(c net.Conn, m *packets.Publish, code byte) {
	c.Write([]byte{0x40, 3, byte(m.PacketID >> 8), byte(m.PacketID), code})
}

// reply sends a payload to where the answer is awaited.
func reply(c net.Conn, m *packets.Publish, payload []byte) {
	send(c, m.Properties.ResponseTopic, payload, m.Properties.CorrelationData)
}

func send(c net.Conn, topic string, payload, correlation []byte) {
	p := packets.NewControlPacket(packets.PUBLISH)
	pub := p.Content.(*packets.Publish)
	pub.Topic, pub.Payload, pub.Properties.CorrelationData = topic, payload, correlation
	var b bytes.Buffer
	p.WriteTo(&b)
	c.Write(b.Bytes())
}

// TestWhatListensThere has far ends that are no MQTT brokers, or poor ones.
func TestWhatListensThere(t *testing.T) {
	secured := func(o *probe.Options) {
		o.TLS = func() (*tls.Config, error) { return &tls.Config{ServerName: "b"}, nil }
	}
	hasty := func(o *probe.Options) { o.Step = time.Second }
	both := func(o *probe.Options) { secured(o); hasty(o) }
	tests := []struct {
		name   string
		far    func(net.Conn)
		change func(*probe.Options)
		step   string
		texts  []string
	}{
		{"silence", gone, hasty, "connack", []string{"does not answer CONNECT (no answer within "}},
		{"silence to TLS", gone, both, "tls", []string{"says nothing when it is spoken to in TLS (no answer within "}},
		{"the probe as a whole", gone, func(o *probe.Options) { o.Whole = time.Second }, "connack", []string{"the probe as a whole took longer than "}},
		{"garbage", says("\x00\x01\x02\x1b[31mgarbage", false), hasty, "connack", []string{`speaks no MQTT (its answer begins "\x00\x01\x02\x1b[31mga`}},
		{"HTTP", says("HTTP/1.1 400 Bad Request\r\n\r\n", true), nil, "connack", []string{"speaks HTTP, not MQTT"}},
		{"an echo", func(c net.Conn) { io.Copy(c, c) }, hasty, "connack", []string{"speaks no MQTT"}},
		{"an alert of TLS", says("\x15\x03\x01\x00\x02\x02\x0a", true), nil, "connack", []string{"is a TLS listener", "ssl.enable"}},
		{"nothing, and it hangs up", says("", true), nil, "connack", []string{"closed the connection on CONNECT without an answer"}},
		{"HTTP to TLS", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); gone(c) }, secured, "tls", []string{"something that is HTTP"}},
		{"MQTT to TLS", func(c net.Conn) { c.Write([]byte{0x20, 3, 0, 0x81, 0}); gone(c) }, secured, "tls", []string{"something that is plain MQTT", "ssl.enable"}},
		{"half a record of TLS", func(c net.Conn) { c.Write([]byte{0x16, 3, 3, 0, 50, 1}); gone(c) }, both, "tls", []string{"does not come to an end"}},
		{"half a record, and it hangs up", func(c net.Conn) { c.Read(make([]byte, 2000)); c.Write([]byte{0x16, 3, 3, 0, 50, 1}) }, secured, "tls", []string{"in the middle of the TLS handshake"}},
		{"MQTT 3.1.1", says("\x20\x02\x00\x01", true), nil, "connack", []string{"does not speak MQTT 5.0", "return code 1"}},
		{"a malformed CONNACK", says("\x20\x05\x00\x00\x09\x00\x00", true), nil, "connack", []string{"CONNACK cannot be used"}},
		{"no QoS 1", says("\x20\x05\x00\x00\x02\x24\x00", true), nil, "connack", []string{"the peer does not take QoS 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // some wait for an answer that does not come
			o := options(serve(t, tt.far))
			if tt.change != nil {
				tt.change(&o)
			}
			ends(t, hastily(t, o, tt.step, tt.texts...), false, tt.step, tt.texts...)
		})
	}
}

// TestRefusals goes through the reason codes of CONNACK: each is named, and
// says what to do next.
func TestRefusals(t *testing.T) {
	tests := map[byte]string{
		0x80: "unspecified error", 0x84: "EMQX from 5.8 on", 0x85: "rules must let in those that begin a:", 0x86: `compare username "u"`,
		0x87: "a clinkd whose site has no link to a", 0x88: "try again", 0x89: "try again", 0x8a: "lift the ban", 0x8c: "enhanced authentication",
		0x97: "limits on connections", 0x9c: "set the link's server", 0x9d: "set the link's server", 0x9f: "try again", 0xfe: "reason 0xfe",
	}
	for code, want := range tests {
		f := &fake{connack: code}
		ends(t, probe.Run(t.Context(), options(serve(t, f.serve))), false, "connack", "the peer refused the connection: ", want)
	}
	f := &fake{connack: 0x86}
	o := options(serve(t, f.serve))
	o.Link.Username = ""
	ends(t, probe.Run(t.Context(), o), false, "connack", "gives no username")
}

// TestPermissionAndHandshake has brokers that let the link in.
func TestPermissionAndHandshake(t *testing.T) {
	init := func(do func(c net.Conn, m *packets.Publish)) *fake { return &fake{publish: do} }
	answers := func(payload []byte) *fake {
		return init(func(c net.Conn, m *packets.Publish) { puback(c, m, 0); reply(c, m, payload) })
	}
	disconnects := func(code byte) *fake {
		return init(func(c net.Conn, _ *packets.Publish) { c.Write([]byte{0xe0, 2, code, 0}); gone(c) })
	}
	tests := []struct {
		name  string
		hasty bool // nothing comes
		far   *fake
		ok    bool
		step  string
		texts []string
	}{
		{"subscription refused", false, &fake{suback: func(string) byte { return 0x87 }}, false, "permission", []string{"refuses the subscription to $LINK/cluster/resp/a/clink@a: not authorized (0x87)", "EMQX when its ACL says so"}},
		{"subscription not answered", true, &fake{suback: func(string) byte { return 0xff }}, false, "permission", []string{"does not answer the subscription"}},
		{"publish refused", false, init(func(c net.Conn, m *packets.Publish) { puback(c, m, 0x87) }), false, "permission", []string{"refuses what is published on $LINK/cluster/route/a: not authorized (0x87)"}},
		{"publish refused by hanging up", false, disconnects(0x87), false, "permission", []string{"refuses what is published on $LINK/cluster/route/a"}},
		{"publish not answered", true, init(func(net.Conn, *packets.Publish) {}), false, "permission", []string{"does not acknowledge"}},
		{"it fails over it", false, disconnects(0x83), false, "handshake", []string{"implementation specific error (0x83)", "its log says why"}},
		{"it hangs up", false, init(func(c net.Conn, m *packets.Publish) { c.Close() }), false, "handshake", []string{"ended the connection instead of answering"}},
		{"no answer", true, init(func(c net.Conn, m *packets.Publish) { puback(c, m, 0x10) }), false, "handshake", []string{"a broker answers, but nobody there speaks cluster linking (no answer within "}},
		{"an answer to somebody else", true, init(func(c net.Conn, m *packets.Publish) {
			puback(c, m, 0)
			send(c, m.Properties.ResponseTopic, ack("cluster_link_disabled"), []byte("other"))
		}), false, "handshake", []string{"nobody there speaks"}},
		{"after an answer to somebody else", false, init(func(c net.Conn, m *packets.Publish) {
			send(c, m.Properties.ResponseTopic, ack("unknown_cluster"), []byte("other"))
			puback(c, m, 0)
			reply(c, m, ack("cluster_link_disabled"))
		}), false, "handshake", []string{"is disabled (cluster_link_disabled)"}},
		{"one-sided", false, &fake{}, false, "handshake", []string{"no link back to a (unknown_cluster)"}},
		{"linked", false, answers(ack("bad_remote_cluster_link_name")), true, "handshake", []string{"it is enabled", "not tried: whether its own name is b"}},
		{"accepted", false, answers(ack("")), true, "handshake", []string{"accepted even a handshake", "clink-probe-"}},
		{"another reason", false, answers(ack("a\x1breason")), false, "handshake", []string{`does not know: "a\x1breason"`}},
		{"garbage", false, answers([]byte("garbage")), false, "handshake", []string{"cannot be read"}},
		{"no answer but a heartbeat", false, answers(wire.Heartbeat{Actor: "x"}.Append(nil)), false, "handshake", []string{"is no answer"}},
		{"the link's own topic only", false, &fake{suback: func(f string) byte {
			if f == "$LINK/cluster/resp/a/clink@a" {
				return 1
			}
			return 0x87
		}}, false, "handshake", []string{"no link back to a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // some wait for an answer that does not come
			o := options(serve(t, tt.far.serve))
			if tt.hasty {
				o.Step = time.Second
			}
			ends(t, hastily(t, o, tt.step, tt.texts...), tt.ok, tt.step, tt.texts...)
		})
	}
}

// TestKnown is what the running link says of the peer.
func TestKnown(t *testing.T) {
	tests := []struct {
		known probe.Known
		ok    bool
		text  string
	}{
		{probe.Known{Name: probe.Right}, true, "the peer's name is b"},
		{probe.Known{Name: probe.Wrong}, false, "calls itself otherwise than b"},
		{probe.Known{Other: "it rains"}, true, "; it rains"},
	}
	f := &fake{publish: func(c net.Conn, m *packets.Publish) {
		puback(c, m, 0x10)
		reply(c, m, ack("bad_remote_cluster_link_name"))
	}}
	addr := serve(t, f.serve)
	for _, tt := range tests {
		o := options(addr)
		o.Known = func() probe.Known { return tt.known }
		ends(t, probe.Run(t.Context(), o), tt.ok, "handshake", tt.text)
	}
}

// TestManners looks at what the far end got: a client id of its own that rules
// for the link let in, no will, nothing kept, a handshake that cannot be
// accepted, a proper goodbye.
func TestManners(t *testing.T) {
	f := &fake{}
	probe.Run(t.Context(), options(serve(t, f.serve)))
	got, bye := f.record()
	for deadline := time.Now().Add(time.Minute); bye == nil && time.Now().Before(deadline); got, bye = f.record() {
		runtime.Gosched()
	}
	if string(bye) != "\xe0\x00" {
		t.Errorf("the connection ended with % x instead of DISCONNECT 0x00", bye)
	}
	c := got[0].Content.(*packets.Connect)
	link := wire.ClientID("a", "routesync", "clink@a", 0)
	if ok, _ := regexp.MatchString("^a:(msg|routesync|routesync-ps):", c.ClientID); !ok || c.ClientID == link || len(c.ClientID) == len(link) {
		t.Errorf("client id %s", c.ClientID)
	}
	if e := c.Properties.SessionExpiryInterval; !c.CleanStart || c.WillFlag || e != nil && *e != 0 || c.Username != "u" || string(c.Password) != secret {
		t.Errorf("%v", c)
	}
	handshakes := 0
	for _, p := range got {
		if m, ok := p.Content.(*packets.Publish); ok {
			handshakes++
			payload, err := wire.DecodeControl(m.Payload, wire.DefaultLimits(0))
			init, ok := payload.(wire.ActorInit)
			if err != nil || !ok || init.Target == "b" || init.Target == "a" || init.Actor == "clink@a" || m.Retain || m.Topic != "$LINK/cluster/route/a" {
				t.Errorf("%v: %+v, %v", m, payload, err)
			}
		}
	}
	if handshakes != 1 {
		t.Errorf("%d handshakes", handshakes)
	}
}

// TestOwnFaults are of this end.
func TestOwnFaults(t *testing.T) {
	addr := serve(t, gone)
	o := options(addr)
	o.Password = func() (string, error) { return "", errors.New("secret file://x: no such file") }
	ends(t, probe.Run(t.Context(), o), false, "connack", "password cannot be read: secret file://x")
	o = options(addr)
	o.TLS = func() (*tls.Config, error) { return nil, errors.New("ssl: cacertfile: no such file") }
	ends(t, probe.Run(t.Context(), o), false, "tls", "own settings cannot be used: ssl: cacertfile")
	o = options(addr)
	o.Socket = func(*net.TCPConn) error { return errors.New("no such option") }
	ends(t, probe.Run(t.Context(), o), false, "tcp", "tcp_opts cannot be set: no such option")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ends(t, probe.Run(ctx, options(addr)), false, "tcp", "the probe was stopped")
}
