package linkengine_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clink/broker"
	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

var probeSteps = []string{"dns", "tcp", "tls", "connack", "permission", "handshake"}

// says checks what a probe came to: that all went well, or that it ended with
// the step named last, and that the last detail holds all the texts.
func says(t *testing.T, p topology.Probe, ok bool, last string, texts ...string) {
	t.Helper()
	if len(p.Steps) == 0 {
		t.Errorf("no steps: %+v", p)
		return
	}
	at := -1
	for i, s := range p.Steps {
		next := slices.Index(probeSteps, s.Name)
		if next <= at || s.OK != (p.OK || i < len(p.Steps)-1) || s.Detail == "" || s.Millis < 0 {
			t.Errorf("step %d is %+v", i, s)
		}
		if strings.Contains(s.Detail, "hunter2") {
			t.Errorf("a detail holds a secret: %s", s.Detail)
		}
		at = next
	}
	end := p.Steps[len(p.Steps)-1]
	if p.OK != ok || end.Name != last {
		t.Errorf("ok %v, ended with %+v", p.OK, end)
	}
	for _, text := range texts {
		if !strings.Contains(end.Detail, text) {
			t.Errorf("%q is not in: %s", text, end.Detail)
		}
	}
}

func detail(p topology.Probe, step string) string {
	for _, s := range p.Steps {
		if s.Name == step {
			return s.Detail
		}
	}
	return ""
}

// TestProbeOfGoodLink probes a link that runs, and the same one before it does.
func TestProbeOfGoodLink(t *testing.T) {
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	b.put(t, linkTo("a", a.addr))
	l := linkTo("b", b.addr)
	says(t, a.engine.Probe(t.Context(), l), true, "handshake", "the peer has a link to a, and it is enabled", "not tried: whether its own name is b")
	a.put(t, l)
	a.online(t, "b")
	p := a.engine.Probe(t.Context(), l)
	says(t, p, true, "handshake", "the peer's name is b")
	if d := detail(p, "handshake"); strings.Contains(d, "half has not come") {
		t.Error(d)
	}
	if ms := p.Steps[4].Millis; ms <= 0 || ms > 5000 {
		t.Errorf("the handshake took %v ms", ms)
	}
	if d := detail(p, "dns"); !strings.Contains(d, "127.0.0.1 is an IPv4 address") {
		t.Error(d)
	}
	if d := detail(p, "permission"); !strings.Contains(d, "$LINK/cluster/resp/a/clink@a") || !strings.Contains(d, "$LINK/cluster/route/a") {
		t.Error(d)
	}
}

// TestProbeTellsOfAbsentHalf has a peer that answers, and does not come.
func TestProbeTellsOfAbsentHalf(t *testing.T) {
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"})
	b.put(t, linkTo("a", "127.0.0.1:1"))
	l := linkTo("b", b.addr)
	a.put(t, l)
	eventually(t, "a is accepted", func() bool { return a.status(t, "b").Replication.State == topology.ReplicationOnline })
	says(t, a.engine.Probe(t.Context(), l), true, "handshake", "the peer's name is b", "the peer's own half has not come here (absent)")
}

// A probe that comes before the peer's half does says nothing of that half, and
// hides nothing that does.
func TestProbeIsNotTakenForThePeersHalf(t *testing.T) {
	log := &buffer{}
	a, b := begin(t, "a", []string{"b"}), begin(t, "b", []string{"a"}, logTo(log))
	b.put(t, linkTo("a", "127.0.0.1:1"))
	l := linkTo("b", b.addr)
	says(t, a.engine.Probe(t.Context(), l), true, "handshake")
	if in := b.status(t, "a").Inbound; in.State != topology.InboundAbsent {
		t.Errorf("the peer's half is %+v", in)
	}
	if got := log.String(); !strings.Contains(got, `level=INFO msg="a probe of the peer's link is answered"`) || strings.Contains(got, "rejected") {
		t.Errorf("the log says %s", got)
	}
	if ack := foreignPeer(t, b, "a", "routesync").init(t, 1, "wrong"); ack.Error != "bad_remote_cluster_link_name" {
		t.Errorf("%+v", ack)
	}
	if in := b.status(t, "a").Inbound; in.State != topology.InboundRejected {
		t.Errorf("after a wrong handshake the peer's half is %+v", in)
	}
	if got := log.String(); !strings.Contains(got, `level=WARN msg="a peer's handshake is rejected"`) {
		t.Errorf("the log says %s", got)
	}
}

// TestProbeLeavesEverybodyAlone probes a link that runs, many times at once,
// from both ends, with messages on their way.
func TestProbeLeavesEverybodyAlone(t *testing.T) {
	a, b := pair(t, "t/#")
	sub := connect(t, b, "sub")
	sub.sub(t, "t/#")
	a.routes(t, "b", 1)
	for _, s := range []*site{a, b} { // until nothing changes by itself
		eventually(t, "the clients are counted", func() bool { return s.node.Stats().Clients >= 3 })
	}
	type picture struct {
		replication     topology.Replication
		inbound         topology.Presence
		state           string
		reconnects      uint64
		actors, clients int64
	}
	look := func(s *site, peer string) picture {
		st := s.status(t, peer)
		return picture{st.Replication, st.Inbound, st.State, st.Metrics.Reconnects, int64(s.engine.Actors(peer)), int64(s.node.Stats().Clients)}
	}
	beforeA, beforeB := look(a, "b"), look(b, "a")
	var probing sync.WaitGroup
	for range 8 {
		probing.Go(func() {
			says(t, a.engine.Probe(t.Context(), linkTo("b", b.addr, "t/#")), true, "handshake", "name is b")
		})
		probing.Go(func() {
			says(t, b.engine.Probe(t.Context(), linkTo("a", a.addr, "t/#")), true, "handshake", "name is a")
		})
	}
	const messages = 200
	pub := connect(t, a, "pub")
	for range messages {
		pub.pub(t, paho.Publish{Topic: "t/1", QoS: 1})
	}
	for range messages {
		sub.next(t)
	}
	probing.Wait()
	pub.Disconnect(&paho.Disconnect{})
	eventually(t, "all is as it was before", func() bool { return look(a, "b") == beforeA && look(b, "a") == beforeB })
	if beforeA.actors != 1 || beforeB.actors != 1 {
		t.Errorf("%+v, %+v", beforeA, beforeB)
	}
	if m := b.status(t, "a").Metrics; m.DroppedBy["bad-control"] != 0 {
		t.Errorf("%+v", m)
	}
}

// TestProbeOfFaultyLinks lists what may be wrong at the far end.
func TestProbeOfFaultyLinks(t *testing.T) {
	a := begin(t, "a", []string{"b"})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	// Who has a link back, with no credential and with one, none, or a disabled one.
	b := begin(t, "b", []string{"a"})
	b.put(t, linkTo("a", a.addr))
	password := configured(func(c *broker.Config) {
		c.Grants[0].Username, c.Grants[0].Password = "u", ref(t, "right")
	})
	guarded := begin(t, "b", []string{"a"}, password)
	guarded.put(t, linkTo("a", a.addr))
	oneSided := begin(t, "b", []string{"a"})
	disabled := begin(t, "b", []string{"a"})
	off := linkTo("a", a.addr)
	off.Enable = false
	disabled.put(t, off)
	strangers := begin(t, "b", nil)
	closedToStrangers := begin(t, "b", nil, configured(func(c *broker.Config) { c.Access.Anonymous = false }))
	mute := configured(func(c *broker.Config) { c.Grants[0].Publish = nil })
	mayNotPublish := begin(t, "b", []string{"a"}, mute)

	tests := []struct {
		name   string
		addr   string
		change func(*topology.Link)
		last   string
		texts  []string
	}{
		{"no host and port", "b", nil, "dns", []string{`server "b" is no host:port`}},
		{"port that is none", "127.0.0.1:mqtt", nil, "dns", []string{"no port between"}},
		{"a name that does not exist", "b.invalid:1883", nil, "dns", []string{"b.invalid"}},
		{"a port where nobody listens", closed.Addr().String(), nil, "tcp", []string{"nothing listens on " + closed.Addr().String()}},
		{"a secret that is not there", b.addr, func(l *topology.Link) { l.Username, l.Password = "u", ref(t, "file://none") }, "connack", []string{"password cannot be read", "file://none"}},
		{"wrong password", guarded.addr, func(l *topology.Link) { l.Username, l.Password = "u", ref(t, "hunter2") }, "connack", []string{"bad user name or password (0x86)", `username "u"`}},
		{"no password", guarded.addr, nil, "connack", []string{"(0x86)", "gives no username"}},
		{"another prefix, and no strangers", closedToStrangers.addr, nil, "connack", []string{"not authorized (0x87)", "no link to a"}},
		{"no grant", strangers.addr, nil, "permission", []string{"subscription to $LINK/cluster/resp/a/clink@a", "publish on $LINK/cluster/route/a and $LINK/cluster/msg/a, subscribe to $LINK/cluster/resp/a/+, for client ids a:"}},
		{"a grant that lacks route", mayNotPublish.addr, nil, "permission", []string{"refuses what is published on $LINK/cluster/route/a: not authorized (0x87)"}},
		{"one-sided", oneSided.addr, nil, "handshake", []string{"no link back to a (unknown_cluster)", "declare b's link to a"}},
		{"disabled there", disabled.addr, nil, "handshake", []string{"the peer's half, its link to a, is disabled"}},
		{"TLS to a plain listener", b.addr, func(l *topology.Link) { l.SSL = topology.TLS{Enable: true} }, "tls", []string{"plain MQTT", "ssl.enable"}},
		{"TLS with files that are not there", b.addr, func(l *topology.Link) { l.SSL = topology.TLS{Enable: true, CACertFile: "none.pem"} }, "tls", []string{"own settings", "none.pem"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := linkTo("b", tt.addr)
			if tt.change != nil {
				tt.change(&l)
			}
			says(t, a.engine.Probe(t.Context(), l), false, tt.last, tt.texts...)
		})
	}
	for _, s := range []*site{b, guarded, disabled} {
		if n := s.engine.Actors("a"); n != 0 {
			t.Errorf("%d actors are left", n)
		}
	}
}

// TestProbeOfWrongName has a link to a cluster that calls itself otherwise. That
// shows when the link runs, and only then.
func TestProbeOfWrongName(t *testing.T) {
	a, b := begin(t, "a", []string{"x"}), begin(t, "b", []string{"a"})
	b.put(t, linkTo("a", a.addr))
	l := linkTo("x", b.addr)
	says(t, a.engine.Probe(t.Context(), l), true, "handshake", "not tried: whether its own name is x")
	a.put(t, l)
	eventually(t, "the running link is rejected", func() bool { return a.status(t, "x").Replication.State == topology.ReplicationRejected })
	says(t, a.engine.Probe(t.Context(), l), false, "handshake", "calls itself otherwise than x", "bad_remote_cluster_link_name")
	elsewhere := l
	elsewhere.ClientID, elsewhere.Topics = "a", nil
	says(t, a.engine.Probe(t.Context(), elsewhere), true, "handshake", "not tried")
}

// TestProbeOfBystanders has peers that take everything and answer nothing, or
// accept everything.
func TestProbeOfBystanders(t *testing.T) {
	t.Parallel() // it waits more than it works
	a := begin(t, "a", []string{"b"})
	silent, sloppy := new(bystander), new(bystander)
	sloppy.say(accepts)
	addr, _ := sloppy.stand(t, "a")
	says(t, a.engine.Probe(t.Context(), linkTo("b", addr)), true, "handshake", "does not look at names", "forgets the probe's actor")
	addr, _ = silent.stand(t, "a")
	p := a.engine.Probe(t.Context(), linkTo("b", addr))
	says(t, p, false, "handshake", "nobody there speaks cluster linking")
	if ms := p.Steps[len(p.Steps)-1].Millis; ms < 4000 || ms > 10_000 {
		t.Errorf("it waited for %v ms", ms)
	}
}

// TestProbeFindsTheRightAddress has a name with addresses of both families,
// where only one has a listener.
func TestProbeFindsTheRightAddress(t *testing.T) {
	a := begin(t, "a", []string{"b"})
	for _, tt := range []struct{ bind, family string }{{"127.0.0.1:0", "IPv4"}, {"[::1]:0", "IPv6"}} {
		ln, err := net.Listen("tcp", tt.bind)
		if err != nil {
			t.Skipf("no %s here: %v", tt.family, err)
		}
		ln.Close()
		b := begin(t, "b", []string{"a"}, bind(tt.bind))
		b.put(t, linkTo("a", a.addr))
		p := a.engine.Probe(t.Context(), linkTo("b", b.addr))
		says(t, p, true, "handshake", "it is enabled")
		if d := detail(p, "tcp"); !strings.Contains(d, b.addr+" ("+tt.family+")") {
			t.Error(d)
		}
		_, port, _ := net.SplitHostPort(b.addr)
		addrs, _ := net.DefaultResolver.LookupNetIP(t.Context(), "ip", "localhost")
		if both := slices.ContainsFunc(addrs, func(x netip.Addr) bool { return x.Unmap().Is4() == (tt.family == "IPv4") }); both {
			says(t, a.engine.Probe(t.Context(), linkTo("b", "localhost:"+port)), true, "handshake")
		}
	}
}

// TestProbeWithTLS goes through what may be wrong with certificates.
func TestProbeWithTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	serverAuth := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	local := []net.IP{net.IPv4(127, 0, 0, 1)}
	ca.issue(t, "server", &x509.Certificate{Subject: pkix.Name{CommonName: "b's broker"}, DNSNames: []string{"b.example"}, IPAddresses: local, ExtKeyUsage: serverAuth})
	ca.issue(t, "expired", &x509.Certificate{IPAddresses: local, ExtKeyUsage: serverAuth, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)})
	ca.issue(t, "ending", &x509.Certificate{IPAddresses: local, ExtKeyUsage: serverAuth, NotBefore: time.Now().Add(-240 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour)})
	ca.issue(t, "future", &x509.Certificate{IPAddresses: local, ExtKeyUsage: serverAuth, NotBefore: time.Now().Add(24 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour)})
	ca.issue(t, "usage", &x509.Certificate{IPAddresses: local, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	for _, from := range []*authority{ca, other} {
		from.issue(t, "a", &x509.Certificate{Subject: pkix.Name{CommonName: "a"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	}
	a := begin(t, "a", []string{"b"})
	listen := func(cert string, change func(*topology.TLS)) *site {
		b := begin(t, "b", []string{"a"}, configured(func(c *broker.Config) {
			c.BaseDir = ca.dir
			l := &c.Listeners[0]
			l.Type, l.SSL = topology.SSL, topology.TLS{Enable: true, CertFile: cert + ".pem", KeyFile: cert + ".key", Verify: "verify_none"}
			if change != nil {
				change(&l.SSL)
			}
		}))
		b.put(t, linkTo("a", a.addr))
		return b
	}
	demand := func(s *topology.TLS) { s.CACertFile, s.Verify, s.FailIfNoPeerCert = "ca.pem", "verify_peer", true }
	open, mutual := listen("server", nil), listen("server", demand)
	mutual12 := listen("server", func(s *topology.TLS) { demand(s); s.Versions = []string{"tlsv1.2"} })
	newest := listen("server", func(s *topology.TLS) { s.Versions = []string{"tlsv1.3"} })
	own := func(from *authority) func(*topology.TLS) {
		return func(s *topology.TLS) {
			s.CertFile, s.KeyFile = filepath.Join(from.dir, "a.pem"), filepath.Join(from.dir, "a.key")
		}
	}
	tests := []struct {
		name   string
		to     *site
		change func(*topology.TLS)
		ok     bool
		step   string // the last; of a good one, whose detail is looked at
		texts  []string
	}{
		{"right", open, nil, true, "tls", []string{"TLS 1.3", "CN=b's broker", "issued by CN=ca", `name "127.0.0.1" are verified`}},
		{"right, but not for long", listen("ending", nil), nil, true, "tls", []string{"it expires soon"}},
		{"right by name", open, func(s *topology.TLS) { s.ServerName = "b.example" }, true, "tls", []string{`name "b.example" are verified`}},
		{"right without name", open, func(s *topology.TLS) { s.ServerName = "disable" }, true, "tls", []string{"the name is not"}},
		{"not verified", open, func(s *topology.TLS) { s.Verify, s.CACertFile = "verify_none", "" }, true, "tls", []string{"not verified"}},
		{"wrong name", open, func(s *topology.TLS) { s.ServerName = "c.example" }, false, "tls", []string{"name: the certificate of CN=b's broker", "b.example, 127.0.0.1", `not for "c.example"`}},
		{"wrong authority", open, func(s *topology.TLS) { s.CACertFile = filepath.Join(other.dir, "ca.pem") }, false, "tls", []string{"chain: the certificate of CN=b's broker, issued by CN=ca", "does not lead to the authorities in"}},
		{"wrong authority without name", open, func(s *topology.TLS) { s.CACertFile, s.ServerName = filepath.Join(other.dir, "ca.pem"), "disable" }, false, "tls", []string{"chain: the certificate of CN=b's broker"}},
		{"the system's authorities", open, func(s *topology.TLS) { s.CACertFile = "" }, false, "tls", []string{"chain: ", "ssl.cacertfile is not set"}},
		{"expired", listen("expired", nil), nil, false, "tls", []string{"expiry: the certificate of 127.0.0.1", "has expired"}},
		{"not valid yet", listen("future", nil), nil, false, "tls", []string{"expiry: ", "not valid yet", "clocks"}},
		{"for clients", listen("usage", nil), nil, false, "tls", []string{"chain: ", "may not be used by a server"}},
		{"client certificate", mutual, own(ca), true, "tls", []string{"client certificate was asked for and sent"}},
		{"no client certificate", mutual, nil, false, "tls", []string{"a client certificate", "the link has none: set ssl.certfile"}},
		{"client certificate of another authority", mutual, own(other), false, "tls", []string{"certificate"}},
		{"no client certificate in TLS 1.2", mutual12, nil, false, "tls", []string{"a client certificate", "the link has none: set ssl.certfile"}},
		{"no common version", newest, func(s *topology.TLS) { s.Versions = []string{"tlsv1.2"} }, false, "tls", []string{"no TLS version in common", "allows tlsv1.2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := linkTo("b", tt.to.addr)
			l.SSL = topology.TLS{Enable: true, Verify: "verify_peer", CACertFile: filepath.Join(ca.dir, "ca.pem")}
			if tt.change != nil {
				tt.change(&l.SSL)
			}
			p := a.engine.Probe(t.Context(), l)
			last := tt.step
			if tt.ok {
				last = "handshake"
			}
			says(t, p, tt.ok, last)
			for _, text := range tt.texts {
				if d := detail(p, tt.step); !strings.Contains(d, text) {
					t.Errorf("%q is not in: %s", text, d)
				}
			}
		})
	}
	t.Run("plain to TLS", func(t *testing.T) {
		says(t, a.engine.Probe(t.Context(), linkTo("b", open.addr)), false, "connack", open.addr+" is a TLS listener")
		says(t, a.engine.Probe(t.Context(), linkTo("b", mutual.addr)), false, "connack", mutual.addr+" is a TLS listener")
	})
}

// TestProbeEndsWithItsContext stops a probe in the middle.
func TestProbeEndsWithItsContext(t *testing.T) {
	a := begin(t, "a", []string{"b"})
	silent := new(bystander)
	addr, _ := silent.stand(t, "a")
	ctx, cancel := context.WithCancel(t.Context())
	silent.say(func(*broker.Session, *broker.Message) broker.Verdict { cancel(); return broker.AckNoMatch })
	began := time.Now()
	p := a.engine.Probe(ctx, linkTo("b", addr))
	says(t, p, false, p.Steps[len(p.Steps)-1].Name, "the probe was stopped") // the acknowledgement may be faster
	if took := time.Since(began); took > patience {
		t.Errorf("it took %v", took)
	}
}
