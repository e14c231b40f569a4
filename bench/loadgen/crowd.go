package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Crowd is many connected clients that do nothing: each has subscribed to
// one topic of its own, at which nothing is published.
type Crowd struct {
	Took time.Duration // from the first connection to the last SUBACK

	conns []net.Conn
}

// gatherers is how many clients connect at the same time.
const gatherers = 64

// Gather connects n clients to c.SubscribeAt within c.ConnectWithin. The
// caller closes the crowd.
func Gather(ctx context.Context, c Config, n int) (*Crowd, error) {
	c, err := c.filled()
	if err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	within, cancel := context.WithTimeout(ctx, c.ConnectWithin)
	defer cancel()
	r := newRun(c, func(error) {})
	crowd := &Crowd{conns: make([]net.Conn, n)}
	errs := make([]error, gatherers)
	var next atomic.Int64
	var wg sync.WaitGroup
	for g := range gatherers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[g] == nil; i = int(next.Add(1)) - 1 {
				crowd.conns[i], errs[g] = r.join(within, i)
			}
		})
	}
	wg.Wait()
	crowd.Took = time.Since(r.start)
	if err := errors.Join(errs...); err != nil {
		crowd.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("load generator: connect %d clients: %w", n, err)
	}
	return crowd, nil
}

// join connects one client of a crowd and gives up its buffers.
func (r *run) join(ctx context.Context, i int) (net.Conn, error) {
	s := &subscriber{run: r}
	if err := s.dial(ctx, r.SubscribeAt, fmt.Sprintf("loadgen-%s-c%d", r.id, i), &r.Config, idle); err != nil {
		return nil, err
	}
	if err := s.subscribe(ctx, fmt.Sprintf("%s/crowd/%d", r.topic, i)); err != nil {
		s.conn.Close()
		return nil, err
	}
	return s.conn, nil
}

func idle() error { return nil }

// Close disconnects all clients.
func (c *Crowd) Close() {
	for _, conn := range c.conns {
		if conn == nil {
			continue
		}
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		conn.Write([]byte{disconnectByte, 0})
		conn.Close()
	}
}
