// Package client is one MQTT 5.0 connection to a link's peer: it connects,
// keeps the connection alive, and moves packets. Many QoS 1 messages may be in
// flight; who sends them in bulk writes frames and is told of each PUBACK, who
// sends now and then waits for its answer.
//
// Packets other than PUBLISH and PUBACK are encoded and decoded by paho's
// packet codec, which this package alone imports and whose input it bounds:
// no packet longer than was announced in CONNECT is read, and an answer that
// does not come ends the connection instead of being waited for without end.
//
// It does not reconnect, keeps no session (clean start, MQTT 5.0 §3.1.2.4),
// sends no QoS 2 and stores nothing: what was not acknowledged when the
// connection ended is for the caller to send again.
package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"clink/internal/sock"

	"github.com/eclipse/paho.golang/packets"
)

const (
	keepAlive    = 60 * time.Second // announced, as EMQX does
	pingEvery    = 15 * time.Second
	silentPings  = 3 // pings that pass without a packet from the peer
	writeTimeout = 30 * time.Second
	closeTimeout = time.Second
	writeSlack   = time.Second // by which it may be late, so that it is not set for each write
	readBuffer   = 16 << 10
	maxPings     = 64
)

// Options say where and as whom to connect.
type Options struct {
	Address  string      // host:port
	TLS      *tls.Config // nil: none
	ClientID string
	Username string // empty: neither username nor password is sent
	Password string

	MaxPacket int                      // longest packet in bytes that the peer may send; 0: 1 MiB
	Ping      time.Duration            // between pings; after three without a packet from the peer it is gone; 0: 15 s
	Socket    func(*net.TCPConn) error // sets socket options; may be nil

	// Received gets every message of the peer, Acked the packet identifier and
	// reason code of every PUBACK to a frame written with Write. Both run on the
	// connection's reading goroutine; either may be nil.
	Received func(Message)
	Acked    func(id uint16, code byte)
	// Idle is called when all that has come is handled, before more is waited
	// for. It must not wait itself. It may be nil.
	Idle func()
}

// A Message is a PUBLISH and the properties that links use.
type Message struct {
	Topic         string
	Payload       []byte
	ResponseTopic string
	Correlation   []byte
}

// A Conn is a connection that was accepted. Its methods may be called at the
// same time.
type Conn struct {
	opts       Options
	net        net.Conn
	receiveMax int
	maxPacket  int
	pingEvery  time.Duration

	write    sync.Mutex
	out      sock.Writer
	rest     [][]byte     // of frames that TryWrite has begun
	broken   error        // why a write failed
	writeBy  time.Time    // the write deadline
	lastRead atomic.Int64 // of the monotonic clock, see since
	readAt   int64        // the reader's: the same of the bytes that came last
	started  time.Time

	ids     sync.Mutex
	lastID  uint16
	waiting map[uint16]chan byte // by packet identifier
	pongs   []chan struct{}      // in the order of the pings

	closing atomic.Bool
	fail    sync.Once
	reason  error
	done    chan struct{}
	running sync.WaitGroup
}

// ErrClosed is why a connection ended that was closed by Close.
var ErrClosed = errors.New("the connection was closed")

// Dial connects and waits for CONNACK, until ctx ends. The connection outlives
// ctx; it must be closed.
func Dial(ctx context.Context, opts Options) (*Conn, error) {
	raw, err := dial(ctx, opts)
	if err != nil {
		return nil, err
	}
	return Connect(ctx, raw, opts)
}

// Connect is Dial over a connection that is there already, and is closed with
// the one returned, or if there is none.
func Connect(ctx context.Context, raw net.Conn, opts Options) (*Conn, error) {
	if opts.MaxPacket <= 0 {
		opts.MaxPacket = 1 << 20
	}
	if opts.Ping <= 0 {
		opts.Ping = pingEvery
	}
	c := &Conn{opts: opts, net: raw, pingEvery: opts.Ping, started: time.Now(), waiting: make(map[uint16]chan byte), done: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	c.out.Open(raw)
	r := bufio.NewReaderSize(&input{c: c, raw: sock.Raw(raw)}, readBuffer)
	if err := c.connect(r); !stop() || err != nil {
		raw.Close()
		if cause := context.Cause(ctx); cause != nil {
			err = cause // what the closed socket says of it is of no use
		}
		return nil, fmt.Errorf("connect to %s: %w", opts.Address, err)
	}
	c.running.Go(func() { c.end(c.read(r)) })
	c.running.Go(c.keepAlive)
	return c, nil
}

func dial(ctx context.Context, opts Options) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", opts.Address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := raw.(*net.TCPConn); ok && opts.Socket != nil {
		if err := opts.Socket(tcp); err != nil {
			raw.Close()
			return nil, fmt.Errorf("set the socket options: %w", err)
		}
	}
	if opts.TLS == nil {
		return raw, nil
	}
	secure := tls.Client(raw, opts.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("TLS with %s: %w", opts.Address, err)
	}
	return secure, nil
}

func (c *Conn) connect(r *bufio.Reader) error {
	limit := uint32(c.opts.MaxPacket)
	receive := uint16(64)
	p := packets.NewControlPacket(packets.CONNECT)
	m := p.Content.(*packets.Connect)
	m.ClientID, m.CleanStart, m.KeepAlive = c.opts.ClientID, true, uint16(keepAlive/time.Second)
	m.Username, m.UsernameFlag = c.opts.Username, c.opts.Username != ""
	m.Password, m.PasswordFlag = []byte(c.opts.Password), c.opts.Password != ""
	m.Properties.MaximumPacketSize, m.Properties.ReceiveMaximum = &limit, &receive
	if err := c.send(p); err != nil {
		return err
	}
	p, err := c.packet(r)
	if err != nil {
		return err
	}
	ack, ok := p.Content.(*packets.Connack)
	if !ok {
		return fmt.Errorf("%s instead of CONNACK", p.PacketType())
	}
	if ack.ReasonCode != 0 {
		return fmt.Errorf("the peer refused: %w", Refusal(ack.ReasonCode))
	}
	c.receiveMax, c.maxPacket = 65535, 256<<20
	if v := ack.Properties.ReceiveMaximum; v != nil && *v > 0 {
		c.receiveMax = int(*v)
	}
	if v := ack.Properties.MaximumPacketSize; v != nil && *v > 0 {
		c.maxPacket = int(*v)
	}
	if v := ack.Properties.ServerKeepAlive; v != nil && *v > 0 { // which comes before what we said (MQTT 5.0 §3.2.2.3.14)
		c.pingEvery = min(c.pingEvery, time.Duration(*v)*time.Second/2)
	}
	if v := ack.Properties.MaximumQOS; v != nil && *v < 1 {
		return errors.New("the peer does not take QoS 1")
	}
	return nil
}

// ReceiveMaximum is how many unacknowledged messages the peer takes.
func (c *Conn) ReceiveMaximum() int { return c.receiveMax }

// MaxPacket is the longest packet in bytes that the peer takes; 256 MiB, the
// protocol's own bound, if it named none.
func (c *Conn) MaxPacket() int { return c.maxPacket }

// Done is closed when the connection has ended; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection ended, nil while it has not.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.reason
	default:
		return nil
	}
}

// Close ends the connection with a DISCONNECT where that is still possible,
// and waits until nothing of it runs any more. It must not be called from
// Received or Acked.
func (c *Conn) Close() {
	c.closing.Store(true)
	if c.Err() == nil {
		c.net.SetWriteDeadline(time.Now().Add(closeTimeout)) // of a Write that waits now
		c.writeAll([][]byte{{packets.DISCONNECT << 4, 0}})
	}
	c.end(ErrClosed)
	c.running.Wait()
}

// end makes err the reason, unless there is one, and stops both goroutines.
func (c *Conn) end(err error) {
	c.fail.Do(func() {
		if c.closing.Load() {
			err = ErrClosed // whatever the peer did in answer
		}
		c.reason = err
		close(c.done)
		c.net.Close()
	})
}

func (c *Conn) send(p *packets.ControlPacket) error {
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		return err
	}
	return c.Write(b.Bytes())
}

// keepAlive pings, so that a peer that is gone is noticed whether or not there
// is anything to send.
func (c *Conn) keepAlive() {
	silence := silentPings * c.opts.Ping
	tick := time.NewTicker(c.pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-tick.C:
			if time.Since(c.started)-time.Duration(c.lastRead.Load()) > silence {
				c.end(fmt.Errorf("the peer gave no sign of life for %v", silence))
				return
			}
			c.ping()
		}
	}
}

func (c *Conn) ping() (<-chan struct{}, error) {
	pong := make(chan struct{})
	c.ids.Lock()
	c.pongs = append(c.pongs, pong)
	unanswered := len(c.pongs)
	c.ids.Unlock()
	if unanswered > maxPings {
		c.end(fmt.Errorf("the peer left %d pings unanswered", maxPings))
	}
	return pong, c.Write([]byte{packets.PINGREQ << 4, 0})
}

// Ping waits until the peer has answered.
func (c *Conn) Ping(ctx context.Context) error {
	pong, err := c.ping()
	if err != nil {
		return err
	}
	select {
	case <-pong:
		return nil
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Subscribe asks for the topic's messages at QoS 1 and waits for the answer.
func (c *Conn) Subscribe(ctx context.Context, filter string) error {
	granted, err := c.ask(ctx, func(id uint16) error {
		p := packets.NewControlPacket(packets.SUBSCRIBE)
		m := p.Content.(*packets.Subscribe)
		m.PacketID = id
		m.Subscriptions = []packets.SubOptions{{Topic: filter, QoS: 1}}
		return c.send(p)
	})
	switch {
	case err != nil:
		return fmt.Errorf("subscribe to %s: %w", filter, err)
	case granted > 1:
		return fmt.Errorf("subscribe to %s: the peer refused: %w", filter, Refusal(granted))
	}
	return nil
}

// Publish sends m at QoS 1 and waits for the reason code of its PUBACK.
func (c *Conn) Publish(ctx context.Context, m Message) (byte, error) {
	return c.ask(ctx, func(id uint16) error {
		p := packets.NewControlPacket(packets.PUBLISH)
		pub := p.Content.(*packets.Publish)
		pub.PacketID, pub.QoS, pub.Topic, pub.Payload = id, 1, m.Topic, m.Payload
		pub.Properties.ResponseTopic, pub.Properties.CorrelationData = m.ResponseTopic, m.Correlation
		return c.send(p)
	})
}

// ask sends a packet with an identifier of its own and waits for the answer.
func (c *Conn) ask(ctx context.Context, send func(id uint16) error) (byte, error) {
	id, answer, err := c.reserve()
	if err != nil {
		return 0, err
	}
	defer c.release(id)
	if err := send(id); err != nil {
		return 0, err
	}
	select {
	case code := <-answer:
		return code, nil
	case <-c.done:
		return 0, c.Err()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (c *Conn) reserve() (uint16, <-chan byte, error) {
	c.ids.Lock()
	defer c.ids.Unlock()
	for range 65535 {
		if c.lastID++; c.lastID == 0 {
			c.lastID = 1
		}
		if _, used := c.waiting[c.lastID]; !used {
			answer := make(chan byte, 1)
			c.waiting[c.lastID] = answer
			return c.lastID, answer, nil
		}
	}
	return 0, nil, errors.New("all packet identifiers are in use")
}

func (c *Conn) release(id uint16) {
	c.ids.Lock()
	defer c.ids.Unlock()
	delete(c.waiting, id)
}
