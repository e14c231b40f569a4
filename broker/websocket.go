package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// rawKey finds the connection of a request.
type rawKey struct{}

// upgrade turns a request into an MQTT connection (MQTT 5.0 §6).
func (e *endpoint) upgrade(w http.ResponseWriter, r *http.Request) {
	if !e.enter() {
		http.Error(w, "closing", http.StatusServiceUnavailable)
		return
	}
	defer e.n.wg.Done()
	u := websocket.Upgrader{
		Subprotocols:     []string{"mqtt", "mqttv3.1"},
		HandshakeTimeout: e.n.bounds.Load().idle,
		CheckOrigin:      func(*http.Request) bool { return true }, // clients prove themselves in MQTT
	}
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	accepted, _ := r.Context().Value(rawKey{}).(net.Conn)
	defer e.n.lobby.leave(accepted)
	from := originOf(c.NetConn())
	raw := c.NetConn()
	if t, ok := raw.(*tls.Conn); ok {
		from, raw = from.certified(t.ConnectionState()), t.NetConn()
	}
	if p, ok := raw.(*proxied); ok {
		said, _ := p.header() // it was read before the request
		from.addr, from.local, from.via = said.addr, said.local, said.via
	}
	c.SetReadLimit(int64(maxPacket))
	if k := e.admit(&webConn{Conn: c.NetConn(), ws: c}, from); k != nil {
		e.serveConn(k)
	}
}

// A webConn is a WebSocket as a stream of bytes: binary messages in both
// directions, whose bounds mean nothing (MQTT 5.0 §6.0.0-4).
type webConn struct {
	net.Conn
	ws *websocket.Conn
	r  io.Reader

	deadline atomic.Int64 // of writes, in Unix nanoseconds
}

func (c *webConn) Read(p []byte) (int, error) {
	for {
		if c.r == nil {
			kind, r, err := c.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errors.New("websocket message is not binary")
			}
			c.r = r
		}
		n, err := c.r.Read(p)
		if errors.Is(err, io.EOF) {
			c.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *webConn) Write(p []byte) (int, error) {
	if d := c.deadline.Load(); d != 0 {
		c.ws.SetWriteDeadline(time.Unix(0, d))
	}
	if err := c.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline is for the write that is blocked, if one is, and those to
// come, before each of which the library sets its own.
func (c *webConn) SetWriteDeadline(t time.Time) error {
	c.deadline.Store(t.UnixNano())
	return c.Conn.SetWriteDeadline(t)
}

// CloseWrite says goodbye in the WebSocket's own way.
func (c *webConn) CloseWrite() error {
	return c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(flushTimeout))
}
