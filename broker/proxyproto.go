package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The PROXY protocol, versions 1 and 2: a header before everything else, in
// which a proxy says for whom it opened the connection. It is read to its last
// byte and not further, and anything that is not exactly one is refused.

const (
	proxyV2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyV1Longest   = 107     // with its end of line
	proxyV2Longest   = 4 << 10 // of addresses and what follows them
	proxyTimeout     = 3 * time.Second
)

var errNoProxyHeader = errors.New("the connection does not begin with a header of the PROXY protocol")

// readProxyHeader returns the address of the client, the zero value where the
// proxy speaks for itself or does not know.
func readProxyHeader(r io.Reader) (netip.AddrPort, error) {
	var start [len(proxyV2Signature)]byte // shorter than any header of version 1
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", errNoProxyHeader, err)
	}
	switch {
	case string(start[:]) == proxyV2Signature:
		return readProxyV2(r)
	case bytes.HasPrefix(start[:], []byte("PROXY ")):
		return readProxyV1(r, start[:])
	}
	return netip.AddrPort{}, errNoProxyHeader
}

// readProxyV1 reads a line of text. It may not read beyond, and so goes byte
// by byte.
func readProxyV1(r io.Reader, start []byte) (netip.AddrPort, error) {
	line := append(make([]byte, 0, proxyV1Longest), start...)
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == proxyV1Longest {
			return netip.AddrPort{}, fmt.Errorf("PROXY header of version 1: no end within %d bytes", proxyV1Longest)
		}
		line = append(line, 0)
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return netip.AddrPort{}, fmt.Errorf("PROXY header of version 1: %w", err)
		}
	}
	return parseProxyV1(string(line[:len(line)-2]))
}

func parseProxyV1(line string) (netip.AddrPort, error) {
	bad := fmt.Errorf("PROXY header of version 1: %q is malformed", line)
	f := strings.Split(line, " ")
	if len(f) >= 2 && f[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil // what follows means nothing
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return netip.AddrPort{}, bad
	}
	var client netip.AddrPort
	for i, x := range [...]struct{ addr, port string }{{f[2], f[4]}, {f[3], f[5]}} {
		a, err := netip.ParseAddr(x.addr)
		port, perr := strconv.ParseUint(x.port, 10, 16)
		if err != nil || perr != nil || a.Zone() != "" || a.Is4() != (f[1] == "TCP4") || strconv.FormatUint(port, 10) != x.port {
			return netip.AddrPort{}, bad
		}
		if i == 0 {
			client = netip.AddrPortFrom(a.Unmap(), uint16(port))
		}
	}
	return client, nil
}

// readProxyV2 reads what follows the signature.
func readProxyV2(r io.Reader) (netip.AddrPort, error) {
	var head [4]byte // version and command, family and transport, length
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("PROXY header of version 2: %w", err)
	}
	length := int(binary.BigEndian.Uint16(head[2:]))
	if length > proxyV2Longest {
		return netip.AddrPort{}, fmt.Errorf("PROXY header of version 2: %d bytes are more than %d", length, proxyV2Longest)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return netip.AddrPort{}, fmt.Errorf("PROXY header of version 2: %w", err)
	}
	a, err := parseProxyV2(head, body)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("PROXY header of version 2: %w", err)
	}
	return a, nil
}

func parseProxyV2(head [4]byte, body []byte) (netip.AddrPort, error) {
	size, ok := map[byte]int{0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}[head[1]]
	switch {
	case head[0]>>4 != 2:
		return netip.AddrPort{}, fmt.Errorf("it says that its version is %d", head[0]>>4)
	case head[0]&0xf > 1:
		return netip.AddrPort{}, fmt.Errorf("unknown command %d", head[0]&0xf)
	case head[0]&0xf == 0: // the proxy itself, asking after our health
		return netip.AddrPort{}, nil
	case !ok:
		return netip.AddrPort{}, fmt.Errorf("address family and transport %#02x are none that MQTT travels by", head[1])
	case len(body) < size:
		return netip.AddrPort{}, fmt.Errorf("%d bytes are too few for addresses of kind %#02x", len(body), head[1])
	}
	if head[1] != 0x00 { // without addresses what follows means nothing
		if err := checkProxyExtras(head, body, size); err != nil {
			return netip.AddrPort{}, err
		}
	}
	switch head[1] {
	case 0x11:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:])), nil
	case 0x21:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:])), nil
	}
	return netip.AddrPort{}, nil
}

// checkProxyExtras checks the form of what follows the addresses, and the
// checksum over all if it is there.
func checkProxyExtras(head [4]byte, body []byte, size int) error {
	const kindCRC = 0x03
	for at := size; at < len(body); {
		if len(body)-at < 3 {
			return errors.New("it ends within an extension")
		}
		kind, n := body[at], int(binary.BigEndian.Uint16(body[at+1:]))
		at += 3
		if n > len(body)-at {
			return errors.New("an extension goes beyond the end")
		}
		if kind == kindCRC {
			if n != 4 {
				return errors.New("the checksum has not 4 bytes")
			}
			want := binary.BigEndian.Uint32(body[at:])
			whole := append(append([]byte(proxyV2Signature), head[:]...), body...)
			clear(whole[len(proxyV2Signature)+len(head)+at:][:4])
			if crc32.Checksum(whole, crc32.MakeTable(crc32.Castagnoli)) != want {
				return errors.New("the checksum is wrong")
			}
		}
		at += n
	}
	return nil
}

// relayed is the origin of a connection that came through a proxy. It counts
// as one of this machine only if both the proxy and its client are here; what
// the proxy does not say is not taken for granted.
func (o origin) relayed(client netip.AddrPort) origin {
	o.via = o.addr
	o.addr = client
	o.local = o.local && client.Addr().IsLoopback()
	return o
}

// A proxied connection reads its header with the first of its bytes. It serves
// where somebody else, such as net/http, begins to read.
type proxied struct {
	net.Conn
	timeout time.Duration

	once sync.Once
	from origin
	err  error

	mu       sync.Mutex
	deadline time.Time // of reading, as last set
}

// header reads the header if nobody has yet.
func (p *proxied) header() (origin, error) {
	p.once.Do(func() {
		p.mu.Lock()
		limit := time.Now().Add(p.timeout)
		if !p.deadline.IsZero() && p.deadline.Before(limit) {
			limit = p.deadline
		}
		p.Conn.SetReadDeadline(limit)
		p.mu.Unlock()
		client, err := readProxyHeader(p.Conn)
		p.from, p.err = originOf(p.Conn).relayed(client), err
		p.mu.Lock()
		p.Conn.SetReadDeadline(p.deadline)
		p.mu.Unlock()
	})
	return p.from, p.err
}

// NetConn returns the connection below.
func (p *proxied) NetConn() net.Conn { return p.Conn }

func (p *proxied) Read(b []byte) (int, error) {
	if _, err := p.header(); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

func (p *proxied) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	return p.Conn.SetReadDeadline(t)
}

func (p *proxied) SetDeadline(t time.Time) error {
	if err := p.SetReadDeadline(t); err != nil {
		return err
	}
	return p.Conn.SetWriteDeadline(t)
}

// CloseWrite is there for the goodbye of a connection.
func (p *proxied) CloseWrite() error { return closeWrite(p.Conn) }

func closeWrite(c net.Conn) error {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}
