package command

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// A certificate is the REST API's, read again when its files have changed: what
// renews it does not restart clinkd.
type certificate struct {
	cert, key string // names of the files
	log       *slog.Logger

	mu     sync.Mutex
	now    *tls.Certificate
	state  string // of the files, when they were last read
	looked time.Time
}

// certLook is how often the files are looked at, at most.
const certLook = time.Second

// read reads the files. Between the change of the one and of the other they do
// not belong together; then, as after any error, the old certificate stays.
func (c *certificate) read() error {
	state := stateOf(c.cert) + " " + stateOf(c.key)
	if state == c.state {
		return nil
	}
	c.state = state
	next, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("certificate of the REST API: %w", err)
	}
	c.now = &next
	return nil
}

// stateOf changes when a file does.
func stateOf(name string) string {
	info, err := os.Stat(name)
	if err != nil {
		return "absent"
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
}

// get is [tls.Config]'s GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < certLook {
		return c.now, nil
	}
	c.looked = time.Now()
	before := c.now
	if err := c.read(); err != nil {
		c.log.Error("the certificate of the REST API has changed and cannot be used; the old one stays in use", "cert", c.cert, "key", c.key, "err", err)
	} else if c.now != before {
		c.log.Info("the certificate of the REST API was read again", "cert", c.cert)
	}
	return c.now, nil
}

func listenHTTP(o options, log *slog.Logger) (net.Listener, error) {
	ln, err := net.Listen("tcp", o.http)
	if err != nil {
		return nil, fmt.Errorf("REST API: %w: choose another address with --http", err)
	}
	ln = limit(ln, maxConns)
	if o.httpCert == "" {
		return ln, nil
	}
	c := &certificate{cert: o.httpCert, key: o.httpKey, log: log}
	if err := c.read(); err != nil {
		ln.Close()
		return nil, err
	}
	return tls.NewListener(ln, &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12}), nil
}

// maxConns bounds the connections to the REST API. Anybody can open some, and
// the brokers of this process need files of their own.
const maxConns = 1000

// A limited listener accepts no more connections than it has room for. Others
// wait in the system's queue.
type limited struct {
	net.Listener
	room chan struct{}
	done chan struct{} // closed with it
	once sync.Once
}

func limit(ln net.Listener, n int) net.Listener {
	return &limited{Listener: ln, room: make(chan struct{}, n), done: make(chan struct{})}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.room })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
