package loadgen

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"
)

// A client is one MQTT connection.
type client struct {
	conn       net.Conn
	r          *bufio.Reader
	buf        []byte
	limit      int // of a packet that is read
	receiveMax int // unacknowledged publishes that the broker takes
	unbind     func() bool
}

// An idleReader calls idle before each read from the connection, which may
// block: what has been put off while there was input is done then.
type idleReader struct {
	net.Conn
	idle func() error
}

func (r idleReader) Read(p []byte) (int, error) {
	if err := r.idle(); err != nil {
		return 0, err
	}
	return r.Conn.Read(p)
}

// readBuffer is large enough for a batch of small messages.
const readBuffer = 64 << 10

// dial connects and does the handshake within ctx, which does not bound the
// connection's life.
func (c *client) dial(ctx context.Context, addr, clientID string, cfg *Config, idle func() error) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	c.conn, c.limit = conn, cfg.Size+(64<<10)
	c.r = bufio.NewReaderSize(idleReader{conn, idle}, readBuffer)
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	if err := c.handshake(clientID, cfg); err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return err
	}
	if !stop() {
		conn.Close()
		return ctx.Err()
	}
	return nil
}

func (c *client) handshake(clientID string, cfg *Config) error {
	if _, err := c.conn.Write(connectPacket(cfg, clientID)); err != nil {
		return err
	}
	p, err := c.next()
	if err != nil {
		return fmt.Errorf("read the answer to CONNECT: %w", err)
	}
	if p.kind() != connackType || len(p.body) < 2 {
		return fmt.Errorf("the broker answered CONNECT with packet type %d", p.kind())
	}
	if code := p.body[1]; code != 0 {
		return fmt.Errorf("the broker refused the connection with code 0x%02x", code)
	}
	c.receiveMax = 65535
	if cfg.Version != 5 {
		return nil
	}
	props, _, err := splitProperties(p.body[2:])
	if err != nil {
		return err
	}
	c.receiveMax, err = receiveMaximum(props)
	return err
}

// next reads a packet. A DISCONNECT is an error.
func (c *client) next() (packet, error) {
	p, err := readPacket(c.r, c.buf, c.limit)
	if err != nil {
		return p, err
	}
	c.buf = p.body[:cap(p.body)]
	if p.kind() == disconnectType {
		code := byte(0)
		if len(p.body) > 0 {
			code = p.body[0]
		}
		return p, fmt.Errorf("the broker disconnected with code 0x%02x", code)
	}
	return p, nil
}

// endWith breaks the connection when ctx ends.
func (c *client) endWith(ctx context.Context) {
	c.unbind = context.AfterFunc(ctx, func() { c.conn.Close() })
}

// disconnect may be called at any time, also twice.
func (c *client) disconnect() {
	if c.unbind == nil { // never came up
		return
	}
	c.unbind()
	c.conn.SetWriteDeadline(time.Now().Add(time.Second))
	c.conn.Write([]byte{disconnectByte, 0})
	c.conn.Close()
}
