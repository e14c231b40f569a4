package client

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"clink/internal/sock"

	"github.com/eclipse/paho.golang/packets"
)

// An input is where a connection reads from. Who reads is about to wait, as far
// as it knows.
type input struct {
	c   *Conn
	raw syscall.RawConn // nil: c.net is no bare socket

	p   []byte
	n   int
	err error
	now func(fd uintptr) bool
}

func (i *input) Read(p []byte) (int, error) {
	if i.c.opts.Idle != nil {
		i.c.opts.Idle()
	}
	n, err := i.read(p)
	i.c.readAt = int64(time.Since(i.c.started))
	return n, err
}

func (i *input) read(p []byte) (int, error) {
	if i.raw == nil {
		return i.c.net.Read(p)
	}
	if i.now == nil {
		i.now = func(fd uintptr) bool {
			i.n, i.err = sock.Read(fd, i.p)
			return i.err != sock.ErrNotYet
		}
	}
	i.p = p
	if err := i.raw.Read(i.now); err != nil {
		return 0, err
	}
	if i.n == 0 && i.err == nil {
		return 0, io.EOF
	}
	return max(i.n, 0), i.err
}

// read handles packets until the connection ends.
func (c *Conn) read(r *bufio.Reader) error {
	for {
		first, err := r.Peek(1)
		if err != nil {
			return ended(err)
		}
		c.lastRead.Store(c.readAt) // a packet has begun: single bytes of it are no sign of life
		if first[0] == packets.PUBACK<<4 {
			err = c.puback(r)
		} else {
			err = c.other(r)
		}
		if err != nil {
			return err
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the peer closed the connection")
	}
	return fmt.Errorf("read: %w", plain(err))
}

// plain leaves out the addresses of a connection that stood: the port here is
// another one each time, and would make every reason a new one.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// frame reads a fixed header and the rest of its packet, which is valid until
// the next read where it fits the buffer.
func (c *Conn) frame(r *bufio.Reader) (first byte, body []byte, err error) {
	if first, err = r.ReadByte(); err != nil {
		return 0, nil, ended(err)
	}
	length := 0
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, nil, ended(err)
		}
		length |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift == 21 {
			return 0, nil, errors.New("the peer sent a malformed packet length")
		}
	}
	if length > c.opts.MaxPacket {
		return 0, nil, fmt.Errorf("the peer sent a packet of %d bytes, at most %d were allowed", length, c.opts.MaxPacket)
	}
	body = make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, ended(err)
	}
	return first, body, nil
}

// puback is the packet that comes by the thousand: it is read without paho and
// without garbage where it is as short as it usually is.
func (c *Conn) puback(r *bufio.Reader) error {
	head, err := r.Peek(2)
	if err != nil {
		return ended(err)
	}
	if n := int(head[1]); n == 2 || n == 3 {
		packet, err := r.Peek(2 + n)
		if err != nil {
			return ended(err)
		}
		id, code := ack(packet[2:])
		r.Discard(2 + n)
		c.acked(id, code)
		return nil
	}
	_, body, err := c.frame(r)
	if err != nil {
		return err
	}
	if len(body) < 2 {
		return errors.New("the peer sent a malformed PUBACK")
	}
	c.acked(ack(body))
	return nil
}

// ack reads the start of a PUBACK's variable header (MQTT 5.0 §3.4.2).
func ack(b []byte) (id uint16, code byte) {
	if len(b) > 2 {
		code = b[2]
	}
	return binary.BigEndian.Uint16(b), code
}

func (c *Conn) acked(id uint16, code byte) {
	c.ids.Lock()
	answer := c.waiting[id]
	c.ids.Unlock()
	switch {
	case answer != nil:
		select {
		case answer <- code:
		default: // a second answer to one question
		}
	case c.opts.Acked != nil:
		c.opts.Acked(id, code)
	}
}

// packet reads one packet with paho's codec.
func (c *Conn) packet(r *bufio.Reader) (*packets.ControlPacket, error) {
	first, body, err := c.frame(r)
	if err != nil {
		return nil, err
	}
	p := packets.NewControlPacket(first >> 4)
	if p == nil {
		return nil, fmt.Errorf("the peer sent a packet of type %d", first>>4)
	}
	p.Flags = first & 0xf
	if m, ok := p.Content.(*packets.Publish); ok {
		m.QoS = p.Flags >> 1 & 3
	}
	if m, ok := p.Content.(*packets.Disconnect); ok && len(body) == 0 {
		m.ReasonCode = 0 // may be left out (MQTT 5.0 §3.14.2.1)
		return p, nil
	}
	if err := p.Content.Unpack(bytes.NewBuffer(body)); err != nil {
		return nil, fmt.Errorf("the peer sent a malformed %s: %w", p.PacketType(), err)
	}
	return p, nil
}

func (c *Conn) other(r *bufio.Reader) error {
	p, err := c.packet(r)
	if err != nil {
		return err
	}
	switch m := p.Content.(type) {
	case *packets.Publish:
		return c.received(m)
	case *packets.Suback:
		if len(m.Reasons) != 1 {
			return fmt.Errorf("the peer sent a SUBACK with %d reason codes for one filter", len(m.Reasons))
		}
		c.acked(m.PacketID, m.Reasons[0])
	case *packets.Pingresp:
		c.pong()
	case *packets.Disconnect:
		return fmt.Errorf("the peer disconnected: %w", Refusal(m.ReasonCode))
	default:
		return fmt.Errorf("the peer sent %s, which it must not", p.PacketType())
	}
	return nil
}

func (c *Conn) pong() {
	c.ids.Lock()
	defer c.ids.Unlock()
	if len(c.pongs) > 0 {
		close(c.pongs[0])
		c.pongs = c.pongs[1:]
	}
}

func (c *Conn) received(m *packets.Publish) error {
	if m.QoS > 1 {
		return fmt.Errorf("the peer sent QoS %d, which was not granted", m.QoS)
	}
	if c.opts.Received != nil {
		c.opts.Received(Message{m.Topic, m.Payload, m.Properties.ResponseTopic, m.Properties.CorrelationData})
	}
	if m.QoS == 1 { // if it fails, what is still to be read may say why
		c.writeAll([][]byte{{packets.PUBACK << 4, 2, byte(m.PacketID >> 8), byte(m.PacketID)}})
	}
	return nil
}
