package probe_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// nameServer returns a resolver that asks a server of its own. It knows the
// names given; for a name without addresses it does not answer.
func nameServer(t *testing.T, known map[string][]string) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		b := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := answerQuery(b[:n], known); answer != nil {
				pc.WriteTo(answer, from)
			}
		}
	})
	t.Cleanup(func() { pc.Close(); running.Wait() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
		if err == nil {
			context.AfterFunc(ctx, func() { c.Close() }) // or a query nobody waits for outlives the test
		}
		return c, err
	}}
}

// answerQuery answers a query of the DNS with one question (RFC 1035, 4.1).
func answerQuery(q []byte, known map[string][]string) []byte {
	var labels []string
	at := 12
	for q[at] != 0 {
		n := int(q[at])
		labels = append(labels, string(q[at+1:at+1+n]))
		at += 1 + n
	}
	kind := binary.BigEndian.Uint16(q[at+1:])
	end := at + 5
	addrs, ok := known[strings.ToLower(strings.Join(labels, "."))+"."]
	if ok && len(addrs) == 0 {
		return nil
	}
	a := append([]byte(nil), q[:end]...)
	a[2], a[3] = 0x85, 0x80 // an answer with authority
	if !ok {
		a[3] |= 3 // no such name
	}
	clear(a[6:12])
	for _, s := range addrs {
		addr := netip.MustParseAddr(s)
		if addr.Is4() != (kind == 1) || !addr.Is4() && kind != 28 {
			continue
		}
		a[7]++
		a = append(a, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 60, 0, byte(len(addr.AsSlice())))
		a = append(a, addr.AsSlice()...)
	}
	return a
}

func TestNames(t *testing.T) {
	f := &fake{}
	_, port, err := net.SplitHostPort(serve(t, f.serve))
	if err != nil {
		t.Fatal(err)
	}
	resolver := nameServer(t, map[string][]string{
		"one.test.": {"127.0.0.1"}, "two.test.": {"127.0.0.2", "127.0.0.1"}, "both.test.": {"::1", "127.0.0.1"},
		"wrong.test.": {"127.0.0.2", "127.0.0.3"}, "silent.test.": nil,
		"many.test.": {"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7"},
	})
	tests := []struct {
		host, last string
		index      int // of the step that is looked at
		texts      []string
	}{
		{"one.test.", "handshake", 0, []string{"one.test. is 127.0.0.1"}},
		{"two.test.", "handshake", 0, []string{"127.0.0.1", "127.0.0.2"}},
		{"two.test.", "handshake", 1, []string{"connected to 127.0.0.1:" + port + " (IPv4)"}},
		{"both.test.", "handshake", 1, []string{"connected to 127.0.0.1:" + port + " (IPv4)"}},
		{"wrong.test.", "tcp", 1, []string{"nothing listens on wrong.test.:" + port + " (tried: ", "127.0.0.2:" + port, "127.0.0.3:" + port}},
		{"many.test.", "handshake", 0, []string{"and 1 more"}},
		{"none.test.", "dns", 0, []string{"none.test. has no address (no such host)"}},
		{"silent.test.", "dns", 0, []string{"the name server did not answer for silent.test. (no answer within "}},
	}
	for _, tt := range tests {
		o := options(tt.host + ":" + port)
		o.Resolver = resolver
		if tt.host == "silent.test." {
			o.Step = 300 * time.Millisecond
		}
		p := hastily(t, o, tt.last)
		ends(t, p, false, tt.last)
		if tt.index >= len(p.Steps) {
			t.Errorf("%s: %+v", tt.host, p)
			continue
		}
		for _, text := range tt.texts {
			if d := p.Steps[tt.index].Detail; !strings.Contains(d, text) {
				t.Errorf("%s: %q is not in: %s", tt.host, text, d)
			}
		}
	}
}
