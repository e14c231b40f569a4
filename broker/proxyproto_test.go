package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"clink/topology"

	"github.com/gorilla/websocket"
)

// proxyV2 is a header of version 2.
func proxyV2(command, kind byte, body []byte) []byte {
	h := append([]byte(proxyV2Signature), 0x20|command, kind)
	h = binary.BigEndian.AppendUint16(h, uint16(len(body)))
	return append(h, body...)
}

// v4 are the addresses of a header of kind 0x11.
func v4(client string, port uint16) []byte {
	a := netip.MustParseAddr(client).As4()
	b := append(a[:], 10, 0, 0, 1)
	b = binary.BigEndian.AppendUint16(b, port)
	return binary.BigEndian.AppendUint16(b, 1883)
}

// crc adds a checksum to a header.
func crc(h []byte) []byte {
	h = append(bytes.Clone(h), 3, 0, 4, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(h[14:], uint16(len(h)-16))
	binary.BigEndian.PutUint32(h[len(h)-4:], crc32.Checksum(h, crc32.MakeTable(crc32.Castagnoli)))
	return h
}

func TestProxyHeader(t *testing.T) {
	six := append(netip.MustParseAddr("2001:db8::7").AsSlice(), make([]byte, 16)...)
	six = append(six, 0x12, 0x34, 0, 1)
	good := proxyV2(1, 0x11, v4("192.0.2.7", 4711))
	broken := crc(good)
	broken[17] ^= 1
	tests := []struct{ name, in, want string }{
		{"v1", "PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883\r\n", "192.0.2.7:4711"},
		{"v1 IPv6", "PROXY TCP6 2001:db8::7 ::1 4711 1883\r\n", "[2001:db8::7]:4711"},
		{"v1 IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 1883\r\n", "192.0.2.7:4711"},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "nobody"},
		{"v1 unknown with anything", "PROXY UNKNOWN ffff:f...f:ffff 1 2 65535\r\n", "nobody"},
		{"v1 wrong family", "PROXY TCP4 ::1 10.0.0.1 4711 1883\r\n", ""},
		{"v1 port", "PROXY TCP4 192.0.2.7 10.0.0.1 65536 1883\r\n", ""},
		{"v1 padded port", "PROXY TCP4 192.0.2.7 10.0.0.1 04711 1883\r\n", ""},
		{"v1 zone", "PROXY TCP6 fe80::1%eth0 ::1 4711 1883\r\n", ""},
		{"v1 two spaces", "PROXY TCP4  192.0.2.7 10.0.0.1 4711 1883\r\n", ""},
		{"v1 more", "PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883 x\r\n", ""},
		{"v1 udp", "PROXY UDP4 192.0.2.7 10.0.0.1 4711 1883\r\n", ""},
		{"v1 lower case", "proxy TCP4 192.0.2.7 10.0.0.1 4711 1883\r\n", ""},
		{"v1 line feed alone", "PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883\n", ""},
		{"v1 too long", "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n", ""},
		{"v2", string(good), "192.0.2.7:4711"},
		{"v2 IPv6", string(proxyV2(1, 0x21, six)), "[2001:db8::7]:4660"},
		{"v2 extensions", string(proxyV2(1, 0x11, append(v4("192.0.2.7", 4711), 1, 0, 2, 'h', '2', 4, 0, 0))), "192.0.2.7:4711"},
		{"v2 checksum", string(crc(good)), "192.0.2.7:4711"},
		{"v2 wrong checksum", string(broken), ""},
		{"v2 local", string(proxyV2(0, 0x11, v4("192.0.2.7", 4711))), "nobody"},
		{"v2 unspecified", string(proxyV2(1, 0x00, []byte{1, 2, 3})), "nobody"},
		{"v2 socket", string(proxyV2(1, 0x31, make([]byte, 216))), "nobody"},
		{"v2 udp", string(proxyV2(1, 0x12, v4("192.0.2.7", 4711))), ""},
		{"v2 command", string(proxyV2(2, 0x11, v4("192.0.2.7", 4711))), ""},
		{"v2 short", string(proxyV2(1, 0x21, v4("192.0.2.7", 4711))), ""},
		{"v2 extension cut", string(proxyV2(1, 0x11, append(v4("192.0.2.7", 4711), 1, 0))), ""},
		{"v2 extension beyond", string(proxyV2(1, 0x11, append(v4("192.0.2.7", 4711), 1, 0, 9))), ""},
		{"v2 too long", string(proxyV2(1, 0x11, make([]byte, proxyV2Longest+1))), ""},
		{"v3", strings.Replace(string(good), "QUIT\n!", "QUIT\n1", 1), ""},
		{"MQTT", "\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00", ""},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		rest := bytes.NewBufferString(tt.in + "MQTT")
		got, err := readProxyHeader(rest)
		switch {
		case tt.want == "" && err == nil:
			t.Errorf("%s: taken as %v", tt.name, got)
		case tt.want != "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want == "nobody" && got.IsValid() || tt.want != "nobody" && tt.want != "" && got.String() != tt.want:
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		case tt.want != "" && rest.String() != "MQTT":
			t.Errorf("%s: %q is left of what follows", tt.name, rest)
		}
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add(crc(proxyV2(1, 0x11, v4("192.0.2.7", 4711))))
	f.Add(proxyV2(0, 0, nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		got, err := readProxyHeader(r)
		if used := len(in) - r.Len(); used > len(proxyV2Signature)+4+proxyV2Longest {
			t.Errorf("%d bytes were read", used)
		}
		if err != nil && got.IsValid() {
			t.Errorf("%v beside %v", got, err)
		}
		if err == nil && !bytes.HasPrefix(in, []byte("PROXY ")) && !bytes.HasPrefix(in, []byte(proxyV2Signature)) {
			t.Errorf("%s is taken for a header", hex.EncodeToString(in))
		}
	})
}

// Through a proxy, loopback is what is loopback at both ends.
func TestRelayedOrigin(t *testing.T) {
	for _, tt := range []struct {
		from, client string
		local        bool
	}{
		{"127.0.0.1:1", "127.0.0.1:2", true}, {"127.0.0.1:1", "192.0.2.7:2", false},
		{"192.0.2.1:1", "127.0.0.1:2", false}, {"127.0.0.1:1", "", false}, {"192.0.2.1:1", "192.0.2.7:2", false},
	} {
		from := netip.MustParseAddrPort(tt.from)
		var client netip.AddrPort
		if tt.client != "" {
			client = netip.MustParseAddrPort(tt.client)
		}
		o := origin{addr: from, local: from.Addr().IsLoopback()}.relayed(client)
		if o.local != tt.local || o.addr != client || o.via != from {
			t.Errorf("%v through %v: %+v", client, from, o)
		}
	}
}

// On every type of listener the address is the client's own, and whoever says
// none, or nothing, does not get in.
func TestProxyProtocol(t *testing.T) {
	dir := t.TempDir()
	ca := newCA(t, dir)
	ca.issue("one", "server one")
	cfg := anyone()
	cfg.BaseDir = dir
	cfg.Grants = []topology.Grant{linkGrant("p")}
	cfg.Listeners = nil
	for _, kind := range []string{topology.TCP, topology.SSL, topology.WS, topology.WSS} {
		l := topology.Listener{Name: kind, Type: kind, Enable: true, Bind: "127.0.0.1:0", ProxyProtocol: true}
		if kind == topology.SSL || kind == topology.WSS {
			l.SSL = serverSSL("one")
		}
		cfg.Listeners = append(cfg.Listeners, l)
	}
	n := start(t, Options{}, &recorder{}, cfg)
	for _, kind := range []string{topology.TCP, topology.SSL, topology.WS, topology.WSS} {
		for header, want := range map[string]string{
			"PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883\r\n":      "192.0.2.7:4711",
			string(proxyV2(1, 0x11, v4("198.51.100.9", 4712))): "198.51.100.9:4712",
			string(proxyV2(0, 0, nil)):                         "invalid AddrPort",
		} {
			d, err := dialOver(ca.through(n, kind, header), "c")
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			n.mu.Lock()
			c := n.live["c"]
			n.mu.Unlock()
			if got := c.peer.String(); got != want || c.claim.loopback {
				t.Errorf("%s: comes from %s, from here %v; want %s", kind, got, c.claim.loopback, want)
			}
			d.raw.Close()
			awaitGone(t, n, "c")
		}
		if _, err := dialOver(ca.through(n, kind, "PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883\r\n"), "from-p:1"); err == nil {
			t.Errorf("%s: a link without credential is let in from elsewhere", kind)
		}
		here, err := dialOver(ca.through(n, kind, "PROXY TCP4 127.0.0.1 127.0.0.1 4711 1883\r\n"), "from-p:1")
		if err != nil {
			t.Errorf("%s: a link without credential from here: %v", kind, err)
		} else {
			here.raw.Close()
			awaitGone(t, n, "from-p:1")
		}
		bare := dialRaw(t, addr(t, n, kind))
		bare.Write([]byte("\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00\x00\x00"))
		bare.ended()
	}

	// The time for the header is bounded, and it is asked for no longer once the
	// listener says so; the listener stays open.
	tcp := addr(t, n, topology.TCP)
	cfg.Listeners[0].ProxyProtocolTimeout.Value = 20 * time.Millisecond
	apply(t, n, cfg)
	mute := dialRaw(t, tcp)
	mute.ended()
	cfg.Listeners[0].ProxyProtocol = false
	apply(t, n, cfg)
	d, err := dial(tcp, "plain")
	if err != nil {
		t.Fatal(err)
	}
	d.raw.Close()
}

func apply(t testing.TB, n *Node, cfg Config) {
	t.Helper()
	if err := n.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
}

// through connects to a listener as a proxy does that sends header.
func (ca *testCA) through(n *Node, kind, header string) net.Conn {
	ca.t.Helper()
	open := func(context.Context, string, string) (net.Conn, error) {
		c, err := net.Dial("tcp", addr(ca.t, n, kind))
		if err == nil {
			_, err = c.Write([]byte(header))
		}
		return c, err
	}
	switch kind {
	case topology.WS, topology.WSS:
		d := websocket.Dialer{NetDialContext: open, TLSClientConfig: ca.client(), Subprotocols: []string{"mqtt"}}
		ws, _, err := d.Dial(kind+"://"+addr(ca.t, n, kind)+"/mqtt", nil)
		if err != nil {
			ca.t.Fatalf("%s: %v", kind, err)
		}
		return &webConn{Conn: ws.NetConn(), ws: ws}
	}
	c, err := open(context.Background(), "", "")
	if err != nil {
		ca.t.Fatal(err)
	}
	if kind == topology.SSL {
		return ca.over(c)
	}
	return c
}
